#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/host_net.h"
#include "support/readiness.h"

namespace sluice::test {

class ScriptedStream;
class ScriptedListener;

inline constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

/// The far end of a stream socket of the code under test; see ScriptedNet.
class StreamPeer {
 public:
  /// What was dialled: an address or a Unix path. For an accepted connection, the client's.
  std::optional<Endpoint> remote;
  std::string path;
  /// The code's own end.
  std::optional<Endpoint> local;

  /// Completes the dial.
  void connect();
  /// Fails the dial with an errno.
  void refuse(int error);

  void feed(std::string_view bytes);
  /// The far end sends no more (FIN), after what was fed.
  void feed_end();
  /// The connection dies at once with `error`; what was fed and not read is lost.
  void reset(int error = ECONNRESET);
  /// The same, but what was fed can still be read, as from Linux's TCP.
  void fail_after_unread(int error);

  /// Bytes that send() takes from now on before it would block.
  void set_send_room(std::size_t bytes);
  /// The most that one receive() or peek() gives.
  void set_receive_limit(std::size_t bytes) { receive_limit_ = bytes; }
  /// Whether what was fed can be looked at and left.
  bool can_peek = true;
  /// Called after each send() that took something.
  std::function<void(StreamPeer&)> on_send;

  bool connected() const { return state_ == State::connected; }
  const std::string& sent() const { return sent_; }
  std::string take_sent() { return std::exchange(sent_, {}); }
  /// Fed and not received yet.
  std::size_t unread() const { return unread_.size(); }
  bool saw_end() const { return saw_end_; }      ///< The code half-closed.
  bool closed() const { return closed_; }        ///< The code destroyed its socket.
  bool was_reset() const { return was_reset_; }  ///< ... after reset_on_close().

 private:
  friend class ScriptedStream;
  friend class ScriptedListener;
  enum class State { dialling, connected, failed };

  void raise(SocketReady ready);
  /// What is there before the code's socket is.
  void raise_current();

  ScriptedStream* socket_ = nullptr;
  State state_ = State::dialling;
  int error_ = 0;
  int late_error_ = 0;
  std::string unread_;
  bool end_fed_ = false;
  std::string sent_;
  std::size_t send_room_ = kUnlimited;
  std::size_t receive_limit_ = kUnlimited;
  bool send_blocked_ = false;
  bool saw_end_ = false;
  bool closed_ = false;
  bool reset_on_close_ = false;
  bool was_reset_ = false;
};

/// The code's end.
class ScriptedStream final : public StreamSocket {
 public:
  ScriptedStream(Loop& loop, std::shared_ptr<StreamPeer> peer);
  ~ScriptedStream() override;

  void set_handler(SocketHandler* handler) override { readiness_.set_handler(handler); }
  int connect_result() override;
  IoResult send(std::span<const iovec> data) override;
  IoResult receive(std::span<const iovec> buffers) override;
  void shutdown_send() override { peer_->saw_end_ = true; }
  void reset_on_close() override { peer_->reset_on_close_ = true; }
  std::size_t pending_bytes() override { return peer_->unread_.size(); }
  bool stops_early() const override {
    return peer_->end_fed_ || peer_->state_ == StreamPeer::State::failed;
  }
  bool can_peek() override { return peer_->can_peek; }
  IoResult peek(std::size_t offset, std::span<const iovec> buffers) override;
  bool discard(std::size_t bytes) override;
  int take_error() override { return std::exchange(peer_->error_, 0); }
  std::optional<Endpoint> local() const override { return peer_->local; }
  std::optional<Endpoint> peer() const override { return peer_->remote; }

 private:
  friend class StreamPeer;
  std::shared_ptr<StreamPeer> peer_;
  Readiness readiness_;
};

/// The world's side of a listening socket of the code under test.
class ListenPeer {
 public:
  std::optional<Endpoint> local;
  std::string path;

  /// A client connects: the code can accept it. Its far end is the client.
  std::shared_ptr<StreamPeer> connect(const Endpoint& from);
  /// The next accept() fails with `error`.
  void fail_accept(int error);
  bool closed() const { return socket_ == nullptr; }
  std::size_t backlog() const { return backlog_.size(); }

 private:
  friend class ScriptedListener;
  ScriptedListener* socket_ = nullptr;
  std::deque<std::shared_ptr<StreamPeer>> backlog_;
  int accept_error_ = 0;
};

class ScriptedListener final : public ListenSocket {
 public:
  ScriptedListener(Loop& loop, std::shared_ptr<ListenPeer> peer);
  ~ScriptedListener() override;

  void set_handler(SocketHandler* handler) override { readiness_.set_handler(handler); }
  Accepted accept() override;
  std::optional<Endpoint> local() const override { return peer_->local; }

 private:
  friend class ListenPeer;
  Loop& loop_;
  std::shared_ptr<ListenPeer> peer_;
  Readiness readiness_;
};

}  // namespace sluice::test
