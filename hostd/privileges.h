#pragma once

#include <net/status.h>

#include <string>
#include <vector>

namespace sluice::hostd {

/// Started as root: becomes `user` (of /etc/passwd, by name or UID, or UID:GID; empty: nobody) with
/// its primary group only, for good, after giving it `owned` files and directories (empty names are
/// passed over). Does nothing for others unless a user was asked for. The error names the user and
/// the fix.
Status drop_privileges(const std::string& user, const std::vector<std::string>& owned);

}  // namespace sluice::hostd
