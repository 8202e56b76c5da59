#include "policy/group.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace sluice::policy {

namespace {

constexpr std::array<std::string_view, kGroupCount> kNames = {
    "any",      "public",    "private", "loopback", "link-local",
    "metadata", "multicast", "host",    "guests",   "dns"};

/// What a range is, before anything is known of the host.
enum class Kind : std::uint8_t {
  public_,
  private_,
  loopback,
  link_local,
  metadata,
  multicast,
  reserved,    ///< No group but `any`.
  transition,  ///< Judged by the IPv4 address inside.
};

struct Range {
  IpPrefix prefix;
  Kind kind;
};

struct RangeText {
  const char* prefix;
  Kind kind;
};

// The most specific range decides. Sources: the IANA special-purpose address registries (RFC 6890)
// and the providers' documents for the metadata endpoints.
constexpr RangeText kRanges[] = {
    {"0.0.0.0/0", Kind::public_},
    {"0.0.0.0/8", Kind::reserved},
    {"0.0.0.0/32", Kind::loopback},  // A socket that connects here reaches its own host.
    {"10.0.0.0/8", Kind::private_},
    {"100.64.0.0/10", Kind::private_},  // Carrier-grade NAT (RFC 6598)
    {"127.0.0.0/8", Kind::loopback},
    {"169.254.0.0/16", Kind::link_local},
    {"172.16.0.0/12", Kind::private_},
    {"192.0.0.0/24", Kind::reserved},
    {"192.0.2.0/24", Kind::reserved},
    {"192.88.99.0/24", Kind::reserved},  // 6to4 relay anycast, withdrawn (RFC 7526)
    {"192.168.0.0/16", Kind::private_},
    {"198.18.0.0/15", Kind::reserved},
    {"198.51.100.0/24", Kind::reserved},
    {"203.0.113.0/24", Kind::reserved},
    {"224.0.0.0/4", Kind::multicast},
    {"240.0.0.0/4", Kind::reserved},

    // Of IPv6 only 2000::/3 has been given out as global unicast.
    {"::/0", Kind::reserved},
    {"::/96", Kind::transition},
    {"::/128", Kind::loopback},
    {"::1/128", Kind::loopback},
    {"::ffff:0:0/96", Kind::transition},
    {"::ffff:0:0:0/96", Kind::transition},
    {"64:ff9b::/96", Kind::transition},
    {"2000::/3", Kind::public_},
    {"2001::/23", Kind::reserved},  // IETF protocol assignments, ORCHID among them
    {"2001::/32", Kind::transition},
    {"2001:db8::/32", Kind::reserved},
    {"2002::/16", Kind::transition},
    {"3fff::/20", Kind::reserved},  // Documentation (RFC 9637)
    {"fc00::/7", Kind::private_},
    {"fe80::/10", Kind::link_local},
    {"fec0::/10", Kind::private_},  // Site-local, deprecated (RFC 3879)
    {"ff00::/8", Kind::multicast},

    {"169.254.169.254/32", Kind::metadata},      // AWS, Google, Azure, Oracle, OpenStack and most
    {"169.254.169.253/32", Kind::metadata},      // AWS resolver
    {"169.254.170.2/32", Kind::metadata},        // AWS ECS task credentials
    {"169.254.170.23/32", Kind::metadata},       // AWS EKS pod identity
    {"169.254.0.23/32", Kind::metadata},         // Tencent
    {"169.254.42.42/32", Kind::metadata},        // Scaleway
    {"100.100.100.200/32", Kind::metadata},      // Alibaba
    {"168.63.129.16/32", Kind::metadata},        // Azure platform
    {"192.0.0.192/32", Kind::metadata},          // Oracle, classic
    {"fd00:ec2::254/128", Kind::metadata},       // AWS
    {"fd00:ec2::253/128", Kind::metadata},       // AWS resolver
    {"fd00:ec2::23/128", Kind::metadata},        // AWS EKS pod identity
    {"fd20:ce::254/128", Kind::metadata},        // Google
    {"fd00:c1::a9fe:a9fe/128", Kind::metadata},  // Oracle
    {"fd00:42::42/128", Kind::metadata},         // Scaleway
    {"fe80::a9fe:a9fe/128", Kind::metadata},     // OpenStack
};

std::vector<Range> parse_ranges() {
  std::vector<Range> ranges;
  for (const RangeText& text : kRanges) {
    auto prefix = IpPrefix::parse(text.prefix);
    if (prefix) ranges.push_back({*prefix, text.kind});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.prefix < b.prefix; });
  return ranges;
}

/// The table, sorted by prefix. A static: it never changes.
const std::vector<Range>& ranges() {
  static const std::vector<Range> table = parse_ranges();
  return table;
}

/// What the host's own data says of a block.
struct Local {
  bool on_link = false;
  bool host_address = false;
  bool guest_subnet = false;
  bool gateway = false;
};

Membership membership(Kind kind, Kind around, const Local& local) {
  auto group = [](Kind k) -> GroupSet {
    switch (k) {
      case Kind::public_:
        return {Group::public_};
      case Kind::private_:
        return {Group::private_};
      case Kind::loopback:
        return {Group::loopback};
      case Kind::link_local:
        return {Group::link_local};
      case Kind::metadata:
        return {Group::metadata};
      case Kind::multicast:
        return {Group::multicast};
      case Kind::reserved:
      case Kind::transition:
        return {};
    }
    return {};
  };
  Membership m{group(kind), group(kind)};
  // The outer address of a transition form leaves the choice to the inner one: groups_of() takes
  // what both are in for an allow, and what either is in for a deny.
  if (kind == Kind::transition) m.for_allow = GroupSet::all();
  if (kind == Kind::metadata) m.for_deny = m.for_deny | group(around);

  bool is_the_hosts = local.host_address || local.gateway;
  bool becomes_private = kind == Kind::public_ || kind == Kind::reserved || local.host_address;
  if (is_the_hosts || local.on_link || local.guest_subnet) {
    m.for_allow.remove(Group::public_);
    m.for_deny.remove(Group::public_);
  }
  if ((local.on_link || local.host_address) && becomes_private) {
    m.for_allow.add(Group::private_);
    m.for_deny.add(Group::private_);
  }
  if (local.host_address) {
    m.for_allow.add(Group::host);
    m.for_deny.add(Group::host);
  }
  if (kind == Kind::metadata) m.for_allow = {Group::metadata};
  if (local.guest_subnet) {
    m.for_allow = {Group::guests};
    m.for_deny.add(Group::guests);
  }
  if (local.gateway) {
    m.for_allow = {Group::host};
    m.for_deny.add(Group::host);
  }
  m.for_allow.add(Group::any);
  m.for_deny.add(Group::any);
  return m;
}

IpPrefix whole(const IpAddress& address) {
  return IpPrefix(address, address.bits());
}

template <typename List, typename Value>
bool has(const List& list, const Value& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

std::string_view to_string(Group group) {
  return kNames[static_cast<std::size_t>(group)];
}

std::optional<Group> group_named(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Group>(i);
  }
  return std::nullopt;
}

std::span<const std::string_view> group_names() {
  return kNames;
}

std::span<const IpPrefix> transition_blocks() {
  static const std::vector<IpPrefix> blocks = [] {
    std::vector<IpPrefix> out;
    for (const Range& range : ranges()) {
      if (range.kind == Kind::transition) out.push_back(range.prefix);
    }
    return out;
  }();
  return blocks;
}

std::optional<Embedded> embedded_v4(const IpAddress& address) {
  if (address.is_v4()) return std::nullopt;
  const std::uint8_t* b = address.bytes().data();
  std::uint64_t high = load_be64(b);
  std::uint32_t third = load_be32(b + 8);
  std::uint32_t last = load_be32(b + 12);
  if (high == 0 && third == 0 && last > 1) return Embedded{IpAddress::v4(last)};
  if (high == 0 && third == 0x0000ffff) return Embedded{IpAddress::v4(last)};
  if (high == 0 && third == 0xffff0000) return Embedded{IpAddress::v4(last)};
  if (high == 0x0064ff9b00000000 && third == 0) return Embedded{IpAddress::v4(last)};
  if (high >> 48 == 0x2002) return Embedded{IpAddress::v4(load_be32(b + 2))};
  // Teredo carries the client's address with every bit turned (RFC 4380, section 4).
  if (high >> 32 == 0x20010000) return Embedded{IpAddress::v4(~last)};
  if ((third & 0xfdffffff) == 0x00005efe) return Embedded{IpAddress::v4(last), false};
  return std::nullopt;
}

GroupMap::GroupMap(const HostView& host) {
  std::vector<IpPrefix> blocks;
  for (const Range& range : ranges()) blocks.push_back(range.prefix);
  blocks.insert(blocks.end(), host.on_link.begin(), host.on_link.end());
  blocks.insert(blocks.end(), host.guest_subnets.begin(), host.guest_subnets.end());
  for (const auto* list : {&host.addresses, &host.gateways, &host.host_aliases}) {
    for (const IpAddress& address : *list) blocks.push_back(whole(address));
  }
  tree_ = PrefixTree(std::move(blocks));

  auto sorted = [](std::vector<IpPrefix> list) {
    std::sort(list.begin(), list.end());
    return list;
  };
  auto sorted_whole = [&](const std::vector<IpAddress>& list) {
    std::vector<IpPrefix> out;
    for (const IpAddress& address : list) out.push_back(whole(address));
    return sorted(std::move(out));
  };
  auto on_link = sorted(host.on_link), guests = sorted(host.guest_subnets);
  auto addresses = sorted_whole(host.addresses);
  auto in = [](const std::vector<IpPrefix>& list, const IpPrefix& prefix) {
    return std::binary_search(list.begin(), list.end(), prefix);
  };
  auto kind_of = [](const IpPrefix& prefix) -> std::optional<Kind> {
    const auto& table = ranges();
    auto at = std::lower_bound(table.begin(), table.end(), prefix,
                               [](const Range& r, const IpPrefix& p) { return r.prefix < p; });
    if (at == table.end() || at->prefix != prefix) return std::nullopt;
    return at->kind;
  };

  // Parents come first, so each node adds what its own block says to what its parent found.
  struct Facts {
    Kind kind = Kind::reserved;
    Kind around = Kind::reserved;
    Local local;
  };
  std::vector<Facts> facts(static_cast<std::size_t>(tree_.size()));
  for (int node = 0; node < tree_.size(); ++node) {
    const IpPrefix& prefix = tree_.prefix(node);
    int parent = tree_.parent(node);
    Facts own = parent == PrefixTree::kNone ? Facts{} : facts[static_cast<std::size_t>(parent)];
    if (auto kind = kind_of(prefix)) {
      own.around = own.kind;
      own.kind = *kind;
    }
    // The host's loopback network is no neighbourhood: what lies in it stays loopback.
    bool is_loopback = own.kind == Kind::loopback;
    own.local.on_link |= !is_loopback && in(on_link, prefix);
    own.local.guest_subnet |= in(guests, prefix);
    own.local.host_address |= !is_loopback && in(addresses, prefix);
    bool single = prefix.length() == prefix.address().bits();
    own.local.gateway |= single && (has(host.gateways, prefix.address()) ||
                                    has(host.host_aliases, prefix.address()));
    facts[static_cast<std::size_t>(node)] = own;
    groups_.push_back(membership(own.kind, own.around, own.local));
  }
}

Membership GroupMap::own_groups(const IpAddress& address) const {
  int node = tree_.find(address);
  // Both families have a range around everything, so there always is a node.
  return node == PrefixTree::kNone ? Membership{} : groups_[static_cast<std::size_t>(node)];
}

Membership GroupMap::groups_of(const IpAddress& address) const {
  Membership outer = own_groups(address);
  auto embedded = embedded_v4(address);
  if (!embedded) return outer;
  Membership inner = own_groups(embedded->inner);
  return {outer.for_allow & inner.for_allow, outer.for_deny | inner.for_deny};
}

std::optional<Membership> GroupMap::groups_of_block(const IpPrefix& block) const {
  if (!tree_.is_uniform(block)) return std::nullopt;
  if (block.family() == Family::v6 && (block.length() < 96 || embedded_v4(block.address()))) {
    return std::nullopt;
  }
  return own_groups(block.address());
}

}  // namespace sluice::policy
