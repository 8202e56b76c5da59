#include "link/virtio_frame.h"

#include "link/slab.h"
#include "link/virtio_net.h"

namespace sluice::link {

bool add_virtio_frame(ConstBytes header, Bytes frame, const BufferRef& buffer,
                      std::vector<TxFrame>& frames) {
  auto offload = check_offload(VirtioNetHeader::read(header), frame);
  if (!offload) return false;
  if (offload->datagram_size == 0) {
    frames.push_back({frame, buffer, offload->checksum_trusted});
    return true;
  }
  constexpr std::size_t kAlign = 16;
  DatagramCutter cutter(frame, offload->datagram_size);
  std::size_t step = (cutter.full_frame() + kAlign - 1) / kAlign * kAlign;
  BufferRef slab = Slab::make(cutter.count() * step);
  Bytes rest(Slab::memory(slab), cutter.count() * step);
  while (std::size_t size = cutter.next(rest)) {
    frames.push_back({rest.first(size), slab, true});
    rest = rest.subspan(step);
  }
  return true;
}

}  // namespace sluice::link
