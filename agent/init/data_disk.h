#pragma once

#include <functional>
#include <string>

#include "agent/init/disk_content.h"
#include "agent/init/step_end.h"

namespace sluice::agent {

/// A disk for what is to outlive the boot.
struct DataDisk {
  std::string device;  ///< Empty: there is none.
  std::string path = "/var/lib/sluice";
  bool format_if_blank = false;
  std::string mkfs = "/sbin/mkfs.ext4";
};

/// What is done to a disk, as a seam for tests; 0, or errno with `why` for a person.
struct DiskWork {
  std::function<DiskContent()> look;
  std::function<int(std::string& why)> format;
  std::function<int(const std::string& type, std::string& why)> mount;
};

/// Mounts what has a file system; formats what is blank, where the host has said so, and mounts it
/// then. Whatever else it is, or where a read failed, nothing is written to it.
StepEnd use_data_disk(const DataDisk& disk, const DiskWork& work);

/// The same with the real disk: waits for the device, reads, perhaps runs mkfs, mounts. Blocks for
/// as long as the disk does; for a process of its own.
StepEnd mount_data_disk(const DataDisk& disk);

}  // namespace sluice::agent
