#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <net/flow.h>
#include <net/name.h>

#include "base/loop.h"

namespace sluice::flow {

/// Why a flow ended that the policy, as it is now, would not let begin.
inline constexpr std::string_view kRevoked = "the policy does not allow it any more";

/// What lets flows through: a rule, or what stands for one. Shared by all that the same rule of the
/// same policy lets through.
struct Ground {
  std::string text;              ///< See Event::rule.
  std::optional<RuleInfo> rule;  ///< The same where it is a rule.
  std::uint64_t generation = 0;  ///< Of the policy.
};

/// A flow was let through; or not.
struct Grant {
  FlowId id = 0;  ///< 0: it was refused.
  std::shared_ptr<const Ground> ground;

  explicit operator bool() const { return id != 0; }
};

/// What every flow remembers of itself, whatever its protocol.
struct FlowRecord {
  Grant grant;
  TimePoint opened{};
  std::uint64_t tx_bytes = 0;  ///< Payload from the guest to the host.
  std::uint64_t rx_bytes = 0;
};

/// A flow as its relay shows it, for the length of a call.
struct FlowSight {
  const FlowRecord& record;
  Protocol protocol = Protocol::tcp;
  Direction direction = Direction::egress;
  FlowState state = FlowState::open;
  Endpoint guest;
  Endpoint remote;                   ///< See FlowInfo.
  TimePoint last{};                  ///< When anything moved.
  const DomainName* name = nullptr;  ///< That its first flight gave; or none.
};

using FlowVisitor = std::function<void(const FlowSight&)>;

}  // namespace sluice::flow
