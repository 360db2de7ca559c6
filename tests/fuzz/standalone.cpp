// A driver for compilers without libFuzzer: mutates a corpus for some seconds and keeps what ends in an error not seen
// before.
//
//     NAME_fuzz CORPUS_FOLDER [SECONDS] [SEED]
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <set>
#include <sstream>
#include <vector>

#include "target.h"

namespace {

using Bytes = std::string;

class Mutator {
 public:
  Mutator(std::vector<Bytes>& corpus, uint64_t seed) : corpus_(corpus), random_(seed) {}

  Bytes next() {
    Bytes input = pick();
    for (size_t count = 1 + below(8); count > 0; --count) mutate(input);
    return input;
  }

 private:
  size_t below(size_t n) { return n == 0 ? 0 : static_cast<size_t>(random_() % n); }
  const Bytes& pick() { return corpus_[below(corpus_.size())]; }

  void mutate(Bytes& s) {
    static const char* const kTokens[] = {"\"",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          ":",
                                          ",",
                                          "null",
                                          "true",
                                          "-1",
                                          "0",
                                          "9223372036854775807",
                                          "1e999",
                                          "\\u0000",
                                          "\\ud800",
                                          "18446744073709551615",
                                          "4294967296",
                                          "\xFF",
                                          "\n",
                                          "\r\n",
                                          "\xEF\xBB\xBF",
                                          "data:image/png;base64,"};
    const size_t at = below(s.size() + 1);
    switch (below(9)) {
      case 0:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 1:
        if (at < s.size()) s[at] = static_cast<char>(random_());
        break;
      case 2:
        s.erase(at, 1 + below(16));
        break;
      case 3:
        s.insert(at, kTokens[below(std::size(kTokens))]);
        break;
      case 4: {
        const Bytes other = pick();
        const size_t from = below(other.size());
        s.insert(at, other.substr(from, 1 + below(64)));
        break;
      }
      case 5: {  // a number, little- or big-endian
        const uint64_t value =
            std::vector<uint64_t>{0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ~uint64_t{0}}[below(9)];
        const size_t size = size_t{1} << below(4);
        if (at + size <= s.size()) std::memcpy(s.data() + at, &value, size);
        break;
      }
      case 6: {  // a run of digits becomes another number
        const size_t digit = s.find_first_of("0123456789", at);
        if (digit == Bytes::npos) break;
        const size_t end = s.find_first_not_of("0123456789", digit);
        s.replace(digit, (end == Bytes::npos ? s.size() : end) - digit,
                  std::vector<const char*>{"0", "1", "-1", "2147483648", "9223372036854775807", "1099511627777",
                                           "3"}[below(7)]);
        break;
      }
      case 7:
        s.resize(at);
        break;
      case 8: {  // cut and cross with another
        const Bytes other = pick();
        s = s.substr(0, at) + other.substr(below(other.size()));
        break;
      }
    }
    if (s.size() > (1 << 18)) s.resize(1 << 18);
  }

  std::vector<Bytes>& corpus_;
  std::mt19937_64 random_;
};

// The kind of an error: its text without numbers and quoted parts.
std::string kind_of(const std::string& message) {
  std::string kind;
  bool quoted = false;
  for (const char c : message) {
    if (c == '"') quoted = !quoted;
    if (!quoted && !(c >= '0' && c <= '9')) kind += c;
  }
  return kind.substr(0, 120);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " CORPUS_FOLDER [SECONDS] [SEED]\n";
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0;
  std::vector<Bytes> corpus;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1])) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    corpus.push_back(text.str());
  }
  if (corpus.empty()) corpus.emplace_back("{}");
  const auto run = [](const Bytes& input) {
    {  // so that a crash leaves the input behind
      std::ofstream last("fuzz-last-input", std::ios::binary | std::ios::trunc);
      last << input;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  };
  for (const Bytes& input : std::vector<Bytes>(corpus)) run(input);
  Mutator mutator(corpus, argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  std::set<std::string> kinds;
  uint64_t runs = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  while (elapsed() < seconds) {
    const Bytes input = mutator.next();
    run(input);
    ++runs;
    if (kinds.insert(kind_of(ssl4rl::fuzz::outcome())).second && input.size() < 65536) corpus.push_back(input);
  }
  std::filesystem::remove("fuzz-last-input");
  std::cout << argv[0] << ": " << runs << " inputs in " << elapsed() << " s, " << kinds.size() << " kinds of outcome\n";
  return 0;
}
