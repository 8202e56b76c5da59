#pragma once

#include <string>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// The host name (kept where `hostname` is empty and the image has one) and the files that programs
/// look for: /etc/hostname, hosts, machine-id, and passwd, group and nsswitch.conf where the image
/// has none.
void write_system_files(BootReport& boot, const std::string& hostname);

}  // namespace sluice::agent
