#include "agent/net/router_dns_list.h"

#include <algorithm>

namespace sluice::agent {

template <typename T>
void RouterDnsList::learn(std::vector<Entry<T>>& entries, const std::vector<T>& values,
                          std::chrono::seconds lifetime, TimePoint now) {
  std::erase_if(entries, [&](const Entry<T>& entry) { return entry.end && *entry.end <= now; });
  std::optional<TimePoint> end;
  if (lifetime != kForever) end = now + lifetime;
  for (const T& value : values) {
    auto known = std::ranges::find(entries, value, &Entry<T>::value);
    if (lifetime.count() == 0) {
      if (known != entries.end()) entries.erase(known);
    } else if (known != entries.end()) {
      known->end = end;
    } else if (entries.size() < kMaxEntries) {
      entries.push_back({value, end});
    }
  }
}

void RouterDnsList::learn(const RouterDns& dns, TimePoint now) {
  std::vector<IpAddress> servers;
  for (const IpAddress& server : dns.servers) {
    if (std::ranges::count(servers, server) == 0) servers.push_back(server);
  }
  learn(servers_, servers, dns.servers_lifetime, now);
  learn(search_, dns.search, dns.search_lifetime, now);
}

void RouterDnsList::clear() {
  servers_.clear();
  search_.clear();
}

std::optional<TimePoint> RouterDnsList::next_end(TimePoint now) const {
  std::optional<TimePoint> next;
  auto look = [&](const auto& entries) {
    for (const auto& entry : entries) {
      if (entry.end && *entry.end > now && (!next || *entry.end < *next)) next = entry.end;
    }
  };
  look(servers_);
  look(search_);
  return next;
}

}  // namespace sluice::agent
