#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "agent/init/disk_content.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

inline constexpr Duration kDevicePatience = std::chrono::seconds(10);

/// Whether the device is there, or comes in time: the kernel makes its file once its driver has
/// found it.
bool wait_for_device(const std::string& device);

/// A block device that nobody uses, as it is read. A plain file does too.
class Disk final : public DiskReader {
 public:
  /// errno; EBUSY where it is mounted, or a part of something. ENOTBLK where it is neither.
  int open(const std::string& device);
  std::uint64_t size() const override { return size_; }
  Got read(std::uint64_t offset, std::span<std::uint8_t> into) override;

 private:
  UniqueFd fd_;
  std::uint64_t size_ = 0;
};

}  // namespace sluice::agent
