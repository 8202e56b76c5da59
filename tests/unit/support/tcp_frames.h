#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <net/address.h>

#include "base/buffer.h"
#include "base/bytes.h"

namespace sluice::test {

/// A TCP frame as a guest's kernel sends it, with right checksums.
struct TcpFrameSpec {
  Family family = Family::v4;
  std::uint32_t sequence = 1000;
  std::uint32_t acknowledgment = 7;
  std::uint16_t window = 500;
  std::uint8_t flags = 0x10;
  bool timestamps = true;
  std::string payload;
};

std::vector<std::uint8_t> make_tcp_frame(const TcpFrameSpec& spec);
/// Puts the checksums right again after a change. The frame has no IP options.
void sign_tcp_frame(Bytes frame);

/// Memory of one read from an attachment: frames one behind the other, each with four bytes before
/// it that say its length, as QEMU's stream has them.
class FrameSlab {
 public:
  explicit FrameSlab(std::size_t size = 256 << 10);
  /// Where the frame lies now.
  Bytes add(ConstBytes frame);
  const BufferRef& buffer() const { return buffer_; }

 private:
  BufferRef buffer_;
  std::size_t used_ = 0;
};

}  // namespace sluice::test
