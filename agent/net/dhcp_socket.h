#pragma once

#include <memory>

#include "agent/net/dhcp_link.h"
#include "agent/net/netlink_types.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// The DhcpLink of a real interface, in the network namespace of the thread that opened it.
///
/// Everything is received on a packet socket (AF_PACKET), which also hears what is sent to an
/// address that the interface does not have yet; a filter in the kernel lets only UDP to port 68
/// through. Broadcasts leave by it too, as no route is there yet. A renewal is sent by a UDP
/// socket, because the server may be behind a router and only the kernel knows the way and the
/// neighbour. That socket stays, deaf, as long as there is an address: else the kernel would
/// answer the server's reply with "port unreachable".
class DhcpSocket final : public DhcpLink {
 public:
  /// Datagrams taken in a turn of the loop, so that a flood leaves room for others.
  static constexpr int kMaxReads = 32;

  /// `link` is up. permission_denied without CAP_NET_RAW; not_found where it is gone. `loop` must
  /// outlive the object.
  static Result<std::unique_ptr<DhcpSocket>> open(Loop& loop, const Link& link);

  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  Status broadcast(const IpAddress& source, ConstBytes message) override;
  Status send(const IpAddress& source, const IpAddress& server, ConstBytes message) override;

 private:
  DhcpSocket(const Link& link, UniqueFd packets) : link_(link), packets_(std::move(packets)) {}

  void on_readable();
  Status bind_udp(const IpAddress& source);

  Link link_;
  UniqueFd packets_;
  UniqueFd udp_;
  IpAddress udp_source_;
  Receiver receiver_;
  std::unique_ptr<FdWatch> watch_;
  /// Gone when the object is: a receiver may destroy it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// The message in an IPv4 packet that a packet socket gave; empty where it is no whole UDP datagram
/// to port 68, or a checksum is wrong. `partial_checksum`: the packet came from this machine (a
/// veth, a virtio_net host) before anything had filled the UDP checksum in.
ConstBytes dhcp_message_in(ConstBytes packet, bool partial_checksum);

}  // namespace sluice::agent
