#include "gateway/dhcpv6_server.h"

#include <algorithm>

#include "gateway/dhcp_server.h"

namespace sluice::gateway {
namespace {

using wire::Dhcpv6OptionCode;
using wire::Dhcpv6Status;
using wire::Dhcpv6Type;

/// The first address that an association names.
std::optional<IpAddress> first_address(const wire::Dhcpv6Association& association) {
  wire::Dhcpv6Options options = association.options;
  while (auto option = options.next()) {
    if (auto address = wire::Dhcpv6Address::parse(*option)) return address->address;
  }
  return std::nullopt;
}

/// Calls visit(association, is_ia_na) for the first associations of a message.
template <typename Visit>
void for_each_association(const wire::Dhcpv6View& message, Visit visit) {
  wire::Dhcpv6Options options = message.options();
  int seen = 0;
  while (auto option = options.next()) {
    auto association = wire::Dhcpv6Association::parse(*option);
    if (!association) continue;
    if (++seen > Dhcpv6Server::kMaxAssociations) return;
    visit(*association, option->code == Dhcpv6OptionCode::ia_na);
  }
}

}  // namespace

bool Dhcpv6Server::is_acceptable(const wire::Dhcpv6View& message) const {
  // RFC 8415 section 16: which identifiers each message must and must not have.
  bool client = !message.client_id().empty();
  bool server = !message.server_id().empty();
  bool ours = std::ranges::equal(message.server_id(), duid_);
  switch (message.type()) {
    case Dhcpv6Type::solicit:
    case Dhcpv6Type::confirm:
    case Dhcpv6Type::rebind:
      return client && !server;
    case Dhcpv6Type::request:
    case Dhcpv6Type::renew:
    case Dhcpv6Type::release:
    case Dhcpv6Type::decline:
      return client && ours;
    case Dhcpv6Type::information_request:
      return (!server || ours) && !message.has(Dhcpv6OptionCode::ia_na);
    case Dhcpv6Type::advertise:
    case Dhcpv6Type::reply:
      return false;  // what a rogue server in the guest would send
  }
  return false;
}

std::optional<std::vector<std::uint8_t>> Dhcpv6Server::answer(ConstBytes payload,
                                                              const MacAddress& sender,
                                                              TimePoint now) {
  auto message = wire::Dhcpv6View::parse(payload);
  if (!message) {
    ++counters_.dhcp_malformed;
    return std::nullopt;
  }
  std::optional<std::vector<std::uint8_t>> reply;
  if (is_acceptable(*message)) {
    switch (message->type()) {
      case Dhcpv6Type::information_request: {
        auto builder = begin(*message, Dhcpv6Type::reply);
        add_settings(builder, *message);
        reply = builder.finish();
        break;
      }
      case Dhcpv6Type::confirm:
        reply = confirm(*message);
        break;
      case Dhcpv6Type::release:
      case Dhcpv6Type::decline:
        reply = take_back(*message, sender, now);
        break;
      default:
        reply = give(*message, sender, now);
    }
  }
  ++(reply ? counters_.dhcpv6_answered : counters_.dhcp_ignored);
  return reply;
}

wire::Dhcpv6Builder Dhcpv6Server::begin(const wire::Dhcpv6View& message, Dhcpv6Type type) const {
  wire::Dhcpv6Builder builder(type, message.transaction());
  builder.add(Dhcpv6OptionCode::server_id, duid_);
  if (!message.client_id().empty()) {
    builder.add(Dhcpv6OptionCode::client_id, message.client_id());
  }
  return builder;
}

void Dhcpv6Server::add_settings(wire::Dhcpv6Builder& builder,
                                const wire::Dhcpv6View& message) const {
  if (message.asks_for(Dhcpv6OptionCode::dns_servers)) {
    builder.add_addresses(Dhcpv6OptionCode::dns_servers, {config_.gateway6});
  }
  if (message.asks_for(Dhcpv6OptionCode::domain_list)) {
    builder.add_names(Dhcpv6OptionCode::domain_list, search_list(config_));
  }
}

Dhcpv6Server::Grant Dhcpv6Server::grant(const wire::Dhcpv6View& message,
                                        const wire::Dhcpv6Association& association,
                                        const MacAddress& sender, TimePoint now) {
  Grant grant;
  grant.id = association.id;
  auto wanted = first_address(association);
  auto address = leases_.offer(sender, wanted, now);
  bool commits =
      message.type() != Dhcpv6Type::solicit || message.has(Dhcpv6OptionCode::rapid_commit);
  std::uint32_t seconds = lease_seconds(config_.lease);
  if (address && commits &&
      !leases_.bind(sender, *address, {}, now, now + std::chrono::seconds(seconds))) {
    address.reset();
  }
  if (!address) {
    ++counters_.dhcp_exhausted;
    grant.status = Dhcpv6Status::no_addresses;
    return grant;
  }
  // The renewal times of RFC 8415 section 21.4; the preferred lifetime is the whole one.
  grant.t1_seconds = seconds / 2;
  grant.t2_seconds = seconds / 5 * 4;
  grant.addresses.push_back({*address, seconds, seconds});
  // What the client has and must not keep (section 18.3.4).
  if (wanted && *wanted != *address && message.type() != Dhcpv6Type::solicit) {
    grant.addresses.push_back({*wanted, 0, 0});
  }
  return grant;
}

std::optional<std::vector<std::uint8_t>> Dhcpv6Server::give(const wire::Dhcpv6View& message,
                                                            const MacAddress& sender,
                                                            TimePoint now) {
  bool rapid = message.has(Dhcpv6OptionCode::rapid_commit);
  bool advertises = message.type() == Dhcpv6Type::solicit && !rapid;
  auto builder = begin(message, advertises ? Dhcpv6Type::advertise : Dhcpv6Type::reply);
  if (message.type() == Dhcpv6Type::solicit) {
    // The client need not wait for other servers (section 18.2.1).
    const std::uint8_t highest = 255;
    if (advertises) builder.add(Dhcpv6OptionCode::preference, {&highest, 1});
    if (rapid) builder.add(Dhcpv6OptionCode::rapid_commit, ConstBytes());
  }
  add_settings(builder, message);
  bool given = false;
  for_each_association(message, [&](const wire::Dhcpv6Association& association, bool is_ia_na) {
    if (!is_ia_na) {
      builder.add_prefix_refusal(association.id, Dhcpv6Status::no_prefixes);
    } else if (given) {
      Grant refusal;
      refusal.id = association.id;
      refusal.status = Dhcpv6Status::no_addresses;
      builder.add_association(refusal);
    } else {
      given = true;
      builder.add_association(grant(message, association, sender, now));
    }
  });
  return builder.finish();
}

std::optional<std::vector<std::uint8_t>> Dhcpv6Server::confirm(const wire::Dhcpv6View& message) {
  bool any = false;
  bool all_on_link = true;
  for_each_association(message, [&](const wire::Dhcpv6Association& association, bool is_ia_na) {
    if (!is_ia_na) return;
    wire::Dhcpv6Options options = association.options;
    while (auto option = options.next()) {
      auto address = wire::Dhcpv6Address::parse(*option);
      if (!address) continue;
      any = true;
      all_on_link = all_on_link && config_.prefix6.contains(address->address);
    }
  });
  if (!any) return std::nullopt;  // section 18.3.3
  auto builder = begin(message, Dhcpv6Type::reply);
  builder.add_status(all_on_link ? Dhcpv6Status::success : Dhcpv6Status::not_on_link);
  return builder.finish();
}

std::vector<std::uint8_t> Dhcpv6Server::take_back(const wire::Dhcpv6View& message,
                                                  const MacAddress& sender, TimePoint now) {
  bool declines = message.type() == Dhcpv6Type::decline;
  auto builder = begin(message, Dhcpv6Type::reply);
  builder.add_status(Dhcpv6Status::success);
  for_each_association(message, [&](const wire::Dhcpv6Association& association, bool is_ia_na) {
    if (!is_ia_na) return;
    auto address = first_address(association);
    bool taken = address && (declines ? leases_.decline(sender, *address, now)
                                      : leases_.release(sender, *address));
    if (taken) {
      ++(declines ? counters_.dhcp_declines : counters_.dhcp_releases);
      return;
    }
    Grant unknown;
    unknown.id = association.id;
    unknown.status = Dhcpv6Status::no_binding;
    builder.add_association(unknown);
  });
  return builder.finish();
}

}  // namespace sluice::gateway
