#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>

namespace sluice::agent {

/// Containers are looked up first.
enum class OwnerKind : std::uint8_t { container, sandbox };

/// Who chose the names. What a container calls itself can't stand for a name outside the guest's
/// suffix that has a dot; what the host says can.
enum class NamedBy : std::uint8_t { itself, host };

/// Names and addresses of one owner in one network.
struct Registration {
  std::string owner;    ///< Such as a container's id.
  std::string network;  ///< Whose members see the names; "": everybody does.
  OwnerKind kind = OwnerKind::container;
  NamedBy named_by = NamedBy::itself;
  std::vector<DomainName> names;  ///< With or without the suffix; the first is that of reverse
                                  ///< lookups.
  std::vector<IpAddress> addresses;
};

/// Whose names somebody sees.
struct NameView {
  bool all = true;
  std::vector<std::string> networks;  ///< Where not all.

  bool sees(const Registration& registration) const;
};

/// The names that are answered in the guest: who has them, and where. One structure: an entry goes
/// with its registration, so no name is ever without an owner. One thread.
///
/// A name may have any number of owners; all of their addresses count. A name is found with the
/// suffix, and without it where it is one label or the host has registered it.
class NameRegistry {
 public:
  static constexpr std::size_t kMaxRegistrations = 8192;
  static constexpr std::size_t kMaxNames = 65536;  ///< Of all registrations.
  static constexpr std::size_t kMaxNamesEach = 64;
  static constexpr std::size_t kMaxAddressesEach = 16;
  static constexpr std::size_t kMaxAddressesOfName = 128;  ///< In one answer.
  static constexpr std::size_t kMaxOwnerBytes = 256;       ///< Of an owner, and of a network.

  explicit NameRegistry(DomainName suffix) : suffix_(std::move(suffix)) {}
  NameRegistry(const NameRegistry&) = delete;
  NameRegistry& operator=(const NameRegistry&) = delete;

  /// Why a suffix can't be used: the root, or in the gateway's own zone.
  static Status check_suffix(const DomainName& suffix);
  const DomainName& suffix() const { return suffix_; }
  /// Names that were registered keep what stands before the suffix.
  Status set_suffix(DomainName suffix);

  /// In the place of what this owner has in this network from the same source. invalid_argument:
  /// no owner, name or address, or a name that is nobody's to take (localhost, the gateway's zone,
  /// the suffix itself). exhausted: beyond the limits. Nothing changes then.
  Status add(Registration registration);
  /// Everything of the owner, whoever registered it; whether there was anything.
  bool remove(std::string_view owner);
  /// What `named_by` registered for the owner in the network.
  bool remove(std::string_view owner, std::string_view network, NamedBy named_by);

  struct Found {
    bool exists = false;
    std::vector<IpAddress> addresses;  ///< Of one family, each once; another one first each time.
  };
  Found find(const DomainName& name, Family family, const NameView& view) const;
  bool exists(const DomainName& name, const NameView& view) const;
  /// Some name below this one is registered: it exists, though it has nothing (RFC 8020).
  bool exists_below(const DomainName& name, const NameView& view) const;
  bool has_address(const IpAddress& address) const { return by_address_.count(address) > 0; }
  /// The name that the address has for those who see it.
  std::optional<DomainName> name_of(const IpAddress& address, const NameView& view) const;
  /// The networks that owners of the address are in.
  std::vector<std::string> networks_of(const IpAddress& address) const;

  /// In the order of owner and network; valid until the next change.
  std::vector<const Registration*> list() const;
  std::size_t size() const { return registrations_.size(); }
  std::size_t names() const { return name_count_; }
  /// Entries of the index; 0 when nothing is registered.
  std::size_t index_size() const { return by_name_.size() + by_address_.size(); }

 private:
  using Key = std::tuple<std::string, std::string, NamedBy>;
  using Owners = std::vector<const Registration*>;
  struct Node {
    Owners owners;
    Owners below;  ///< Of names that end in this one.
    mutable std::uint32_t turn = 0;
  };

  Status check(Registration& registration) const;
  void index(const Registration& registration);
  void unindex(const Registration& registration);
  /// Calls `visit` for each name that the registration is found by, and `visit_above` for each
  /// above it in the suffix.
  template <typename Visit, typename VisitAbove>
  void each_name(const Registration& registration, Visit visit, VisitAbove visit_above) const;
  DomainName with_suffix(const DomainName& name) const;
  const Node* node(const DomainName& name) const;
  std::map<Key, Registration>::iterator erase(std::map<Key, Registration>::iterator at);

  DomainName suffix_;
  std::map<Key, Registration> registrations_;
  std::unordered_map<DomainName, Node> by_name_;
  std::unordered_map<IpAddress, Owners> by_address_;
  std::size_t name_count_ = 0;
};

/// The gateway's zone, which the guest never answers for.
const DomainName& gateway_zone();

}  // namespace sluice::agent
