#include "stack/reassembly.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "wire/checksum.h"
#include "wire/icmp.h"

namespace sluice::stack {

namespace {

constexpr std::size_t kMaxPacket = 65535;
constexpr std::size_t kIpv6HeaderSize = 40;
// Room before the payload for the headers: IPv4's 60 bytes, or IPv6's with the few extension
// headers that anybody puts before a fragment header.
constexpr std::size_t kHeadroom = 256;
// Buffers grow in powers of 2 from here, so that a packet in order is copied at most once more.
constexpr std::size_t kFirstBuffer = 4096;

/// What the first fragment must hold, so that nobody can hide ports or flags in the second.
std::size_t least_first(wire::IpProtocol protocol) {
  switch (protocol) {
    case wire::IpProtocol::tcp:
      return 20;
    case wire::IpProtocol::udp:
    case wire::IpProtocol::icmp:
    case wire::IpProtocol::icmpv6:
      return 8;
    default:
      return 0;
  }
}

/// The bytes of a header that count in the packet's length field.
std::size_t counted_header(const wire::Packet& fragment) {
  std::size_t size = fragment.fragment()->unfragmentable_size;
  return fragment.family() == Family::v4 ? size : size - kIpv6HeaderSize;
}

}  // namespace

std::size_t Reassembler::KeyHash::operator()(const Key& key) const noexcept {
  std::array<std::uint8_t, 16 + 16 + 8> bytes{};
  std::ranges::copy(key.source.bytes(), bytes.begin());
  std::ranges::copy(key.destination.bytes(), bytes.begin() + 16);
  store_be32(bytes.data() + 32, key.id);
  bytes[36] = key.protocol;
  bytes[37] = static_cast<std::uint8_t>(key.source.family());
  return siphash(secret, bytes);
}

Reassembler::Reassembler(const HashKey& key, const ReassemblyLimits& limits)
    : limits_(limits), index_(0, KeyHash{key}) {}

bool Reassembler::is_acceptable(const wire::Packet& fragment) {
  if (!fragment.is_fragment()) {
    ++counters_.malformed;
    return false;
  }
  const wire::FragmentInfo& info = *fragment.fragment();
  std::size_t size = fragment.payload().size();
  if (size == 0 || (info.more && size % 8 != 0) || info.unfragmentable_size > kHeadroom) {
    ++counters_.malformed;
    return false;
  }
  if (counted_header(fragment) + info.offset + size > kMaxPacket) {
    ++counters_.too_long;
    return false;
  }
  if (info.offset == 0 && size < least_first(fragment.protocol())) {
    ++counters_.tiny_first;
    return false;
  }
  return true;
}

std::optional<Reassembled> Reassembler::add(const wire::Packet& fragment, TimePoint now) {
  ++counters_.fragments;
  if (!is_acceptable(fragment)) return std::nullopt;
  auto set = find_or_begin(fragment, now);
  if (set->dropped) {
    ++counters_.of_dropped_set;
    return std::nullopt;
  }
  if (!insert(*set, fragment) || set->received != set->end || set->header.empty()) {
    return std::nullopt;
  }
  auto packet = complete(*set);
  forget(set);
  return packet;
}

Reassembler::Sets::iterator Reassembler::find_or_begin(const wire::Packet& fragment,
                                                       TimePoint now) {
  bool v4 = fragment.family() == Family::v4;
  Key key{fragment.source(), fragment.destination(), fragment.fragment()->id,
          v4 ? static_cast<std::uint8_t>(fragment.protocol()) : std::uint8_t{0}};
  if (auto found = index_.find(key); found != index_.end()) {
    if (found->second->expiry > now) return found->second;
    if (!found->second->dropped) ++counters_.timed_out;
    forget(found->second);
  }
  if (!sets_.empty() && sets_.size() >= limits_.max_sets) {
    ++counters_.evicted;
    forget(sets_.begin());
  }
  sets_.emplace_back();
  auto set = std::prev(sets_.end());
  set->key = key;
  set->expiry = now + limits_.timeout;
  index_.emplace(key, set);
  return set;
}

bool Reassembler::insert(Set& set, const wire::Packet& fragment) {
  const wire::FragmentInfo& info = *fragment.fragment();
  ConstBytes payload = fragment.payload();
  Range range{info.offset, info.offset + static_cast<std::uint32_t>(payload.size())};
  auto after = std::ranges::lower_bound(set.ranges, range.begin, {}, &Range::begin);
  if (after != set.ranges.end() && after->begin == range.begin && after->end == range.end &&
      info.more == (set.end != range.end) &&
      std::memcmp(&set.buffer[kHeadroom + range.begin], payload.data(), payload.size()) == 0) {
    ++counters_.duplicates;
    return false;
  }
  bool overlaps = (after != set.ranges.end() && after->begin < range.end) ||
                  (after != set.ranges.begin() && std::prev(after)->end > range.begin);
  // All that comes lies before the end, which is in one place.
  bool beyond_end = set.end && (!info.more || range.end > *set.end);
  bool end_inside = !info.more && !set.ranges.empty() && set.ranges.back().end > range.end;
  if (overlaps || beyond_end || end_inside) {
    ++counters_.overlapping;
    drop(set);
    return false;
  }
  if (set.ranges.size() >= limits_.max_fragments) {
    ++counters_.too_many_fragments;
    drop(set);
    return false;
  }
  if (!make_room(set, kHeadroom + range.end)) return false;
  set.ranges.insert(after, range);
  set.received += static_cast<std::uint32_t>(payload.size());
  std::ranges::copy(payload, set.buffer.begin() + kHeadroom + range.begin);
  if (!info.more) set.end = range.end;
  if (info.offset == 0) {
    ConstBytes header = fragment.bytes().first(fragment.header_size());
    set.header.assign(header.begin(), header.end());
    set.first = info;
    set.protocol = static_cast<std::uint8_t>(fragment.protocol());
  }
  return true;
}

bool Reassembler::make_room(Set& set, std::size_t size) {
  if (size <= set.buffer.size()) return true;
  std::size_t grown = std::max(set.buffer.size() * 2, kFirstBuffer);
  while (grown < size) grown *= 2;
  grown = std::min(grown, kHeadroom + kMaxPacket + 1);
  std::size_t more = grown - set.buffer.size();
  for (auto oldest = sets_.begin(); bytes_ + more > limits_.max_bytes && oldest != sets_.end();) {
    auto candidate = oldest++;
    if (&*candidate == &set || candidate->buffer.empty()) continue;
    ++counters_.evicted;
    forget(candidate);
  }
  if (bytes_ + more > limits_.max_bytes) {
    ++counters_.evicted;
    drop(set);
    return false;
  }
  std::vector<std::uint8_t> buffer;
  buffer.reserve(grown);
  buffer.assign(set.buffer.begin(), set.buffer.end());
  buffer.resize(grown);
  set.buffer = std::move(buffer);
  bytes_ += more;
  return true;
}

void Reassembler::drop(Set& set) {
  bytes_ -= set.buffer.size();
  set.buffer = {};
  set.header = {};
  set.ranges = {};
  set.dropped = true;
}

void Reassembler::forget(Sets::iterator set) {
  bytes_ -= set->buffer.size();
  index_.erase(set->key);
  sets_.erase(set);
}

std::optional<Reassembled> Reassembler::complete(Set& set) {
  std::size_t header_size = set.first.unfragmentable_size;
  std::size_t total = header_size + *set.end;
  bool v4 = set.key.source.is_v4();
  // The fragment with the end may have come with a shorter header than the first one.
  if ((v4 ? total : total - kIpv6HeaderSize) > kMaxPacket) {
    ++counters_.too_long;
    return std::nullopt;
  }
  std::size_t begin = kHeadroom - header_size;
  Bytes packet = Bytes(set.buffer).subspan(begin, total);
  std::copy_n(set.header.begin(), header_size, packet.begin());
  packet[set.first.protocol_at] = set.protocol;
  std::uint8_t* p = packet.data();
  if (v4) {
    store_be16(p + 2, static_cast<std::uint16_t>(total));
    store_be16(p + 6, 0);
    store_be16(p + 10, 0);
    wire::Checksum sum;
    sum.add(packet.first(header_size));
    store_be16(p + 10, sum.value());
  } else {
    store_be16(p + 4, static_cast<std::uint16_t>(total - kIpv6HeaderSize));
  }
  auto parsed = wire::Packet::parse(packet);
  // A fragment header behind a fragment header would make this a fragment again.
  if (!parsed || parsed->is_fragment()) {
    ++counters_.unreadable;
    return std::nullopt;
  }
  ++counters_.reassembled;
  bytes_ -= set.buffer.size();
  return Reassembled{std::exchange(set.buffer, {}), *parsed};
}

void Reassembler::expire(TimePoint now, const TimeoutHandler& on_timeout) {
  while (!sets_.empty() && sets_.front().expiry <= now) {
    Set& set = sets_.front();
    if (!set.dropped) {
      ++counters_.timed_out;
      if (on_timeout && !set.header.empty()) {
        std::size_t limit = wire::kMaxIcmpv6Error - set.header.size();
        std::size_t size = std::min<std::size_t>(set.ranges.front().end, limit);
        std::vector<std::uint8_t> first(set.header);
        auto payload = set.buffer.begin() + kHeadroom;
        first.insert(first.end(), payload, payload + static_cast<std::ptrdiff_t>(size));
        on_timeout(first);
      }
    }
    forget(sets_.begin());
  }
}

std::optional<TimePoint> Reassembler::next_expiry() const {
  if (sets_.empty()) return std::nullopt;
  return sets_.front().expiry;
}

}  // namespace sluice::stack
