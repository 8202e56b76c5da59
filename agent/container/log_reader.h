#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/container/log_record.h"
#include "base/bytes.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// Reads a log (log_record.h, log_json.h) from any place on, while it is written and rotated. What
/// it finds is taken for hostile: bytes that are no record end the file that they are in. Any one
/// thread.
class LogReader {
 public:
  struct Record {
    LogHead head;
    ConstBytes data;         ///< Valid until the next call.
    std::uint64_t next = 0;  ///< The place behind it.
    std::uint64_t lost = 0;  ///< Bytes of log before it that are gone, or had no room.
  };
  /// Where the reading begins: a record's place, and how much of its data is left away.
  struct Place {
    std::uint64_t at = 0;
    std::size_t skip = 0;
  };
  struct Wanted {
    bool out = true;
    bool err = true;
  };

  explicit LogReader(std::string directory) : directory_(std::move(directory)) {}

  /// Where the next record is read; before the log's first place counts as lost.
  void seek(std::uint64_t place);
  std::uint64_t position() const { return position_; }
  /// Nothing where there is no whole record behind position() yet.
  std::optional<Record> next();
  /// Bytes of log that are gone behind the last record, which none has told yet.
  std::uint64_t take_lost() { return std::exchange(lost_, 0); }

  /// Behind the last whole record.
  std::uint64_t end() const;
  std::uint64_t begin() const;
  /// Where the latest `lines` lines of the wanted streams begin. `lines` > 0.
  Place tail(std::uint64_t lines, Wanted wanted) const;

 private:
  bool open_file();
  bool open_next();
  ConstBytes fill(std::size_t bytes, std::size_t most);
  std::optional<Record> take();
  std::optional<Record> take_binary();
  std::optional<Record> take_json();

  std::string directory_;
  std::uint64_t position_ = 0;
  std::uint64_t lost_ = 0;
  UniqueFd file_;
  std::uint64_t first_ = 0;  ///< Of the file.
  std::vector<std::uint8_t> buffer_;
  std::uint64_t buffer_at_ = 0;     ///< The place of its first byte.
  std::vector<std::uint8_t> line_;  ///< The data of the latest line of JSON.
};

}  // namespace sluice::agent
