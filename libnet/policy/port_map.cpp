#include "policy/port_map.h"

#include <algorithm>
#include <functional>
#include <queue>

namespace sluice::policy {

PortMap::PortMap(const std::vector<Rule>& rules, const std::vector<int>& indices) {
  if (indices.empty()) return;
  lowest_ = indices.front();
  for (int index : indices) {
    const Rule& rule = rules[static_cast<std::size_t>(index)];
    if (icmp_ == kNone && rule.matches(Protocol::icmp, Port())) icmp_ = index;
    if (first_whole_ == kNone && (rule.action == Action::allow || rule.is_whole())) {
      first_whole_ = index;
    }
  }
  tcp_ = make_steps(rules, indices, Protocol::tcp);
  udp_ = make_steps(rules, indices, Protocol::udp);
}

PortMap::Steps PortMap::make_steps(const std::vector<Rule>& rules, const std::vector<int>& indices,
                                   Protocol protocol) {
  struct Start {
    std::uint16_t port;
    int rule;
  };
  auto last_port = [&](int index) { return rules[static_cast<std::size_t>(index)].ports.last; };
  std::vector<Start> starts;
  for (int index : indices) {
    const Rule& rule = rules[static_cast<std::size_t>(index)];
    if (rule.matches(protocol, rule.ports.first))
      starts.push_back({rule.ports.first.value(), index});
  }
  std::sort(starts.begin(), starts.end(),
            [](const Start& a, const Start& b) { return a.port < b.port; });

  Steps steps;
  auto change_to = [&](std::uint16_t port, int rule) {
    int before = steps.empty() ? kNone : steps.back().rule;
    if (rule == before) return;
    if (!steps.empty() && steps.back().from == port) {
      steps.back().rule = rule;
    } else {
      steps.push_back({port, rule});
    }
  };
  // A sweep over the ports: the heap holds the rules whose range has begun, first rule on top.
  std::priority_queue<int, std::vector<int>, std::greater<>> open;
  std::size_t next = 0;
  std::uint32_t port = 0;
  while (next < starts.size() || !open.empty()) {
    while (!open.empty() && last_port(open.top()).value() < port) open.pop();
    if (open.empty() && next == starts.size()) {
      change_to(static_cast<std::uint16_t>(port), kNone);
      break;
    }
    if (open.empty() && starts[next].port > port) {
      change_to(static_cast<std::uint16_t>(port), kNone);
      port = starts[next].port;
    }
    while (next < starts.size() && starts[next].port <= port) open.push(starts[next++].rule);
    change_to(static_cast<std::uint16_t>(port), open.top());
    std::uint32_t end = std::uint32_t{last_port(open.top()).value()} + 1;
    port = next < starts.size() ? std::min<std::uint32_t>(end, starts[next].port) : end;
    if (port > 0xffff) break;
  }
  steps.shrink_to_fit();
  return steps;
}

int PortMap::at(const Steps& steps, Port port) {
  auto after = std::upper_bound(steps.begin(), steps.end(), port.value(),
                                [](std::uint16_t p, const Step& step) { return p < step.from; });
  return after == steps.begin() ? kNone : std::prev(after)->rule;
}

int PortMap::first(Protocol protocol, Port port) const {
  if (lowest_ == kNone) return kNone;
  switch (protocol) {
    case Protocol::icmp:
      return icmp_;
    case Protocol::tcp:
      return at(tcp_, port);
    case Protocol::udp:
      return at(udp_, port);
  }
  return kNone;
}

bool PortMap::covers(const Rule& rule, int index) const {
  if (lowest_ >= index) return false;
  if (rule.matches(Protocol::icmp, Port()) && icmp_ >= index) return false;
  for (const auto& [protocol, steps] :
       {std::pair(Protocol::tcp, &tcp_), std::pair(Protocol::udp, &udp_)}) {
    if (!rule.matches(protocol, rule.ports.first)) continue;
    if (at(*steps, rule.ports.first) >= index) return false;
    for (const Step& step : *steps) {
      bool inside = step.from > rule.ports.first.value() && step.from <= rule.ports.last.value();
      if (inside && step.rule >= index) return false;
    }
  }
  return true;
}

}  // namespace sluice::policy
