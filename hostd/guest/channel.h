#pragma once

#include <net/status.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/client/endpoint.h"
#include "base/uv_loop.h"
#include "hostd/guest/container_names.h"

namespace sluice::hostd {

/// The one connection to the guest's agent, shared by any number of clients: each connects to a
/// Unix socket of hostd's and speaks ttrpc there as if to the agent.
///
///   client --+
///   client --+-- streams renumbered -- the agent
///   client --+
///
/// The connection is made again whenever it is gone, for as long as hostd runs. Calls that were
/// under way then end with UNAVAILABLE, and so do those that begin while there is none; the text
/// says why.
class AgentChannel {
 public:
  struct State {
    bool connected = false;  ///< The agent has answered on this connection.
    std::string endpoint;
    std::string version;  ///< Of the agent; empty: it has not answered yet.
    std::string boot_id;
    std::string last_error;  ///< Why there is no connection, or was none.
    std::size_t clients = 0;
    /// What the guest's clock was behind when last looked at; nothing: it isn't.
    std::optional<std::int64_t> clock_offset_ns;
  };

  /// Listens at `socket`, of mode 0600. Not yet served.
  /// `routed`: the prefixes behind the guest, to which addresses of containers belong.
  /// `keeps_clock`: the guest's clock follows the host's.
  static Result<std::unique_ptr<AgentChannel>> listen(agent::client::AgentEndpoint endpoint,
                                                      const std::string& socket,
                                                      std::vector<IpPrefix> routed,
                                                      bool keeps_clock);
  ~AgentChannel();
  AgentChannel(const AgentChannel&) = delete;
  AgentChannel& operator=(const AgentChannel&) = delete;

  /// Starts the channel's thread. Once. `guest` is called on it, until stop().
  void serve(agent::client::GuestDialer guest);
  /// Ends the thread and all connections. What was learnt can still be asked for, not state().
  void stop();
  /// Any thread; after serve().
  State state();
  const std::string& path() const { return socket_; }
  /// Follows what the agent tells of its containers, for as long as it answers.
  const ContainerNames& containers() const { return containers_; }

 private:
  class Hub;

  AgentChannel() = default;

  std::string socket_;
  ContainerNames containers_;
  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<Hub> hub_;
  std::thread thread_;
};

}  // namespace sluice::hostd
