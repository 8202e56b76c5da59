#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "agent/rpc/call.h"
#include "agent/rpc/frame_stream.h"
#include "base/loop.h"

namespace sluice::agent::rpc {

/// Calls of one connection that may be under way at once; what is beyond fails with
/// RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxCalls = 1024;

/// The server's end of one connection: reads requests, begins calls, writes what they answer. What
/// the client does wrong ends the call in question with a status, never the connection, as long as
/// frames can be told apart.
///
/// One thread. `on_end` is called once, from the loop, when the peer has gone or the link has
/// failed; it may destroy the connection. Destroying it ends its calls.
class Connection {
 public:
  Connection(Loop& loop, const Methods& methods, std::unique_ptr<Link> link,
             std::function<void()> on_end);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  std::size_t calls() const { return calls_.size(); }
  /// Drops all calls and what was to be written, as if the peer had just come.
  void reset();

 private:
  class ActiveCall;
  friend class ActiveCall;

  void on_frame(const Frame& frame);
  void on_request(const FrameHeader& header, ConstBytes payload);
  void on_data(const FrameHeader& header, ConstBytes payload);
  void cancel(std::uint32_t stream);
  void refuse(std::uint32_t stream, const CallError& error);
  void fail(std::uint32_t stream, const CallError& error);
  void offer_room();
  void sweep_later();
  void sweep();

  Loop& loop_;
  const Methods& methods_;
  FrameStream stream_;
  std::map<std::uint32_t, std::unique_ptr<ActiveCall>> calls_;
  std::uint32_t last_stream_ = 0;
  std::uint32_t last_served_ = 0;  ///< Of those that waited for room.
  bool sweeping_ = false;
  /// Deferred tasks look whether the connection is still there.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::agent::rpc
