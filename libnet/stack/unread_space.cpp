#include "stack/unread_space.h"

#include <sys/mman.h>

namespace sluice::stack {

namespace {

/// On both sides, so that memory never adjoins: lwIP takes neighbours for one piece.
constexpr std::size_t kGap = 64 << 10;

}  // namespace

UnreadSpace::UnreadSpace() {
  void* space = ::mmap(nullptr, kSize + 2 * kGap, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space != MAP_FAILED) begin_ = static_cast<std::uint8_t*>(space) + kGap;
}

UnreadSpace::~UnreadSpace() {
  if (begin_) ::munmap(begin_ - kGap, kSize + 2 * kGap);
}

}  // namespace sluice::stack
