#include "launch.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ssl4rl/base/error.h"
#include "ssl4rl/cli/app.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(20);  // for the other ranks to end by themselves once one has failed

struct Listener {
  int socket = -1, port = 0;
};

// Listens at a free port; rank 0 inherits the socket, so that nobody can take the port in between.
Listener listen_anywhere() {
  Listener listener{socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (listener.socket < 0 || bind(listener.socket, generic, length) != 0 || listen(listener.socket, SOMAXCONN) != 0 ||
      getsockname(listener.socket, generic, &length) != 0)
    fail("--nproc: no port to meet at: {}", errno_text());
  listener.port = ntohs(address.sin_port);
  return listener;
}

std::vector<std::string> arguments_of_this_process() {
  const std::string text = io::read_file("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (size_t begin = 0; begin < text.size(); begin += arguments.back().size() + 1)
    arguments.emplace_back(text.c_str() + begin);
  return arguments;
}

std::vector<std::string> environment_of(int rank, int ranks, const Listener& listener) {
  const std::vector<std::string> own{
      fmt::format("RANK={}", rank),
      fmt::format("WORLD_SIZE={}", ranks),
      fmt::format("LOCAL_RANK={}", rank),
      fmt::format("LOCAL_WORLD_SIZE={}", ranks),
      "MASTER_ADDR=127.0.0.1",
      fmt::format("MASTER_PORT={}", listener.port),
      fmt::format("SSL4RL_LISTENER={}", rank == 0 ? std::to_string(listener.socket) : ""),
  };
  std::vector<std::string> all = own;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const auto same_name = [&](const std::string& other) {
      return other.compare(0, other.find('=') + 1, text, 0, text.find('=') + 1) == 0;
    };
    if (std::none_of(own.begin(), own.end(), same_name)) all.push_back(text);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t start(int rank, int ranks, const Listener& listener, const sigset_t& usual_signals) {
  std::vector<std::string> arguments = arguments_of_this_process();
  std::vector<std::string> environment = environment_of(rank, ranks, listener);
  const std::vector<char*> argv = pointers_to(arguments), envp = pointers_to(environment);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) fail("--nproc: a process cannot be started: {}", errno_text());
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no rank outlives its parent
  if (getppid() != parent) _exit(kFailed);
  sigprocmask(SIG_SETMASK, &usual_signals, nullptr);
  if (rank != 0) close(listener.socket);
  execve("/proc/self/exe", argv.data(), envp.data());
  _exit(kFailed);
}

class Ranks {
 public:
  Ranks(int count, const Listener& listener, const sigset_t& usual_signals) {
    for (int rank = 0; rank < count; ++rank) pids_.push_back(start(rank, count, listener, usual_signals));
  }

  [[nodiscard]] bool any() const {
    return std::any_of(pids_.begin(), pids_.end(), [](pid_t pid) { return pid > 0; });
  }
  void send(int signal) const {
    for (const pid_t pid : pids_)
      if (pid > 0) kill(pid, signal);
  }
  // Notes who has ended.
  void reap() {
    int raw = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &raw, WNOHANG)) > 0;) {
      const auto found = std::find(pids_.begin(), pids_.end(), pid);
      if (found == pids_.end()) continue;
      *found = 0;
      note_end(static_cast<int>(found - pids_.begin()), raw);
    }
    if (failed_ && Clock::now() - failed_at_ > kPatience) send(SIGKILL);
  }
  [[nodiscard]] int status() const { return status_; }

 private:
  void note_end(int rank, int raw) {
    const bool killed = WIFSIGNALED(raw);
    const int status = killed ? kFailed : WEXITSTATUS(raw);
    if (status == kDone) return;
    if (!failed_) status_ = status;
    if (status != kFailed && status != kUsage) return;
    if (killed && !failed_) {
      std::fprintf(stderr, "ssl4rl: error: rank %d was ended by signal %d (%s)\n", rank, WTERMSIG(raw),
                   strsignal(WTERMSIG(raw)));
      send(SIGKILL);
    }
    if (!std::exchange(failed_, true)) failed_at_ = Clock::now();
  }

  std::vector<pid_t> pids_;  // 0: ended
  int status_ = kDone;
  bool failed_ = false;
  Clock::time_point failed_at_;
};

}  // namespace

int launch_ranks(int ranks) {
  sigset_t awaited, usual;
  sigemptyset(&awaited);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD}) sigaddset(&awaited, signal);
  sigprocmask(SIG_BLOCK, &awaited, &usual);
  const Listener listener = listen_anywhere();
  Ranks running(ranks, listener, usual);
  close(listener.socket);
  while (running.any()) {
    const timespec second{1, 0};
    siginfo_t info{};
    const int signal = sigtimedwait(&awaited, &info, &second);
    // The terminal's Ctrl-C has reached the ranks as well: they are of the same group.
    if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL) running.send(signal);
    running.reap();
  }
  return running.status();
}

}  // namespace ssl4rl::cli
