#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "dns/answer.h"

namespace sluice::dns {

/// Names that are answered here and never leave: one zone, addresses of names in it, the reverse
/// names of those addresses, and names elsewhere that stand for the same addresses.
///
/// A name of the zone that does not exist is NXDOMAIN; one without an address of the asked kind is
/// an empty answer; both carry the zone's SOA. A name set outside the zone is a small zone of its
/// own.
class LocalZone {
 public:
  /// Short, because the owner may change a name at any time.
  static constexpr std::chrono::seconds kTtl{10};

  explicit LocalZone(DomainName apex);

  const DomainName& apex() const { return apex_; }
  /// The addresses of `name`, in the order in which they are given out; none removes the name.
  /// Addresses of names in the zone get a PTR record each; where several names share an address,
  /// the one set first has it.
  void set_addresses(const DomainName& name, std::vector<IpAddress> addresses);
  /// Reverse names of this block are answered here, with NXDOMAIN where no name has the address
  /// (RFC 6303). Without it, the reverse name of an unknown address is not ours.
  void own_reverse(const IpPrefix& block);

  /// Nothing where the name is not ours.
  std::optional<Answer> find(const DomainName& name, wire::DnsType type) const;

 private:
  using Addresses = std::vector<IpAddress>;
  /// So that a name's zones are looked up where they lie in its text.
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
    std::size_t operator()(const DomainName& name) const {
      return (*this)(std::string_view(name.text()));
    }
  };
  struct NameEqual {
    using is_transparent = void;
    bool operator()(const DomainName& a, const DomainName& b) const { return a == b; }
    bool operator()(std::string_view a, const DomainName& b) const { return a == b.text(); }
    bool operator()(const DomainName& a, std::string_view b) const { return a.text() == b; }
  };

  void remove(const DomainName& name);
  std::optional<Answer> find_reverse(const DomainName& name, wire::DnsType type) const;
  Answer addresses_of(const DomainName& name, const Addresses& addresses, wire::DnsType type) const;
  Answer negative(wire::DnsRcode rcode, const DomainName& zone) const;
  Record soa(const DomainName& zone) const;
  /// The zone that answers for `name`: the apex, or the name set outside of it that `name` is in.
  std::optional<DomainName> zone_of(const DomainName& name) const;

  DomainName apex_;
  std::unordered_map<DomainName, Addresses, NameHash, NameEqual> hosts_;
  /// How many names of the zone lie below a name: it exists, though it may have no addresses
  /// (RFC 8020).
  std::unordered_map<DomainName, int> children_;
  std::unordered_map<IpAddress, std::vector<DomainName>> names_of_;
  std::vector<IpPrefix> reverse_blocks_;
};

/// The address that a name under in-addr.arpa or ip6.arpa stands for; nothing for other names and
/// for those of less than a whole address.
std::optional<IpAddress> reverse_address(const DomainName& name);

}  // namespace sluice::dns
