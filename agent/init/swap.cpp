#include "agent/init/swap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/swap.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "agent/init/device.h"
#include "agent/init/modules.h"
#include "agent/os/file.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr const char* kZram = "/dev/zram0";
constexpr const char* kZramSize = "/sys/block/zram0/disksize";
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

StepEnd failure(std::string_view what) {
  int error = errno;
  return StepEnd::failed(error, fmt::format("{}: {}", what, std::strerror(error)));
}

StepEnd swap_on_zram(std::uint64_t bytes) {
  // What it compresses by, which the kernel would have a modprobe load.
  for (const char* module : {"lzo-rle", "zram"}) load_module(module);
  if (!wait_for_device(kZram)) return StepEnd::failed(ENODEV, "this kernel has no zram");
  if (read_line(kZramSize) != "0") return StepEnd::failed(EBUSY, "zram0 is in use");
  if (Status status = write_file(kZramSize, fmt::format("{}", bytes)); !status) {
    return StepEnd::failed(0, status.message());
  }
  std::vector<std::uint8_t> header =
      swap_header(bytes, static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)));
  UniqueFd fd(::open(kZram, O_WRONLY | O_CLOEXEC));
  if (!fd) return failure(fmt::format("open {}", kZram));
  if (::write(fd.get(), header.data(), header.size()) != static_cast<ssize_t>(header.size())) {
    return failure(fmt::format("write {}", kZram));
  }
  fd.reset();
  if (::swapon(kZram, 0) != 0) return failure("swapon");
  return StepEnd::done(fmt::format("{} MiB of zram", bytes / kMiB));
}

}  // namespace

std::vector<std::uint8_t> swap_header(std::uint64_t bytes, std::uint32_t page_bytes) {
  constexpr std::size_t kAt = 1024;
  constexpr std::string_view kMagic = "SWAPSPACE2";
  std::vector<std::uint8_t> page(page_bytes);
  std::uint32_t version = 1;
  auto last_page = static_cast<std::uint32_t>(bytes / page_bytes - 1);
  std::memcpy(&page[kAt], &version, sizeof version);
  std::memcpy(&page[kAt + sizeof version], &last_page, sizeof last_page);
  std::memcpy(&page[page_bytes - kMagic.size()], kMagic.data(), kMagic.size());
  return page;
}

StepEnd start_swap(const SwapOptions& options) {
  if (options.device.empty()) return swap_on_zram(options.bytes);
  if (!wait_for_device(options.device)) {
    return StepEnd::failed(ENOENT, "there is no such device, nor has one come in 10 s");
  }
  Disk disk;
  if (int error = disk.open(options.device); error != 0) {
    return StepEnd::failed(error, fmt::format("open: {}", std::strerror(error)));
  }
  DiskContent content = look_at(disk);
  if (content.kind != DiskContent::Kind::swap) {
    return StepEnd::failed(content.error,
                           fmt::format("it is no swap area, but {}: left as it is", content.what));
  }
  disk = Disk();
  if (::swapon(options.device.c_str(), 0) != 0) return failure("swapon");
  return StepEnd::done("");
}

}  // namespace sluice::agent
