// A hostile virtio_net_hdr and frame: what is accepted is cut into frames that stay within it.

#include "link/virtio_net.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "check.h"
#include "wire/checksum.h"
#include "wire/ip.h"
#include "wire/udp.h"

using namespace sluice;
using namespace sluice::link;

namespace {

void cut(ConstBytes frame, std::uint16_t datagram_size) {
  DatagramCutter cutter(frame, datagram_size);
  FUZZ_CHECK(cutter.count() >= 2 && cutter.count() <= kMaxDatagrams);
  std::vector<std::uint8_t> room(cutter.full_frame());
  std::size_t frames = 0, payload = 0;
  while (std::size_t size = cutter.next(room)) {
    FUZZ_CHECK(size <= room.size());
    auto packet = wire::Packet::parse(ConstBytes(room).subspan(14, size - 14));
    FUZZ_CHECK(packet && packet->header_checksum_ok());
    auto datagram = wire::UdpView::parse(packet->payload());
    FUZZ_CHECK(datagram && datagram->payload().size() <= datagram_size);
    payload += datagram->payload().size();
    ++frames;
  }
  FUZZ_CHECK(frames == cutter.count());
  FUZZ_CHECK(payload <= frame.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes input(data, size);
  if (size < VirtioNetHeader::kSize) return 0;
  auto header = VirtioNetHeader::read(input.first(VirtioNetHeader::kSize));
  // A copy of its own size, so that ASan sees what is beyond it.
  std::vector<std::uint8_t> frame(data + VirtioNetHeader::kSize, data + size);
  std::vector<std::uint8_t> before = frame;
  auto offload = check_offload(header, frame);
  if (!offload) {
    FUZZ_CHECK(frame == before);
    return 0;
  }
  if (offload->datagram_size != 0) cut(frame, offload->datagram_size);
  std::uint8_t again[VirtioNetHeader::kSize];
  header.write(again);
  FUZZ_CHECK(std::equal(std::begin(again), std::end(again), data));
  return 0;
}
