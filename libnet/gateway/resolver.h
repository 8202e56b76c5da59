#pragma once

#include <functional>
#include <map>
#include <optional>

#include <net/address.h>

#include "gateway/address_book.h"
#include "gateway/config.h"
#include "gateway/counters.h"
#include "gateway/frame_writer.h"

namespace sluice::gateway {

/// Told once per address asked for: the MAC, or nothing when no guest answered.
using Resolved = std::function<void(const IpAddress&, std::optional<MacAddress>)>;

/// Asks the guests, by ARP or neighbour solicitation, who has an address.
class Resolver {
 public:
  // RFC 4861 section 10; Linux asks as often by ARP.
  static constexpr std::chrono::seconds kRetransmit{1};
  static constexpr int kAttempts = 3;
  /// Addresses asked for at once; a guest has few, and its host is who asks.
  static constexpr std::size_t kMaxPending = 64;

  /// All must outlive it.
  Resolver(const Config& config, AddressBook& book, FrameWriter& writer, Counters& counters)
      : config_(config), book_(book), writer_(writer), counters_(counters) {}

  void set_handler(Resolved handler) { handler_ = std::move(handler); }
  /// Starts asking, unless that is under way. False where no guest can have the address, or too
  /// many are being asked for: no call of the handler follows then.
  bool resolve(const IpAddress& address, TimePoint now);
  /// The neighbour table learnt something.
  void on_learnt();
  /// Asks again, or gives up.
  void tick(TimePoint now);
  TimePoint next_due() const;

 private:
  struct Pending {
    int asked = 0;
    TimePoint due;
  };

  void ask(const IpAddress& address);

  const Config& config_;
  AddressBook& book_;
  FrameWriter& writer_;
  Counters& counters_;
  Resolved handler_;
  std::map<IpAddress, Pending> pending_;
};

}  // namespace sluice::gateway
