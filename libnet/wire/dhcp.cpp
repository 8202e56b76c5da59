#include "wire/dhcp.h"

#include <algorithm>
#include <bit>

#include "wire/dns_name.h"

namespace sluice::wire {
namespace {

constexpr std::size_t kSnameOffset = 44;
constexpr std::size_t kSnameSize = 64;
constexpr std::size_t kFileOffset = 108;
constexpr std::size_t kFileSize = 128;
constexpr std::size_t kCookieOffset = 236;
constexpr std::size_t kOptionsOffset = 240;
constexpr std::uint32_t kCookie = 0x63825363;
constexpr std::uint8_t kEthernet = 1;
// A search list holds a handful of names; more would only feed a loop.
constexpr std::size_t kMaxSearchNames = 32;
// RFC 1035 section 2.3.4.
constexpr std::size_t kMaxNameWire = 255;

std::uint8_t code_of(DhcpOption option) {
  return static_cast<std::uint8_t>(option);
}

/// One name of option 119, whose pointers count from the start of the option's joined value.
/// Moves `position` behind the name; nothing where the encoding is broken.
std::optional<std::string> read_name(ConstBytes value, std::size_t& position) {
  std::string name;
  std::size_t at = position;
  // A pointer must go back, before every one followed so far: no loop.
  std::size_t lowest = at;
  bool jumped = false;
  while (at < value.size()) {
    std::uint8_t length = value[at];
    if (length == 0) {
      if (!jumped) position = at + 1;
      return name;
    }
    if ((length & 0xc0) == 0xc0) {
      if (at + 1 >= value.size()) return std::nullopt;
      std::size_t target = static_cast<std::size_t>(length & 0x3f) << 8 | value[at + 1];
      if (target >= lowest) return std::nullopt;
      if (!jumped) position = at + 2;
      jumped = true;
      lowest = at = target;
      continue;
    }
    if ((length & 0xc0) != 0 || at + 1 + length > value.size()) return std::nullopt;
    if (!name.empty()) name.push_back('.');
    name.append(value.begin() + static_cast<std::ptrdiff_t>(at + 1),
                value.begin() + static_cast<std::ptrdiff_t>(at + 1 + length));
    if (name.size() > kMaxNameWire) return std::nullopt;
    at += 1u + length;
  }
  return std::nullopt;
}

}  // namespace

/// Calls visit(code, value) for each option of one field until it returns false. False where an
/// option runs over the field. A missing end option is forgiven: many clients leave it out.
template <typename Visit>
bool DhcpView::walk_field(ConstBytes field, Visit visit) const {
  for (std::size_t at = 0; at < field.size();) {
    std::uint8_t code = field[at];
    if (code == code_of(DhcpOption::end)) return true;
    if (code == code_of(DhcpOption::pad)) {
      ++at;
      continue;
    }
    if (at + 2 > field.size() || at + 2 + field[at + 1] > field.size()) return false;
    visit(code, field.subspan(at + 2, field[at + 1]));
    at += 2u + field[at + 1];
  }
  return true;
}

template <typename Visit>
bool DhcpView::walk(Visit visit) const {
  bool good = walk_field(payload_.subspan(kOptionsOffset), visit);
  if ((overload_ & 1) != 0) {
    good = good && walk_field(payload_.subspan(kFileOffset, kFileSize), visit);
  }
  if ((overload_ & 2) != 0) {
    good = good && walk_field(payload_.subspan(kSnameOffset, kSnameSize), visit);
  }
  return good;
}

std::optional<DhcpView> DhcpView::parse(ConstBytes payload) {
  if (payload.size() < kOptionsOffset || load_be32(&payload[kCookieOffset]) != kCookie) {
    return std::nullopt;
  }
  if ((payload[0] != 1 && payload[0] != 2) || payload[1] != kEthernet ||
      payload[2] != MacAddress::kSize) {
    return std::nullopt;
  }
  DhcpView view(payload);
  // Only the options field can say that the others hold options too.
  view.walk_field(payload.subspan(kOptionsOffset), [&](std::uint8_t code, ConstBytes value) {
    if (code == code_of(DhcpOption::overload) && value.size() == 1) view.overload_ = value[0] & 3;
  });
  if (!view.walk([&](std::uint8_t code, ConstBytes) { view.present_.set(code); })) {
    return std::nullopt;
  }
  auto type = view.option(DhcpOption::message_type);
  if (!type || type->size() != 1 || type->front() < 1 || type->front() > 8) return std::nullopt;
  view.type_ = static_cast<DhcpType>(type->front());
  return view;
}

MacAddress DhcpView::client_mac() const {
  std::array<std::uint8_t, MacAddress::kSize> bytes;
  std::copy_n(payload_.begin() + 28, bytes.size(), bytes.begin());
  return MacAddress(bytes);
}

std::optional<std::vector<std::uint8_t>> DhcpView::option(DhcpOption code) const {
  if (!has(code)) return std::nullopt;
  std::vector<std::uint8_t> joined;
  walk([&](std::uint8_t found, ConstBytes value) {
    if (found == code_of(code)) joined.insert(joined.end(), value.begin(), value.end());
  });
  return joined;
}

std::optional<IpAddress> DhcpView::address(DhcpOption code) const {
  auto value = option(code);
  if (!value || value->size() != 4) return std::nullopt;
  return IpAddress::from_bytes(*value);
}

std::vector<IpAddress> DhcpView::addresses(DhcpOption code) const {
  std::vector<IpAddress> list;
  auto value = option(code);
  if (!value || value->size() % 4 != 0) return list;
  for (std::size_t at = 0; at < value->size(); at += 4) {
    list.push_back(IpAddress::from_bytes(ConstBytes(*value).subspan(at, 4)));
  }
  return list;
}

std::optional<std::uint16_t> DhcpView::number16(DhcpOption code) const {
  auto value = option(code);
  if (!value || value->size() != 2) return std::nullopt;
  return load_be16(value->data());
}

std::optional<std::uint32_t> DhcpView::number32(DhcpOption code) const {
  auto value = option(code);
  if (!value || value->size() != 4) return std::nullopt;
  return load_be32(value->data());
}

std::optional<std::string> DhcpView::text(DhcpOption code) const {
  auto value = option(code);
  if (!value) return std::nullopt;
  while (!value->empty() && value->back() == 0) value->pop_back();
  return std::string(value->begin(), value->end());
}

std::bitset<256> DhcpView::wanted() const {
  std::bitset<256> set;
  walk([&](std::uint8_t code, ConstBytes value) {
    if (code != code_of(DhcpOption::parameter_list)) return;
    for (std::uint8_t wanted_code : value) set.set(wanted_code);
  });
  return set;
}

std::vector<DomainName> DhcpView::search_list() const {
  std::vector<DomainName> names;
  auto value = option(DhcpOption::domain_search);
  if (!value) return names;
  for (std::size_t at = 0; at < value->size() && names.size() < kMaxSearchNames;) {
    auto text = read_name(*value, at);
    if (!text) break;
    auto name = DomainName::parse(*text);
    if (name && !name->is_root()) names.push_back(std::move(*name));
  }
  return names;
}

std::vector<DhcpRoute> DhcpView::routes() const {
  std::vector<DhcpRoute> routes;
  auto value = option(DhcpOption::static_routes);
  if (!value) return routes;
  for (std::size_t at = 0; at < value->size();) {
    std::uint8_t length = (*value)[at];
    std::size_t significant = (length + 7u) / 8;
    if (length > 32 || at + 1 + significant + 4 > value->size()) return {};
    std::array<std::uint8_t, 4> destination{};
    std::copy_n(value->begin() + static_cast<std::ptrdiff_t>(at + 1), significant,
                destination.begin());
    at += 1 + significant;
    routes.push_back({IpPrefix(IpAddress::from_bytes(destination), length),
                      IpAddress::from_bytes(ConstBytes(*value).subspan(at, 4))});
    at += 4;
  }
  return routes;
}

DhcpBuilder::DhcpBuilder(const DhcpHeader& header, std::size_t max_size)
    : max_size_(max_size), message_(kOptionsOffset) {
  message_.reserve(max_size);
  message_[0] = static_cast<std::uint8_t>(header.op);
  message_[1] = kEthernet;
  message_[2] = MacAddress::kSize;
  store_be32(&message_[4], header.transaction);
  store_be16(&message_[8], header.seconds);
  if (header.broadcast) message_[10] = 0x80;
  auto put = [&](std::size_t offset, const IpAddress& address) {
    if (address.is_v4()) store_be32(&message_[offset], address.v4_value());
  };
  put(12, header.client_address);
  put(16, header.your_address);
  put(20, header.next_server);
  std::copy(header.client_mac.bytes().begin(), header.client_mac.bytes().end(),
            message_.begin() + 28);
  store_be32(&message_[kCookieOffset], kCookie);
  std::uint8_t type = static_cast<std::uint8_t>(header.type);
  add(DhcpOption::message_type, {&type, 1});
}

bool DhcpBuilder::add(DhcpOption code, ConstBytes value) {
  std::size_t pieces = std::max<std::size_t>(1, (value.size() + 254) / 255);
  // The last byte is the end option's.
  if (message_.size() + 2 * pieces + value.size() + 1 > max_size_) return false;
  do {
    ConstBytes piece = value.first(std::min<std::size_t>(value.size(), 255));
    message_.push_back(code_of(code));
    message_.push_back(static_cast<std::uint8_t>(piece.size()));
    message_.insert(message_.end(), piece.begin(), piece.end());
    value = value.subspan(piece.size());
  } while (!value.empty());
  return true;
}

bool DhcpBuilder::add16(DhcpOption code, std::uint16_t value) {
  std::array<std::uint8_t, 2> bytes;
  store_be16(bytes.data(), value);
  return add(code, bytes);
}

bool DhcpBuilder::add32(DhcpOption code, std::uint32_t value) {
  std::array<std::uint8_t, 4> bytes;
  store_be32(bytes.data(), value);
  return add(code, bytes);
}

bool DhcpBuilder::add(DhcpOption code, std::string_view text) {
  return add(code, ConstBytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

bool DhcpBuilder::add_search_list(const std::vector<DomainName>& names) {
  std::vector<std::uint8_t> value;
  std::size_t fitting = 0;
  for (const DomainName& name : names) {
    DnsName encoded(name);
    value.insert(value.end(), encoded.wire().begin(), encoded.wire().end());
    std::size_t pieces = (value.size() + 254) / 255;
    if (message_.size() + 2 * pieces + value.size() + 1 > max_size_) break;
    fitting = value.size();
  }
  return fitting > 0 && add(DhcpOption::domain_search, ConstBytes(value).first(fitting));
}

bool DhcpBuilder::add_routes(const std::vector<DhcpRoute>& routes) {
  std::vector<std::uint8_t> value;
  for (const DhcpRoute& route : routes) {
    auto destination = route.destination.address().bytes();
    auto router = route.router.bytes();
    if (destination.size() != 4 || router.size() != 4) return false;
    int length = route.destination.length();
    value.push_back(static_cast<std::uint8_t>(length));
    value.insert(value.end(), destination.begin(), destination.begin() + (length + 7) / 8);
    value.insert(value.end(), router.begin(), router.end());
  }
  return !value.empty() && add(DhcpOption::static_routes, value);
}

std::vector<std::uint8_t> DhcpBuilder::finish() {
  message_.push_back(code_of(DhcpOption::end));
  if (message_.size() < kDhcpMinMessage) message_.resize(std::min(kDhcpMinMessage, max_size_));
  return std::move(message_);
}

IpAddress subnet_mask(int prefix_length) {
  if (prefix_length <= 0) return IpAddress();
  return IpAddress::v4(0xffffffffu << (32 - std::min(prefix_length, 32)));
}

std::optional<int> prefix_length(const IpAddress& subnet_mask) {
  if (!subnet_mask.is_v4()) return std::nullopt;
  int ones = std::countl_one(subnet_mask.v4_value());
  if (std::popcount(subnet_mask.v4_value()) != ones) return std::nullopt;
  return ones;
}

}  // namespace sluice::wire
