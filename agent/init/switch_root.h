#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// A root file system that the kernel does not mount by itself.
struct RootSource {
  std::string device;  ///< /dev/vda, or virtiofs:TAG. Empty: the root is what it is.
  bool writable = false;
  std::string init = "/sbin/init";  ///< What is started in it.
};

/// Whether / is the file system that the kernel unpacked its initramfs into.
bool is_in_initramfs();

/// The file systems of a /proc/filesystems that are on a device, the latest first: what was loaded
/// for the root before what the kernel always has.
std::vector<std::string> device_file_systems(std::string_view proc_filesystems);

/// Waits for the device, mounts it, makes it the root, deletes what is in the initramfs to free its
/// memory, and becomes the new root's init. Returns where something failed; the step then says
/// what, and the root is still the initramfs unless only that init could not be started.
void switch_root(BootReport& boot, const RootSource& source);

}  // namespace sluice::agent
