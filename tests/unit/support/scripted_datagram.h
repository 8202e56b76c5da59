#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_net.h"
#include "support/readiness.h"

namespace sluice::test {

class ScriptedDatagram;

struct SentDatagram {
  Endpoint to;
  std::string data;
  std::uint8_t ttl = 64;
};

/// The world's side of a UDP or ping socket of the code under test; see ScriptedNet.
class DatagramPeer {
 public:
  enum class Kind { udp, ping };

  Kind kind = Kind::udp;
  Endpoint local;

  /// What the code has sent, oldest first; the test may clear it.
  std::vector<SentDatagram> sent;
  /// Called for each datagram sent.
  std::function<void(const SentDatagram&)> on_send;

  void feed(const Endpoint& from, std::string_view data, std::uint8_t ttl = 64);
  /// An ICMP or local error that the kernel has queued.
  void feed_error(SocketError error);
  /// Datagrams that the socket takes from now on before it would block.
  void set_send_room(std::size_t datagrams);
  /// The next datagram offered is refused with `error`.
  void fail_send(int error) { send_error_ = error; }

  std::size_t unread() const { return unread_.size(); }
  bool closed() const { return closed_; }

 private:
  friend class ScriptedDatagram;
  struct Waiting {
    Endpoint from;
    std::string data;
    std::uint8_t ttl;
  };

  void raise(SocketReady ready);

  ScriptedDatagram* socket_ = nullptr;
  std::deque<Waiting> unread_;
  std::deque<SocketError> errors_;
  std::size_t send_room_ = ~std::size_t{0};
  bool send_blocked_ = false;
  int send_error_ = 0;
  bool closed_ = false;
};

/// The code's end.
class ScriptedDatagram final : public DatagramSocket {
 public:
  ScriptedDatagram(Loop& loop, std::shared_ptr<DatagramPeer> peer);
  ~ScriptedDatagram() override;

  void set_handler(SocketHandler* handler) override { readiness_.set_handler(handler); }
  IoResult send_batch(std::span<const OutDatagram> datagrams) override;
  InBatch receive_batch() override;
  std::optional<SocketError> take_queued_error() override;
  void set_ttl(std::uint8_t ttl) override { ttl_ = ttl; }
  std::optional<Endpoint> local() const override { return peer_->local; }

 private:
  friend class DatagramPeer;
  std::shared_ptr<DatagramPeer> peer_;
  Readiness readiness_;
  std::uint8_t ttl_ = 64;
  std::vector<DatagramPeer::Waiting> batch_;
  std::vector<InDatagram> views_;
};

}  // namespace sluice::test
