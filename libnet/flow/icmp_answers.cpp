#include "flow/icmp_answers.h"

#include <array>
#include <cerrno>

namespace sluice::flow {

namespace {
/// Enough for every application to notice.
constexpr double kPerSecond = 100, kBurst = 50;
}  // namespace

std::optional<wire::IcmpError> icmp_for(int error) {
  switch (error) {
    case ECONNREFUSED:
      return wire::IcmpError::port_unreachable;
    case EHOSTUNREACH:
    case EHOSTDOWN:
      return wire::IcmpError::host_unreachable;
    case ENETUNREACH:
    case ENETDOWN:
      return wire::IcmpError::net_unreachable;
    case EACCES:
    case EPERM:
      return wire::IcmpError::admin_prohibited;
    case EMSGSIZE:
      return wire::IcmpError::packet_too_big;
    default:
      return std::nullopt;
  }
}

std::optional<wire::IcmpError> icmp_for(const SocketError& error, Family family) {
  if (error.offender) {
    std::uint8_t exceeded = family == Family::v4 ? 11 : 3;
    if (error.icmp_type == exceeded) return wire::IcmpError::ttl_exceeded;
  }
  return icmp_for(error.error);
}

IcmpAnswers::IcmpAnswers(Loop& loop, GuestOutput& output)
    : loop_(loop), output_(output), rate_(kPerSecond, kBurst) {}

void IcmpAnswers::send(const IpAddress& guest, ConstBytes original, wire::IcmpError error,
                       std::uint32_t value) {
  send_from(output_.gateway_address(guest.family()), guest, original, error, value);
}

void IcmpAnswers::pass_on(const SocketError& cause, const IpAddress& guest, ConstBytes original,
                          wire::IcmpError error) {
  IpAddress from = output_.gateway_address(guest.family());
  if (cause.offender && cause.offender->family() == guest.family() &&
      !cause.offender->is_loopback() && !cause.offender->is_unspecified()) {
    from = *cause.offender;
  }
  send_from(from, guest, original, error, cause.mtu);
}

void IcmpAnswers::send_from(const IpAddress& from, const IpAddress& guest, ConstBytes original,
                            wire::IcmpError error, std::uint32_t value) {
  if (!rate_.take(loop_.now())) {
    ++suppressed_;
    return;
  }
  std::array<std::uint8_t, wire::kMaxIcmpv6Error> packet;
  std::size_t size = wire::emit_icmp_error(packet, from, guest, original, error, value);
  if (size > 0) output_.send_packet(ConstBytes(packet).first(size));
}

}  // namespace sluice::flow
