#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine_world.h"

namespace sluice::test {

/// A guest's queries for addresses to the gateway, of a world whose resolver answers every one.
class DnsPath {
 public:
  /// `world` outlives it.
  explicit DnsPath(EngineWorld& world);

  /// The frame of a query for the A records of `name`.
  std::vector<std::uint8_t> query(std::string_view name, std::uint16_t id = 0x1234) const;
  /// The same, of a name that was asked for and answered already.
  std::vector<std::uint8_t> cached_query(std::string_view name);
  /// Ids of the replies that reached the guest since the last call, with one answer or more each.
  std::vector<std::uint16_t> answered();

 private:
  EngineWorld& world_;
};

}  // namespace sluice::test
