#include "agent/dns/name_registry.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::agent {

namespace {

constexpr std::string_view kLocalhost = "localhost";

bool is_localhost(const DomainName& name) {
  const std::string& text = name.text();
  return text.ends_with(kLocalhost) &&
         (text.size() == kLocalhost.size() || text[text.size() - kLocalhost.size() - 1] == '.');
}

template <typename T>
void remove_one(std::vector<const T*>& list, const T* one) {
  auto found = std::find(list.begin(), list.end(), one);
  if (found != list.end()) list.erase(found);
}

/// Containers' before sandboxes'.
const Registration* first_seen(const std::vector<const Registration*>& owners,
                               const NameView& view) {
  const Registration* found = nullptr;
  for (const Registration* one : owners) {
    if (!view.sees(*one)) continue;
    if (one->kind == OwnerKind::container) return one;
    if (!found) found = one;
  }
  return found;
}

template <typename T>
void keep_each_once(std::vector<T>& list) {
  std::vector<T> once;
  for (T& one : list) {
    if (std::find(once.begin(), once.end(), one) == once.end()) once.push_back(std::move(one));
  }
  list = std::move(once);
}

}  // namespace

const DomainName& gateway_zone() {
  static const DomainName zone = *DomainName::parse("vm.internal");
  return zone;
}

bool NameView::sees(const Registration& registration) const {
  return all || registration.network.empty() ||
         std::find(networks.begin(), networks.end(), registration.network) != networks.end();
}

Status NameRegistry::check_suffix(const DomainName& suffix) {
  if (suffix.is_root()) return Status::invalid_argument("the suffix can't be the root");
  if (suffix.is_in(gateway_zone())) {
    return Status::invalid_argument(
        fmt::format("{} is the gateway's, which answers for it", gateway_zone().text()));
  }
  if (is_localhost(suffix)) return Status::invalid_argument("localhost is no suffix");
  return Status::ok();
}

Status NameRegistry::set_suffix(DomainName suffix) {
  if (Status status = check_suffix(suffix); !status) return status;
  by_name_.clear();
  by_address_.clear();
  suffix_ = std::move(suffix);
  for (const auto& [key, registration] : registrations_) index(registration);
  return Status::ok();
}

DomainName NameRegistry::with_suffix(const DomainName& name) const {
  auto whole = DomainName::parse(fmt::format("{}.{}", name.text(), suffix_.text()));
  return whole ? *whole : DomainName();
}

Status NameRegistry::check(Registration& registration) const {
  if (registration.owner.empty() || registration.owner.size() > kMaxOwnerBytes) {
    return Status::invalid_argument(fmt::format("owner: 1 to {} bytes are needed", kMaxOwnerBytes));
  }
  if (registration.network.size() > kMaxOwnerBytes) {
    return Status::invalid_argument(fmt::format("network: {} bytes are the most", kMaxOwnerBytes));
  }
  if (registration.names.empty()) return Status::invalid_argument("names: there is none");
  if (registration.addresses.empty()) return Status::invalid_argument("addresses: there is none");
  for (const IpAddress& address : registration.addresses) {
    if (address.is_unspecified() || address.is_multicast()) {
      return Status::invalid_argument(
          fmt::format("addresses: {} is nobody's", address.to_string()));
    }
  }
  for (DomainName& name : registration.names) {
    if (!name.is_root() && name.is_in(suffix_)) {
      std::size_t whole = name.text().size();
      std::size_t rest = whole - std::min(whole, suffix_.text().size() + 1);
      auto before = DomainName::parse(std::string_view(name.text()).substr(0, rest));
      if (before) name = std::move(*before);
    }
    if (name.is_root())
      return Status::invalid_argument("names: the root, or the suffix itself, is nobody's to take");
    if (is_localhost(name) || name.is_in(gateway_zone())) {
      return Status::invalid_argument(fmt::format("names: {} is nobody's to take", name.text()));
    }
    if (with_suffix(name).is_root()) {
      return Status::invalid_argument(
          fmt::format("names: {} is too long before .{}", name.text(), suffix_.text()));
    }
  }
  keep_each_once(registration.names);
  keep_each_once(registration.addresses);
  if (registration.names.size() > kMaxNamesEach ||
      registration.addresses.size() > kMaxAddressesEach) {
    return Status(StatusCode::exhausted, fmt::format("{} names and {} addresses are the most",
                                                     kMaxNamesEach, kMaxAddressesEach));
  }
  return Status::ok();
}

Status NameRegistry::add(Registration registration) {
  if (Status status = check(registration); !status) return status;
  Key key{registration.owner, registration.network, registration.named_by};
  auto before = registrations_.find(key);
  bool replaces = before != registrations_.end();
  std::size_t freed = replaces ? before->second.names.size() : 0;
  if ((!replaces && registrations_.size() >= kMaxRegistrations) ||
      name_count_ - freed + registration.names.size() > kMaxNames) {
    return Status(StatusCode::exhausted,
                  fmt::format("{} registrations with {} names in all are the most",
                              kMaxRegistrations, kMaxNames));
  }
  if (replaces) erase(before);
  name_count_ += registration.names.size();
  auto added = registrations_.emplace(std::move(key), std::move(registration)).first;
  index(added->second);
  return Status::ok();
}

bool NameRegistry::remove(std::string_view owner) {
  auto at = registrations_.lower_bound(Key{std::string(owner), "", NamedBy::itself});
  bool any = false;
  while (at != registrations_.end() && at->second.owner == owner) {
    at = erase(at);
    any = true;
  }
  return any;
}

bool NameRegistry::remove(std::string_view owner, std::string_view network, NamedBy named_by) {
  auto at = registrations_.find(Key{std::string(owner), std::string(network), named_by});
  if (at == registrations_.end()) return false;
  erase(at);
  return true;
}

std::map<NameRegistry::Key, Registration>::iterator NameRegistry::erase(
    std::map<Key, Registration>::iterator at) {
  unindex(at->second);
  name_count_ -= at->second.names.size();
  return registrations_.erase(at);
}

template <typename Visit, typename VisitAbove>
void NameRegistry::each_name(const Registration& registration, Visit visit,
                             VisitAbove visit_above) const {
  for (const DomainName& name : registration.names) {
    DomainName whole = with_suffix(name);
    // Too long for a suffix that came later: found without it, if at all.
    if (!whole.is_root()) {
      for (DomainName above = whole.parent(); above != suffix_; above = above.parent()) {
        visit_above(above);
      }
      visit(whole);
    }
    if (name.labels() == 1 || registration.named_by == NamedBy::host) visit(name);
  }
}

void NameRegistry::index(const Registration& registration) {
  each_name(
      registration, [&](const DomainName& name) { by_name_[name].owners.push_back(&registration); },
      [&](const DomainName& name) { by_name_[name].below.push_back(&registration); });
  for (const IpAddress& address : registration.addresses) {
    by_address_[address].push_back(&registration);
  }
}

void NameRegistry::unindex(const Registration& registration) {
  auto drop = [&](const DomainName& name, Owners Node::* list) {
    auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    remove_one(found->second.*list, &registration);
    if (found->second.owners.empty() && found->second.below.empty()) by_name_.erase(found);
  };
  each_name(
      registration, [&](const DomainName& name) { drop(name, &Node::owners); },
      [&](const DomainName& name) { drop(name, &Node::below); });
  for (const IpAddress& address : registration.addresses) {
    auto found = by_address_.find(address);
    if (found == by_address_.end()) continue;
    remove_one(found->second, &registration);
    if (found->second.empty()) by_address_.erase(found);
  }
}

const NameRegistry::Node* NameRegistry::node(const DomainName& name) const {
  auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

NameRegistry::Found NameRegistry::find(const DomainName& name, Family family,
                                       const NameView& view) const {
  Found found;
  const Node* here = node(name);
  const Registration* first = here ? first_seen(here->owners, view) : nullptr;
  if (!first) return found;
  found.exists = true;
  const Owners& owners = here->owners;
  // Where not all have room in an answer, it begins elsewhere each time.
  std::size_t start = owners.size() > kMaxAddressesOfName ? here->turn % owners.size() : 0;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const Registration* one = owners[(start + i) % owners.size()];
    if (one->kind != first->kind || !view.sees(*one)) continue;
    for (const IpAddress& address : one->addresses) {
      if (address.family() == family && found.addresses.size() < kMaxAddressesOfName) {
        found.addresses.push_back(address);
      }
    }
  }
  keep_each_once(found.addresses);
  if (found.addresses.size() > 1) {
    auto turn = static_cast<long>(here->turn++ % found.addresses.size());
    std::rotate(found.addresses.begin(), found.addresses.begin() + turn, found.addresses.end());
  }
  return found;
}

bool NameRegistry::exists(const DomainName& name, const NameView& view) const {
  const Node* here = node(name);
  return here && first_seen(here->owners, view);
}

bool NameRegistry::exists_below(const DomainName& name, const NameView& view) const {
  const Node* here = node(name);
  return here && first_seen(here->below, view);
}

std::optional<DomainName> NameRegistry::name_of(const IpAddress& address,
                                                const NameView& view) const {
  auto found = by_address_.find(address);
  const Registration* owner =
      found == by_address_.end() ? nullptr : first_seen(found->second, view);
  if (!owner) return std::nullopt;
  const DomainName& name = owner->names.front();
  if (owner->named_by == NamedBy::host && name.labels() > 1) return name;
  DomainName whole = with_suffix(name);
  return whole.is_root() ? name : whole;
}

std::vector<std::string> NameRegistry::networks_of(const IpAddress& address) const {
  std::vector<std::string> networks;
  auto found = by_address_.find(address);
  if (found == by_address_.end()) return networks;
  for (const Registration* one : found->second) {
    if (!one->network.empty()) networks.push_back(one->network);
  }
  return networks;
}

std::vector<const Registration*> NameRegistry::list() const {
  std::vector<const Registration*> list;
  for (const auto& [key, registration] : registrations_) list.push_back(&registration);
  return list;
}

}  // namespace sluice::agent
