// IP reassembly against a naive one that keeps every byte in a map, and against its own limits.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "check.h"
#include "stack/reassembly.h"
#include "wire/checksum.h"
#include "wire/ip.h"

using namespace sluice;

namespace {

const HashKey kKey{{1, 2}};
constexpr std::size_t kMaxPayload = 256;

struct Piece {
  Family family;
  std::uint8_t id;
  std::uint32_t offset;
  bool more;
  std::vector<std::uint8_t> payload;
};

/// Five bytes to a piece. Offsets stay small so that pieces meet, but for one value in 32.
std::optional<Piece> take(ConstBytes& in) {
  if (in.size() < 5) return std::nullopt;
  Piece piece;
  piece.family = (in[0] & 1) != 0 ? Family::v6 : Family::v4;
  piece.id = in[0] >> 1 & 3;
  piece.more = (in[0] & 8) != 0;
  std::uint32_t place = in[1] & 0x1f;
  if (place == 0x1f) place = 8191 - (in[1] >> 5);
  piece.offset = place * 8;
  std::size_t size = (in[2] & 0x80) != 0 ? in[2] & 0x7f : (in[2] & 0x1f) * std::size_t{8};
  piece.payload.resize(std::min(size, kMaxPayload));
  for (std::size_t i = 0; i < piece.payload.size(); ++i) {
    // Content follows the place, so that equal pieces are equal, unless the last bytes say not so.
    piece.payload[i] = static_cast<std::uint8_t>(piece.offset + i + (in[3] == 0xff ? in[4] : 0));
  }
  in = in.subspan(5);
  return piece;
}

std::vector<std::uint8_t> packet_of(const Piece& piece) {
  wire::IpHeader ip;
  ip.source =
      piece.family == Family::v4 ? IpAddress::v4(192, 0, 2, 1) : IpAddress::loopback(Family::v6);
  ip.destination =
      piece.family == Family::v4 ? IpAddress::v4(192, 0, 2, 2) : IpAddress::any(Family::v6);
  ip.dont_fragment = false;
  ip.id = piece.id;
  ip.protocol = static_cast<wire::IpProtocol>(253);  // for experiments, RFC 3692
  std::size_t extra = piece.family == Family::v6 ? 8 : 0;
  ip.payload_size = extra + piece.payload.size();
  if (extra != 0) ip.protocol = wire::IpProtocol::fragment;
  std::vector<std::uint8_t> bytes(ip.size() + ip.payload_size);
  ip.emit(bytes);
  if (extra != 0) {
    std::uint8_t* p = bytes.data() + ip.size();
    p[0] = 253;
    store_be16(p + 2, static_cast<std::uint16_t>(piece.offset | (piece.more ? 1 : 0)));
    store_be32(p + 4, piece.id);
  } else {
    store_be16(bytes.data() + 6,
               static_cast<std::uint16_t>(piece.offset / 8 | (piece.more ? 0x2000 : 0)));
  }
  std::ranges::copy(piece.payload, bytes.begin() + static_cast<std::ptrdiff_t>(ip.size() + extra));
  return bytes;
}

class Naive {
 public:
  std::optional<std::vector<std::uint8_t>> add(const Piece& piece) {
    std::size_t end = piece.offset + piece.payload.size();
    std::size_t header = piece.family == Family::v4 ? 20 : 0;
    if (piece.payload.empty() || (piece.more && piece.payload.size() % 8 != 0) ||
        header + end > 65535) {
      return std::nullopt;
    }
    Set& set = sets_[{piece.family, piece.id}];
    if (set.dropped) return std::nullopt;
    for (const Piece& other : set.pieces) {
      if (other.offset == piece.offset && other.payload == piece.payload &&
          other.more == piece.more) {
        return std::nullopt;
      }
    }
    bool bad = set.end && (!piece.more || end > *set.end);
    for (std::size_t i = piece.offset; i < end; ++i) bad |= set.bytes.contains(i);
    if (!piece.more && !set.bytes.empty()) bad |= set.bytes.rbegin()->first >= end;
    if (bad) {
      set.dropped = true;
      return std::nullopt;
    }
    for (std::size_t i = piece.offset; i < end; ++i) {
      set.bytes[i] = piece.payload[i - piece.offset];
    }
    set.pieces.push_back(piece);
    if (!piece.more) set.end = end;
    if (!set.end || set.bytes.size() != *set.end) return std::nullopt;
    std::vector<std::uint8_t> whole;
    for (auto [at, byte] : set.bytes) whole.push_back(byte);
    sets_.erase({piece.family, piece.id});
    return whole;
  }

 private:
  struct Set {
    std::vector<Piece> pieces;
    std::map<std::size_t, std::uint8_t> bytes;
    std::optional<std::size_t> end;
    bool dropped = false;
  };
  std::map<std::pair<Family, std::uint8_t>, Set> sets_;
};

void same_as_naive(ConstBytes in) {
  stack::ReassemblyLimits limits;
  limits.max_fragments = 100000;
  stack::Reassembler reassembler(kKey, limits);
  Naive naive;
  TimePoint now{};
  for (int count = 0; count < 100; ++count) {
    auto piece = take(in);
    if (!piece) return;
    auto bytes = packet_of(*piece);
    auto packet = wire::Packet::parse(bytes);
    FUZZ_CHECK(packet);
    if (!packet->is_fragment()) continue;
    auto got = reassembler.add(*packet, now);
    auto want = naive.add(*piece);
    FUZZ_CHECK(got.has_value() == want.has_value());
    if (!got) continue;
    const wire::Packet& whole = got->packet;
    FUZZ_CHECK(!whole.is_fragment() && whole.header_checksum_ok());
    FUZZ_CHECK(whole.source() == packet->source() && whole.protocol() == packet->protocol());
    FUZZ_CHECK(std::ranges::equal(whole.payload(), *want));
  }
}

void inside_limits(ConstBytes in) {
  stack::ReassemblyLimits limits;
  limits.max_bytes = 80000;
  limits.max_sets = 3;
  limits.max_fragments = 4;
  limits.timeout = std::chrono::milliseconds(50);
  stack::Reassembler reassembler(kKey, limits);
  TimePoint now{};
  while (auto piece = take(in)) {
    now += std::chrono::milliseconds(piece->payload.empty() ? 7 : 1);
    auto bytes = packet_of(*piece);
    auto packet = wire::Packet::parse(bytes);
    static_cast<void>(reassembler.add(*packet, now));
    FUZZ_CHECK(reassembler.bytes() <= limits.max_bytes && reassembler.sets() <= limits.max_sets);
    auto next = reassembler.next_expiry();
    FUZZ_CHECK(next.has_value() == (reassembler.sets() != 0));
    if (next && *next <= now) {
      reassembler.expire(now, [](ConstBytes first) { FUZZ_CHECK(first.size() <= 1280); });
      FUZZ_CHECK(!reassembler.next_expiry() || *reassembler.next_expiry() > now);
    }
  }
  reassembler.expire(now + limits.timeout, {});
  FUZZ_CHECK(reassembler.sets() == 0 && reassembler.bytes() == 0);
}

/// Fragments of any shape, headers included: lengths first, then bytes.
void any_packets(ConstBytes in) {
  stack::Reassembler reassembler(kKey);
  while (in.size() > 2) {
    std::size_t size = std::min<std::size_t>(in[0], in.size() - 1);
    auto packet = wire::Packet::parse(in.subspan(1, size));
    if (packet) {
      auto whole = reassembler.add(*packet, TimePoint{});
      if (whole) {
        FUZZ_CHECK(wire::checksum_add(whole->packet.bytes(), 0) != 0);
        FUZZ_CHECK(!whole->packet.is_fragment());
      }
    }
    in = in.subspan(size + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, std::min<std::size_t>(size, 4096));
  same_as_naive(in);
  inside_limits(in);
  any_packets(in);
  return 0;
}
