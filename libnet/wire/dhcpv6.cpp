#include "wire/dhcpv6.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "wire/dns_name.h"

namespace sluice::wire {
namespace {

constexpr std::size_t kHeader = 4;
constexpr std::size_t kOptionHeader = 4;
constexpr std::size_t kAddressBody = 24;
constexpr std::size_t kAssociationBody = 12;
// More names than anybody searches would only feed a loop.
constexpr std::size_t kMaxNames = 32;

void append16(std::vector<std::uint8_t>& out, std::uint16_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

void append32(std::vector<std::uint8_t>& out, std::uint32_t value) {
  append16(out, static_cast<std::uint16_t>(value >> 16));
  append16(out, static_cast<std::uint16_t>(value));
}

void append_option(std::vector<std::uint8_t>& out, Dhcpv6OptionCode code, ConstBytes body) {
  append16(out, static_cast<std::uint16_t>(code));
  append16(out, static_cast<std::uint16_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
}

void append_status(std::vector<std::uint8_t>& out, Dhcpv6Status status) {
  std::array<std::uint8_t, 2> body;
  store_be16(body.data(), static_cast<std::uint16_t>(status));
  append_option(out, Dhcpv6OptionCode::status, body);
}

}  // namespace

IpAddress all_dhcp_servers() {
  return IpAddress::v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2});
}

bool Dhcpv6Options::are_valid(ConstBytes options) {
  while (!options.empty()) {
    if (options.size() < kOptionHeader) return false;
    std::size_t length = load_be16(&options[2]);
    if (options.size() - kOptionHeader < length) return false;
    options = options.subspan(kOptionHeader + length);
  }
  return true;
}

std::optional<Dhcpv6Option> Dhcpv6Options::next() {
  if (rest_.empty()) return std::nullopt;
  std::size_t length = load_be16(&rest_[2]);
  Dhcpv6Option option{static_cast<Dhcpv6OptionCode>(load_be16(rest_.data())),
                      rest_.subspan(kOptionHeader, length)};
  rest_ = rest_.subspan(kOptionHeader + length);
  return option;
}

std::optional<ConstBytes> Dhcpv6Options::find(Dhcpv6OptionCode code) const {
  Dhcpv6Options rest = *this;
  while (auto option = rest.next()) {
    if (option->code == code) return option->body;
  }
  return std::nullopt;
}

std::optional<Dhcpv6Address> Dhcpv6Address::parse(const Dhcpv6Option& option) {
  if (option.code != Dhcpv6OptionCode::ia_address || option.body.size() < kAddressBody ||
      !Dhcpv6Options::are_valid(option.body.subspan(kAddressBody))) {
    return std::nullopt;
  }
  return Dhcpv6Address{IpAddress::from_bytes(option.body.first(16)), load_be32(&option.body[16]),
                       load_be32(&option.body[20])};
}

std::optional<Dhcpv6Association> Dhcpv6Association::parse(const Dhcpv6Option& option) {
  bool right_kind =
      option.code == Dhcpv6OptionCode::ia_na || option.code == Dhcpv6OptionCode::ia_pd;
  if (!right_kind || option.body.size() < kAssociationBody ||
      !Dhcpv6Options::are_valid(option.body.subspan(kAssociationBody))) {
    return std::nullopt;
  }
  return Dhcpv6Association{load_be32(option.body.data()), load_be32(&option.body[4]),
                           load_be32(&option.body[8]),
                           Dhcpv6Options(option.body.subspan(kAssociationBody))};
}

std::optional<Dhcpv6View> Dhcpv6View::parse(ConstBytes payload) {
  if (payload.size() < kHeader) return std::nullopt;
  std::uint8_t type = payload[0];
  bool known = (type >= 1 && type <= 9) || type == 11;
  if (!known || !Dhcpv6Options::are_valid(payload.subspan(kHeader))) return std::nullopt;
  Dhcpv6View view(payload);
  if (view.client_id().size() > kMaxDuidBytes || view.server_id().size() > kMaxDuidBytes) {
    return std::nullopt;
  }
  return view;
}

ConstBytes Dhcpv6View::client_id() const {
  return options().find(Dhcpv6OptionCode::client_id).value_or(ConstBytes());
}

ConstBytes Dhcpv6View::server_id() const {
  return options().find(Dhcpv6OptionCode::server_id).value_or(ConstBytes());
}

bool Dhcpv6View::asks_for(Dhcpv6OptionCode code) const {
  auto codes = options().find(Dhcpv6OptionCode::option_request);
  if (!codes) return false;
  for (std::size_t at = 0; at + 2 <= codes->size(); at += 2) {
    if (load_be16(&(*codes)[at]) == static_cast<std::uint16_t>(code)) return true;
  }
  return false;
}

std::vector<IpAddress> Dhcpv6View::dns_servers() const {
  std::vector<IpAddress> servers;
  auto body = options().find(Dhcpv6OptionCode::dns_servers);
  if (!body || body->size() % 16 != 0) return servers;
  for (std::size_t at = 0; at < body->size(); at += 16) {
    servers.push_back(IpAddress::from_bytes(body->subspan(at, 16)));
  }
  return servers;
}

std::vector<DomainName> Dhcpv6View::domain_list() const {
  std::vector<DomainName> names;
  auto body = options().find(Dhcpv6OptionCode::domain_list);
  if (!body) return names;
  for (std::size_t at = 0; at < body->size() && names.size() < kMaxNames;) {
    auto read = DnsName::read(*body, at);
    if (!read) break;
    at = read->end;
    auto name = read->name.domain();
    if (name && !name->is_root()) names.push_back(std::move(*name));
  }
  return names;
}

Dhcpv6Status Dhcpv6View::status() const {
  auto body = options().find(Dhcpv6OptionCode::status);
  if (!body || body->size() < 2) return Dhcpv6Status::success;
  return static_cast<Dhcpv6Status>(load_be16(body->data()));
}

Dhcpv6Builder::Dhcpv6Builder(Dhcpv6Type type, std::uint32_t transaction) : message_(kHeader) {
  store_be32(message_.data(), transaction & 0xffffff);
  message_[0] = static_cast<std::uint8_t>(type);
}

bool Dhcpv6Builder::add(Dhcpv6OptionCode code, ConstBytes body) {
  if (message_.size() + kOptionHeader + body.size() > kMaxMessage) return false;
  append_option(message_, code, body);
  return true;
}

bool Dhcpv6Builder::add_status(Dhcpv6Status status) {
  if (message_.size() + kOptionHeader + 2 > kMaxMessage) return false;
  append_status(message_, status);
  return true;
}

bool Dhcpv6Builder::add_addresses(Dhcpv6OptionCode code, const std::vector<IpAddress>& addresses) {
  std::vector<std::uint8_t> body;
  for (const IpAddress& address : addresses) {
    if (!address.is_v6()) return false;
    body.insert(body.end(), address.bytes().begin(), address.bytes().end());
  }
  return add(code, body);
}

bool Dhcpv6Builder::add_names(Dhcpv6OptionCode code, const std::vector<DomainName>& names) {
  std::vector<std::uint8_t> body;
  for (const DomainName& name : names) {
    DnsName encoded(name);
    if (message_.size() + kOptionHeader + body.size() + encoded.wire().size() > kMaxMessage) break;
    body.insert(body.end(), encoded.wire().begin(), encoded.wire().end());
  }
  return !body.empty() && add(code, body);
}

bool Dhcpv6Builder::add_option_request(const std::vector<Dhcpv6OptionCode>& codes) {
  std::vector<std::uint8_t> body;
  for (Dhcpv6OptionCode code : codes) append16(body, static_cast<std::uint16_t>(code));
  return add(Dhcpv6OptionCode::option_request, body);
}

bool Dhcpv6Builder::add_association(const AddressGrant& grant) {
  std::vector<std::uint8_t> body;
  append32(body, grant.id);
  append32(body, grant.t1_seconds);
  append32(body, grant.t2_seconds);
  for (const Dhcpv6Address& granted : grant.addresses) {
    std::vector<std::uint8_t> address(granted.address.bytes().begin(),
                                      granted.address.bytes().end());
    append32(address, granted.preferred_seconds);
    append32(address, granted.valid_seconds);
    append_option(body, Dhcpv6OptionCode::ia_address, address);
  }
  if (grant.status) append_status(body, *grant.status);
  return add(Dhcpv6OptionCode::ia_na, body);
}

bool Dhcpv6Builder::add_prefix_refusal(std::uint32_t id, Dhcpv6Status status) {
  std::vector<std::uint8_t> body;
  append32(body, id);
  append32(body, 0);
  append32(body, 0);
  append_status(body, status);
  return add(Dhcpv6OptionCode::ia_pd, body);
}

std::vector<std::uint8_t> duid_from(const MacAddress& mac) {
  std::vector<std::uint8_t> duid;
  append16(duid, 3);  // DUID-LL
  append16(duid, 1);  // Ethernet
  duid.insert(duid.end(), mac.bytes().begin(), mac.bytes().end());
  return duid;
}

}  // namespace sluice::wire
