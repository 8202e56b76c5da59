#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "policy/policy.h"

namespace sluice::policy {

/// The policy's meaning, slow and obvious: one walk down the rules for each question. What Policy
/// compiles has to agree with it on everything.
class Reference {
 public:
  Reference(std::vector<Rule> rules, HostView host, CompileOptions options)
      : rules_(std::move(rules)), host_(std::move(host)), options_(options), groups_(host_) {}

  Verdict judge(const Query& query) const {
    if (is_dns_service(query)) {
      for (std::size_t i = 0; i < rules_.size(); ++i) {
        const Rule& rule = rules_[i];
        bool on_dns = rule.is_on(Group::dns) && rule.applies_to(Direction::egress) &&
                      in_scope(rule, query.inner);
        if (on_dns && rule.matches(query.protocol, query.port)) return decided(i);
      }
      if (needs_names(query.inner)) return {Action::allow, -1, Basis::dns_service};
    }
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const Rule& rule = rules_[i];
      if (!rule.applies_to(query.direction) || !rule.matches(query.protocol, query.port)) continue;
      if (!in_scope(rule, query.inner)) continue;
      bool matches = rule.is_on_name() ? binds_match(rule, query) : on_address(rule, query.remote);
      if (matches) return decided(i);
    }
    return default_of(query.direction);
  }

  Verdict judge_named(const Query& query, const DomainName& name) const {
    bool is_bound = query.names && query.names->is_bound(name, query.remote, query.now);
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const Rule& rule = rules_[i];
      if (!rule.applies_to(query.direction) || !rule.matches(query.protocol, query.port)) continue;
      if (!in_scope(rule, query.inner)) continue;
      bool counts = is_bound || rule.action == Action::deny;
      bool matches =
          rule.is_on_name() ? counts && on_name(rule, name) : on_address(rule, query.remote);
      if (matches) return decided(i);
    }
    return default_of(query.direction);
  }

  Verdict judge_lookup(const DomainName& name, const std::optional<IpAddress>& inner = {}) const {
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const Rule& rule = rules_[i];
      if (!in_scope(rule, inner)) continue;
      if (!rule.applies_to(Direction::egress) || rule.is_on(Group::dns)) continue;
      bool by_name = rule.is_on_name() || rule.is_on(Group::any);
      if (rule.action == Action::deny && (!by_name || !rule.is_whole())) continue;
      if (rule.is_on_name() && !on_name(rule, name)) continue;
      return decided(i);
    }
    return {options_.egress_default};
  }

  bool answer_allowed(const DomainName& name, const IpAddress& address,
                      const std::optional<IpAddress>& inner = {}) const {
    if (!judge_lookup(name, inner).allowed()) return false;
    bool is_public = groups_.groups_of(address).for_allow.has(Group::public_);
    bool only_addresses = false;
    for (const Rule& rule : rules_) {
      if (!in_scope(rule, inner)) continue;
      if (!rule.applies_to(Direction::egress) || rule.is_on(Group::dns)) continue;
      if (rule.action == Action::deny && !rule.is_whole()) continue;
      if (rule.is_on_name()) {
        if (only_addresses || !on_name(rule, name)) continue;
        if (rule.action == Action::deny) return false;
        if (is_public) return true;
        only_addresses = true;
      } else if (on_address(rule, address)) {
        return rule.action == Action::allow;
      }
    }
    return options_.egress_default == Action::allow && is_public;
  }

 private:
  Verdict decided(std::size_t i) const {
    return {rules_[i].action, static_cast<int>(i),
            rules_[i].is_on_name() ? Basis::name_rule : Basis::address_rule};
  }

  bool is_dns_service(const Query& query) const {
    return query.direction == Direction::egress && query.protocol != Protocol::icmp &&
           (query.port == Port(53) || query.port == Port(853)) &&
           std::count(host_.gateways.begin(), host_.gateways.end(), query.remote) > 0;
  }

  Verdict default_of(Direction direction) const {
    return {direction == Direction::egress ? options_.egress_default : options_.ingress_default};
  }

  static bool in_scope(const Rule& rule, const std::optional<IpAddress>& inner) {
    return !rule.scope || (inner && rule.scope->contains(*inner));
  }

  bool needs_names(const std::optional<IpAddress>& inner) const {
    return options_.egress_default == Action::allow ||
           std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
             return in_scope(rule, inner) && rule.action == Action::allow &&
                    rule.applies_to(Direction::egress) && !rule.is_on(Group::dns);
           });
  }

  static bool on_name(const Rule& rule, const DomainName& name) {
    if (const auto* exact = std::get_if<ExactName>(&rule.target)) return exact->name == name;
    return name.is_in(std::get<SuffixName>(rule.target).zone);
  }

  bool binds_match(const Rule& rule, const Query& query) const {
    if (query.names == nullptr) return false;
    for (const std::string& text : query.names->names_of(query.remote, query.now)) {
      auto name = DomainName::parse(text);
      if (name && on_name(rule, *name)) return true;
    }
    return false;
  }

  bool on_address(const Rule& rule, const IpAddress& address) const {
    if (const auto* group = std::get_if<Group>(&rule.target)) {
      Membership groups = groups_.groups_of(address);
      return (rule.action == Action::allow ? groups.for_allow : groups.for_deny).has(*group);
    }
    const auto& block = std::get<IpPrefix>(rule.target);
    auto embedded = embedded_v4(address);
    return in_block(rule.action, block, address) ||
           (embedded && in_block(rule.action, block, embedded->inner));
  }

  /// A block opens a closed place only from within.
  bool in_block(Action action, const IpPrefix& block, const IpAddress& address) const {
    if (!block.contains(address)) return false;
    if (action == Action::deny) return true;
    for (const auto* list : {&host_.gateways, &host_.host_aliases}) {
      for (const IpAddress& closed : *list) {
        if (closed == address && block.length() < address.bits()) return false;
      }
    }
    for (const IpPrefix& closed : transition_blocks()) {
      if (closed.contains(address) && block.length() < closed.length()) return false;
    }
    return true;
  }

  std::vector<Rule> rules_;
  HostView host_;
  CompileOptions options_;
  GroupMap groups_;
};

}  // namespace sluice::policy
