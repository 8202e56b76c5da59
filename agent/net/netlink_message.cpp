#include "agent/net/netlink_message.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "wire/ndp.h"

namespace sluice::agent {
namespace {

using std::chrono::seconds;

// Of one router's option; a resolver uses three.
constexpr std::size_t kMaxRouterDns = 16;
// The kernel's longest, with its NUL: names, kinds and its own words on an error.
constexpr std::size_t kMaxText = 256;

/// The first bytes of `bytes` as a struct of the kernel's.
template <typename T>
std::optional<T> load(ConstBytes bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// What follows the fixed part T of a message.
template <typename T>
NetlinkAttributes attributes_after(ConstBytes body) {
  return NetlinkAttributes(
      body.subspan(std::min<std::size_t>(NLMSG_ALIGN(sizeof(T)), body.size())));
}

std::uint32_t number(const NetlinkAttributes& attributes, std::uint16_t type,
                     std::uint32_t otherwise = 0) {
  auto value = attributes.find(type);
  return value ? load<std::uint32_t>(*value).value_or(otherwise) : otherwise;
}

std::string text(ConstBytes value) {
  value = value.first(std::min(value.size(), kMaxText));
  auto end = std::ranges::find(value, 0);
  return std::string(value.begin(), end);
}

std::string text(const NetlinkAttributes& attributes, std::uint16_t type) {
  auto value = attributes.find(type);
  return value ? text(*value) : std::string();
}

std::optional<IpAddress> address(const NetlinkAttributes& attributes, std::uint16_t type,
                                 std::uint8_t family) {
  auto value = attributes.find(type);
  std::size_t size = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
  if (!value || size == 0 || value->size() != size) return std::nullopt;
  return IpAddress::from_bytes(*value);
}

/// The names of a DNSSL option (RFC 8106 section 5.2): uncompressed, padded with zeros.
std::vector<DomainName> read_names(ConstBytes bytes) {
  std::vector<DomainName> names;
  while (!bytes.empty() && bytes[0] != 0 && names.size() < kMaxRouterDns) {
    std::string dotted;
    std::size_t at = 0;
    while (at < bytes.size() && bytes[at] != 0) {
      std::size_t length = bytes[at];
      if (length > 63 || at + 1 + length >= bytes.size()) return names;
      if (!dotted.empty()) dotted.push_back('.');
      for (std::uint8_t letter : bytes.subspan(at + 1, length)) {
        dotted.push_back(static_cast<char>(letter));
      }
      at += 1 + length;
    }
    if (at >= bytes.size()) return names;
    auto name = DomainName::parse(dotted);
    if (name && !name->is_root()) names.push_back(std::move(*name));
    bytes = bytes.subspan(at + 1);
  }
  return names;
}

void read_rdnss(ConstBytes body, RouterDns& dns) {
  // Two bytes reserved, then the lifetime, then the addresses (RFC 8106 section 5.1).
  dns.servers_lifetime = seconds(load_be32(&body[2]));
  for (ConstBytes rest = body.subspan(6); rest.size() >= 16; rest = rest.subspan(16)) {
    IpAddress server = IpAddress::from_bytes(rest.first(16));
    bool useful = !server.is_unspecified() && !server.is_multicast() && !server.is_loopback();
    if (useful && dns.servers.size() < kMaxRouterDns) dns.servers.push_back(server);
  }
}

}  // namespace

std::optional<NetlinkMessage> NetlinkReader::next() {
  auto header = load<nlmsghdr>(rest_);
  if (!header || header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > rest_.size()) {
    return std::nullopt;
  }
  NetlinkMessage message{header->nlmsg_type, header->nlmsg_flags, header->nlmsg_seq,
                         rest_.subspan(NLMSG_HDRLEN, header->nlmsg_len - NLMSG_HDRLEN)};
  // Aligned in 64 bits: a length near 4 GiB must not wrap.
  std::size_t whole = (std::size_t{header->nlmsg_len} + NLMSG_ALIGNTO - 1) & ~(NLMSG_ALIGNTO - 1uL);
  rest_ = rest_.subspan(std::min(whole, rest_.size()));
  return message;
}

std::optional<NetlinkAttribute> NetlinkAttributes::next() {
  auto header = load<rtattr>(rest_);
  if (!header || header->rta_len < sizeof *header || header->rta_len > rest_.size()) {
    return std::nullopt;
  }
  NetlinkAttribute attribute{static_cast<std::uint16_t>(header->rta_type & NLA_TYPE_MASK),
                             rest_.subspan(RTA_LENGTH(0), header->rta_len - RTA_LENGTH(0))};
  rest_ = rest_.subspan(std::min<std::size_t>(RTA_ALIGN(header->rta_len), rest_.size()));
  return attribute;
}

std::optional<ConstBytes> NetlinkAttributes::find(std::uint16_t type) const {
  NetlinkAttributes rest = *this;
  while (auto attribute = rest.next()) {
    if (attribute->type == type) return attribute->value;
  }
  return std::nullopt;
}

NetlinkError parse_error(const NetlinkMessage& message) {
  auto code = load<std::int32_t>(message.body);
  // The kernel's codes are negative and small; anything else would be another sender's.
  if (!code || *code > 0 || *code < -4095) return {EPROTO, {}};
  NetlinkError result{-*code, {}};
  if (message.type == NLMSG_ERROR && (message.flags & NLM_F_ACK_TLVS) != 0) {
    // The request's header is repeated; its body too unless NLM_F_CAPPED.
    auto echoed = message.body.size() >= sizeof(nlmsgerr)
                      ? load<nlmsghdr>(message.body.subspan(sizeof *code))
                      : std::nullopt;
    if (!echoed) return result;
    std::size_t skip = sizeof(nlmsgerr);
    if ((message.flags & NLM_F_CAPPED) == 0 && echoed->nlmsg_len > NLMSG_HDRLEN) {
      skip += NLMSG_ALIGN(std::size_t{echoed->nlmsg_len} - NLMSG_HDRLEN);
    }
    NetlinkAttributes words(message.body.subspan(std::min(skip, message.body.size())));
    result.message = text(words, NLMSGERR_ATTR_MSG);
  }
  return result;
}

std::optional<Link> parse_link(const NetlinkMessage& message) {
  if (message.type != RTM_NEWLINK && message.type != RTM_DELLINK) return std::nullopt;
  auto info = load<ifinfomsg>(message.body);
  // A bridge tells of its ports with messages of its own family.
  if (!info || info->ifi_index <= 0 || info->ifi_family != AF_UNSPEC) return std::nullopt;
  auto attributes = attributes_after<ifinfomsg>(message.body);
  Link link;
  link.index = info->ifi_index;
  link.name = text(attributes, IFLA_IFNAME);
  if (link.name.empty()) return std::nullopt;
  if (auto mac = attributes.find(IFLA_ADDRESS); mac && mac->size() == MacAddress::kSize) {
    std::array<std::uint8_t, MacAddress::kSize> bytes;
    std::ranges::copy(*mac, bytes.begin());
    link.mac = MacAddress(bytes);
  }
  link.mtu = number(attributes, IFLA_MTU);
  link.max_mtu = number(attributes, IFLA_MAX_MTU);
  link.up = (info->ifi_flags & IFF_UP) != 0;
  link.carrier = link.up && (info->ifi_flags & IFF_LOWER_UP) != 0;
  link.loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
  link.ethernet = info->ifi_type == ARPHRD_ETHER;
  link.bridge = static_cast<int>(number(attributes, IFLA_MASTER));
  if (auto nested = attributes.find(IFLA_LINKINFO)) {
    link.kind = text(NetlinkAttributes(*nested), IFLA_INFO_KIND);
  }
  return link;
}

std::optional<InterfaceAddress> parse_address(const NetlinkMessage& message) {
  if (message.type != RTM_NEWADDR && message.type != RTM_DELADDR) return std::nullopt;
  auto info = load<ifaddrmsg>(message.body);
  if (!info) return std::nullopt;
  auto attributes = attributes_after<ifaddrmsg>(message.body);
  // On point-to-point links IFA_ADDRESS is the peer's; elsewhere both are the interface's.
  auto other = address(attributes, IFA_ADDRESS, info->ifa_family);
  auto local = address(attributes, IFA_LOCAL, info->ifa_family);
  if (!local) local = other;
  if (!local || info->ifa_prefixlen > local->bits()) return std::nullopt;

  InterfaceAddress result;
  result.link = static_cast<int>(info->ifa_index);
  result.address = *local;
  result.prefix_length = info->ifa_prefixlen;
  if (other && *other != *local) result.peer = other;
  std::uint32_t flags = number(attributes, IFA_FLAGS, info->ifa_flags);
  bool optimistic = (flags & IFA_F_OPTIMISTIC) != 0;
  result.tentative = (flags & IFA_F_TENTATIVE) != 0 && !optimistic;
  result.duplicate = (flags & IFA_F_DADFAILED) != 0;
  result.dynamic = (flags & IFA_F_PERMANENT) == 0;
  if ((flags & IFA_F_NODAD) != 0) result.duplicate_check = DuplicateCheck::left_out;
  if (auto value = attributes.find(IFA_CACHEINFO)) {
    if (auto times = load<ifa_cacheinfo>(*value)) {
      result.preferred = seconds(times->ifa_prefered);
      result.valid = seconds(times->ifa_valid);
    }
  }
  return result;
}

std::optional<Route> parse_route(const NetlinkMessage& message) {
  if (message.type != RTM_NEWROUTE && message.type != RTM_DELROUTE) return std::nullopt;
  auto info = load<rtmsg>(message.body);
  if (!info || info->rtm_type != RTN_UNICAST || (info->rtm_flags & RTM_F_CLONED) != 0) {
    return std::nullopt;
  }
  if (info->rtm_family != AF_INET && info->rtm_family != AF_INET6) return std::nullopt;
  auto attributes = attributes_after<rtmsg>(message.body);
  if (number(attributes, RTA_TABLE, info->rtm_table) != RT_TABLE_MAIN) return std::nullopt;

  IpAddress any = IpAddress::any(info->rtm_family == AF_INET ? Family::v4 : Family::v6);
  auto destination = address(attributes, RTA_DST, info->rtm_family);
  if ((!destination && info->rtm_dst_len != 0) || info->rtm_dst_len > any.bits()) {
    return std::nullopt;
  }
  Route route;
  route.destination = IpPrefix(destination.value_or(any), info->rtm_dst_len);
  route.gateway = address(attributes, RTA_GATEWAY, info->rtm_family);
  route.source = address(attributes, RTA_PREFSRC, info->rtm_family);
  route.link = static_cast<int>(number(attributes, RTA_OIF));
  route.metric = number(attributes, RTA_PRIORITY);
  route.gateway_on_link = (info->rtm_flags & RTNH_F_ONLINK) != 0;
  route.by_kernel = info->rtm_protocol == RTPROT_KERNEL;
  route.by_advert = info->rtm_protocol == RTPROT_RA;
  return route;
}

std::optional<RouterDns> parse_router_dns(const NetlinkMessage& message) {
  constexpr std::uint8_t kRouterAdvert = static_cast<std::uint8_t>(wire::NdpType::router_advert);
  auto info = load<nduseroptmsg>(message.body);
  if (message.type != RTM_NEWNDUSEROPT || !info || info->nduseropt_family != AF_INET6 ||
      info->nduseropt_icmp_type != kRouterAdvert) {
    return std::nullopt;
  }
  ConstBytes rest = message.body.subspan(sizeof *info);
  if (info->nduseropt_opts_len > rest.size()) return std::nullopt;
  ConstBytes carried = rest.first(info->nduseropt_opts_len);
  if (!wire::NdpOptions::are_valid(carried)) return std::nullopt;

  RouterDns dns;
  dns.link = info->nduseropt_ifindex;
  std::size_t aligned = NLMSG_ALIGN(std::size_t{info->nduseropt_opts_len});
  NetlinkAttributes attributes(rest.subspan(std::min(aligned, rest.size())));
  dns.router =
      address(attributes, NDUSEROPT_SRCADDR, AF_INET6).value_or(IpAddress::any(Family::v6));
  bool found = false;
  wire::NdpOptions options(carried);
  while (auto option = options.next()) {
    if (option->type == wire::NdpOptionType::rdnss) {
      read_rdnss(option->body, dns);
      found = true;
    } else if (option->type == wire::NdpOptionType::dnssl) {
      dns.search_lifetime = seconds(load_be32(&option->body[2]));
      dns.search = read_names(option->body.subspan(6));
      found = true;
    }
  }
  if (!found) return std::nullopt;
  return dns;
}

std::optional<NetworkChange> parse_change(const NetlinkMessage& message) {
  bool removed =
      message.type == RTM_DELLINK || message.type == RTM_DELADDR || message.type == RTM_DELROUTE;
  if (auto link = parse_link(message)) return LinkChange{std::move(*link), removed};
  if (auto changed = parse_address(message)) return AddressChange{*changed, removed};
  if (auto route = parse_route(message)) return RouteChange{*route, removed};
  if (auto dns = parse_router_dns(message)) return std::move(*dns);
  return std::nullopt;
}

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags, ConstBytes fixed)
    : type_(type), flags_(static_cast<std::uint16_t>(flags | NLM_F_REQUEST)), bytes_(NLMSG_HDRLEN) {
  append(fixed);
}

void NetlinkRequest::append(ConstBytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkRequest::add(std::uint16_t type, ConstBytes value) {
  rtattr header{};
  header.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size()));
  header.rta_type = type;
  append(bytes_of(header));
  append(value);
}

void NetlinkRequest::add_text(std::uint16_t type, std::string_view text) {
  std::string terminated(text);
  add(type, {reinterpret_cast<const std::uint8_t*>(terminated.c_str()), terminated.size() + 1});
}

std::size_t NetlinkRequest::begin(std::uint16_t type) {
  std::size_t at = bytes_.size();
  add(static_cast<std::uint16_t>(type | NLA_F_NESTED), {});
  return at;
}

void NetlinkRequest::end(std::size_t nested) {
  rtattr header{};
  std::memcpy(&header, &bytes_[nested], sizeof header);
  header.rta_len = static_cast<unsigned short>(bytes_.size() - nested);
  std::memcpy(&bytes_[nested], &header, sizeof header);
}

ConstBytes NetlinkRequest::finish(std::uint32_t sequence) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
  header.nlmsg_type = type_;
  header.nlmsg_flags = flags_;
  header.nlmsg_seq = sequence;
  std::memcpy(bytes_.data(), &header, sizeof header);
  return bytes_;
}

}  // namespace sluice::agent
