#include "ssl4rl/train/rendezvous.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/interrupt.h"

namespace ssl4rl::train {

using namespace std::chrono_literals;

namespace {

constexpr auto kBeat = 500ms;
// Counted in turns of the thread, so that a run that is suspended may go on; the few where a connection has broken.
constexpr int kMostSilentBeats = 20, kFewSilentBeats = 4;
constexpr auto kAnswer = 60s;        // within which rank 0's store answers
constexpr auto kLinger = 3 * kBeat;  // in which the others read from rank 0's store why it ends
constexpr auto kNews = 16s;          // in which a silent rank is found
constexpr auto kFarewell = 24h;      // until the last rank has come to its end
constexpr const char *kFailed = "failed", *kStop = "stop", *kGo = "go", *kBroken = "broken";

std::string key(const char* name, int rank) { return fmt::format("{}/{}", name, rank); }

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string name_of_this_process() {
  char host[HOST_NAME_MAX + 1] = "?";
  gethostname(host, sizeof host);
  return fmt::format("{}, process {}", host, getpid());
}

std::vector<std::string> keys_of_all(const char* name, int ranks) {
  std::vector<std::string> keys;
  for (int rank = 0; rank < ranks; ++rank) keys.push_back(key(name, rank));
  return keys;
}

void print_error(const std::string& message) { std::fprintf(stderr, "ssl4rl: error: %s\n", message.c_str()); }

}  // namespace

Rendezvous::Rendezvous(const Place& place, std::chrono::seconds patience, const Log& log) : place_(place), log_(log) {
  FLAGS_caffe2_log_level = 3;  // c10d tells of every attempt to connect
  store_ = connect(place_.rank == 0 && !place_.served, patience);
  watched_ = connect(false, patience);
  meet(patience);
  watched_->setTimeout(kAnswer);
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

c10::intrusive_ptr<c10d::Store> Rendezvous::connect(bool serve, std::chrono::seconds patience) const {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(place_.port);
  options.isServer = serve;
  options.waitWorkers = false;
  options.timeout = patience;
  if (serve && place_.listener) options.masterListenFd = *place_.listener;
  try {
    return c10::make_intrusive<c10d::PrefixStore>("ssl4rl" + place_.attempt,
                                                  c10::make_intrusive<c10d::TCPStore>(place_.host, options));
  } catch (const std::exception&) {
    if (serve) fail("rank 0 cannot listen at {}:{}: is the port in use?", place_.host, place_.port);
    fail("rank {}: rank 0 does not answer at {}:{} within {} s", place_.rank, place_.host, place_.port,
         patience.count());
  }
}

void Rendezvous::meet(std::chrono::seconds patience) {
  store_->set(key("beat", place_.rank), bytes_of("0"));
  store_->set(key("here", place_.rank), bytes_of(name_of_this_process()));
  if (place_.rank == 0) {
    const auto keys = keys_of_all("here", place_.ranks);
    try {
      store_->wait(keys, patience);
    } catch (const std::exception&) {
      std::vector<int> missing;
      for (int rank = 0; rank < place_.ranks; ++rank)
        if (!store_->check({key("here", rank)})) missing.push_back(rank);
      const std::string message =
          fmt::format("{} of {} ranks have not come to {}:{} within {} s: {}", missing.size(), place_.ranks,
                      place_.host, place_.port, patience.count(), fmt::join(missing, ", "));
      (void)claim(*store_, {2, message});
      std::this_thread::sleep_for(kLinger);
      throw Error(message);
    }
    store_->set(kGo, bytes_of("1"));
    return;
  }
  try {
    while (!store_->check({kGo})) {
      if (store_->check({kFailed})) std::_Exit(2);  // rank 0 has said who is missing
      std::this_thread::sleep_for(kBeat / 5);
    }
  } catch (const std::exception&) {
    fail("rank {}: rank 0 at {}:{} ended before all ranks had come", place_.rank, place_.host, place_.port);
  }
}

// Nobody goes before all have come to their end: whoever started the ranks may take the first exit for a failure, and
// rank 0 may still be writing a checkpoint.
Rendezvous::~Rendezvous() {
  try {
    store_->set(key("done", place_.rank), bytes_of("1"));
    store_->wait(keys_of_all("done", place_.ranks), kFarewell);
    leaving_ = true;
    store_->set(key("gone", place_.rank), bytes_of("1"));
    if (place_.rank == 0) store_->wait(keys_of_all("gone", place_.ranks), kAnswer);  // they have read the store
  } catch (const std::exception&) {
    if (!leaving_) await_news();
  }
  watcher_ = {};
}

void Rendezvous::watch(const std::stop_token& stop) {
  try {
    for (int64_t beat = 1; !stop.stop_requested(); ++beat) {
      watched_->set(key("beat", place_.rank), bytes_of(std::to_string(beat)));
      look_for_failure();
      if (place_.rank <= 1) look_for_silence();
      pass_on_signals();
      std::this_thread::sleep_for(kBeat);
    }
  } catch (const std::exception&) {  // the store does not answer
    if (leaving_) return;
    const Failure failure{1, fmt::format("rank 0 ({}:{}) ended without a message", place_.host, place_.port)};
    if (place_.rank == 1) print_error(failure.message);
    log_.info("ending because of another process: {}", failure.message);
    leave(failure);
  }
}

void Rendezvous::look_for_failure() {
  if (ending_ || !watched_->check({kFailed})) return;
  const Failure failure = first_failure(*watched_);
  log_.info("ending because of another process: {}", failure.message);
  leave(failure);
}

// Rank 0 looks after all, rank 1 after rank 0.
void Rendezvous::look_for_silence() {
  const int most = watched_->check({kBroken}) ? kFewSilentBeats : kMostSilentBeats;
  const auto now = watched_->multiGet(keys_of_all("beat", place_.rank == 0 ? place_.ranks : 1));
  beats_.resize(now.size());
  silent_.resize(now.size());
  for (size_t i = 0; i < now.size(); ++i) {
    const int rank = static_cast<int>(i);
    const std::string beat = text_of(now[i]);
    silent_[i] = beat == beats_[i] ? silent_[i] + 1 : 0;
    beats_[i] = beat;
    if (rank == place_.rank || silent_[i] < most || watched_->check({key("gone", rank)})) continue;
    const Failure failure{
        1, fmt::format("rank {} ({}) ended without a message", rank, text_of(watched_->get(key("here", rank))))};
    if (claim(*watched_, failure)) print_error(failure.message);
    leave(failure);
  }
}

void Rendezvous::pass_on_signals() {
  if (const int own = InterruptGuard::pending(); own != 0 && !signal_told_) {
    watched_->set(kStop, bytes_of(std::to_string(own)));
    signal_told_ = true;
  } else if (own == 0 && watched_->check({kStop})) {
    InterruptGuard::request(std::stoi(text_of(watched_->get(kStop))));
  }
}

bool Rendezvous::claim(c10d::Store& store, const Failure& failure) const {
  const auto own = bytes_of(fmt::format("{} {} {}", failure.status, place_.rank, failure.message));
  return store.compareSet(kFailed, {}, own) == own;
}

Rendezvous::Failure Rendezvous::first_failure(c10d::Store& store) {
  const std::string text = text_of(store.get(kFailed));
  const size_t after_status = text.find(' '), after_rank = text.find(' ', after_status + 1);
  return {std::stoi(text), text.substr(after_rank + 1)};
}

void Rendezvous::end(int status, const std::string& message) {
  ending_ = true;
  Failure failure{status, fmt::format("rank {}: {}", place_.rank, message)};
  try {
    if (claim(*store_, failure)) {
      print_error(failure.message);
    } else {
      failure = first_failure(*store_);
    }
  } catch (const std::exception&) {
    print_error(failure.message);
  }
  leave(failure);
}

void Rendezvous::await_news() const {
  try {
    store_->set(kBroken, bytes_of("1"));
  } catch (const std::exception&) {  // rank 0 itself is gone: the thread sees it too
  }
  std::this_thread::sleep_for(kNews);
}

void Rendezvous::leave(const Failure& failure) const {
  std::fflush(nullptr);
  if (place_.rank == 0) std::this_thread::sleep_for(kLinger);
  std::_Exit(failure.status);
}

}  // namespace ssl4rl::train
