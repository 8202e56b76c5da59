#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "policy/reference.h"

namespace sluice::policy {

/// Text that is known to be right.
inline IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}
inline IpPrefix block(std::string_view text) {
  return *IpPrefix::parse(text);
}
inline DomainName name(std::string_view text) {
  return *DomainName::parse(text);
}

/// A host on a LAN with global IPv6, and the Network's default addresses.
inline HostView test_host() {
  return {.addresses = {ip("192.168.1.20"), ip("8.8.4.4"), ip("2600:1::20"), ip("127.0.0.1")},
          .on_link = {block("192.168.1.0/24"), block("2600:1::/64"), block("203.0.113.0/24"),
                      block("127.0.0.0/8")},
          .gateways = {ip("192.168.127.1"), ip("fd5a::1")},
          .host_aliases = {ip("192.168.127.254")},
          .guest_subnets = {block("192.168.127.0/24"), block("fd5a::/64")}};
}

/// Whether the compiled policy and the reference say the same of one question.
inline bool agree(const Policy& policy, const Reference& reference, const Query& query,
                  const DomainName& name) {
  return policy.judge(query).verdict == reference.judge(query) &&
         policy.judge_named(query, name).verdict == reference.judge_named(query, name) &&
         policy.judge_lookup(name, query.inner) == reference.judge_lookup(name, query.inner) &&
         policy.answer_allowed(name, query.remote, query.inner) ==
             reference.answer_allowed(name, query.remote, query.inner);
}

/// Random rules, names and addresses out of a small world, so that they often meet.
class World {
 public:
  explicit World(std::uint32_t seed) : random_(seed) {}

  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  IpAddress address() {
    static const std::vector<IpAddress> special = [] {
      std::vector<IpAddress> out;
      for (const char* text : {"192.168.127.1",
                               "192.168.127.254",
                               "192.168.127.3",
                               "fd5a::1",
                               "fd5a::9",
                               "169.254.169.254",
                               "8.8.4.4",
                               "192.168.1.7",
                               "127.0.0.1",
                               "::1",
                               "::ffff:10.0.0.1",
                               "::ffff:192.168.127.1",
                               "64:ff9b::1.1.0.1",
                               "2002:a00:1::",
                               "2600:1::20",
                               "2606::5efe:10.0.0.1",
                               "::1.1.0.1",
                               "0.0.0.0",
                               "255.255.255.255",
                               "::",
                               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
        out.push_back(ip(text));
      }
      return out;
    }();
    int kind = below(4);
    if (kind == 0)
      return special[static_cast<std::size_t>(below(static_cast<int>(special.size())))];
    auto byte = [&] { return static_cast<std::uint8_t>(below(3)); };
    if (kind == 1) return IpAddress::v4(10, byte(), byte(), byte());
    if (kind == 2) return IpAddress::v4(1, byte(), byte(), byte());
    std::array<std::uint8_t, 16> bytes{0x26, 0x06};
    bytes[3] = byte();
    bytes[8] = byte();
    bytes[15] = byte();
    return IpAddress::v6(bytes);
  }

  DomainName domain() {
    static const char* const labels[] = {"a", "b", "com", "org"};
    std::string text = labels[2 + below(2)];
    for (int depth = below(4); depth > 0; --depth) {
      text = std::string(labels[below(2)]) + "." + text;
    }
    return name(text);
  }

  Port port() {
    static const std::uint16_t ports[] = {0, 1, 53, 80, 443, 853, 8080, 65534, 65535};
    return Port(ports[below(9)]);
  }

  /// Whoever asks: the guest, a container in one of two nested networks, or nobody known.
  std::optional<IpAddress> inner() {
    switch (below(5)) {
      case 0:
        return std::nullopt;
      case 1:
        return ip("192.168.127.2");
      case 2:
        return ip("fd5a::2");
      default:
        return IpAddress::v4(10, 88, static_cast<std::uint8_t>(below(3)), 5);
    }
  }

  IpPrefix scope() {
    static const char* const scopes[] = {"10.88.0.0/16", "10.88.1.0/24", "10.88.1.5/32",
                                         "0.0.0.0/0",    "::/0",         "fd5a::2/128",
                                         "10.99.0.0/16"};
    return block(scopes[below(7)]);
  }

  Rule rule() {
    Rule rule;
    rule.action = below(2) == 0 ? Action::deny : Action::allow;
    rule.is_fatal = rule.action == Action::deny && below(4) == 0;
    int direction = below(10);
    rule.direction = direction < 7   ? RuleDirection::egress
                     : direction < 9 ? RuleDirection::ingress
                                     : RuleDirection::any;
    switch (below(5)) {
      case 0:
        rule.target = static_cast<Group>(below(kGroupCount));
        break;
      case 1:
        rule.target = ExactName{domain()};
        break;
      case 2:
        rule.target = SuffixName{domain()};
        break;
      default: {
        IpAddress base = address();
        rule.target =
            IpPrefix(base, base.bits() - (below(3) == 0 ? below(base.bits() + 1) : below(9)));
      }
    }
    if (below(2) == 0) rule.protocol = static_cast<RuleProtocol>(below(4));
    if (rule.protocol != RuleProtocol::icmp && below(3) == 0) {
      Port a = port(), b = port();
      rule.ports = {std::min(a, b), std::max(a, b)};
    }
    if (below(4) == 0) rule.scope = scope();
    return rule;
  }

  std::vector<Rule> rules() {
    std::vector<Rule> out(static_cast<std::size_t>(below(16)));
    for (Rule& r : out) r = rule();
    return out;
  }

  void bind_some(NameIndex& names) {
    for (int i = below(12); i > 0; --i) names.bind(domain(), address(), {}, {});
  }

  Query query(const NameIndex& names) {
    return {.direction = below(4) == 0 ? Direction::ingress : Direction::egress,
            .protocol = static_cast<Protocol>(below(3)),
            .remote = address(),
            .port = port(),
            .inner = inner(),
            .names = below(3) == 0 ? nullptr : &names};
  }

 private:
  std::mt19937 random_;
};

}  // namespace sluice::policy
