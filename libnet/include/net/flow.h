#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/verdict.h>

// The open flows of a running Network. Plain values: nothing here refers to the Network.

namespace sluice {

enum class FlowState : std::uint8_t {
  connecting,  ///< The host, or the guest of a published port, has not answered.
  unanswered,  ///< UDP and ICMP: nothing has come back yet.
  inspecting,  ///< What the guest says first is held until the name in it is judged.
  open,
  closing,    ///< TCP: one side has ended at least.
  time_wait,  ///< TCP: both have; only the guest's address and port are still remembered.
};
std::string_view to_string(FlowState state);  ///< "connecting", ..., "time-wait"

/// One flow: a TCP connection, the datagrams between two UDP ports, or an echo request that waits
/// for its reply.
struct FlowInfo {
  FlowId id = 0;
  Protocol protocol = Protocol::tcp;
  Direction direction = Direction::egress;
  FlowState state = FlowState::open;
  Endpoint guest;
  /// The other end: where the guest wanted to go, or the client of a published port as it came to
  /// the host. ICMP has no ports.
  Endpoint remote;
  /// What the name index binds to `remote`, latest first; kMaxNamesShown at most.
  std::vector<std::string> names;
  std::string server_name;  ///< TLS SNI, HTTP Host or QUIC SNI that was allowed; or empty.
  std::chrono::nanoseconds age{0};
  std::chrono::nanoseconds idle{0};    ///< Since the last byte or segment in either direction.
  std::uint64_t tx_bytes = 0;          ///< Payload that the guest sent and the host took.
  std::uint64_t rx_bytes = 0;          ///< Payload that came for the guest.
  std::string rule;                    ///< What allows it, as in Event::rule.
  std::optional<RuleInfo> decided_by;  ///< The same where it is a rule.
  std::uint64_t generation = 0;        ///< Of the policy that allowed it last.
};

/// Which flows are meant. What is not set does not matter.
struct FlowFilter {
  /// An address or block that holds the remote one; or a name, or `*.name` with all below it, that
  /// is bound to the remote address or was said in the flow's first bytes.
  std::string to;
  std::optional<Protocol> protocol;
  std::optional<Direction> direction;
  FlowId after = 0;          ///< Only flows with greater numbers: the next page.
  std::size_t limit = 1000;  ///< Of one answer: 1 to kMaxFlowsPerPage; what is outside is moved in.
};
inline constexpr std::size_t kMaxFlowsPerPage = 10000;

/// Some flows, in the order of their numbers, which is that of their beginnings.
struct FlowPage {
  std::vector<FlowInfo> flows;
  std::size_t rest = 0;  ///< Flows that the filter lets through and that come after these.
};

}  // namespace sluice
