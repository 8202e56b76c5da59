#include "wire/icmp.h"

#include <algorithm>
#include <cstring>

#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace sluice::wire {

namespace {

constexpr std::uint8_t kV4EchoReply = 0, kV4Unreachable = 3, kV4SourceQuench = 4, kV4Redirect = 5,
                       kV4EchoRequest = 8, kV4TimeExceeded = 11, kV4ParameterProblem = 12;
constexpr std::uint8_t kV6EchoRequest = 128, kV6EchoReply = 129;

struct Mapping {
  IcmpError error;
  std::uint8_t v4_type, v4_code, v6_type, v6_code;
};
constexpr Mapping kMappings[] = {
    {IcmpError::net_unreachable, 3, 0, 1, 0},      {IcmpError::host_unreachable, 3, 1, 1, 3},
    {IcmpError::protocol_unreachable, 3, 2, 4, 1}, {IcmpError::port_unreachable, 3, 3, 1, 4},
    {IcmpError::packet_too_big, 3, 4, 2, 0},       {IcmpError::admin_prohibited, 3, 13, 1, 1},
    {IcmpError::ttl_exceeded, 11, 0, 3, 0},        {IcmpError::reassembly_timeout, 11, 1, 3, 1},
    {IcmpError::parameter_problem, 12, 0, 4, 0},
};

void put_checksum(Bytes message, const IpAddress& source, const IpAddress& destination) {
  Checksum sum;
  if (source.is_v6()) {
    sum = pseudo_header(source, destination, IpProtocol::icmpv6, message.size());
  }
  sum.add(message);
  store_be16(message.data() + 2, sum.value());
}

bool is_unicast(const IpAddress& address) {
  return !address.is_multicast() && !address.is_unspecified() && !address.is_limited_broadcast();
}

}  // namespace

std::optional<IcmpView> IcmpView::parse(Family family, ConstBytes message) {
  if (message.size() < kIcmpHeaderSize) return std::nullopt;
  return IcmpView(family, message);
}

bool IcmpView::is_echo_request() const {
  return type() == (family_ == Family::v4 ? kV4EchoRequest : kV6EchoRequest) && code() == 0;
}

bool IcmpView::is_echo_reply() const {
  return type() == (family_ == Family::v4 ? kV4EchoReply : kV6EchoReply) && code() == 0;
}

bool IcmpView::is_error() const {
  if (family_ == Family::v6) return type() < 128;  // RFC 4443 section 2.1
  switch (type()) {
    case kV4Unreachable:
    case kV4SourceQuench:
    case kV4Redirect:
    case kV4TimeExceeded:
    case kV4ParameterProblem:
      return true;
    default:
      return false;
  }
}

std::optional<IcmpError> IcmpView::error() const {
  for (const Mapping& m : kMappings) {
    bool same = family_ == Family::v4 ? m.v4_type == type() && m.v4_code == code()
                                      : m.v6_type == type() && m.v6_code == code();
    if (same) return m.error;
  }
  return std::nullopt;
}

std::uint32_t IcmpView::error_value() const {
  if (family_ == Family::v6) return load_be32(message_.data() + 4);
  // RFC 1191 section 4: the low half; RFC 792: the pointer is the first byte.
  return type() == kV4ParameterProblem ? message_[4] : load_be16(message_.data() + 6);
}

bool IcmpView::checksum_ok(const IpAddress& source, const IpAddress& destination) const {
  Checksum sum;
  if (family_ == Family::v6) {
    sum = pseudo_header(source, destination, IpProtocol::icmpv6, message_.size());
  }
  sum.add(message_);
  return sum.is_valid();
}

std::size_t IcmpEcho::emit(Bytes out, const IpAddress& source, const IpAddress& destination) const {
  if (out.size() < size()) return 0;
  std::uint8_t* p = out.data();
  if (!data.empty()) std::memmove(p + kIcmpHeaderSize, data.data(), data.size());
  bool request = kind == EchoKind::request;
  if (source.is_v4()) {
    p[0] = request ? kV4EchoRequest : kV4EchoReply;
  } else {
    p[0] = request ? kV6EchoRequest : kV6EchoReply;
  }
  p[1] = 0;
  store_be16(p + 2, 0);
  store_be16(p + 4, identifier);
  store_be16(p + 6, sequence);
  put_checksum(out.first(size()), source, destination);
  return size();
}

std::optional<QuotedPacket> parse_quoted(Family family, ConstBytes quoted) {
  QuotedPacket packet;
  std::size_t header = kIpv6HeaderSize;
  if (family == Family::v4) {
    if (quoted.size() < kIpv4HeaderSize || quoted[0] >> 4 != 4) return std::nullopt;
    header = std::size_t{4} * (quoted[0] & 0x0f);
    if (header < kIpv4HeaderSize || (load_be16(quoted.data() + 6) & 0x1fff) != 0) {
      return std::nullopt;
    }
    packet.protocol = static_cast<IpProtocol>(quoted[9]);
    packet.source = IpAddress::v4(load_be32(quoted.data() + 12));
    packet.destination = IpAddress::v4(load_be32(quoted.data() + 16));
  } else {
    if (quoted.size() < header || quoted[0] >> 4 != 6) return std::nullopt;
    packet.protocol = static_cast<IpProtocol>(quoted[6]);
    packet.source = IpAddress::from_bytes(quoted.subspan(8, 16));
    packet.destination = IpAddress::from_bytes(quoted.subspan(24, 16));
  }
  if (quoted.size() < header + 8) return std::nullopt;
  packet.transport = quoted.subspan(header);
  return packet;
}

bool may_answer_with_error(const Packet& original) {
  if (!is_unicast(original.source()) || !is_unicast(original.destination())) return false;
  if (original.fragment() && original.fragment()->offset != 0) return false;
  bool is_icmp = original.protocol() ==
                 (original.family() == Family::v4 ? IpProtocol::icmp : IpProtocol::icmpv6);
  if (!is_icmp) return true;
  auto message = IcmpView::parse(original.family(), original.payload());
  return message && !message->is_error();
}

std::size_t emit_icmp_error(Bytes out, const IpAddress& from, const IpAddress& to,
                            ConstBytes original, IcmpError error, std::uint32_t value) {
  IpHeader ip;
  ip.source = from;
  ip.destination = to;
  ip.protocol = from.is_v4() ? IpProtocol::icmp : IpProtocol::icmpv6;
  std::size_t limit = from.is_v4() ? kMaxIcmpv4Error : kMaxIcmpv6Error;
  ConstBytes quoted =
      original.first(std::min(original.size(), limit - ip.size() - kIcmpHeaderSize));
  ip.payload_size = kIcmpHeaderSize + quoted.size();
  std::size_t total = ip.size() + ip.payload_size;
  if (out.size() < total || ip.emit(out) == 0) return 0;

  Bytes message = out.subspan(ip.size(), ip.payload_size);
  const Mapping& m = *std::ranges::find(kMappings, error, &Mapping::error);
  message[0] = from.is_v4() ? m.v4_type : m.v6_type;
  message[1] = from.is_v4() ? m.v4_code : m.v6_code;
  store_be16(message.data() + 2, 0);
  if (from.is_v6()) {
    store_be32(message.data() + 4, value);
  } else if (error == IcmpError::parameter_problem) {
    store_be32(message.data() + 4, value << 24);
  } else {
    store_be32(message.data() + 4, std::min<std::uint32_t>(value, 0xffff));
  }
  std::ranges::copy(quoted, message.begin() + kIcmpHeaderSize);
  put_checksum(message, from, to);
  return total;
}

}  // namespace sluice::wire
