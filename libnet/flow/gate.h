#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/publish.h>

#include "base/bytes.h"
#include "base/host_net.h"
#include "flow/flow_record.h"
#include "policy/datagram_flight.h"
#include "policy/first_flight.h"

namespace sluice::flow {

/// Where a flow that was let through goes on the host's side.
struct TcpRoute {
  enum class Kind : std::uint8_t {
    refuse,       ///< RST to the guest.
    drop,         ///< Nothing to the guest.
    prohibit,     ///< ICMP "administratively prohibited" to the guest.
    unreachable,  ///< ICMP "host unreachable" to the guest.
    dial,         ///< Connect to the addresses in order: the next one where one refuses.
    dial_unix,    ///< Connect to a Unix socket.
    session,      ///< A service inside this process.
  };
  Kind kind = Kind::refuse;
  bool is_refusal() const {
    return kind == Kind::refuse || kind == Kind::drop || kind == Kind::prohibit ||
           kind == Kind::unreachable;
  }
  Grant grant;  ///< Where it is let through.
  std::vector<Endpoint> addresses;
  std::string path;
  std::unique_ptr<StreamSocket> session;
  /// Kept as long as the flow is open: what the answer rests on stays as it is.
  std::shared_ptr<const void> hold;
  /// Set where a name has a part in the answer: what the guest says first is judged as well.
  std::unique_ptr<policy::FirstFlight> first_flight;
};

/// Where a UDP flow goes.
struct UdpRoute {
  enum class Kind : std::uint8_t {
    drop,
    prohibit,  ///< ICMP "administratively prohibited" to the guest, rate-limited.
    send,      ///< To `address`.
  };
  Kind kind = Kind::prohibit;
  Endpoint address;
  std::shared_ptr<const void> hold;  ///< As in TcpRoute.
  /// Set where a name has a part in the answer: QUIC's hellos are judged as well.
  std::unique_ptr<policy::DatagramFlight> first_flight = nullptr;
  Grant grant = {};
};

/// Told of the addresses that the gateway's own lookup of a name came to; none: it came to none.
using AddressesTo = std::function<void(std::span<const IpAddress> addresses)>;

/// Decides about flows: asked once when a flow begins, and again by a relay's judge_again().
/// Whatever it refuses it has reported already. `flow` is 0 for a flow that begins, which gets a
/// number with its grant; of one that is judged again it is its number, and stays so.
class Gate {
 public:
  virtual TcpRoute route_tcp(const Endpoint& guest, const Endpoint& remote, FlowId flow) = 0;
  virtual UdpRoute route_udp(const Endpoint& guest, const Endpoint& remote, FlowId flow) = 0;
  virtual Grant allow_echo(const IpAddress& guest, const IpAddress& remote) = 0;
  /// Of a published port; `client` as it came to the host, nothing if it is known by no address.
  virtual Grant allow_ingress(Protocol protocol, const std::optional<Endpoint>& client,
                              const Endpoint& guest, FlowId flow) = 0;
  /// A published port does not take this client, whatever the policy says: reports it.
  virtual void on_client_refused(Protocol protocol, const Endpoint& client, const Endpoint& guest,
                                 const PublishSpec& port) = 0;
  /// Whether a flow that route_tcp() allows may go on, after its first flight gave this name.
  virtual bool allow_named(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                           const DomainName& name, FlowId flow) = 0;
  /// The same of a flow of which nothing was read, since no name had a part when it began: whether
  /// every name that DNS has bound to its address could go on.
  virtual bool allow_unread(Protocol protocol, const Endpoint& guest, const Endpoint& remote,
                            FlowId flow) = 0;
  /// Looks a name up for the guest and as the guest could, so the answer is filtered and bound to
  /// the name; calls `done` once, perhaps before this returns, unless the gate goes first.
  virtual void look_up(const Endpoint& guest, const DomainName& name, Family family,
                       AddressesTo done) = 0;
  /// Where a flow that gave this name may be dialled instead, at an address of it; else a refusal.
  virtual TcpRoute route_named(const Endpoint& guest, const Endpoint& remote,
                               const DomainName& name, FlowId flow) = 0;
  /// A first flight was refused: reports it.
  virtual void on_first_flight_denied(Protocol protocol, const Endpoint& guest,
                                      const Endpoint& remote,
                                      const policy::FirstFlightDenial& denial, FlowId flow) = 0;
  /// A flow is over; `reason` is a phrase, such as "both ends closed it".
  virtual void on_flow_closed(const FlowSight& flow, std::string_view reason) = 0;

 protected:
  ~Gate() = default;
};

/// The way to the guest for whole packets.
class GuestOutput {
 public:
  /// An IP packet of any size; fragmented to the guest's MTU. Lost, and counted, where the guest's
  /// port is full or nobody has the address.
  virtual void send_packet(ConstBytes packet) = 0;
  /// A datagram, likewise. Lost too where the families differ or it is longer than UDP can say.
  virtual void send_udp(const Endpoint& source, const Endpoint& guest, ConstBytes payload) = 0;
  /// The gateway's own address of a family: where its ICMP errors come from.
  virtual IpAddress gateway_address(Family family) const = 0;

 protected:
  ~GuestOutput() = default;
};

}  // namespace sluice::flow
