#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "agent/rpc/call.h"
#include "agent/rpc/frame_stream.h"

namespace sluice::agent::client {

/// The client's end of a ttrpc connection. One thread. Destroying it ends its calls without a word
/// to those who wait for them.
class Caller {
 public:
  struct Listener {
    /// A message of the server's stream; valid until it returns.
    std::function<void(ConstBytes)> on_message;
    /// The end: `error.code` is ok and `message` the answer (empty of a stream), or what went
    /// wrong, UNAVAILABLE where the connection has gone.
    std::function<void(const rpc::CallError& error, ConstBytes message)> on_end;
  };

  /// `on_gone` is called once, after the calls that were under way have ended.
  Caller(Loop& loop, std::unique_ptr<rpc::Link> link, std::function<void()> on_gone);

  /// Begins a call and returns its stream's number. `streams`: more messages follow by send().
  std::uint32_t begin(std::string_view service, std::string_view method, ConstBytes request,
                      Listener listener, bool streams = false, Duration timeout = {});
  void send(std::uint32_t stream, ConstBytes message);
  void close_send(std::uint32_t stream);

 private:
  void on_frame(const rpc::Frame& frame);
  void end(std::uint32_t stream, const rpc::CallError& error, ConstBytes message);
  void on_end();

  std::uint32_t next_ = 1;
  std::unordered_map<std::uint32_t, Listener> calls_;
  std::function<void()> on_gone_;
  rpc::FrameStream stream_;
};

}  // namespace sluice::agent::client
