#include "dns/upstreams.h"

#include <algorithm>
#include <utility>

namespace sluice::dns {

namespace {

constexpr int kSilencesTolerated = 1;
constexpr Duration kFirstAvoidance = std::chrono::seconds(1);
constexpr Duration kLongestAvoidance = std::chrono::seconds(30);

}  // namespace

void Upstreams::set(const std::vector<DnsResolver>& resolvers) {
  std::vector<State> states;
  for (const auto& resolver : resolvers) {
    bool is_there = std::any_of(states.begin(), states.end(),
                                [&](const State& state) { return state.resolver == resolver; });
    if (is_there) continue;
    State* before = find(resolver);
    states.push_back(before ? std::move(*before) : State{resolver});
  }
  states_ = std::move(states);
}

std::vector<DnsResolver> Upstreams::resolvers() const {
  std::vector<DnsResolver> all;
  for (const auto& state : states_) all.push_back(state.resolver);
  return all;
}

bool Upstreams::is_avoided(const DnsResolver& resolver, TimePoint now) const {
  return std::any_of(states_.begin(), states_.end(), [&](const State& state) {
    return state.resolver == resolver && now < state.avoid_until;
  });
}

std::vector<DnsResolver> Upstreams::order(TimePoint now) const {
  // The index keeps the owner's order among equals.
  std::vector<std::pair<TimePoint, std::size_t>> keys;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    keys.emplace_back(std::max(states_[i].avoid_until, now), i);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<DnsResolver> order;
  for (const auto& [avoid_until, index] : keys) order.push_back(states_[index].resolver);
  return order;
}

void Upstreams::note_answer(const DnsResolver& resolver) {
  auto* state = find(resolver);
  if (!state) return;
  ++state->answers;
  state->silences = 0;
  state->avoid_until = {};
  state->trouble.clear();
}

void Upstreams::note_refusal(const DnsResolver& resolver, std::string_view why) {
  auto* state = find(resolver);
  if (!state) return;
  ++state->failures;
  state->trouble = why;
}

void Upstreams::note_silence(const DnsResolver& resolver, std::string_view why, TimePoint now) {
  auto* state = find(resolver);
  if (!state) return;
  ++state->failures;
  state->trouble = why;
  int beyond = ++state->silences - kSilencesTolerated;
  if (beyond <= 0) return;
  // The shift stays small: 32 times the first is past the longest.
  state->avoid_until =
      now + std::min(kFirstAvoidance * (1 << std::min(beyond - 1, 5)), kLongestAvoidance);
}

Upstreams::State* Upstreams::find(const DnsResolver& resolver) {
  auto found = std::find_if(states_.begin(), states_.end(),
                            [&](const State& state) { return state.resolver == resolver; });
  return found == states_.end() ? nullptr : &*found;
}

}  // namespace sluice::dns
