#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <net/dns.h>

#include "base/loop.h"

namespace sluice::dns {

/// The resolvers to ask, in the owner's order, and how they have been doing. One that did not
/// answer twice in a row is asked last for a while: 1 s, doubled up to 30 s with each further
/// silence.
class Upstreams {
 public:
  struct State {
    DnsResolver resolver;
    int silences = 0;
    TimePoint avoid_until{};
    std::uint64_t answers = 0;
    std::uint64_t failures = 0;
    std::string trouble;  ///< Of the last failure; empty after an answer.
  };

  /// What stays in the list keeps its state.
  void set(const std::vector<DnsResolver>& resolvers);
  bool empty() const { return states_.empty(); }
  std::vector<DnsResolver> resolvers() const;
  const std::vector<State>& states() const { return states_; }
  /// Whether it is asked last now, for its silence.
  bool is_avoided(const DnsResolver& resolver, TimePoint now) const;

  /// The order to ask in now: those that do well first, then those that come back soonest.
  std::vector<DnsResolver> order(TimePoint now) const;
  // These ignore a resolver that is not in the list any more.
  void note_answer(const DnsResolver& resolver);
  /// It said that it can't or won't answer: no reason to ask it last.
  void note_refusal(const DnsResolver& resolver, std::string_view why);
  void note_silence(const DnsResolver& resolver, std::string_view why, TimePoint now);

 private:
  State* find(const DnsResolver& resolver);

  std::vector<State> states_;
};

}  // namespace sluice::dns
