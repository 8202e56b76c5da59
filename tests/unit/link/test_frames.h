#pragma once

#include <cstdint>
#include <vector>

#include <net/address.h>

#include "link/guest_port.h"

namespace sluice::test {

struct FrameSpec {
  Family family = Family::v4;
  std::size_t ip_options = 0;   ///< IPv4 only, bytes.
  std::size_t tcp_options = 0;  ///< Bytes, a multiple of 4.
  std::size_t payload = 0;
  std::uint16_t segment_size = 0;
  std::uint8_t flags = 0x10;
  std::uint32_t sequence = 0xfffff000;  ///< Wraps within a few KiB.
  std::uint16_t ip_id = 0xfffe;
  std::size_t piece_size = 700;  ///< The payload lies in pieces of this size.
};

/// A TCP frame for the guest with Offload::tcp, and the memory that it lies in.
class TestFrame {
 public:
  explicit TestFrame(const FrameSpec& spec);
  link::RxFrame view() const;

 private:
  FrameSpec spec_;
  std::uint16_t l4_offset_ = 0;
  std::vector<std::uint8_t> head_;
  std::vector<std::uint8_t> payload_;
  std::vector<iovec> pieces_;
};

/// What a frame with Offload::tcp stands for, made one byte and one sum at a time.
std::vector<std::vector<std::uint8_t>> reference_cut(const link::RxFrame& frame);

/// Whether the IPv4 header checksum, the TCP checksum and the IP length fit the frame.
bool checksums_are_right(const std::vector<std::uint8_t>& frame);

}  // namespace sluice::test
