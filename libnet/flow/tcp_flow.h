#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/host_net.h"
#include "base/loop.h"
#include "flow/flow_key.h"
#include "flow/flow_record.h"
#include "flow/inspection.h"
#include "flow/server_search.h"
#include "flow/unread_stream.h"
#include "flow/work_queue.h"
#include "stack/tcp_engine.h"

namespace sluice::flow {

class TcpRelay;

/// One TCP connection: the guest's end in lwIP, the other a host socket. Theory of operation:
///
/// An outbound flow begins as a held SYN: nothing but the packet and a dialling host socket. Only
/// when the host has connected does the guest get its SYN-ACK, so it sees refused, unreachable and
/// timed out as they are. An inbound flow begins as an accepted host socket and a dialled guest.
/// From then on both are the same:
///
///     guest --segments--> endpoint's receive queue --send()--> host      window opens as host
///     takes guest <--segments-- lwIP's send queue <--receive()-- host           read as the guest
///     takes
///
/// Much that the host sends may stay in its socket until the guest has acknowledged it:
/// UnreadStream.
///
/// Ends travel as they are: FIN in one direction is FIN in that direction, after all data; RST from
/// the host reaches the guest once it has what was sent before; RST from the guest resets the host.
/// The flow exists until lwIP has forgotten the connection.
///
/// Events (readiness, segments, timers) only note what happened and mark the flow as changed;
/// TcpRelay::run() then moves bytes, so many each way a turn and no more, so no flow starves
/// another.
class TcpFlow final : public SocketHandler, public stack::EndpointOwner, public WorkItem {
 public:
  TcpFlow(TcpRelay& relay, const FlowKey& key) : relay_(relay), key_(key) {}

  const FlowKey& key() const { return key_; }
  void on_socket_ready(SocketReady ready) override;
  void on_endpoint_changed() override;
  /// Where it is connected, as the guest would have to name it.
  const Endpoint& server() const { return extra().moved_to ? *extra().moved_to : key_.remote; }
  /// Its first flight is whole, and the server that gets it is still looked for.
  bool is_choosing_server() const { return search() && record_.tx_bytes == 0; }
  /// The names that its first flight gave, and that were allowed.
  std::span<const DomainName> names() const;
  /// Until the flow changes.
  FlowSight sight() const;

 private:
  friend class TcpRelay;

  FlowState state() const;
  /// Whether its server took it: the host's, or for an inbound flow the guest.
  bool was_answered() const { return endpoint_ && (!inbound_ || endpoint_->established()); }

  /// What is only needed until the host has connected.
  struct Held {
    std::vector<std::uint8_t> packet;  ///< The SYN from its IP header on, without payload.
    std::size_t tcp_at = 0;            ///< Where its TCP header starts.
    std::vector<Endpoint> addresses;   ///< Still to be tried after the present one, in order.
    Endpoint destination;              ///< Being dialled.
    TimePoint last_syn;
    std::list<TcpFlow*>::iterator place;  ///< In the relay's list, oldest first.
    bool counted = false;                 ///< In the relay's count per destination.
  };

  /// What most open flows do without.
  struct Extra {
    std::optional<Endpoint> client;     ///< Of an inbound flow, where it is known.
    std::vector<std::uint8_t> preface;  ///< To be sent to the guest before the host's first byte.
    std::shared_ptr<ServerSearch> search;    ///< While a name's server is looked for.
    std::optional<Endpoint> moved_to;        ///< That was found, in place of the guest's choice.
    std::shared_ptr<const void> moved_hold;  ///< For its address what hold_ is for the guest's.
    std::vector<DomainName> names;           ///< That its first flight gave, when that is over.
    std::unique_ptr<UnreadStream> unread;    ///< While the host's bytes are left in its socket.
  };
  static const Extra kNoExtra;

  const Extra& extra() const { return extra_ ? *extra_ : kNoExtra; }
  /// To be changed; made when first needed.
  Extra& make_extra() {
    if (!extra_) extra_ = std::make_unique<Extra>();
    return *extra_;
  }
  ServerSearch* search() const { return extra().search.get(); }
  UnreadStream* unread() const { return extra().unread.get(); }

  // First, where they fit behind WorkItem's own.
  bool host_readable_ : 1 = false;
  bool host_writable_ : 1 = false;
  bool host_connected_ : 1 = false;
  /// It reported an error: the guest gets a RST, after what the host sent before.
  bool host_error_ : 1 = false;
  bool host_eof_ : 1 = false;   ///< Nothing more comes from the host.
  bool host_deaf_ : 1 = false;  ///< It takes nothing any more.
  bool host_shut_ : 1 = false;  ///< The guest's FIN was passed on.
  bool inbound_ : 1 = false;
  bool timed_ : 1 = false;     ///< It has a deadline, which the relay keeps.
  bool resting_ : 1 = false;   ///< In TIME_WAIT.
  bool was_read_ : 1 = false;  ///< Its first flight was judged: without a name it is for none.
  bool denied_ : 1 = false;    ///< By its first flight: the guest gets to hear why, and an end.
  bool reported_ : 1 = false;  ///< Its end, to the gate.
  TcpRelay& relay_;
  FlowKey key_;
  FlowRecord record_;
  std::unique_ptr<StreamSocket> host_;
  std::unique_ptr<Extra> extra_;                  ///< See extra().
  std::unique_ptr<stack::TcpEndpoint> endpoint_;  ///< Goes before what it has unread.
  std::unique_ptr<Held> held_;
  /// Of an inbound flow what its port counts by, of an outbound one TcpRoute::hold.
  std::shared_ptr<const void> hold_;
  std::unique_ptr<Inspection> inspection_;  ///< Until nothing has to be judged any more.
  TimePoint last_activity_{};
};

/// For a set of flows in which one is found by its key, of which so there is one copy. The hash is
/// not noexcept, so libstdc++ keeps it in the node: a search reads no other flow than the one that
/// it finds.
struct TcpFlowHash {
  using is_transparent = void;
  FlowKeyHash hash;

  std::size_t operator()(const FlowKey& key) const { return hash(key); }
  std::size_t operator()(const std::unique_ptr<TcpFlow>& flow) const { return hash(flow->key()); }
};
struct TcpFlowEqual {
  using is_transparent = void;

  bool operator()(const FlowKey& key, const std::unique_ptr<TcpFlow>& flow) const {
    return key == flow->key();
  }
  bool operator()(const std::unique_ptr<TcpFlow>& a, const std::unique_ptr<TcpFlow>& b) const {
    return a->key() == b->key();
  }
};

}  // namespace sluice::flow
