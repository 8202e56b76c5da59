#include "agent/container/log_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/os/clock.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr char kDigits[] = "0123456789abcdef";

/// Bytes of the character that `bytes` begin with, by RFC 3629; 0: they begin with none.
std::size_t utf8_size(ConstBytes bytes) {
  std::uint8_t lead = bytes[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (bytes.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((bytes[i] & 0xC0) != 0x80) return 0;
  }
  // Longer than it need be, half of a UTF-16 pair, or beyond U+10FFFF.
  std::uint8_t second = bytes[1];
  bool is_bad = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F);
  return is_bad ? 0 : size;
}

/// Whether all of it was UTF-8.
bool append_text(std::string& into, ConstBytes data) {
  bool valid = true;
  while (!data.empty()) {
    std::size_t size = utf8_size(data);
    std::uint8_t byte = data[0];
    if (size == 0) {
      valid = false;
      into += kReplacement;
    } else if (byte == '\n') {
      into += "\\n";
    } else if (byte == '"' || byte == '\\') {
      into += '\\';
      into += static_cast<char>(byte);
    } else if (byte < 0x20) {
      into += "\\u00";
      into += kDigits[byte >> 4];
      into += kDigits[byte & 0xF];
    } else {
      into.append(reinterpret_cast<const char*>(data.data()), size);
    }
    data = data.subspan(std::max<std::size_t>(size, 1));
  }
  return valid;
}

/// What is left of a line as it is read.
class Scanner {
 public:
  explicit Scanner(std::string_view rest) : rest_(rest) {}

  bool skip(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  bool at_end() const { return rest_.empty(); }
  /// Up to the next '"', which goes too; of texts without escapes.
  std::optional<std::string_view> word() {
    std::size_t end = rest_.find('"');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view found = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return found;
  }
  /// As append_text() has it, to the '"' behind it.
  std::optional<std::vector<std::uint8_t>> text() {
    std::vector<std::uint8_t> data;
    while (!rest_.empty()) {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return data;
      if (c == '\\') {
        auto escaped = escape();
        if (!escaped) return std::nullopt;
        data.push_back(*escaped);
      } else {
        data.push_back(static_cast<std::uint8_t>(c));
      }
    }
    return std::nullopt;
  }

 private:
  std::optional<std::uint8_t> escape() {
    if (skip("n")) return '\n';
    if (skip("\"")) return '"';
    if (skip("\\")) return '\\';
    if (!skip("u00") || rest_.size() < 2) return std::nullopt;
    auto number = parse_number<std::uint8_t>(rest_.substr(0, 2), 16);
    rest_.remove_prefix(2);
    // Above it two bytes would be meant.
    return number && *number < 0x80 ? number : std::nullopt;
  }

  std::string_view rest_;
};

std::optional<std::vector<std::uint8_t>> parse_hex(std::string_view text) {
  std::vector<std::uint8_t> data;
  if (text.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    auto byte = parse_number<std::uint8_t>(text.substr(i, 2), 16);
    if (!byte) return std::nullopt;
    data.push_back(*byte);
  }
  return data;
}

void append_stream_and_time(std::string& into, bool is_stderr, std::int64_t time_ns) {
  into += fmt::format(R"(","stream":"std{}","time":"{}")", is_stderr ? "err" : "out",
                      utc_text(time_ns));
}

}  // namespace

void append_log_json(std::string& into, bool is_stderr, std::int64_t time_ns, ConstBytes data) {
  into += R"({"log":")";
  bool valid = append_text(into, data);
  append_stream_and_time(into, is_stderr, time_ns);
  if (!valid) {
    into += R"(,"raw":")";
    for (std::uint8_t byte : data) {
      into += kDigits[byte >> 4];
      into += kDigits[byte & 0xF];
    }
    into += '"';
  }
  into += "}\n";
}

void append_log_json_gap(std::string& into, std::int64_t time_ns, std::uint64_t bytes) {
  into += R"({"log":")";
  append_stream_and_time(into, false, time_ns);
  into += fmt::format(R"(,"lost":"{}"}})", bytes) + "\n";
}

std::optional<LogLine> parse_log_json(std::string_view line) {
  Scanner scanner(line);
  if (!scanner.skip(R"({"log":")")) return std::nullopt;
  auto data = scanner.text();
  if (!data || !scanner.skip(R"(,"stream":"std)")) return std::nullopt;
  auto stream = scanner.word();
  if (!stream || (*stream != "out" && *stream != "err") || !scanner.skip(R"(,"time":")")) {
    return std::nullopt;
  }
  auto time = parse_utc(scanner.word().value_or(""));
  if (time && scanner.skip(R"(,"raw":")")) data = parse_hex(scanner.word().value_or("-"));
  bool is_gap = time && scanner.skip(R"(,"lost":")");
  if (is_gap && data) {
    auto lost = parse_number<std::uint64_t>(scanner.word().value_or(""));
    if (!lost || !data->empty()) return std::nullopt;
    data->resize(kLogGapBytes);
    store_be64(data->data(), *lost);
  }
  if (!time || !data || data->size() > kMaxLogJsonData || !scanner.skip("}") || !scanner.at_end()) {
    return std::nullopt;
  }
  LogHead head{.length = static_cast<std::uint32_t>(data->size()),
               .is_stderr = *stream == "err",
               .partial = !is_gap && !data->empty() && data->back() != '\n',
               .gap = is_gap,
               .time_ns = *time};
  return LogLine{.head = head, .data = std::move(*data)};
}

}  // namespace sluice::agent
