// Reads the Python list literals that stand in benchmark files.
#include <unicode/utf8.h>

#include "ssl4rl/eval/dataset.h"

namespace ssl4rl::eval {
namespace {

void append_code_point(std::string& text, uint32_t c) {
  char bytes[4];
  int32_t length = 0;
  UBool error = 0;
  U8_APPEND(reinterpret_cast<uint8_t*>(bytes), length, 4, static_cast<UChar32>(c), error);
  text.append(bytes, error ? 0 : static_cast<size_t>(length));
}

class ListReader {
 public:
  explicit ListReader(std::string_view text) : text_(text) {}

  std::optional<std::vector<std::string>> read() {
    std::vector<std::string> items;
    skip_space();
    if (!take('[')) return {};
    while (true) {
      skip_space();
      if (take(']')) break;
      std::string item;
      if (!read_item(item)) return {};
      items.push_back(std::move(item));
      skip_space();
      if (take(',')) continue;
      if (take(']')) break;
      return {};
    }
    skip_space();
    return at_ == text_.size() ? std::optional(std::move(items)) : std::nullopt;
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  bool read_item(std::string& item) {
    if (peek() != '\'' && peek() != '"') {  // a number or a name
      const size_t end = std::min(text_.find_first_of(",] \t\r\n", at_), text_.size());
      item = text_.substr(at_, end - at_);
      at_ = end;
      return !item.empty() && item.find_first_of("[{('\"") == std::string::npos;
    }
    while (peek() == '\'' || peek() == '"') {  // texts that stand beside each other are one
      if (!read_text(item)) return false;
      skip_space();
    }
    return true;
  }

  bool read_text(std::string& item) {
    const char quote = text_[at_++];
    while (at_ < text_.size()) {
      const size_t end = std::min(text_.find_first_of(quote == '"' ? "\"\\" : "'\\", at_), text_.size());
      item.append(text_.substr(at_, end - at_));
      at_ = end;
      if (take(quote)) return true;
      if (take('\\') && !read_escape(item)) return false;
    }
    return false;
  }

  bool read_escape(std::string& item) {
    const char c = peek();
    if (at_++ >= text_.size()) return false;
    switch (c) {
      case 'n':
        item += '\n';
        return true;
      case 't':
        item += '\t';
        return true;
      case 'r':
        item += '\r';
        return true;
      case 'a':
        item += '\a';
        return true;
      case 'b':
        item += '\b';
        return true;
      case 'f':
        item += '\f';
        return true;
      case 'v':
        item += '\v';
        return true;
      case '\n':
        return true;
      case '\\':
      case '\'':
      case '"':
        item += c;
        return true;
      case 'x':
        return read_digits(item, 2, 16);
      case 'u':
        return read_digits(item, 4, 16);
      case 'U':
        return read_digits(item, 8, 16);
      default:
        break;
    }
    if (c >= '0' && c <= '7') {
      --at_;
      size_t digits = 1;
      while (digits < 3 && at_ + digits < text_.size() && text_[at_ + digits] >= '0' && text_[at_ + digits] <= '7')
        ++digits;
      return read_digits(item, digits, 8);
    }
    item += '\\';  // an unknown escape stands for itself
    item += c;
    return true;
  }

  bool read_digits(std::string& item, size_t count, int base) {
    if (at_ + count > text_.size()) return false;
    const std::string digits(text_.substr(at_, count));
    if (digits.find_first_not_of(base == 8 ? "01234567" : "0123456789abcdefABCDEF") != std::string::npos) return false;
    at_ += count;
    append_code_point(item, static_cast<uint32_t>(std::stoul(digits, nullptr, base)));
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<std::vector<std::string>> parse_python_list(std::string_view text) { return ListReader(text).read(); }

}  // namespace ssl4rl::eval
