#pragma once

#include <string>
#include <vector>

namespace sluice::agent {

struct MountedAt {
  std::string source;
  std::string target;
  std::string type;
  std::string options;
};

/// What this process sees mounted, the oldest first, as the kernel writes it: blanks are \\040.
std::vector<MountedAt> mount_table();

}  // namespace sluice::agent
