#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/dns/dns_asker.h"
#include "agent/dns/dns_counters.h"
#include "agent/dns/dns_session.h"
#include "base/host_net.h"
#include "base/loop.h"

namespace sluice::agent {

/// TCP connections of all listeners, which share their limits.
class DnsSessions {
 public:
  static constexpr std::size_t kMax = 256;
  static constexpr std::size_t kMaxPerClient = 64;

  explicit DnsSessions(Loop& loop) : loop_(loop) {}
  /// False, and the connection is reset, beyond the limits.
  bool add(std::unique_ptr<StreamSocket> socket, const DnsAsker& asker, const DnsAnswer& answer);
  std::size_t size() const { return sessions_.size(); }

 private:
  Loop& loop_;
  std::list<std::unique_ptr<DnsSession>> sessions_;
  std::unordered_map<IpAddress, std::size_t> of_client_;
};

/// One address that queries come to, over UDP and TCP. What keeps it from working (the address is
/// not there yet, a port in use, a socket that fails) is tried again, after 50 ms and then ever
/// later up to 5 s; it never ends by itself. One thread.
class DnsListener final : private SocketHandler {
 public:
  static constexpr Duration kFirstRetry = std::chrono::milliseconds(50);
  static constexpr Duration kLastRetry = std::chrono::seconds(5);

  struct Shared {
    Loop& loop;
    HostNet& host;
    DnsCounters& counters;
    DnsSessions& sessions;
    const DnsAnswer& answer;
    std::function<void()> on_change;  ///< serving() is another than before.
  };

  /// `shared` and what it refers to outlive it. `network`: see DnsAsker.
  DnsListener(Shared& shared, const Endpoint& at, std::string network);
  ~DnsListener();
  DnsListener(const DnsListener&) = delete;
  DnsListener& operator=(const DnsListener&) = delete;

  void open();
  bool serving() const { return udp_ != nullptr; }
  const Endpoint& at() const { return at_; }
  const std::string& network() const { return network_; }
  /// Why it doesn't serve; empty where it does.
  const std::string& problem() const { return problem_; }

 private:
  /// What comes from the TCP listener's socket, apart from the datagram socket's.
  struct Door final : SocketHandler {
    explicit Door(DnsListener& listener) : listener(listener) {}
    void on_socket_ready(SocketReady) override { listener.accept(); }
    DnsListener& listener;
  };

  void on_socket_ready(SocketReady ready) override;
  void read_datagrams();
  void send(const Endpoint& to, std::vector<std::uint8_t> reply);
  void flush();
  void accept();
  void fail(std::string why);

  Shared& shared_;
  Endpoint at_;
  std::string network_;
  DnsAsker asker_;
  std::string problem_;
  Duration retry_after_ = kFirstRetry;
  std::unique_ptr<Timer> retry_;
  Door door_{*this};
  std::unique_ptr<DatagramSocket> udp_;
  std::unique_ptr<ListenSocket> tcp_;
  int empty_errors_ = 0;
  bool reading_ = false;
  struct Outgoing {
    Endpoint to;
    std::vector<std::uint8_t> message;
  };
  std::vector<Outgoing> outgoing_;  ///< Replies to what one read brought leave together.
  std::shared_ptr<DnsListener*> self_ = std::make_shared<DnsListener*>(this);
};

}  // namespace sluice::agent
