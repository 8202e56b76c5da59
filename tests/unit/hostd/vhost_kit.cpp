#include "hostd/vhost_kit.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace sluice::test {

GuestPages::GuestPages(std::size_t size)
    : fd_(::memfd_create("guest", MFD_CLOEXEC)), size_(size), memory_(nullptr) {
  if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) std::abort();
  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (base == MAP_FAILED) std::abort();
  memory_ = static_cast<std::uint8_t*>(base);
}

GuestPages::~GuestPages() {
  ::munmap(memory_, size_);
}

UniqueFd GuestPages::fd() const {
  return UniqueFd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
}

Result<hostd::GuestMemory> GuestPages::map() const {
  std::vector<UniqueFd> fds;
  fds.push_back(fd());
  hostd::MemoryRegion one = region();
  return hostd::GuestMemory::map({&one, 1}, fds);
}

hostd::VirtQueue::Rings DriverRing::rings(const hostd::GuestMemory& memory) const {
  return {memory.at(kGuestBase + descriptors(), 1), memory.at(kGuestBase + available(), 1),
          memory.at(kGuestBase + used(), 1)};
}

hostd::VringAddress DriverRing::address(std::uint32_t index) const {
  return {.index = index,
          .descriptors = kUserBase + descriptors(),
          .used = kUserBase + used(),
          .available = kUserBase + available()};
}

void DriverRing::describe(std::uint16_t index, const Piece& piece) const {
  std::size_t at = descriptors() + std::size_t{16} * index;
  pages_->put(at, piece.address);
  pages_->put(at + 8, piece.size);
  pages_->put(at + 12, piece.flags);
  pages_->put(at + 14, piece.next);
}

void DriverRing::add(std::uint16_t first, const std::vector<Piece>& pieces) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    Piece piece = pieces[i];
    auto index = static_cast<std::uint16_t>((first + i) % size_);
    if (i + 1 < pieces.size()) {
      piece.flags |= kNext;
      piece.next = static_cast<std::uint16_t>((index + 1) % size_);
    }
    describe(index, piece);
  }
  make_available(first);
}

void DriverRing::make_available(std::uint16_t head) {
  pages_->put(available() + 4 + 2u * (next_ % size_), head);
  set_available_index(++next_);
}

std::pair<std::uint32_t, std::uint32_t> DriverRing::used_entry(std::uint16_t index) const {
  std::size_t at = used() + 4 + 8u * (index % size_);
  return {pages_->get<std::uint32_t>(at), pages_->get<std::uint32_t>(at + 4)};
}

std::vector<std::uint8_t> vhost_message(hostd::VhostUserRequest request,
                                        std::span<const std::uint8_t> payload,
                                        std::uint32_t flags) {
  std::uint32_t header[] = {static_cast<std::uint32_t>(request), flags,
                            static_cast<std::uint32_t>(payload.size())};
  std::vector<std::uint8_t> out = bytes_of(header);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

std::vector<std::uint8_t> memory_table(std::span<const hostd::MemoryRegion> regions) {
  std::vector<std::uint8_t> out = bytes_of(std::uint64_t{regions.size()});
  for (const hostd::MemoryRegion& region : regions) {
    for (std::uint64_t value :
         {region.guest_address, region.size, region.user_address, region.mmap_offset}) {
      std::vector<std::uint8_t> bytes = bytes_of(value);
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
  }
  return out;
}

UniqueFd make_eventfd() {
  return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

}  // namespace sluice::test
