#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::agent {

/// The first places of the log's files in `directory`, ascending. Empty where it can't be read.
std::vector<std::uint64_t> log_files_in(const std::string& directory);
std::string log_file_path(const std::string& directory, std::uint64_t first);

}  // namespace sluice::agent
