#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "policy/name_index.h"
#include "policy/support.h"

// A policy of many rules, and the names that it allows, for what asks how long it takes.

namespace sluice::policy {

/// In turn: an allow on a name of its own, a deny on a suffix, an allow on a block, a deny on a
/// port.
inline std::vector<Rule> many_rules(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    if (!text.empty()) text += ',';
    switch (i % 4) {
      case 0:
        text += fmt::format("allow@host{}.zone{}.example.com:tcp:443", i, i % 100);
        break;
      case 1:
        text += fmt::format("deny@*.z{}.example.org", i);
        break;
      case 2:
        text += fmt::format("allow@{}.{}.{}.0/24:tcp:{}", 20 + i % 50, i % 200, i / 200, 1 + i);
        break;
      default:
        text += fmt::format("deny@any:udp:{}", 1 + i);
    }
  }
  return rules(text);
}

/// The first `count` names that many_rules() allows, each bound to an address of its own.
class ManyNames {
 public:
  explicit ManyNames(int count) {
    for (int i = 0; i < count; ++i) {
      names_.push_back(policy::name(fmt::format("host{}.zone{}.example.com", i * 4, i * 4 % 100)));
      index_.bind(names_.back(), address(i), {}, {});
    }
  }

  /// The i-th, from the first again where there are no more.
  const DomainName& name(int i) const { return names_[place(i)]; }
  /// A connection to its address from one of 256 addresses in the guest.
  Query query(int i) const {
    return {.remote = address(static_cast<int>(place(i))),
            .port = Port(443),
            .inner = IpAddress::v4(10, 88, 0, static_cast<std::uint8_t>(i)),
            .names = &index_};
  }

 private:
  static IpAddress address(int i) {
    return IpAddress::v4(0x01010000U + static_cast<std::uint32_t>(i));
  }
  std::size_t place(int i) const { return static_cast<std::size_t>(i) % names_.size(); }

  NameIndex index_;
  std::vector<DomainName> names_;
};

}  // namespace sluice::policy
