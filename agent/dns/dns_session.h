#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "agent/dns/dns_asker.h"
#include "base/host_net.h"
#include "base/loop.h"

namespace sluice::agent {

/// DNS over one TCP connection (RFC 7766): queries with a length before them, answers likewise in
/// the order in which they come. After the client's FIN what is open is still answered.
///
/// Bounded both ways: while kMaxOpen queries are open, or kMaxUnsent bytes are not taken by the
/// client, nothing more is read. Ends kIdle after the last whole query or byte taken, and at what
/// is no query.
class DnsSession final : private SocketHandler {
 public:
  static constexpr std::size_t kMaxOpen = 32;
  static constexpr std::size_t kMaxUnsent = std::size_t{128} << 10;
  static constexpr Duration kIdle = std::chrono::seconds(10);

  /// `on_end` is called once, from the loop; it may destroy the session. `loop` and `answer`
  /// outlive it.
  DnsSession(Loop& loop, std::unique_ptr<StreamSocket> socket, DnsAsker asker,
             const DnsAnswer& answer, std::function<void()> on_end);
  ~DnsSession();
  DnsSession(const DnsSession&) = delete;
  DnsSession& operator=(const DnsSession&) = delete;

  const IpAddress& client() const { return asker_.address; }

 private:
  void on_socket_ready(SocketReady ready) override;
  void pump();
  // Each whether it moved something.
  bool read_some();
  bool take_queries();
  void on_reply(std::vector<std::uint8_t> reply);
  bool write_some();
  void end_later();

  Loop& loop_;
  std::unique_ptr<StreamSocket> socket_;
  DnsAsker asker_;
  const DnsAnswer& answer_;
  std::function<void()> on_end_;
  std::unique_ptr<Timer> idle_;
  std::vector<std::uint8_t> received_;
  std::vector<std::uint8_t> unsent_;
  std::size_t open_ = 0;
  bool pumping_ = false;
  bool end_seen_ = false;
  bool broken_ = false;
  bool ending_ = false;
  /// Replies may come when the session has gone.
  std::shared_ptr<DnsSession*> self_ = std::make_shared<DnsSession*>(this);
};

}  // namespace sluice::agent
