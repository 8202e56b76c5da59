#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_net.h"
#include "support/scripted_datagram.h"
#include "support/scripted_stream.h"

namespace sluice::test {

/// Host sockets whose far end is the test. What the code under test opens appears here, oldest
/// first; a far end stays valid after the code's socket is gone.
///
///     VirtualLoop loop;
///     ScriptedNet net(loop);
///     ...                                      // code dials
///     auto& server = *net.dials.back();        // a StreamPeer, not connected yet
///     server.connect();                        // or server.refuse(ECONNREFUSED)
///     server.feed("hello");                    // what the code will receive
///     loop.run_ready();                        // readiness is reported here, never earlier
///     CHECK(server.sent() == "...");           // what the code has sent
///     server.set_send_room(0);                 // from now on send() would block
///     server.feed_end();                       // FIN;  server.reset() is a RST
///     CHECK(server.closed());                  // the code's socket is gone; was_reset(): by RST
///
///     auto& socket = *net.datagrams.back();    // a DatagramPeer: UDP or ping
///     socket.on_send = [&](const SentDatagram& d) { socket.feed(d.to, "answer"); };
///     auto& port = *net.listeners.back();      // a ListenPeer
///     auto client = port.connect(from);        // a StreamPeer that the code accepts
///
/// Readiness is edge-triggered as in the real thing, only stricter: writable is reported once after
/// the connection is made and then only after a call that took less than it was given.
class ScriptedNet final : public HostNet {
 public:
  explicit ScriptedNet(Loop& loop) : loop_(loop) {}

  std::vector<std::shared_ptr<StreamPeer>> dials;
  std::vector<std::shared_ptr<ListenPeer>> listeners;
  std::vector<std::shared_ptr<DatagramPeer>> datagrams;

  /// Called with each new dial, e.g. to connect or refuse it at once.
  std::function<void(StreamPeer&)> on_dial;
  std::function<void(DatagramPeer&)> on_datagram_socket;

  /// What the calls answer instead of a socket, as long as it is not ok.
  Status dial_status;
  Status listen_status;
  Status udp_status;
  Status ping_status;

  /// The far ends of dials whose socket still exists.
  std::size_t open_streams() const;
  std::size_t open_datagrams() const;

  Result<std::unique_ptr<StreamSocket>> dial_tcp(const Endpoint& to) override;
  Result<std::unique_ptr<StreamSocket>> dial_unix(const std::string& path) override;
  /// Closes the descriptor: the far end is the test's as any other's.
  Result<std::unique_ptr<StreamSocket>> adopt(UniqueFd fd) override;
  /// Port 0 becomes 40000, 40001, ...; an address that is listened on is refused.
  Result<std::unique_ptr<ListenSocket>> listen_tcp(const Endpoint& at) override;
  Result<std::unique_ptr<ListenSocket>> listen_unix(const std::string& path) override;
  /// Port 0 becomes 50000, 50001, ...
  Result<std::unique_ptr<DatagramSocket>> open_udp(const Endpoint& at) override;
  Result<std::unique_ptr<DatagramSocket>> open_query(Family family) override;
  Result<std::unique_ptr<DatagramSocket>> open_ping(Family family) override;

 private:
  Result<std::unique_ptr<StreamSocket>> dial(std::optional<Endpoint> to, std::string path);
  Result<std::unique_ptr<ListenSocket>> listen(std::optional<Endpoint> at, std::string path);
  std::unique_ptr<DatagramSocket> open_datagram(DatagramPeer::Kind kind, const Endpoint& at);

  Loop& loop_;
  std::uint16_t next_source_port_ = 30000;
  std::uint16_t next_listen_port_ = 40000;
  std::uint16_t next_udp_port_ = 50000;
};

}  // namespace sluice::test
