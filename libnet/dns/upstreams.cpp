#include "dns/upstreams.h"

#include <algorithm>
#include <utility>

namespace sluice::dns {

namespace {

constexpr int kSilencesTolerated = 1;
constexpr Duration kFirstAvoidance = std::chrono::seconds(1);
constexpr Duration kLongestAvoidance = std::chrono::seconds(30);

}  // namespace

void Upstreams::set(const std::vector<Endpoint>& endpoints) {
  states_.clear();
  for (const auto& endpoint : endpoints) {
    if (!find(endpoint)) states_.push_back({endpoint});
  }
}

std::vector<Endpoint> Upstreams::endpoints() const {
  std::vector<Endpoint> all;
  for (const auto& state : states_) all.push_back(state.endpoint);
  return all;
}

bool Upstreams::is_avoided(const Endpoint& endpoint, TimePoint now) const {
  return std::any_of(states_.begin(), states_.end(), [&](const State& state) {
    return state.endpoint == endpoint && now < state.avoid_until;
  });
}

std::vector<Endpoint> Upstreams::order(TimePoint now) const {
  // The index keeps the owner's order among equals.
  std::vector<std::pair<TimePoint, std::size_t>> keys;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    keys.emplace_back(std::max(states_[i].avoid_until, now), i);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<Endpoint> order;
  for (const auto& [avoid_until, index] : keys) order.push_back(states_[index].endpoint);
  return order;
}

void Upstreams::note_answer(const Endpoint& endpoint) {
  if (auto* state = find(endpoint)) *state = {endpoint};
}

void Upstreams::note_silence(const Endpoint& endpoint, TimePoint now) {
  auto* state = find(endpoint);
  if (!state) return;
  int beyond = ++state->silences - kSilencesTolerated;
  if (beyond <= 0) return;
  // The shift stays small: 32 times the first is past the longest.
  state->avoid_until =
      now + std::min(kFirstAvoidance * (1 << std::min(beyond - 1, 5)), kLongestAvoidance);
}

Upstreams::State* Upstreams::find(const Endpoint& endpoint) {
  auto found = std::find_if(states_.begin(), states_.end(),
                            [&](const State& state) { return state.endpoint == endpoint; });
  return found == states_.end() ? nullptr : &*found;
}

}  // namespace sluice::dns
