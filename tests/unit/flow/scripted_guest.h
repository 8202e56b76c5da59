#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stack/tcp_engine.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace sluice::test {

inline constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10;

/// A segment that reached the guest.
struct SeenSegment {
  Endpoint source;
  Endpoint destination;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgment = 0;
  wire::TcpFlags flags;
  std::uint16_t window = 0;
  std::vector<std::uint8_t> header;
  std::string payload;
};

/// The guest's port: collects segments, can be full, and lets go of frames when the test says so.
class ScriptedPort final : public stack::SegmentSink {
 public:
  ~ScriptedPort() { release_frames(); }

  bool full = false;
  bool takes = false;  ///< What takes_unread() says.
  /// What nobody read is copied, and so seen, by release_frames().
  bool copies_late = false;
  std::size_t lost = 0;  ///< What was unread was not there.
  std::vector<SeenSegment> seen;

  bool takes_unread() const override { return takes; }

  bool send_segment(const stack::OutSegment& segment) override {
    if (full) return false;
    SeenSegment one;
    one.header.assign(segment.header.begin(), segment.header.end());
    const std::uint8_t* p = one.header.data();
    one.source = {segment.source, Port(load_be16(p))};
    one.destination = {segment.destination, Port(load_be16(p + 2))};
    one.sequence = load_be32(p + 4);
    one.acknowledgment = load_be32(p + 8);
    one.flags = {p[13]};
    one.window = load_be16(p + 14);
    for (const iovec& piece : segment.payload) {
      one.payload.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    Frame frame{std::move(one), segment.unread, segment.release, segment.owner};
    if (!frame.unread || !copies_late) write(frame);
    if (segment.release) frames_.push_back(std::move(frame));
    return true;
  }

  /// The device is done with every frame so far.
  void release_frames() {
    for (Frame& frame : std::exchange(frames_, {})) {
      if (frame.unread) write(frame);
      frame.release(frame.owner);
    }
  }
  std::size_t frames() const { return frames_.size(); }
  std::vector<SeenSegment> take() { return std::exchange(seen, {}); }
  std::size_t count(std::uint8_t flags) const {
    return static_cast<std::size_t>(std::count_if(seen.begin(), seen.end(), [&](const auto& one) {
      return (one.flags.bits & flags) == flags;
    }));
  }
  /// The payload of what came, in order of sequence numbers, repeats left out.
  std::string stream(std::uint32_t from) const {
    std::string out;
    for (const SeenSegment& one : seen) {
      std::size_t at = one.sequence - from;
      if (at > out.size()) continue;
      std::size_t known = out.size() - at;
      if (known < one.payload.size()) out += one.payload.substr(known);
    }
    return out;
  }

 private:
  struct Frame {
    SeenSegment segment;
    UnreadBytes unread;
    void (*release)(void*);
    void* owner;
  };

  void write(Frame& frame) {
    std::string& payload = frame.segment.payload;
    std::size_t read = payload.size();
    payload.resize(read + frame.unread.size);
    iovec rest{payload.data() + read, frame.unread.size};
    UnreadBytes unread = std::exchange(frame.unread, {});
    if (unread && !unread.copy_to({&rest, 1})) {
      ++lost;
      return;
    }
    seen.push_back(std::move(frame.segment));
  }

  std::vector<Frame> frames_;
};

/// Memory that counts itself, as an attachment's buffers do.
struct CountedBuffer : Buffer {
  CountedBuffer(std::size_t size, std::size_t* live)
      : Buffer([](Buffer* buffer) { std::unique_ptr<CountedBuffer>(own(buffer)); }),
        bytes(size),
        counter(live) {
    ++*counter;
  }
  ~CountedBuffer() { --*counter; }
  static CountedBuffer* own(Buffer* buffer) { return static_cast<CountedBuffer*>(buffer); }
  static BufferRef make(std::size_t size, std::size_t* live) {
    return BufferRef(std::make_unique<CountedBuffer>(size, live).release());
  }

  std::vector<std::uint8_t> bytes;
  std::size_t* counter;
};

/// What a guest puts on the wire: an IPv4 packet with one TCP segment.
struct GuestSegment {
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgment = 0;
  std::uint8_t flags = kAck;
  std::uint16_t window = 65535;
  std::vector<std::uint8_t> options;  ///< A multiple of 4 bytes.
  std::string_view payload;
};

struct BuiltPacket {
  BufferRef buffer;
  Bytes packet;
  std::size_t tcp_at = 0;
  std::size_t header_size = 0;
  Bytes header() const { return packet.subspan(tcp_at, header_size); }
  Bytes payload() const { return packet.subspan(tcp_at + header_size); }
};

inline BuiltPacket build_packet(const Endpoint& guest, const Endpoint& remote,
                                const GuestSegment& segment, std::size_t* live) {
  std::size_t header_size = wire::kTcpHeaderSize + segment.options.size();
  wire::IpHeader ip;
  ip.source = guest.address;
  ip.destination = remote.address;
  ip.protocol = wire::IpProtocol::tcp;
  ip.payload_size = header_size + segment.payload.size();
  BuiltPacket out;
  out.buffer = CountedBuffer::make(ip.size() + ip.payload_size, live);
  out.packet = CountedBuffer::own(out.buffer.get())->bytes;
  out.tcp_at = ip.emit(out.packet);
  out.header_size = header_size;
  wire::TcpHeader tcp;
  tcp.source_port = guest.port;
  tcp.destination_port = remote.port;
  tcp.sequence = segment.sequence;
  tcp.acknowledgment = segment.acknowledgment;
  tcp.flags = {segment.flags};
  tcp.window = segment.window;
  tcp.emit(out.packet.subspan(out.tcp_at), wire::Checksum());
  std::uint8_t* p = out.packet.data() + out.tcp_at;
  p[12] = static_cast<std::uint8_t>(header_size / 4 << 4);
  std::copy(segment.options.begin(), segment.options.end(), p + wire::kTcpHeaderSize);
  std::copy(segment.payload.begin(), segment.payload.end(), out.payload().begin());
  return out;
}

}  // namespace sluice::test
