#pragma once

#include <memory>
#include <string>
#include <vector>

#include <net/address.h>

#include "agent/dns/name_registry.h"
#include "agent/rpc/call.h"
#include "agent/rpc/credit.h"
#include "base/host_net.h"
#include "sluice/agent/v1/network.pb.h"

namespace sluice::agent {

/// One call of Network.Tunnel: a connection to a server in the guest, on credit (network.proto has
/// the rules).
///
///   client --data--> pending_ --> server      grant: as it is written
///   client <--data-- server                   read as long as there is credit and room
class TunnelCall final : public rpc::Handler, private SocketHandler {
 public:
  /// Null where the call was answered with an error. `host` outlives it; `names` may be null, and
  /// is asked now alone.
  static std::unique_ptr<rpc::Handler> begin(HostNet& host, const NameRegistry* names,
                                             rpc::Call& call, ConstBytes first);
  ~TunnelCall() override;

  void on_message(ConstBytes bytes) override;
  void on_half_close() override;
  void on_writable() override { pump(); }

 private:
  TunnelCall(HostNet& host, rpc::Call& call) : host_(host), call_(call) {}

  void on_socket_ready(SocketReady ready) override;
  bool open_tcp(const sluice_agent_v1_TcpTarget& target, const NameRegistry* names);
  bool open_unix(const std::string& path);
  /// The next of addresses_; false where the call has been answered.
  bool dial_next();
  void take(ConstBytes bytes);
  void pump();
  void pump_in();
  void pump_out();
  void grant_room();
  void fail(int error, const std::string& step);

  HostNet& host_;
  rpc::Call& call_;
  std::string where_;
  std::vector<Endpoint> addresses_;
  std::size_t next_address_ = 0;
  std::unique_ptr<StreamSocket> socket_;
  bool connected_ = false;
  bool over_ = false;
  std::vector<std::uint8_t> pending_;
  std::uint32_t input_credit_ = rpc::kInitialCredit;
  std::uint32_t written_since_grant_ = 0;
  bool input_closing_ = false;
  bool input_closed_ = false;
  std::uint64_t credit_ = rpc::kInitialCredit;
  bool output_closed_ = false;
};

}  // namespace sluice::agent
