#pragma once

#include "agent/init/boot_report.h"
#include "agent/supervise/service_table.h"

namespace sluice::agent {

/// Makes the directories, then the mounts, then the links: each a step of the boot. What is there
/// already stays as it is, but a link that leads elsewhere is made anew.
void lay_out(BootReport& boot, const SystemTable& table);

}  // namespace sluice::agent
