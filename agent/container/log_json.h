#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/container/log_record.h"
#include "base/bytes.h"

// A log in the format that docker's json-file driver writes, a line of JSON for each line of
// output:
//
//   {"log":"hello\n","stream":"stdout","time":"2026-01-31T10:00:00.123456789Z"}
//
// What doesn't end with a line's end (more than kMaxLogJsonData of a line, or as much as was there
// to be read) has no "\n". Bytes that are no UTF-8 are U+FFFD in "log", as docker has them, and
// then "raw" has all bytes in hex digits, which other readers pass over: so our own are byte-exact.
// The first byte tells a line from a record of log_record.h, which begins with 0.

namespace sluice::agent {

/// The most data of one line.
inline constexpr std::size_t kMaxLogJsonData = std::size_t{16} << 10;
/// The most bytes of one, with its end: each of its data's six in "log", two in "raw".
inline constexpr std::size_t kMaxLogJsonLine = 8 * kMaxLogJsonData + 256;

/// At most kMaxLogJsonData.
void append_log_json(std::string& into, bool is_stderr, std::int64_t time_ns, ConstBytes data);

/// That so many bytes of lines should be here, and had no room: an empty line with "lost".
void append_log_json_gap(std::string& into, std::int64_t time_ns, std::uint64_t bytes);

struct LogLine {
  LogHead head;  ///< The data of a gap is as log_record.h has it.
  std::vector<std::uint8_t> data;
};

/// A line without its end. Nothing where append_log_json() writes no such (but for white space and
/// the order of members, which are as there): what lies on disk is taken for hostile.
std::optional<LogLine> parse_log_json(std::string_view line);

}  // namespace sluice::agent
