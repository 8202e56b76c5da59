#pragma once

#include <string_view>

namespace sluice::agent {

/// Whether an extended attribute goes along with a file. trusted.* does not, as overlayfs would
/// follow what a hostile image says there, nor labels of a policy that is not this kernel's.
inline bool is_carried_xattr(std::string_view name) {
  return name.starts_with("user.") || name == "security.capability" ||
         name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

}  // namespace sluice::agent
