// A guest's memory of any content, rings included: each buffer that the queue gives lies in that
// memory, and the queue comes to an end.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "hostd/attach/virt_queue.h"
#include "hostd/vhost_kit.h"
#include "link/virtio_frame.h"

using namespace sluice;
using namespace sluice::test;
using hostd::VirtQueue;

namespace {

constexpr std::size_t kMemory = 8192;
constexpr std::uint16_t kSize = 16;

struct Guest {
  Guest() : memory(std::move(*pages.map())) {}
  GuestPages pages{kMemory};
  hostd::GuestMemory memory;
  DriverRing ring{pages, 0, kSize};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  if (size < 4) return 0;
  auto direction =
      (data[0] & 1) != 0 ? VirtQueue::Direction::from_guest : VirtQueue::Direction::to_guest;
  VirtQueue::Options options{(data[0] & 2) != 0, (data[0] & 4) != 0};
  std::uint16_t base = data[1];
  // What the input does not reach is zero.
  std::fill_n(guest.pages.at(0), kMemory, std::uint8_t{0});
  std::copy_n(data + 2, std::min(size - 2, kMemory), guest.pages.at(0));
  // Descriptors of 16-bit addresses and sizes, or few would be in this memory.
  for (std::size_t i = 0; (data[0] & 8) != 0 && i < kSize; ++i) {
    guest.pages.put(16 * i, kGuestBase + guest.pages.get<std::uint16_t>(16 * i));
    guest.pages.put(16 * i + 8, std::uint32_t{guest.pages.get<std::uint16_t>(16 * i + 8)});
  }
  VirtQueue queue(direction);
  queue.start(guest.ring.rings(guest.memory), kSize, base, options);
  std::vector<iovec> pieces;
  std::vector<link::TxFrame> frames;
  const std::uint8_t* begin = guest.memory.at(kGuestBase, kMemory);
  // Writing to buffers may make more of them available, as these may be the ring.
  for (int i = 0; i < 64; ++i) {
    pieces.clear();
    auto chain = queue.pop(guest.memory, pieces);
    if (!chain || !*chain) break;
    std::uint64_t total = 0;
    std::vector<std::uint8_t> frame;
    for (const iovec& piece : pieces) {
      auto* at = static_cast<std::uint8_t*>(piece.iov_base);
      FUZZ_CHECK(at >= begin && piece.iov_len <= kMemory);
      FUZZ_CHECK(at + piece.iov_len <= begin + kMemory);
      total += piece.iov_len;
      frame.insert(frame.end(), at, at + piece.iov_len);
      if (direction == VirtQueue::Direction::to_guest) std::fill_n(at, piece.iov_len, data[2]);
    }
    FUZZ_CHECK(total == (*chain)->bytes && pieces.size() <= kSize);
    if (frame.size() >= 12) {
      link::add_virtio_frame(ConstBytes(frame).first(12), Bytes(frame).subspan(12), {}, frames);
      frames.clear();
    }
    queue.give_back(**chain, total);
    if ((i & 3) == 3) queue.publish();
  }
  queue.publish();
  queue.ask_for_kick();
  return 0;
}
