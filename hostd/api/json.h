#pragma once

#include <net/inspect.h>
#include <net/network.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hostd/guest/channel.h"

// What the API and the log say, as JSON. The names of the members are part of the API.

namespace sluice::hostd {

nlohmann::json to_json(const PublishedPort& port);
nlohmann::json to_json(const NetworkCounters& counters);
nlohmann::json to_json(const PolicyInfo& policy);
nlohmann::json to_json(const PolicyAnswer& answer);
nlohmann::json to_json(const LearnReport& report);
nlohmann::json to_json(const NameBinding& binding);
nlohmann::json to_json(const DomainName& name);
nlohmann::json to_json(const AgentChannel::State& agent);
nlohmann::json to_json(const DnsInfo& dns);
nlohmann::json to_json(const DnsInfo::Resolver& resolver);
nlohmann::json to_json(const DnsInfo::Split& split);
nlohmann::json to_json(const DnsRecord& record);
nlohmann::json to_json(const FlowInfo& flow);
/// `container` is the name of the container that is one of its ends; empty: none is known.
nlohmann::json to_json(const Event& event, const std::string& network,
                       const std::string& container = "");

template <typename T>
nlohmann::json to_json(const std::vector<T>& list) {
  nlohmann::json out = nlohmann::json::array();
  for (const T& one : list) out.push_back(to_json(one));
  return out;
}

}  // namespace sluice::hostd
