#pragma once

#include <string>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// Takes the token off what the kernel shows of its command line: over each file that has it
/// (/proc/cmdline and its like) a copy without it is mounted, and the kernel's log is kept from
/// those who are not root. A mount in the way also keeps users from mounting a /proc of their own
/// in a user namespace. Root can undo both. Needs /proc and /dev; to be called once nobody reads
/// the command line any more. A step of the boot where the token is there at all.
void hide_token(BootReport& boot, const std::string& token);

}  // namespace sluice::agent
