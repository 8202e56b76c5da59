#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/host_net.h"
#include "base/loop.h"
#include "dns/hooks.h"

namespace sluice::dns {

/// DNS over TCP (RFC 7766) as a connected socket whose other end is this process: what a relay
/// sends are queries with a length prefix, what it receives are answers likewise, in the order in
/// which they come. After shutdown_send() the open queries are still answered, then the stream
/// ends.
///
/// Both directions are bounded: while kMaxOpenQueries are open or kMaxUnreadBytes wait to be read,
/// no further query is taken (the answers to those open may pass the limit), and send() blocks once
/// kMaxUntakenBytes wait for that. Without a
/// whole query or a read for kIdle, or after a message that is no query, the stream ends.
class TcpSession final : public StreamSocket {
 public:
  static constexpr std::size_t kMaxOpenQueries = 16;
  static constexpr std::size_t kMaxUnreadBytes = 65536 + 2;
  static constexpr std::size_t kMaxUntakenBytes = 65535 + 2;
  static constexpr Duration kIdle = std::chrono::seconds(30);

  /// Replies once, perhaps at once; an empty reply means that the message was no query.
  using Ask =
      std::function<void(ConstBytes message, std::function<void(std::vector<std::uint8_t>)> reply)>;

  TcpSession(Loop& loop, const Client& client, Ask ask);
  ~TcpSession() override;

  void set_handler(SocketHandler* handler) override;
  int connect_result() override { return 0; }
  IoResult send(std::span<const iovec> data) override;
  IoResult receive(std::span<const iovec> buffers) override;
  void shutdown_send() override;
  void reset_on_close() override {}
  std::size_t pending_bytes() override { return unread_bytes_; }
  int take_error() override { return 0; }
  std::optional<Endpoint> local() const override { return client_.source; }
  std::optional<Endpoint> peer() const override { return client_.server; }

 private:
  void take_queries();
  bool may_take() const;
  void on_reply(std::vector<std::uint8_t> reply);
  void end();
  bool at_end() const;
  /// Tells the handler in a later turn what is possible then.
  void notify();

  Loop& loop_;
  Client client_;
  Ask ask_;
  SocketHandler* handler_ = nullptr;
  std::unique_ptr<Timer> idle_;
  std::vector<std::uint8_t> untaken_;
  std::deque<std::vector<std::uint8_t>> unread_;
  std::size_t unread_offset_ = 0;  ///< In the first of `unread_`.
  std::size_t unread_bytes_ = 0;
  std::size_t open_queries_ = 0;
  bool send_shut_ = false;
  bool ended_ = false;
  bool taking_ = false;
  bool notifying_ = false;
  /// Replies and notifications may come after the session is gone.
  std::shared_ptr<TcpSession*> self_;
};

}  // namespace sluice::dns
