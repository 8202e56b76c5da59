#include "policy/learner.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

namespace sluice::policy {

namespace {

// Second labels under which countries register names: example.co.uk is registered, co.uk is not.
constexpr std::array<std::string_view, 9> kSecondLevel = {"ac",  "co",  "com", "edu", "gob",
                                                          "gov", "net", "or",  "org"};

// Below these, neighbours belong to strangers.
constexpr std::array<std::string_view, 17> kShared = {
    "amazonaws.com", "appspot.com",    "azureedge.net", "azurewebsites.net", "blogspot.com",
    "cloudapp.net",  "cloudfront.net", "fastly.net",    "fly.dev",           "github.io",
    "gitlab.io",     "herokuapp.com",  "netlify.app",   "pages.dev",         "vercel.app",
    "windows.net",   "workers.dev"};

/// Whether one owner has all that is below, as far as can be told without the list of public
/// suffixes.
bool has_one_owner(const DomainName& zone) {
  if (zone.labels() < 2) return false;
  std::string_view text = zone.text();
  if (zone.labels() == 2) {
    auto dot = text.find('.');
    bool is_country = text.size() - dot - 1 == 2;
    std::string_view second = text.substr(0, dot);
    if (is_country &&
        std::find(kSecondLevel.begin(), kSecondLevel.end(), second) != kSecondLevel.end()) {
      return false;
    }
  }
  return std::none_of(kShared.begin(), kShared.end(), [&](std::string_view shared) {
    return text == shared || text.ends_with("." + std::string(shared));
  });
}

/// Neighbouring ports as ranges.
std::vector<PortRange> ranges_of(const std::set<Port>& ports) {
  std::vector<PortRange> ranges;
  for (Port port : ports) {
    bool follows = !ranges.empty() && ranges.back().last.value() + 1 == port.value();
    if (follows) {
      ranges.back().last = port;
    } else {
      ranges.push_back({port, port});
    }
  }
  return ranges;
}

}  // namespace

void Learner::Traffic::add(Protocol protocol, Port port, std::size_t limit) {
  ++seen;
  if (protocol == Protocol::icmp) {
    icmp = true;
    return;
  }
  std::set<Port>& ports = protocol == Protocol::tcp ? tcp : udp;
  bool& all = protocol == Protocol::tcp ? all_tcp : all_udp;
  if (ports.size() < limit || ports.contains(port)) {
    ports.insert(port);
  } else {
    all = true;
  }
}

void Learner::Traffic::add(const Traffic& other) {
  tcp.insert(other.tcp.begin(), other.tcp.end());
  udp.insert(other.udp.begin(), other.udp.end());
  all_tcp |= other.all_tcp;
  all_udp |= other.all_udp;
  icmp |= other.icmp;
  seen += other.seen;
}

void Learner::saw_lookup(const DomainName& name) {
  if (name.is_root()) return;
  auto at = names_.find(name);
  if (at == names_.end()) {
    if (names_.size() >= limits_.names) {
      ++overflow_;
      return;
    }
    at = names_.try_emplace(name).first;
  }
  ++at->second.seen;
}

void Learner::saw_flow(const Flow& flow) {
  bool by_name = false;
  if (flow.is_public) {
    for (const std::string& text : flow.names) {
      auto name = DomainName::parse(text);
      if (!name) continue;
      auto at = names_.find(*name);
      if (at == names_.end()) continue;
      at->second.add(flow.protocol, flow.port, limits_.ports);
      by_name = true;
    }
  }
  if (by_name) return;
  auto at = addresses_.find(flow.remote);
  if (at == addresses_.end()) {
    if (addresses_.size() >= limits_.addresses) {
      ++overflow_;
      return;
    }
    at = addresses_.try_emplace(flow.remote).first;
  }
  at->second.add(flow.protocol, flow.port, limits_.ports);
}

std::map<DomainName, Learner::Traffic> Learner::take_suffixes(Names& names) {
  std::map<DomainName, std::size_t> children;
  for (const auto& [name, traffic] : names) ++children[name.parent()];
  std::map<DomainName, Traffic> suffixes;
  for (const auto& [zone, count] : children) {
    if (count >= kSiblings && has_one_owner(zone)) suffixes.try_emplace(zone);
  }
  // Of suffixes within each other the widest is left.
  std::erase_if(suffixes, [&](const auto& one) {
    for (DomainName zone = one.first.parent(); !zone.is_root(); zone = zone.parent()) {
      if (suffixes.contains(zone)) return true;
    }
    return false;
  });
  std::erase_if(names, [&](const auto& one) {
    for (DomainName zone = one.first; !zone.is_root(); zone = zone.parent()) {
      auto at = suffixes.find(zone);
      if (at == suffixes.end()) continue;
      at->second.add(one.second);
      return true;
    }
    return false;
  });
  return suffixes;
}

void Learner::write(const Target& target, const Traffic& traffic, const char* note,
                    std::vector<LearnedRule>& out) {
  Origin origin{"learned", 0, {}};
  auto add = [&](RuleProtocol protocol, PortRange ports, const char* why) {
    out.push_back({{.action = Action::allow,
                    .target = target,
                    .protocol = protocol,
                    .ports = ports,
                    .scope = {},
                    .origin = origin},
                   traffic.seen,
                   why});
  };
  if (traffic.is_empty()) {
    add(RuleProtocol::any, {}, "looked up, and no connection followed: no ports are known");
    return;
  }
  constexpr const char* kMany = "many ports were seen";
  std::set<Port> tcp = traffic.tcp, udp = traffic.udp;
  if (traffic.all_tcp) add(RuleProtocol::tcp, {}, kMany), tcp.clear();
  if (traffic.all_udp) add(RuleProtocol::udp, {}, kMany), udp.clear();
  std::set<Port> both;
  std::set_intersection(tcp.begin(), tcp.end(), udp.begin(), udp.end(),
                        std::inserter(both, both.end()));
  for (Port port : both) tcp.erase(port), udp.erase(port);
  for (PortRange range : ranges_of(both)) add(RuleProtocol::any, range, note);
  for (PortRange range : ranges_of(tcp)) add(RuleProtocol::tcp, range, note);
  for (PortRange range : ranges_of(udp)) add(RuleProtocol::udp, range, note);
  if (traffic.icmp) add(RuleProtocol::icmp, {}, note);
}

std::vector<LearnedRule> Learner::rules() const {
  Names names = names_;
  auto suffixes = take_suffixes(names);
  std::vector<LearnedRule> out;
  for (const auto& [zone, traffic] : suffixes) {
    write(SuffixName{zone}, traffic, "three or more names of this zone were seen", out);
  }
  for (const auto& [name, traffic] : names) write(ExactName{name}, traffic, "", out);
  for (const auto& [address, traffic] : addresses_) {
    write(IpPrefix(address, address.bits()), traffic, "", out);
  }
  return out;
}

}  // namespace sluice::policy
