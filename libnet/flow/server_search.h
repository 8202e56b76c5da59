#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/loop.h"

namespace sluice::flow {

/// resolve-and-dial of one TCP flow, from the name in its first flight to a connection with that
/// name's server. Theory of operation:
///
/// The guest's SYN is answered when the address of its own choice has accepted, as ever, so what it
/// sees of the network is true and servers that speak first are heard. A name that the first flight
/// gives is looked up again here, and what carries it is held meanwhile:
///
///     the server's address is among the answers    the flow goes on as it is
///     not, and nothing went either way yet         one of the answers, where the policy allows it,
///                                                  is dialled instead and gets the first flight
///     else, or none can be had                     refused, as a denied first flight is
///
/// One search at a time in a flow, and each has an end: the lookup within kLookup, each dial within
/// kDial, kMostDials of them.
struct ServerSearch {
  static constexpr Duration kLookup = std::chrono::seconds(10);
  static constexpr Duration kDial = std::chrono::seconds(3);
  static constexpr std::size_t kMostDials = 4;

  /// What stands for a rule where a flow is refused for want of its server.
  static constexpr std::string_view kDecider = "resolve-and-dial";
  static constexpr std::string_view kUnresolved = "the gateway's own lookup of it gave no address";
  static constexpr std::string_view kElsewhere =
      "the gateway's own lookup of it gave no address that this connection leads to";

  struct Dial {
    Endpoint remote;       ///< As the guest would name it.
    Endpoint destination;  ///< On the host's side.
    std::shared_ptr<const void> hold;
  };

  explicit ServerSearch(const DomainName& sought) : name(sought) {}

  DomainName name;
  std::vector<Endpoint> remotes;  ///< Still to be tried, in order.
  std::vector<Dial> dials;        ///< Of the one tried last, still to be dialled.
  std::optional<Dial> dialled;    ///< Under way, and counted as such.
  std::string trouble;            ///< With the last that was tried.
};

}  // namespace sluice::flow
