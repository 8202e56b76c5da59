#pragma once

#include <cstdint>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/hash.h"
#include "gateway/config.h"
#include "gateway/frame_writer.h"

namespace sluice::gateway {

/// Whether the host can reach the IPv6 Internet, and so whether the router offers to.
enum class DefaultRoute : std::uint8_t { absent, present };

/// Sends router advertisements (RFC 4861 section 6.2): at once when the link comes up, twice more
/// while guests may still be starting, then at random intervals; and on request.
class RouterAdvertiser {
 public:
  // RFC 4861 section 6.2.1 with its defaults, and section 10 for the first ones.
  static constexpr std::chrono::seconds kMinInterval{200};
  static constexpr std::chrono::seconds kMaxInterval{600};
  static constexpr std::chrono::seconds kInitialInterval{16};
  static constexpr int kInitialCount = 3;
  /// AdvDefaultLifetime, also of the DNS settings (RFC 8106 section 5.1): three intervals.
  static constexpr std::uint16_t kLifetimeSeconds = 1800;
  // AdvValidLifetime and AdvPreferredLifetime: short enough that a changed prefix goes away.
  static constexpr std::uint32_t kValidSeconds = 86400;
  static constexpr std::uint32_t kPreferredSeconds = 14400;

  /// `writer` and `config` must outlive it. `key` makes the random intervals.
  RouterAdvertiser(const Config& config, FrameWriter& writer, const HashKey& key);

  /// The first advertisement is due now.
  void start(TimePoint now);
  void set_default_route(DefaultRoute route) { route_ = route; }
  DefaultRoute default_route() const { return route_; }
  /// Sends what is due; returns how many (0 or 1).
  int tick(TimePoint now);
  TimePoint next_due() const { return due_; }

  void send(const MacAddress& to, const IpAddress& destination);

 private:
  Duration next_interval();

  const Config& config_;
  FrameWriter& writer_;
  HashKey key_;
  std::vector<DomainName> search_;
  DefaultRoute route_ = DefaultRoute::absent;
  TimePoint due_ = TimePoint::max();
  int initial_left_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace sluice::gateway
