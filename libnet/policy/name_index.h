#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/hash.h"
#include "base/loop.h"

namespace sluice::policy {

/// Which names one guest's DNS answers have bound to which addresses. It opens what a name rule
/// allows, so it is written only from answers that the forwarder checked, for this guest, and never
/// shared between guests.
///
/// A binding is one (name, address) pair with an expiry of its own. Answers merge: a later answer
/// with other addresses takes nothing away, and no answer clears anything; bindings only run out,
/// are forgotten by command, or make room. While a flow holds a Pin on an address, the bindings of
/// that address neither run out nor make room.
///
/// Bounded by Limits in every direction. When full, the binding that was bound longest ago and is
/// not pinned goes. One thread; reads are O(1) and allocate nothing. Keys are hashed with a secret,
/// since an attacker chooses names.
class NameIndex {
 public:
  struct Limits {
    std::size_t bindings = 16384;
    std::size_t addresses_per_name = 64;
    std::size_t names_per_address = 64;
    std::size_t bytes = 4 << 20;  ///< As counted by bytes().
    /// The shortest life of a binding: clients keep an address longer than its TTL says.
    Duration grace = std::chrono::minutes(5);
    /// The longest: a TTL can say 68 years.
    Duration longest = std::chrono::hours(24);
  };
  struct Counters {
    std::uint64_t bound = 0;    ///< Bindings made or renewed.
    std::uint64_t evicted = 0;  ///< Bindings that had not run out and made room.
    std::uint64_t refused = 0;  ///< Bindings not made: all the room is pinned.
  };
  class Pin;

  NameIndex();
  explicit NameIndex(const Limits& limits);
  NameIndex(const NameIndex&) = delete;
  NameIndex& operator=(const NameIndex&) = delete;

  /// Records that an answer mapped `name` to `address`: called for the name asked and for each
  /// CNAME between. The binding lives until at least `now` + max(ttl, grace); it is never
  /// shortened.
  void bind(const DomainName& name, const IpAddress& address, Duration ttl, TimePoint now);

  /// Whether that binding is in force.
  bool is_bound(const DomainName& name, const IpAddress& address, TimePoint now) const;

  /// Calls `visit(std::string_view name)` for each name bound to the address, latest first, until
  /// one call returns false.
  template <typename Visit>
  void each_name(const IpAddress& address, TimePoint now, Visit&& visit) const {
    auto at = by_address_.find(address);
    if (at == by_address_.end()) return;
    bool is_pinned = addresses_[at->second].pins > 0;
    for (Slot slot = addresses_[at->second].bindings; slot != kNone;) {
      const Binding& binding = bindings_[slot];
      bool in_force = is_pinned || now < binding.expires;
      if (in_force && !visit(std::string_view(*names_[binding.name].text))) return;
      slot = binding.in_address.next;
    }
  }

  /// Calls `visit(std::string_view name, const IpAddress&, TimePoint expires, bool is_pinned)` for
  /// each binding in force, in no order.
  template <typename Visit>
  void each_binding(TimePoint now, Visit&& visit) const {
    for (const auto& [address, slot] : by_address_) {
      bool is_pinned = addresses_[slot].pins > 0;
      for (Slot at = addresses_[slot].bindings; at != kNone; at = bindings_[at].in_address.next) {
        const Binding& binding = bindings_[at];
        if (!is_pinned && now >= binding.expires) continue;
        visit(std::string_view(*names_[binding.name].text), address, binding.expires, is_pinned);
      }
    }
  }

  /// For people; these allocate.
  std::vector<std::string> names_of(const IpAddress& address, TimePoint now) const;
  std::vector<IpAddress> addresses_of(const DomainName& name, TimePoint now) const;

  /// Keeps the bindings of an address in force for as long as the pin lives; one per open flow. An
  /// address without bindings gives an empty pin.
  Pin pin(const IpAddress& address);

  /// Drops every binding of the name, pinned or not. Open flows are the caller's to judge again.
  void forget(const DomainName& name);
  /// Drops one binding, likewise.
  void forget(const DomainName& name, const IpAddress& address);

  std::size_t size() const { return size_; }
  /// What the bindings cost: their entries and the text of their names.
  std::size_t bytes() const { return bytes_; }
  const Counters& counters() const { return counters_; }

 private:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = UINT32_MAX;

  struct Link {
    Slot prev = kNone;
    Slot next = kNone;
  };
  struct Binding {
    Slot name = kNone;
    Slot address = kNone;
    TimePoint expires;
    Link in_name;
    Link in_address;
    Link in_age;  // Of all unpinned bindings, latest bound first.
  };
  struct Name {
    const std::string* text = nullptr;  // The key in by_name_.
    Slot bindings = kNone;
    std::uint32_t count = 0;
  };
  struct Address {
    IpAddress address;
    Slot bindings = kNone;
    std::uint32_t count = 0;
    std::uint32_t pins = 0;
  };
  struct Hash {
    using is_transparent = void;
    HashKey key;
    std::size_t operator()(std::string_view text) const;
    std::size_t operator()(const IpAddress& address) const;
  };

  Slot find(const DomainName& name, const IpAddress& address) const;
  void insert(const DomainName& name, const IpAddress& address, TimePoint expires);
  Slot name_slot(const DomainName& name);
  Slot address_slot(const IpAddress& address);
  /// Makes room for one more binding; false if everything that could go is pinned.
  bool make_room(const DomainName& name, const IpAddress& address, TimePoint now);
  bool evict(Slot slot, TimePoint now);
  /// The unpinned binding of a list that runs out first, or kNone.
  Slot soonest(Slot head, Link Binding::* link) const;
  void remove(Slot slot);
  void release_address(Slot slot);
  void unpin(Slot address);
  void push_front(Slot& head, Link Binding::* link, Slot slot);
  void unlink(Slot& head, Link Binding::* link, Slot slot);
  void push_age(Slot slot);
  void unlink_age(Slot slot);

  Limits limits_;
  Counters counters_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, Slot, Hash, std::equal_to<>> by_name_;
  std::unordered_map<IpAddress, Slot, Hash> by_address_;
  std::vector<Binding> bindings_;
  std::vector<Name> names_;
  std::vector<Address> addresses_;
  std::vector<Slot> free_bindings_, free_names_, free_addresses_;
  Slot youngest_ = kNone;
  Slot oldest_ = kNone;
};

/// A flow's hold on the bindings of an address. Moves; lets go when destroyed. Must not outlive its
/// index.
class NameIndex::Pin {
 public:
  Pin() = default;
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;
  ~Pin();

  bool is_empty() const { return index_ == nullptr; }

 private:
  friend class NameIndex;
  Pin(NameIndex* index, Slot address) : index_(index), address_(address) {}
  NameIndex* index_ = nullptr;
  Slot address_ = kNone;
};

}  // namespace sluice::policy
