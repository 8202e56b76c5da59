#include "wire/quic_packet.h"

#include <algorithm>

#include "wire/byte_cursor.h"

namespace sluice::wire {

namespace {

constexpr std::uint8_t kLongHeader = 0x80;
constexpr std::uint8_t kFixedBit = 0x40;
constexpr std::uint64_t kMaxVarint = (std::uint64_t{1} << 62) - 1;

enum Frame : std::uint8_t {
  kPadding = 0x00,
  kPing = 0x01,
  kAck = 0x02,
  kAckWithEcn = 0x03,
  kCrypto = 0x06,
  kConnectionClose = 0x1c,
};

/// RFC 9000 section 16.
std::uint64_t take_varint(ByteCursor& from) {
  std::uint8_t first = from.take8();
  std::uint64_t value = first & 0x3f;
  for (std::uint8_t byte : from.take((1u << (first >> 6)) - 1)) value = value << 8 | byte;
  return value;
}

QuicLongPacket::Type type_of(QuicVersion version, std::uint8_t first) {
  unsigned bits = first >> 4 & 3u;
  // Version 2 counts from Retry on (RFC 9369 section 3.2).
  if (version == QuicVersion::v2) bits = (bits + 3) & 3;
  return static_cast<QuicLongPacket::Type>(bits);
}

void skip_ack(ByteCursor& cursor, bool ecn) {
  take_varint(cursor);  // largest
  take_varint(cursor);  // delay
  std::uint64_t ranges = take_varint(cursor);
  take_varint(cursor);  // first range
  for (; ranges > 0 && cursor.ok(); --ranges) {
    take_varint(cursor);  // gap
    take_varint(cursor);  // length
  }
  for (int count = ecn ? 3 : 0; count > 0; --count) take_varint(cursor);
}

std::uint64_t complete_number(std::uint64_t truncated, std::size_t bytes,
                              std::optional<std::uint64_t> largest) {
  std::uint64_t expected = largest ? *largest + 1 : 0;
  std::uint64_t window = std::uint64_t{1} << (8 * bytes);
  std::uint64_t number = (expected & ~(window - 1)) | truncated;
  if (number + window / 2 <= expected && number <= kMaxVarint - window) return number + window;
  if (number > expected + window / 2 && number >= window) return number - window;
  return number;
}

}  // namespace

QuicFront read_quic_front(ConstBytes bytes) {
  QuicFront front;
  if (bytes.empty() || !(bytes[0] & kLongHeader)) return front;
  ByteCursor cursor(bytes);
  std::uint8_t first = cursor.take8();
  ConstBytes version = cursor.take(4);
  if (!cursor.ok()) return front;
  front.version = load_be32(version.data());
  bool known = front.version == static_cast<std::uint32_t>(QuicVersion::v1) ||
               front.version == static_cast<std::uint32_t>(QuicVersion::v2);
  if (!known) {
    front.kind = first & kFixedBit ? QuicFront::Kind::other_version : QuicFront::Kind::not_long;
    return front;
  }
  QuicLongPacket& packet = front.packet;
  packet.version = static_cast<QuicVersion>(front.version);
  packet.type = type_of(packet.version, first);
  packet.destination_id = cursor.take(cursor.take8());
  packet.source_id = cursor.take(cursor.take8());
  if (packet.type == QuicLongPacket::Type::retry) {
    packet.bytes = bytes;
  } else {
    if (packet.type == QuicLongPacket::Type::initial) cursor.take(take_varint(cursor));
    std::uint64_t length = take_varint(cursor);
    packet.number_offset = cursor.at();
    cursor.take(length);
    packet.bytes = bytes.first(cursor.at());
  }
  bool ok = cursor.ok() && packet.destination_id.size() <= kQuicMaxConnectionIdBytes &&
            packet.source_id.size() <= kQuicMaxConnectionIdBytes;
  front.kind = ok ? QuicFront::Kind::packet : QuicFront::Kind::malformed;
  return front;
}

std::optional<QuicOpened> open_quic_initial(const QuicLongPacket& packet,
                                            const QuicInitialKeys& keys,
                                            std::optional<std::uint64_t> largest_number) {
  std::size_t sample_offset = packet.number_offset + kQuicMaxPacketNumberBytes;
  if (packet.bytes.size() < sample_offset + kQuicSampleBytes) return std::nullopt;
  auto mask = keys.header_mask(packet.bytes.subspan(sample_offset, kQuicSampleBytes));
  if (!mask) return std::nullopt;

  auto head = packet.bytes.first(sample_offset);
  std::vector<std::uint8_t> header(head.begin(), head.end());
  header[0] ^= (*mask)[0] & 0x0f;
  std::size_t number_bytes = (header[0] & 3u) + 1;
  std::uint64_t truncated = 0;
  for (std::size_t i = 0; i < number_bytes; ++i) {
    header[packet.number_offset + i] ^= (*mask)[1 + i];
    truncated = truncated << 8 | header[packet.number_offset + i];
  }
  header.resize(packet.number_offset + number_bytes);

  QuicOpened opened;
  opened.number = complete_number(truncated, number_bytes, largest_number);
  auto payload = keys.open(opened.number, header, packet.bytes.subspan(header.size()));
  // The reserved bits are 0 under the protection (RFC 9000 section 17.2).
  if (!payload || (header[0] & 0x0c)) return std::nullopt;
  opened.payload = *std::move(payload);
  return opened;
}

std::optional<std::vector<QuicCryptoFrame>> read_quic_initial_frames(ConstBytes payload) {
  if (payload.empty()) return std::nullopt;
  std::vector<QuicCryptoFrame> frames;
  ByteCursor cursor(payload);
  while (!cursor.at_end()) {
    std::uint8_t type = cursor.take8();
    if (type == kPadding) {
      cursor.skip_zeros();
    } else if (type == kAck || type == kAckWithEcn) {
      skip_ack(cursor, type == kAckWithEcn);
    } else if (type == kCrypto) {
      QuicCryptoFrame frame;
      frame.offset = take_varint(cursor);
      frame.data = cursor.take(take_varint(cursor));
      frames.push_back(frame);
    } else if (type == kConnectionClose) {
      take_varint(cursor);  // error
      take_varint(cursor);  // the frame that brought it
      cursor.take(take_varint(cursor));
    } else if (type != kPing) {
      return std::nullopt;
    }
    if (!cursor.ok()) return std::nullopt;
  }
  return frames;
}

}  // namespace sluice::wire
