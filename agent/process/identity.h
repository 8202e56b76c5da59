#pragma once

#include <net/status.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace sluice::agent {

/// Who a program runs as.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  ///< Supplementary ones.
  std::string name = "root";
  std::string home = "/root";
  std::string shell = "/bin/sh";
};

/// Reads `root`/etc/passwd and /etc/group by itself: a static program has no name service. `user`
/// is
/// "", "name", "uid", "name:group" or "uid:gid". A uid that no line has is taken as it is, with its
/// own gid 0 and home "/". not_found names what there isn't; invalid_argument what can't be read.
Result<Identity> find_identity(const std::string& root, std::string_view user);
/// The same by the texts of the two files.
Result<Identity> identity_of(const std::string& passwd, const std::string& groups,
                             std::string_view user);

}  // namespace sluice::agent
