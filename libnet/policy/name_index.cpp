#include "policy/name_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::policy {

namespace {

template <typename Entry>
std::uint32_t take_slot(std::vector<Entry>& entries, std::vector<std::uint32_t>& free) {
  if (free.empty()) {
    entries.emplace_back();
    return static_cast<std::uint32_t>(entries.size() - 1);
  }
  std::uint32_t slot = free.back();
  free.pop_back();
  entries[slot] = Entry();
  return slot;
}

}  // namespace

std::size_t NameIndex::Hash::operator()(std::string_view text) const {
  return siphash(key, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::size_t NameIndex::Hash::operator()(const IpAddress& address) const {
  return siphash(key, address.bytes());
}

NameIndex::NameIndex() : NameIndex(Limits()) {}

NameIndex::NameIndex(const Limits& limits)
    : limits_(limits),
      by_name_(0, Hash{HashKey::random()}),
      by_address_(0, Hash{HashKey::random()}) {}

void NameIndex::bind(const DomainName& name, const IpAddress& address, Duration ttl,
                     TimePoint now) {
  Duration life = std::clamp(ttl, limits_.grace, std::max(limits_.grace, limits_.longest));
  TimePoint expires = now + life;
  Slot slot = find(name, address);
  if (slot == kNone) {
    if (!make_room(name, address, now)) {
      ++counters_.refused;
      return;
    }
    insert(name, address, expires);
  } else {
    Binding& binding = bindings_[slot];
    binding.expires = std::max(binding.expires, expires);
    Address& of = addresses_[binding.address];
    unlink(of.bindings, &Binding::in_address, slot);
    push_front(of.bindings, &Binding::in_address, slot);
    if (of.pins == 0) {
      unlink_age(slot);
      push_age(slot);
    }
  }
  ++counters_.bound;
}

void NameIndex::insert(const DomainName& name, const IpAddress& address, TimePoint expires) {
  Slot of_name = name_slot(name), of_address = address_slot(address);
  Slot slot = take_slot(bindings_, free_bindings_);
  Binding& binding = bindings_[slot];
  binding.name = of_name;
  binding.address = of_address;
  binding.expires = expires;
  push_front(names_[of_name].bindings, &Binding::in_name, slot);
  push_front(addresses_[of_address].bindings, &Binding::in_address, slot);
  ++names_[of_name].count;
  ++addresses_[of_address].count;
  if (addresses_[of_address].pins == 0) push_age(slot);
  ++size_;
  bytes_ += sizeof(Binding);
}

NameIndex::Slot NameIndex::name_slot(const DomainName& name) {
  if (auto at = by_name_.find(name.text()); at != by_name_.end()) return at->second;
  Slot slot = take_slot(names_, free_names_);
  auto at = by_name_.emplace(name.text(), slot).first;
  names_[slot].text = &at->first;
  bytes_ += sizeof(Name) + name.text().size();
  return slot;
}

NameIndex::Slot NameIndex::address_slot(const IpAddress& address) {
  if (auto at = by_address_.find(address); at != by_address_.end()) return at->second;
  Slot slot = take_slot(addresses_, free_addresses_);
  by_address_.emplace(address, slot);
  addresses_[slot].address = address;
  bytes_ += sizeof(Address);
  return slot;
}

NameIndex::Slot NameIndex::find(const DomainName& name, const IpAddress& address) const {
  auto of_name = by_name_.find(name.text());
  auto of_address = by_address_.find(address);
  if (of_name == by_name_.end() || of_address == by_address_.end()) return kNone;
  for (Slot slot = names_[of_name->second].bindings; slot != kNone;) {
    if (bindings_[slot].address == of_address->second) return slot;
    slot = bindings_[slot].in_name.next;
  }
  return kNone;
}

bool NameIndex::is_bound(const DomainName& name, const IpAddress& address, TimePoint now) const {
  Slot slot = find(name, address);
  if (slot == kNone) return false;
  return now < bindings_[slot].expires || addresses_[bindings_[slot].address].pins > 0;
}

bool NameIndex::make_room(const DomainName& name, const IpAddress& address, TimePoint now) {
  auto of_name = by_name_.find(name.text());
  if (of_name != by_name_.end() && names_[of_name->second].count >= limits_.addresses_per_name) {
    if (!evict(soonest(names_[of_name->second].bindings, &Binding::in_name), now)) return false;
  }
  auto of_address = by_address_.find(address);
  if (of_address != by_address_.end() &&
      addresses_[of_address->second].count >= limits_.names_per_address) {
    Slot head = addresses_[of_address->second].bindings;
    if (!evict(soonest(head, &Binding::in_address), now)) return false;
  }
  std::size_t most = sizeof(Binding) + sizeof(Name) + sizeof(Address) + name.text().size();
  while (size_ >= limits_.bindings || bytes_ + most > limits_.bytes) {
    if (!evict(oldest_, now)) return false;
  }
  return true;
}

NameIndex::Slot NameIndex::soonest(Slot head, Link Binding::* link) const {
  Slot best = kNone;
  for (Slot slot = head; slot != kNone; slot = (bindings_[slot].*link).next) {
    if (addresses_[bindings_[slot].address].pins > 0) continue;
    if (best == kNone || bindings_[slot].expires <= bindings_[best].expires) best = slot;
  }
  return best;
}

bool NameIndex::evict(Slot slot, TimePoint now) {
  if (slot == kNone) return false;
  if (now < bindings_[slot].expires) ++counters_.evicted;
  remove(slot);
  return true;
}

void NameIndex::remove(Slot slot) {
  Binding& binding = bindings_[slot];
  Name& name = names_[binding.name];
  Address& address = addresses_[binding.address];
  if (address.pins == 0) unlink_age(slot);
  unlink(name.bindings, &Binding::in_name, slot);
  unlink(address.bindings, &Binding::in_address, slot);
  if (--name.count == 0) {
    bytes_ -= sizeof(Name) + name.text->size();
    auto at = by_name_.find(*name.text);
    by_name_.erase(at);
    free_names_.push_back(binding.name);
  }
  --address.count;
  release_address(binding.address);
  free_bindings_.push_back(slot);
  bytes_ -= sizeof(Binding);
  --size_;
}

void NameIndex::release_address(Slot slot) {
  const Address& address = addresses_[slot];
  if (address.count > 0 || address.pins > 0) return;
  bytes_ -= sizeof(Address);
  by_address_.erase(address.address);
  free_addresses_.push_back(slot);
}

void NameIndex::forget(const DomainName& name) {
  // The name's entry goes with its last binding, so it is looked up again each time.
  for (auto at = by_name_.find(name.text()); at != by_name_.end();
       at = by_name_.find(name.text())) {
    remove(names_[at->second].bindings);
  }
}

void NameIndex::forget(const DomainName& name, const IpAddress& address) {
  if (Slot slot = find(name, address); slot != kNone) remove(slot);
}

std::vector<std::string> NameIndex::names_of(const IpAddress& address, TimePoint now) const {
  std::vector<std::string> names;
  each_name(address, now, [&](std::string_view name) {
    names.emplace_back(name);
    return true;
  });
  return names;
}

std::vector<IpAddress> NameIndex::addresses_of(const DomainName& name, TimePoint now) const {
  std::vector<IpAddress> out;
  auto at = by_name_.find(name.text());
  if (at == by_name_.end()) return out;
  for (Slot slot = names_[at->second].bindings; slot != kNone;) {
    const Binding& binding = bindings_[slot];
    const Address& address = addresses_[binding.address];
    if (now < binding.expires || address.pins > 0) out.push_back(address.address);
    slot = binding.in_name.next;
  }
  return out;
}

NameIndex::Pin NameIndex::pin(const IpAddress& address) {
  auto at = by_address_.find(address);
  if (at == by_address_.end()) return Pin();
  Address& pinned = addresses_[at->second];
  if (pinned.pins++ == 0) {
    for (Slot slot = pinned.bindings; slot != kNone; slot = bindings_[slot].in_address.next) {
      unlink_age(slot);
    }
  }
  return Pin(this, at->second);
}

void NameIndex::unpin(Slot slot) {
  Address& address = addresses_[slot];
  if (--address.pins > 0) return;
  for (Slot s = address.bindings; s != kNone; s = bindings_[s].in_address.next) push_age(s);
  release_address(slot);
}

void NameIndex::push_front(Slot& head, Link Binding::* link, Slot slot) {
  bindings_[slot].*link = {kNone, head};
  if (head != kNone) (bindings_[head].*link).prev = slot;
  head = slot;
}

void NameIndex::unlink(Slot& head, Link Binding::* link, Slot slot) {
  auto [prev, next] = bindings_[slot].*link;
  (prev == kNone ? head : (bindings_[prev].*link).next) = next;
  if (next != kNone) (bindings_[next].*link).prev = prev;
}

void NameIndex::push_age(Slot slot) {
  push_front(youngest_, &Binding::in_age, slot);
  if (oldest_ == kNone) oldest_ = slot;
}

void NameIndex::unlink_age(Slot slot) {
  if (oldest_ == slot) oldest_ = bindings_[slot].in_age.prev;
  unlink(youngest_, &Binding::in_age, slot);
}

NameIndex::Pin::Pin(Pin&& other) noexcept
    : index_(std::exchange(other.index_, nullptr)), address_(other.address_) {}

NameIndex::Pin& NameIndex::Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    if (index_ != nullptr) index_->unpin(address_);
    index_ = std::exchange(other.index_, nullptr);
    address_ = other.address_;
  }
  return *this;
}

NameIndex::Pin::~Pin() {
  if (index_ != nullptr) index_->unpin(address_);
}

}  // namespace sluice::policy
