#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/host_net.h"
#include "dns/answer.h"
#include "dns/counters.h"
#include "dns/query_sockets.h"
#include "dns/upstream_query.h"

namespace sluice::dns {

/// One question put to one resolver: over UDP from a socket that no other question has meanwhile,
/// so that an attacker off the path must guess port, id and the case of the letters; over TCP after
/// a truncated answer, after an answer that lost the case, and after too many that match nothing.
/// Keeps no time: its owner ends it by destroying it.
///
/// ```
///   start -> UDP --matching answer------------------------> done
///             |  --TC, lost case, forgeries--> TCP --answer-> done
///             '--send fails, ICMP error--> done(failed) <--'
/// ```
class Exchange final : public UpstreamQuery, public SocketHandler {
 public:
  /// `host`, `sockets` and `counters` outlive it.
  Exchange(HostNet& host, QuerySockets& sockets, Counters& counters, const RandomSource& random,
           const Endpoint& upstream, const Question& question, Done done);

  bool start() override;
  std::string waits_for() const override;

  void on_socket_ready(SocketReady ready) override;

 private:
  bool send_datagram();
  void read_datagrams();
  bool start_tcp();
  void drive_tcp();
  bool send_stream();
  void read_stream();
  void take_stream_message();
  void take_answer(const wire::DnsMessage& message);
  void fail(std::string_view why);
  void finish(Outcome outcome, std::optional<Answer> answer, std::string_view why = {});

  HostNet& host_;
  QuerySockets& sockets_;
  Counters& counters_;
  Endpoint upstream_;
  wire::DnsQuestion question_;  ///< With the letters' case at random.
  std::uint16_t id_;
  Done done_;
  int forged_ = 0;
  std::optional<QuerySockets::Socket> udp_;
  bool reusable_ = false;  ///< Nothing but the answer came to it.
  std::unique_ptr<StreamSocket> tcp_;
  bool connected_ = false;
  std::vector<std::uint8_t> request_;  ///< With the length prefix of TCP.
  std::size_t sent_bytes_ = 0;
  std::vector<std::uint8_t> received_;
};

}  // namespace sluice::dns
