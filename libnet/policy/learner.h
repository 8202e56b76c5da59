#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "policy/rule.h"

namespace sluice::policy {

/// A rule that would allow something that was seen.
struct LearnedRule {
  Rule rule;
  std::uint64_t seen = 0;  ///< Lookups and flows that are behind it.
  /// Where the rule is wider, or says less, than what was seen: a phrase; or empty.
  std::string note;
};

/// Watches what a guest looks up and where it goes, and writes the shortest list of allows under
/// which a policy that denies everything else would have let it:
///
/// - Each name that was looked up has a rule, with the protocols and ports of the flows to the
///   addresses that were bound to it then. A name to which no flow went has one without ports.
/// - Three or more names with one parent become `*.parent`, with the ports of all of them: where
///   the parent is a registered domain or below one. Public suffixes are not all known here; a
///   short list of those under which strangers sit side by side is, and never becomes a suffix.
/// - Flows to addresses of no such name, and to addresses that are not public (which a name can't
///   open), are rules on addresses.
///
/// Bounded: what is seen beyond the limits is counted only. Pure; one thread.
class Learner {
 public:
  struct Limits {
    std::size_t names = 4096;
    std::size_t addresses = 4096;
    /// Of one name or address and one protocol; beyond, the rule is for every port.
    std::size_t ports = 32;
  };
  /// Names with one parent that make a suffix.
  static constexpr std::size_t kSiblings = 3;

  Learner() = default;
  explicit Learner(const Limits& limits) : limits_(limits) {}

  /// The guest asked for this name.
  void saw_lookup(const DomainName& name);

  /// Where a flow goes.
  struct Flow {
    Protocol protocol = Protocol::tcp;
    IpAddress remote;
    Port port;               ///< Not used for ICMP.
    bool is_public = false;  ///< Of group `public`, so that a name can open it.
    /// What is bound to the address; or the one name that its first flight said.
    std::vector<std::string> names;
  };
  void saw_flow(const Flow& flow);

  /// Names and suffixes first, then addresses, each in its order.
  std::vector<LearnedRule> rules() const;
  /// What was seen and could not be kept.
  std::uint64_t overflow() const { return overflow_; }

 private:
  /// The protocols and ports of the flows to one place.
  struct Traffic {
    std::set<Port> tcp, udp;
    bool all_tcp = false, all_udp = false;  // More ports than are kept.
    bool icmp = false;
    std::uint64_t seen = 0;

    bool is_empty() const { return tcp.empty() && udp.empty() && !icmp; }
    void add(Protocol protocol, Port port, std::size_t limit);
    void add(const Traffic& other);
  };
  using Names = std::map<DomainName, Traffic>;

  /// Moves siblings from `names` to the suffixes that they become.
  static std::map<DomainName, Traffic> take_suffixes(Names& names);
  static void write(const Target& target, const Traffic& traffic, const char* note,
                    std::vector<LearnedRule>& out);

  Limits limits_;
  Names names_;
  std::map<IpAddress, Traffic> addresses_;
  std::uint64_t overflow_ = 0;
};

}  // namespace sluice::policy
