#include "agent/os/mount_table.h"

#include <string_view>

#include "agent/os/file.h"
#include "agent/os/text.h"

namespace sluice::agent {

std::vector<MountedAt> mount_table() {
  std::vector<MountedAt> mounts;
  std::string file = read_file("/proc/self/mounts").value_or("");
  for (std::string_view rest = file; !rest.empty();) {
    std::string_view line = take_part(rest, '\n');
    MountedAt& one = mounts.emplace_back();
    for (std::string* field : {&one.source, &one.target, &one.type, &one.options}) {
      *field = take_part(line, ' ');
    }
  }
  return mounts;
}

}  // namespace sluice::agent
