#pragma once

#include <net/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::agent {

/// The whole of a file, /proc's and /sys's too. Nothing where it can't be read or has more than
/// `most` bytes; errno says why (EFBIG).
std::optional<std::string> read_file(const std::string& path,
                                     std::size_t most = std::size_t{1} << 20);
/// Without the line end.
std::string read_line(const std::string& path);

/// Writes a file as it is to be (/proc, /sys: in one write), making it with `mode`.
Status write_file(const std::string& path, std::string_view text, unsigned mode = 0644);
/// Beside it first and renamed, so that nobody sees half of it.
Status replace_file(const std::string& path, std::string_view text, unsigned mode = 0644);

/// A directory with all above it. No error where it is there.
Status make_directories(const std::string& path, unsigned mode = 0755);

/// 128 random bits in hex, for ids.
std::string random_id();

}  // namespace sluice::agent
