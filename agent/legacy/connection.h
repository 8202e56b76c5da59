#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "agent/legacy/frame.h"
#include "agent/legacy/messages.h"
#include "agent/rpc/call.h"
#include "agent/rpc/link.h"
#include "base/loop.h"

namespace sluice::agent::legacy {

/// Requests, and bytes of them, that a client may send before the first is answered. Beyond either
/// the connection ends: what is not read any more would hide that the client has gone.
inline constexpr std::size_t kMaxAhead = 16;
inline constexpr std::size_t kMaxAheadBytes = 2 * kMaxPayload;

/// The server's end of one connection in the older framing: each request becomes a call of the
/// agent's own methods, and its answers frames. One request at a time, in the order in which they
/// came; what the client does wrong is answered by an Error frame, and the connection goes on as
/// long as frames can be told apart.
///
/// One thread. `on_end` is called once, from the loop, when the peer has gone or the link has
/// failed; it may destroy the connection. Destroying it ends its call.
class Connection {
 public:
  Connection(Loop& loop, const rpc::Methods& methods, std::unique_ptr<rpc::Link> link,
             std::function<void()> on_end);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 private:
  class ActiveCall;
  friend class ActiveCall;
  struct Request {
    std::uint32_t type = 0;
    std::vector<std::uint8_t> payload;
    Frame::Fault fault = Frame::Fault::none;
  };

  void on_ready(FdReady ready);
  /// Whether there may be more to read.
  bool read_some();
  void take(const Frame& frame);
  void run_later();
  void run();
  void begin(const Request& request);
  void refuse(std::int32_t code, std::string_view text);
  bool has_room() const;
  void flush();
  void update_interest();
  void end();

  Loop& loop_;
  const rpc::Methods& methods_;
  std::unique_ptr<rpc::Link> link_;
  std::function<void()> on_end_;
  FrameReader reader_;
  std::deque<Request> requests_;
  std::size_t ahead_bytes_ = 0;  ///< Of requests_.
  std::unique_ptr<ActiveCall> call_;
  std::vector<std::uint8_t> out_;
  std::size_t written_ = 0;  ///< Of out_.
  bool last_ = false;  ///< Nothing is taken any more: what is to be said is, and that is the end.
  bool running_later_ = false;
  bool ended_ = false;
  /// Deferred tasks look whether the connection is still there.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::agent::legacy
