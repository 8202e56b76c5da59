#pragma once

#include <net/status.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "hostd/attach/vhost_user_message.h"

namespace sluice::hostd {

/// A guest's memory, mapped here from the descriptors that its VMM gave. The guest changes it at
/// any time, so what is checked is copied first. Movable; unmapped with it.
///
/// The VMM that shares it must not make its files shorter afterwards: the kernel would end us
/// (SIGBUS). A guest cannot.
class GuestMemory {
 public:
  static constexpr std::size_t kMaxRegions = 8;

  GuestMemory() = default;
  GuestMemory(GuestMemory&&) noexcept = default;
  GuestMemory& operator=(GuestMemory&&) noexcept = default;

  /// As many descriptors as regions, each long enough. invalid_argument says which is not so.
  static Result<GuestMemory> map(std::span<const MemoryRegion> regions,
                                 std::span<const UniqueFd> fds);

  bool empty() const { return regions_.empty(); }
  /// Where `size` bytes at a guest's address lie here; nullptr unless they are within one region.
  std::uint8_t* at(std::uint64_t guest_address, std::uint64_t size) const;
  /// The same for an address of the VMM's own.
  std::uint8_t* at_user(std::uint64_t user_address, std::uint64_t size) const;
  /// Appends the pieces of `size` bytes at a guest's address, more than one where regions adjoin;
  /// false if some of it is outside of all, and then `out` is of no use.
  bool append(std::uint64_t guest_address, std::uint64_t size, std::vector<iovec>& out) const;

 private:
  /// munmap() at its end.
  class Mapping {
   public:
    Mapping(std::uint8_t* base, std::size_t size) : base_(base), size_(size) {}
    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    ~Mapping();
    std::uint8_t* base() const { return base_; }

   private:
    std::uint8_t* base_;
    std::size_t size_;
  };
  struct Mapped {
    MemoryRegion region;
    Mapping mapping;
  };

  /// In the space of addresses in which regions begin at `start`.
  std::uint8_t* find(std::uint64_t MemoryRegion::* start, std::uint64_t address,
                     std::uint64_t size) const;

  std::vector<Mapped> regions_;
};

}  // namespace sluice::hostd
