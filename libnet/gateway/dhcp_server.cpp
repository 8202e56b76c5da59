#include "gateway/dhcp_server.h"

#include <algorithm>

namespace sluice::gateway {
namespace {

using wire::DhcpOption;
using wire::DhcpType;

const IpAddress kLimitedBroadcast = IpAddress::v4(0xffffffffu);

/// The name that the client gives itself (option 12), if it is one DNS label.
std::string client_name(const wire::DhcpView& message) {
  auto text = message.text(DhcpOption::host_name);
  if (!text) return {};
  auto name = DomainName::parse(*text);
  return name && name->labels() == 1 ? name->text() : std::string();
}

}  // namespace

std::uint32_t lease_seconds(Duration duration) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 60, 0xfffffffe));
}

std::optional<DhcpReply> DhcpServer::answer(ConstBytes payload, const MacAddress& sender,
                                            TimePoint now) {
  auto message = wire::DhcpView::parse(payload);
  if (!message) {
    ++counters_.dhcp_malformed;
    return std::nullopt;
  }
  // A reply is what a rogue server in the guest would send.
  if (!message->is_request() || message->client_mac() != sender) {
    ++counters_.dhcp_ignored;
    return std::nullopt;
  }
  switch (message->type()) {
    case DhcpType::discover:
      return on_discover(*message, now);
    case DhcpType::request:
      return on_request(*message, now);
    case DhcpType::inform:
      return on_inform(*message);
    case DhcpType::release:
      on_release(*message);
      return std::nullopt;
    case DhcpType::decline:
      on_decline(*message, now);
      return std::nullopt;
    case DhcpType::offer:
    case DhcpType::ack:
    case DhcpType::nak:
      break;
  }
  ++counters_.dhcp_ignored;
  return std::nullopt;
}

bool DhcpServer::for_another_server(const wire::DhcpView& message) const {
  auto server = message.address(DhcpOption::server_id);
  return server && *server != config_.gateway4;
}

bool DhcpServer::bind(const wire::DhcpView& message, const IpAddress& address, TimePoint now) {
  TimePoint expires = now + std::chrono::seconds(lease_seconds(config_.lease));
  return leases_.bind(message.client_mac(), address, client_name(message), now, expires);
}

DhcpServer::Reply DhcpServer::on_discover(const wire::DhcpView& message, TimePoint now) {
  auto address =
      leases_.offer(message.client_mac(), message.address(DhcpOption::requested_address), now);
  if (!address) {
    ++counters_.dhcp_exhausted;
    return std::nullopt;
  }
  // RFC 4039: the client takes an ACK right away. It may ask once only, so this must not wait.
  if (message.has(DhcpOption::rapid_commit) && bind(message, *address, now)) {
    return acknowledge(message, *address);
  }
  return offer(message, *address);
}

DhcpServer::Reply DhcpServer::on_request(const wire::DhcpView& message, TimePoint now) {
  if (for_another_server(message)) {
    // It chose another offer: ours is free again (RFC 2131 section 4.3.2).
    const Lease* lease = leases_.by_mac(message.client_mac());
    if (lease && lease->state == Lease::State::offered) {
      leases_.release(message.client_mac(), IpAddress(lease->address));
    }
    ++counters_.dhcp_ignored;
    return std::nullopt;
  }
  // SELECTING and INIT-REBOOT name the address in option 50, RENEWING and REBINDING in ciaddr.
  auto wanted = message.address(DhcpOption::requested_address);
  if (!wanted && !message.client_address().is_unspecified()) wanted = message.client_address();
  if (!wanted) {
    ++counters_.dhcp_malformed;
    return std::nullopt;
  }
  if (!config_.subnet4.contains(*wanted)) return refuse(message, "address of another network");
  if (!bind(message, *wanted, now)) return refuse(message, "address not available");
  return acknowledge(message, *wanted);
}

DhcpServer::Reply DhcpServer::on_inform(const wire::DhcpView& message) {
  if (message.client_address().is_unspecified() ||
      !leases_.may_use(message.client_mac(), message.client_address())) {
    ++counters_.dhcp_ignored;
    return std::nullopt;
  }
  ++counters_.dhcp_acks;
  return make_reply(message, DhcpType::ack, IpAddress());
}

void DhcpServer::on_release(const wire::DhcpView& message) {
  if (!for_another_server(message) &&
      leases_.release(message.client_mac(), message.client_address())) {
    ++counters_.dhcp_releases;
  } else {
    ++counters_.dhcp_ignored;
  }
}

void DhcpServer::on_decline(const wire::DhcpView& message, TimePoint now) {
  auto address = message.address(DhcpOption::requested_address);
  if (!for_another_server(message) && address &&
      leases_.decline(message.client_mac(), *address, now)) {
    ++counters_.dhcp_declines;
  } else {
    ++counters_.dhcp_ignored;
  }
}

DhcpServer::Reply DhcpServer::acknowledge(const wire::DhcpView& message, const IpAddress& address) {
  ++counters_.dhcp_acks;
  return make_reply(message, DhcpType::ack, address);
}

DhcpServer::Reply DhcpServer::offer(const wire::DhcpView& message, const IpAddress& address) {
  ++counters_.dhcp_offers;
  return make_reply(message, DhcpType::offer, address);
}

DhcpServer::Reply DhcpServer::refuse(const wire::DhcpView& message, std::string_view reason) {
  ++counters_.dhcp_naks;
  wire::DhcpBuilder builder({.transaction = message.transaction(),
                             .broadcast = true,
                             .client_mac = message.client_mac(),
                             .type = DhcpType::nak});
  builder.add(DhcpOption::server_id, config_.gateway4);
  builder.add(DhcpOption::message, reason);
  if (auto id = message.option(DhcpOption::client_id)) builder.add(DhcpOption::client_id, *id);
  return DhcpReply{MacAddress::broadcast(), kLimitedBroadcast, builder.finish()};
}

DhcpReply DhcpServer::make_reply(const wire::DhcpView& message, DhcpType type,
                                 const IpAddress& address) const {
  wire::DhcpBuilder builder({.transaction = message.transaction(),
                             .broadcast = message.broadcast(),
                             .client_address = message.client_address(),
                             .your_address = address,
                             .client_mac = message.client_mac(),
                             .type = type});
  add_settings(builder, message, address);
  DhcpReply reply{message.client_mac(), address, builder.finish()};
  if (!message.client_address().is_unspecified()) {
    reply.address = message.client_address();
  } else if (message.broadcast()) {
    reply.mac = MacAddress::broadcast();
    reply.address = kLimitedBroadcast;
  }
  return reply;
}

void DhcpServer::add_settings(wire::DhcpBuilder& builder, const wire::DhcpView& message,
                              const IpAddress& address) const {
  // What no guest works without goes first and unasked: libkrun's client sends no parameter list,
  // and takes 65520 for the MTU if it is not told.
  builder.add(DhcpOption::server_id, config_.gateway4);
  if (!address.is_unspecified()) {
    builder.add32(DhcpOption::lease_seconds, lease_seconds(config_.lease));
    if (message.type() == DhcpType::discover && message.has(DhcpOption::rapid_commit)) {
      builder.add(DhcpOption::rapid_commit, ConstBytes());
    }
  }
  builder.add(DhcpOption::subnet_mask, wire::subnet_mask(config_.subnet4.length()));
  builder.add(DhcpOption::routers, config_.gateway4);
  builder.add(DhcpOption::dns_servers, config_.gateway4);
  builder.add16(DhcpOption::interface_mtu, config_.mtu);
  // RFC 6842: some clients drop replies that don't repeat it.
  if (auto id = message.option(DhcpOption::client_id)) builder.add(DhcpOption::client_id, *id);

  auto wanted = message.wanted();
  auto asked_for = [&](DhcpOption code) { return wanted.test(static_cast<std::size_t>(code)); };
  if (asked_for(DhcpOption::static_routes)) {
    builder.add_routes({{IpPrefix(IpAddress(), 0), config_.gateway4}});
  }
  if (asked_for(DhcpOption::host_name)) {
    std::string name = host_name(message.client_mac(), address);
    if (!name.empty()) builder.add(DhcpOption::host_name, name);
  }
  if (asked_for(DhcpOption::domain_name) && !config_.domain.is_root()) {
    builder.add(DhcpOption::domain_name, config_.domain.text());
  }
  if (asked_for(DhcpOption::domain_search)) builder.add_search_list(search_list(config_));
}

std::string DhcpServer::host_name(const MacAddress& mac, const IpAddress& address) const {
  for (const StaticLease& lease : config_.static_leases) {
    if (lease.mac == mac && lease.address.is_v4()) return lease.name;
  }
  return address == config_.first_guest4 ? config_.guest_name : std::string();
}

}  // namespace sluice::gateway
