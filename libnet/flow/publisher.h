#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <net/publish.h>
#include <net/verdict.h>

#include "base/host_net.h"
#include "base/loop.h"
#include "flow/flow_key.h"
#include "flow/gate.h"
#include "flow/tcp_relay.h"
#include "flow/token_bucket.h"
#include "flow/work_queue.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace sluice::flow {

struct PublisherOptions {
  /// Where the guest is now.
  std::function<IpAddress(Family)> guest_address;
  /// Whether anything was ever heard of the guest.
  std::function<bool()> guest_heard;
  /// How long a TCP client waits for a guest of which nothing was. Somebody who waits for a VM to
  /// boot tries again; a guest that only never had anything to say answers at once.
  Duration unheard_handshake = std::chrono::seconds(1);
  /// A client with such an address would make the guest answer past the gateway.
  std::vector<IpPrefix> guest_prefixes;
  std::vector<IpPrefix> routed_prefixes;
  /// UDP clients of one port. Past it the one that was idle longest goes.
  std::size_t udp_clients = 1024;
  Duration udp_unreplied = std::chrono::seconds(30);
  Duration udp_replied = std::chrono::seconds(180);
};

struct PublisherCounters {
  std::uint64_t accepted = 0;
  std::uint64_t refused_by_policy = 0;
  std::uint64_t limit_connections = 0;
  std::uint64_t limit_rate = 0;
  std::uint64_t failed = 0;  ///< No flow could be made; the client was reset.
  std::size_t udp_mappings = 0;
  std::uint64_t udp_evicted = 0;
};

/// Ports of the host that lead into the guest. TCP clients are dialled on to the guest at once,
/// before a byte is read from them, and share the relay's flows; UDP clients get a mapping each,
/// with a port towards the guest that stays the same. On the loop's thread.
class Publisher {
 public:
  Publisher(Loop& loop, HostNet& host, TcpRelay& tcp, Gate& gate, GuestOutput& output,
            PublisherOptions options);
  ~Publisher();

  /// Binds every port of the spec, or none. The error names the address and the reason.
  Result<std::vector<PublishedPort>> publish(const PublishSpec& spec);
  /// not_found unless exactly this was published.
  Status unpublish(const PublishSpec& spec, LiveFlows live);
  std::vector<PublishedPort> ports() const;

  /// Leads a client of the host's own to a TCP port of the guest, as a Unix socket's clients are.
  /// An error says why not, and the client is gone then.
  Status connect(std::unique_ptr<StreamSocket> client, const Endpoint& guest);

  /// A datagram of the guest: true if it answers a client of a published port, which then has it.
  bool on_guest_datagram(const wire::Packet& packet, const wire::UdpView& datagram);

  /// Takes connections and datagrams that wait.
  void run();
  bool has_work() const { return work_.has_work(); }
  void set_on_work(std::function<void()> on_work) { work_.set_on_work(std::move(on_work)); }

  /// Asks the gate again about the clients of UDP: TcpRelay has the others. With those that it does
  /// not allow any more it is over, unless they are to be kept: nothing more passes either way, and
  /// what the guest still answers is not taken for a flow of its own.
  void judge_again(RevokedFlows revoked);

  /// Those of UDP, likewise.
  void each_flow(const FlowVisitor& visit) const;
  bool reset_flow(FlowId id);

  PublisherCounters counters() const;

 private:
  struct Entry;
  struct UdpClient {
    Entry* entry;
    Endpoint client;
    FlowKey key;        ///< The flow as the guest sees it.
    FlowRecord record;  ///< Without a grant once it was revoked.
    TimePoint last;
    bool replied = false;
    FlowId revoked = 0;  ///< The number that it had when it was a flow.
  };
  using UdpClients = std::unordered_map<FlowKey, UdpClient, FlowKeyHash>;
  struct ClientKey {
    const Entry* entry;
    Endpoint client;
    friend auto operator<=>(const ClientKey&, const ClientKey&) = default;
  };

  Result<std::unique_ptr<Entry>> open(const PublishSpec& spec, std::uint16_t index);
  bool accept(Entry& entry);
  bool receive(Entry& entry);
  Endpoint guest_end(const Entry& entry, const std::optional<Endpoint>& client) const;
  Grant admit(Entry& entry, const std::optional<Endpoint>& client, const Endpoint& guest);
  /// Who the guest is to see; nothing where no port of the gateway's is free.
  std::optional<Endpoint> source_for(const Entry& entry, const std::optional<Endpoint>& client,
                                     const Endpoint& guest);
  /// A port of the gateway's that leads to `guest` for nobody else; nothing where none is free.
  std::optional<Endpoint> gateway_source(const Endpoint& guest, Protocol protocol);
  UdpClient* udp_client(Entry& entry, const Endpoint& client);
  static FlowSight sight(const UdpClient& client);
  void end(UdpClient& client, std::string_view reason);
  void forget(UdpClients::iterator it, std::string_view reason);
  void expire();

  Loop& loop_;
  HostNet& host_;
  TcpRelay& tcp_;
  Gate& gate_;
  GuestOutput& output_;
  PublisherOptions options_;
  std::vector<std::unique_ptr<Entry>> entries_;
  WorkQueue<Entry> work_;
  UdpClients udp_;
  std::map<ClientKey, FlowKey> entry_clients_;
  std::uint16_t next_port_;
  std::unique_ptr<Timer> timer_;
  PublisherCounters counters_;
};

}  // namespace sluice::flow
