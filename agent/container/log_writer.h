#pragma once

#include <net/status.h>

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "agent/container/log_record.h"
#include "base/bytes.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// Writes a log (log_record.h, or log_json.h), the only one to do so. A record is whole in one
/// file. Any one thread.
class LogWriter {
 public:
  struct Limits {
    std::uint64_t file_bytes = std::uint64_t{10} << 20;
    std::uint32_t files = 3;  ///< 2 at least.
    LogFormat format = LogFormat::records;
  };

  /// Goes on behind the last whole record; what a writer that was killed left of another is cut
  /// off.
  static Result<LogWriter> open(std::string directory, Limits limits);

  /// At most kMaxLogData. Where there is no room the log has a gap, which says how much is missing
  /// as soon as there is room for that, and goes on.
  void append(bool is_stderr, std::int64_t time_ns, ConstBytes data);
  /// The place behind the last record.
  std::uint64_t position() const { return position_; }

 private:
  LogWriter(std::string directory, Limits limits)
      : directory_(std::move(directory)), limits_(limits) {}
  bool begin_file();
  template <typename Put>
  void add(std::uint64_t size, std::int64_t time_ns, Put put);
  void append_json(bool is_stderr, std::int64_t time_ns, ConstBytes data);
  /// One write, all of it or nothing; false: nothing.
  bool write(std::span<const iovec> parts);
  void remove_old_files();
  bool put(const LogHead& head, ConstBytes data);
  bool put(std::string& lines);
  void put_gap(std::int64_t time_ns);

  std::string directory_;
  Limits limits_;
  UniqueFd file_;
  std::uint64_t first_ = 0;  ///< Of the file.
  std::uint64_t position_ = 0;
  std::uint64_t gap_ = 0;  ///< Bytes of records that are missing, which the log doesn't say yet.
};

}  // namespace sluice::agent
