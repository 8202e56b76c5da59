#include "hostd/attach/guest_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace sluice::hostd {

namespace {

bool overflows(std::uint64_t start, std::uint64_t size) {
  return size > std::numeric_limits<std::uint64_t>::max() - start;
}

Status check(const MemoryRegion& region, const UniqueFd& fd, std::size_t index) {
  auto bad = [&](const char* what) {
    return Status(StatusCode::invalid_argument, fmt::format("memory region {}: {}", index, what));
  };
  if (region.size == 0) return bad("it is empty");
  if (overflows(region.guest_address, region.size) || overflows(region.user_address, region.size) ||
      overflows(region.mmap_offset, region.size)) {
    return bad("its end is beyond the last address");
  }
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return bad("its descriptor is not open");
  if (!S_ISREG(info.st_mode)) return bad("its descriptor is of no file");
  if (static_cast<std::uint64_t>(info.st_size) < region.mmap_offset + region.size) {
    return bad("its file is shorter");
  }
  return Status::ok();
}

/// Offset of `size` bytes at `address` in a region that starts at `start`; its end if not in it.
std::uint64_t offset_in(std::uint64_t start, const MemoryRegion& region, std::uint64_t address,
                        std::uint64_t size) {
  if (address < start) return region.size;
  std::uint64_t offset = address - start;
  return offset < region.size && size <= region.size - offset ? offset : region.size;
}

}  // namespace

GuestMemory::Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_(other.size_) {}

GuestMemory::Mapping& GuestMemory::Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

GuestMemory::Mapping::~Mapping() {
  if (base_) ::munmap(base_, size_);
}

Result<GuestMemory> GuestMemory::map(std::span<const MemoryRegion> regions,
                                     std::span<const UniqueFd> fds) {
  if (regions.size() != fds.size() || regions.size() > kMaxRegions) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{} memory regions with {} descriptors", regions.size(), fds.size()));
  }
  GuestMemory out;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const MemoryRegion& region = regions[i];
    if (Status status = check(region, fds[i], i); !status) return status;
    // From the file's start, as huge pages want their own alignment.
    std::uint64_t size = region.mmap_offset + region.size;
    void* base =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fds[i].get(), 0);
    if (base == MAP_FAILED) {
      return Status::from_errno(errno, fmt::format("map {} bytes of memory region {}", size, i));
    }
    out.regions_.push_back({region, Mapping(static_cast<std::uint8_t*>(base), size)});
    ::madvise(base, size, MADV_DONTDUMP);
  }
  return out;
}

std::uint8_t* GuestMemory::find(std::uint64_t MemoryRegion::* start, std::uint64_t address,
                                std::uint64_t size) const {
  for (const Mapped& mapped : regions_) {
    const MemoryRegion& region = mapped.region;
    std::uint64_t offset = offset_in(region.*start, region, address, size);
    if (offset < region.size) return mapped.mapping.base() + region.mmap_offset + offset;
  }
  return nullptr;
}

std::uint8_t* GuestMemory::at(std::uint64_t guest_address, std::uint64_t size) const {
  return find(&MemoryRegion::guest_address, guest_address, size);
}

std::uint8_t* GuestMemory::at_user(std::uint64_t user_address, std::uint64_t size) const {
  return find(&MemoryRegion::user_address, user_address, size);
}

bool GuestMemory::append(std::uint64_t guest_address, std::uint64_t size,
                         std::vector<iovec>& out) const {
  // Each turn leaves a region behind, and no region adjoins itself.
  for (std::size_t turn = 0; size > 0 && turn <= regions_.size(); ++turn) {
    std::uint8_t* base = at(guest_address, 1);
    if (!base) return false;
    std::uint64_t here = 0;
    for (const Mapped& mapped : regions_) {
      const MemoryRegion& region = mapped.region;
      std::uint64_t offset = offset_in(region.guest_address, region, guest_address, 1);
      if (offset == region.size) continue;
      here = std::min(size, region.size - offset);
      break;
    }
    out.push_back({base, here});
    guest_address += here;
    size -= here;
  }
  return size == 0;
}

}  // namespace sluice::hostd
