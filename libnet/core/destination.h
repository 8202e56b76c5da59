#pragma once

#include <optional>
#include <string_view>

#include <net/address.h>
#include <net/name.h>
#include <net/status.h>

namespace sluice::core {

/// Where things go, as somebody asks for them: an address, a block, a name, or `*.NAME`, which is
/// all names below it; an empty text: anywhere.
class Destination {
 public:
  static Result<Destination> parse(std::string_view text);

  /// Whether an address is meant; nothing where names decide, see holds_name().
  std::optional<bool> holds(const IpAddress& address) const;
  /// Of a name in its normal form; false where no name was asked for.
  bool holds_name(std::string_view name) const;

 private:
  std::optional<IpPrefix> block_;
  std::optional<DomainName> name_;
  bool below_ = false;
};

}  // namespace sluice::core
