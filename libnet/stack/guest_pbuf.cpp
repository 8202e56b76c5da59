#include "stack/guest_pbuf.h"

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "base/owned_bytes.h"
#include "stack/lwip_headers.h"

namespace sluice::stack {

namespace {

struct GuestPbuf {
  static constexpr std::size_t kNotLent = ~std::size_t{0};

  pbuf_custom custom;
  BufferRef buffer;
  std::size_t lent_place = kNotLent;  ///< In lent_pbufs.
};

/// Those of lent memory, with nullptr for what is gone. One process has one lwIP.
std::vector<GuestPbuf*> lent_pbufs;

void free_guest_pbuf(pbuf* p) {
  auto* owned = reinterpret_cast<GuestPbuf*>(p);
  if (owned->lent_place != GuestPbuf::kNotLent) lent_pbufs[owned->lent_place] = nullptr;
  delete owned;
}

}  // namespace

pbuf* make_guest_pbuf(const iovec& piece, const BufferRef& buffer) {
  auto size = static_cast<u16_t>(piece.iov_len);
  if (buffer && ReadMemory::is_scarce()) {
    pbuf* copy = pbuf_alloc(PBUF_RAW, size, PBUF_RAM);
    if (copy) std::memcpy(copy->payload, piece.iov_base, size);
    return copy;
  }
  auto* owned = new (std::nothrow) GuestPbuf{{}, buffer};  // NOLINT: lwIP frees it
  if (!owned) return nullptr;
  owned->custom.custom_free_function = free_guest_pbuf;
  if (!buffer) {
    owned->lent_place = lent_pbufs.size();
    lent_pbufs.push_back(owned);
  }
  return pbuf_alloced_custom(PBUF_RAW, size, PBUF_REF, &owned->custom, piece.iov_base, size);
}

void keep_lent_pbufs() {
  for (GuestPbuf* lent : lent_pbufs) {
    if (!lent) continue;
    // What was taken off its front, or cut off its end, is nobody's any more.
    pbuf& part = lent->custom.pbuf;
    const auto* begin = static_cast<const std::uint8_t*>(part.payload);
    auto own = std::make_unique<OwnedBytes>(std::vector<std::uint8_t>(begin, begin + part.len));
    part.payload = own->bytes.data();
    lent->buffer = BufferRef(own.release());
    lent->lent_place = GuestPbuf::kNotLent;
  }
  lent_pbufs.clear();
}

}  // namespace sluice::stack
