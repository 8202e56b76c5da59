#include "agent/container/log_files.h"

#include <dirent.h>

#include <algorithm>
#include <memory>

#include "agent/container/log_record.h"

namespace sluice::agent {

std::vector<std::uint64_t> log_files_in(const std::string& directory) {
  std::vector<std::uint64_t> files;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
  while (dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    if (auto first = parse_log_file_name(entry->d_name)) files.push_back(*first);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string log_file_path(const std::string& directory, std::uint64_t first) {
  return directory + "/" + log_file_name(first);
}

}  // namespace sluice::agent
