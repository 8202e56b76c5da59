#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <net/address.h>

#include "agent/dns/dns_counters.h"
#include "base/host_net.h"
#include "dns/hooks.h"
#include "wire/dns_message.h"

namespace sluice::agent {

/// One query, as its bytes are, put to one server: from a socket and with an id of its own, so that
/// somebody off the path has port and id to guess. Over UDP first, unless the client came over TCP;
/// over TCP after a truncated answer, and after too many answers that match nothing. Keeps no time:
/// its owner ends it by destroying it.
class UpstreamCall final : private SocketHandler {
 public:
  /// So many answers that match nothing are an attack, which a TCP handshake ends.
  static constexpr int kMostForged = 16;

  /// The reply with the call's own id in it; empty where there is no way to the server. Never
  /// called from start(); the callee may destroy the call.
  using Done = std::function<void(std::vector<std::uint8_t> reply)>;

  /// `query` has at least a header. `host` and `counters` outlive the call.
  UpstreamCall(HostNet& host, DnsCounters& counters, std::uint16_t id, const Endpoint& server,
               ConstBytes query, dns::Transport transport, Done done);
  /// False where nothing could be sent; `done` is not called then.
  bool start();

 private:
  void on_socket_ready(SocketReady ready) override;
  bool start_udp();
  bool start_tcp();
  void retry_over_tcp();
  void read_datagrams();
  void drive_tcp();
  void send_stream();
  void read_stream();
  bool matches(ConstBytes reply) const;
  void finish(ConstBytes reply);

  HostNet& host_;
  DnsCounters& counters_;
  std::uint16_t id_;
  Endpoint server_;
  std::vector<std::uint8_t> request_;  ///< With the length prefix of TCP.
  std::optional<wire::DnsQuestion> question_;
  dns::Transport transport_;
  Done done_;
  int forged_ = 0;
  std::unique_ptr<DatagramSocket> udp_;
  std::unique_ptr<StreamSocket> tcp_;
  bool connected_ = false;
  std::size_t sent_ = 0;
  std::vector<std::uint8_t> received_;
};

/// The only question of a message whose header and question can be read, whatever follows them.
std::optional<wire::DnsQuestion> readable_question(ConstBytes message);

}  // namespace sluice::agent
