#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace sluice::agent {

/// What a log's files are made of.
enum class LogFormat : std::uint8_t {
  records,  ///< As LogHead has them.
  json,     ///< log_json.h
};

/// A container's log is a sequence of records, and a place in it is the number of bytes before it
/// since the log's beginning. It lies in files of which each is named by its first byte's place, in
/// 16 hex digits: so they are never renamed, and a reader goes on in the file that is named by
/// where the last one ended. The oldest files are removed.
///
///   record  =  head  data  length (u32)           all numbers big-endian
///   head    =  length of data (u32)  stream (u8: 1 stdout, 2 stderr)  kind (u8: 0 whole,
///              1 partial, 2 gap)  zero (u16)  time (i64, ns since the epoch)  check (u32)
///
/// The data of a gap is the number of bytes (u64) of records that should be there, and had no room.
///
/// The length is at both ends so that the last lines can be found without reading the others.
struct LogHead {
  std::uint32_t length = 0;
  bool is_stderr = false;
  bool partial = false;
  bool gap = false;
  std::int64_t time_ns = 0;
};

inline constexpr std::size_t kLogHeadBytes = 20;
inline constexpr std::size_t kLogTailBytes = 4;
inline constexpr std::size_t kLogOverhead = kLogHeadBytes + kLogTailBytes;
inline constexpr std::size_t kLogGapBytes = 8;  ///< Of a gap's data.
/// The most data of one record.
inline constexpr std::size_t kMaxLogData = std::size_t{64} << 10;

/// Bytes of a whole record.
inline std::uint64_t log_record_bytes(const LogHead& head) {
  return kLogOverhead + head.length;
}

/// Writes kLogHeadBytes.
void write_log_head(const LogHead& head, std::uint8_t* into);
/// Nothing where `bytes` (kLogHeadBytes at least) begin with none.
std::optional<LogHead> read_log_head(ConstBytes bytes);

/// "000000000000a000"
std::string log_file_name(std::uint64_t first);
std::optional<std::uint64_t> parse_log_file_name(std::string_view name);

}  // namespace sluice::agent
