#pragma once

#include <net/status.h>

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// Writes a log (log_record.h), the only one to do so. A record is whole in one file. Any one
/// thread.
class LogWriter {
 public:
  struct Limits {
    std::uint64_t file_bytes = std::uint64_t{10} << 20;
    std::uint32_t files = 3;  ///< 2 at least.
  };

  /// Goes on behind the last whole record; what a writer that was killed left of another is cut
  /// off.
  static Result<LogWriter> open(std::string directory, Limits limits);

  /// At most kMaxLogData. What can't be written (no space) is counted and is not in the log, and
  /// the log goes on.
  void append(bool is_stderr, std::int64_t time_ns, ConstBytes data);
  /// The place behind the last record.
  std::uint64_t position() const { return position_; }
  std::uint64_t dropped() const { return dropped_; }  ///< Bytes.

 private:
  LogWriter(std::string directory, Limits limits)
      : directory_(std::move(directory)), limits_(limits) {}
  bool begin_file();
  void remove_old_files();

  std::string directory_;
  Limits limits_;
  UniqueFd file_;
  std::uint64_t first_ = 0;  ///< Of the file.
  std::uint64_t position_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace sluice::agent
