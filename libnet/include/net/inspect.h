#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <net/address.h>
#include <net/dns.h>
#include <net/name.h>
#include <net/verdict.h>

// What a running Network tells about itself. Plain values: nothing here refers to the Network.

namespace sluice {

/// One pair of the guest's name index.
struct NameBinding {
  std::string name;
  IpAddress address;
  std::chrono::seconds expires_in{0};  ///< 0 where only `in_use` keeps it.
  bool in_use = false;                 ///< An open flow holds it.
};

/// The policy in force.
struct PolicyInfo {
  std::uint64_t generation = 0;  ///< Grows with each that takes effect.
  std::vector<RuleInfo> rules;   ///< In order: the first that matches decides.
  Action egress_default = Action::deny;
  Action ingress_default = Action::allow;
  bool names_resolve = false;         ///< Whether the guest may look up any name at all.
  std::vector<std::string> warnings;  ///< What is most likely not what was meant.
  std::string summary;                ///< In one line.
};

/// One decision, explained.
struct Judgement {
  std::string subject;  ///< "lookup of example.com", "tcp 192.0.2.1:443".
  Action action = Action::deny;
  /// The rule that decided; none: `reason` says what did.
  std::optional<RuleInfo> rule;
  std::string reason;              ///< A phrase: "a rule allows it".
  std::vector<std::string> names;  ///< What the name index binds to the address.
  /// Name rules have a part in it: the first flight (TLS SNI, HTTP Host) decides as well.
  bool name_is_decisive = false;
};

/// What the policy says of a question such as "tcp github.com:443".
struct PolicyAnswer {
  std::optional<Judgement> lookup;  ///< Where the question names a name.
  /// One for each address that counts: the one asked about, or those bound to the name.
  std::vector<Judgement> flows;
  std::string note;  ///< What else there is to know, in a sentence; or empty.

  /// Allow where the lookup and at least one flow are; a name of which no address is known yet
  /// counts by its lookup and by what a rule says of the name itself.
  Action action = Action::deny;
};

/// What is recorded while learning.
enum class LearnMode : std::uint8_t {
  everything,  ///< What a policy without rules would have refused.
  refused,     ///< What the policy in force refuses.
};

/// The shortest list of rules that allows what was recorded.
struct LearnReport {
  struct Item {
    std::string rule;
    std::uint64_t seen = 0;  ///< Lookups and flows that are behind it.
    std::string note;        ///< Where the rule is wider or vaguer than what was seen; or empty.
  };
  bool active = false;
  LearnMode mode = LearnMode::everything;
  std::vector<Item> rules;
  std::uint64_t overflow = 0;  ///< Lookups and flows for which there was no room.
};

/// The DNS service.
struct DnsInfo {
  struct Resolver {
    DnsResolver resolver;
    bool avoided = false;       ///< Silent lately: asked last for a while.
    std::uint64_t answers = 0;  ///< Given since it is in the list.
    std::uint64_t failures = 0;
    /// Why it did not answer the last time, in a phrase; empty once it has answered again.
    std::string trouble;
  };
  struct Split {
    DomainName zone;
    std::vector<Resolver> resolvers;
  };
  std::vector<Resolver> resolvers;
  bool follows_host = false;  ///< They are the host's, as they change.
  std::vector<Split> split;
  std::vector<DomainName> zones;  ///< In these, what has no record does not exist.
  std::size_t records = 0;
  std::size_t cache_entries = 0;
  std::size_t cache_bytes = 0;
  std::vector<std::pair<std::string, std::uint64_t>> counters;
};

}  // namespace sluice
