#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>
#include <net/verdict.h>

#include "base/loop.h"
#include "policy/group.h"
#include "policy/name_index.h"
#include "policy/name_map.h"
#include "policy/port_map.h"
#include "policy/prefix_tree.h"
#include "policy/rule.h"

namespace sluice::policy {

/// A flow about to be, seen from the guest.
struct Query {
  Direction direction = Direction::egress;
  Protocol protocol = Protocol::tcp;
  IpAddress remote;  ///< Egress: where the guest wants to go. Ingress: the client.
  Port port;         ///< Egress: of the remote. Ingress: the guest's. Not used for ICMP.
  /// The address behind the guest's NIC: egress comes from it, ingress goes to it. Nothing: rules
  /// with a scope don't count.
  std::optional<IpAddress> inner = std::nullopt;
  const NameIndex* names = nullptr;  ///< The guest's; nullptr: no names are known.
  TimePoint now;                     ///< For the expiry of bindings.
};

struct Decision {
  Verdict verdict;
  /// The flow is allowed, but a name has a part in that: a name rule alone allows it, or a name
  /// rule before the one that allows could deny what turns out to be behind the address. Who reads
  /// the first flight (TLS SNI, HTTP Host) judges it again by content.
  bool name_is_decisive = false;

  bool allowed() const { return verdict.allowed(); }
};

struct CompileOptions {
  Action egress_default = Action::deny;
  Action ingress_default = Action::allow;  ///< Only published ports exist to be reached.
  std::uint64_t generation = 0;            ///< Grows with each policy that takes effect.
  /// Deny: where some rule of egress is on a name, DNS over TLS, QUIC and known hosts of DNS over
  /// HTTPS are refused unless a rule names the host, the address or the port.
  Action encrypted_dns = Action::allow;
};

/// Something in the rules that is most likely not what the operator meant.
struct Warning {
  int rule = 0;
  std::string text;  ///< A sentence, with the rule and where it was written.
};

/// Ordered rules, first match wins per direction, compiled so that a verdict costs
/// O(labels + log rules). Immutable: any thread may ask, and a change is a new Policy swapped in
/// whole. Judging allocates nothing, logs nothing and takes no clock.
///
/// What a rule matches:
/// - A group by Membership. The IPv6 forms of an IPv4 address count as the inner address.
/// - A block by the address, or by the IPv4 address inside it. Two kinds of place are opened only
/// by
///   a block that lies in them, though any block around them can deny them: the gateway and the
///   host aliases (they lead to the host's loopback), and the blocks of IPv6 forms of IPv4
///   (`[::]/0` says nothing of the IPv4 address inside).
/// - A name by the guest's NameIndex.
/// - A rule with a scope only what comes from there, or goes there; in the one order of all rules.
/// - Before all others: on the gateway's ports 53 and 853 the rules on group `dns`, then an allow
/// if
///   any rule needs names.
class Policy {
 public:
  /// Different scopes that the rules may have; more are refused.
  static constexpr int kMaxScopes = 4096;

  static Result<std::shared_ptr<const Policy>> compile(std::vector<Rule> rules,
                                                       const HostView& host,
                                                       const CompileOptions& options = {});

  /// May this flow be?
  Decision judge(const Query& query) const;

  /// May this flow be, now that its first flight says which name it is for? An allow on a name
  /// counts only where the guest's index binds that very name to the address: what else is bound to
  /// it (a name on the same CDN) opens nothing. A deny on a name counts whatever is bound.
  Decision judge_named(const Query& query, const DomainName& name) const;

  /// What the rules say of connections to a name of which no address is known: the verdict of the
  /// first rule on the name or on `any`, nothing where the address would decide before.
  std::optional<Verdict> judge_unbound(const DomainName& name, Protocol protocol, Port port,
                                       const std::optional<IpAddress>& inner = {}) const;

  /// May this name be resolved, by whoever is at `inner` (see Query)? Rules on names and on `any`
  /// decide by the name alone, but a deny with a protocol or port never does; an allow on addresses
  /// lets every name resolve (its answers are filtered); a deny on addresses decides nothing; nor
  /// do rules on `dns`.
  Verdict judge_lookup(const DomainName& name, const std::optional<IpAddress>& inner = {}) const;

  /// May this address be in an answer for `name`, which the guest asked? Yes where a flow to it on
  /// some port could be allowed, with one exception: an address that is not public (private, the
  /// host's, a guest's, metadata, loopback, ...) only where an address rule allows it, so that a
  /// name can't be rebound to the inside.
  bool answer_allowed(const DomainName& name, const IpAddress& address,
                      const std::optional<IpAddress>& inner = {}) const;

  /// Whether any name at all may resolve, for somebody; the gateway's DNS ports are open to them.
  bool needs_names() const { return needs_names_; }

  const std::vector<Rule>& rules() const { return rules_; }
  std::uint64_t generation() const { return options_.generation; }
  Action default_of(Direction direction) const {
    return direction == Direction::egress ? options_.egress_default : options_.ingress_default;
  }
  const GroupMap& groups() const { return groups_; }
  const std::vector<Warning>& warnings() const { return warnings_; }

  /// The one that decided; null where none did.
  const Rule* rule_of(const Verdict& verdict) const;
  /// `rule "deny@private" (--rule)`, or "default deny" where no rule decided. For
  /// DenialEvent::rule.
  std::string describe(const Verdict& verdict) const;
  /// Whether a rule marked `deny!` decided.
  bool is_fatal(const Verdict& verdict) const;
  /// The effective policy in one line; of a long list, the beginning.
  std::string summary() const;

 private:
  /// The compiled rules of one direction.
  struct Side {
    PrefixTree blocks;
    std::vector<PortMap> block_rules;  // By node of `blocks`.
    std::vector<int> around;           // By node: the next block out that counts, or kNone.
    std::array<PortMap, kGroupCount> group_allows;
    std::array<PortMap, kGroupCount> group_denies;
    NameMap names;
    NameMap denied_names;  // Of `names`, the denies.
    PortMap name_denies;   // The same, whatever the name.
  };

  /// The compiled rules of one scope, or those without one.
  struct Layer {
    std::array<Side, 2> sides;
    int first_by_address_rule = PortMap::kNone;   // Of egress: the first on an address or group.
    int first_allow_by_address = PortMap::kNone;  // Of egress, group `any` and `dns` left out.
    bool needs_names = false;

    const Side& side(Direction direction) const {
      return sides[static_cast<std::size_t>(direction)];
    }
  };
  /// An address, with what every layer asks of it.
  struct Place;

  Policy(std::vector<Rule> rules, const HostView& host, const CompileOptions& options);

  void compile_layers();
  void compile_layer(Layer& layer, const std::vector<int>& indices) const;
  void compile_side(Side& side, const std::vector<int>& indices, Direction direction) const;
  void compile_blocks(Side& side, const std::vector<int>& indices) const;
  void find_shadowed();
  /// Whether one target before the rule's, as wide or wider, has rules for all its protocols and
  /// ports. Several targets that cover it together are not looked for.
  bool is_shadowed(const Side& side, int index) const;

  /// Calls `visit(const Layer&)` for the rules without a scope, and for each scope around `inner`.
  template <typename Visit>
  void each_layer(const std::optional<IpAddress>& inner, Visit&& visit) const;
  /// The minimum of `rule_of(layer)` over those.
  template <typename RuleOf>
  int first_in_layers(const std::optional<IpAddress>& inner, RuleOf&& rule_of) const;
  bool is_dns_service(const Query& query) const;
  /// The minimum of `rule_of(map)` over all that an address matches, by group and by block.
  template <typename RuleOf>
  int first_by_address(const Side& side, const Place& place, RuleOf&& rule_of) const;
  template <typename RuleOf>
  int first_by_block(const Side& side, const IpAddress& address, RuleOf&& rule_of) const;
  int first_by_name(const Side& side, const Query& query) const;
  Verdict verdict_of(int rule, Direction direction) const;
  /// `verdict`, or a denial where it lets a known host of encrypted DNS through that no rule names.
  Verdict guarded(const Verdict& verdict, const DomainName& name,
                  const std::optional<IpAddress>& inner) const;
  /// Likewise of port 853.
  Verdict guarded(const Verdict& verdict, const Query& query) const;

  std::vector<Rule> rules_;
  CompileOptions options_;
  std::vector<IpAddress> gateways_;
  std::vector<IpPrefix> closed_blocks_;  // Opened only from within: see the class comment.
  GroupMap groups_;
  PrefixTree scopes_;
  std::vector<Layer> layers_;  // Without a scope; then by node of `scopes_`.
  bool needs_names_ = false;
  bool guards_dns_ = false;  // See CompileOptions::encrypted_dns.
  std::vector<Warning> warnings_;
};

}  // namespace sluice::policy
