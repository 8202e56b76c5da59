#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/init/step_end.h"

namespace sluice::agent {

/// Where memory may be moved to: a device that has been made a swap area, or compressed memory
/// (zram) for so many bytes. Neither: nowhere.
struct SwapOptions {
  std::string device;
  std::uint64_t bytes = 0;

  bool on() const { return !device.empty() || bytes > 0; }
};

/// The first page of an empty swap area, as mkswap(8) makes it. `bytes` is more than two pages.
std::vector<std::uint8_t> swap_header(std::uint64_t bytes, std::uint32_t page_bytes);

/// Nothing is made a swap area that isn't one, but a zram that is new. Blocks; for a process of its
/// own.
StepEnd start_swap(const SwapOptions& options);

}  // namespace sluice::agent
