#pragma once

#include <vector>

#include <net/address.h>

#include "base/loop.h"

namespace sluice::dns {

/// The resolvers to ask, in the owner's order, and how they have been doing. One that did not
/// answer twice in a row is asked last for a while: 1 s, doubled up to 30 s with each further
/// silence.
class Upstreams {
 public:
  void set(const std::vector<Endpoint>& endpoints);
  bool empty() const { return states_.empty(); }
  std::vector<Endpoint> endpoints() const;
  /// Whether it is asked last now, for its silence.
  bool is_avoided(const Endpoint& endpoint, TimePoint now) const;

  /// The order to ask in now: those that do well first, then those that come back soonest.
  std::vector<Endpoint> order(TimePoint now) const;
  /// Both ignore an endpoint that is not in the list any more.
  void note_answer(const Endpoint& endpoint);
  void note_silence(const Endpoint& endpoint, TimePoint now);

 private:
  struct State {
    Endpoint endpoint;
    int silences = 0;
    TimePoint avoid_until{};
  };
  State* find(const Endpoint& endpoint);

  std::vector<State> states_;
};

}  // namespace sluice::dns
