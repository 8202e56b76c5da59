#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/container/log_record.h"

// A log's file from its end, in either format. What it finds is taken for hostile.

namespace sluice::agent {

struct LogPiece {
  std::uint64_t at = 0;   ///< In the file.
  std::uint64_t end = 0;  ///< Behind it.
  LogHead head;
  std::vector<std::uint8_t> data;
};

/// The record that ends at `end` of the file, if there is one.
std::optional<LogPiece> log_piece_before(int fd, std::uint64_t end);
/// Behind the last whole record. The file is read from its beginning only where its end is torn.
std::uint64_t end_of_log_file(int fd);

}  // namespace sluice::agent
