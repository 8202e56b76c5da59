#pragma once

#include <string>
#include <vector>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// What an init has to have before it can be reached: /proc, /sys and /dev.
void mount_kernel_file_systems(BootReport& boot);
/// Everything else of the table: pts, shm, mqueue and links in /dev, cgroups, and places to write
/// to where the root is read-only. What is mounted stays as it is.
void mount_the_rest(BootReport& boot);

/// Unmounts in reverse order; what can't be is made read-only.
void unmount_all();

}  // namespace sluice::agent
