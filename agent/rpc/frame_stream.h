#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "agent/rpc/frame.h"
#include "agent/rpc/link.h"
#include "base/loop.h"

namespace sluice::agent::rpc {

/// Where a peer doesn't read, there is no room() beyond the first, and nothing more is read from it
/// beyond the second, so that what it asks for can't pile up.
inline constexpr std::size_t kBusyBytes = std::size_t{256} << 10;
inline constexpr std::size_t kFullBytes = std::size_t{1} << 20;

/// Frames to and from the peer of a link, in order. One thread. Nothing is called from inside a
/// call of its own.
class FrameStream {
 public:
  struct Events {
    std::function<void(const Frame&)> on_frame;
    /// There was none, and now there is.
    std::function<void()> on_room;
    /// Once: the peer has gone, or the link has failed. It may destroy the stream.
    std::function<void()> on_end;
  };

  FrameStream(Loop& loop, std::unique_ptr<Link> link, Events events);
  ~FrameStream();
  FrameStream(const FrameStream&) = delete;
  FrameStream& operator=(const FrameStream&) = delete;

  /// Always taken; written once this turn of the loop has said all that it has to say.
  void send(const FrameHeader& header, ConstBytes payload);
  bool has_room() const { return queued() < kBusyBytes; }
  std::size_t queued() const { return out_.size() - written_; }
  /// Whether what the peer sends is read now. It is, to begin with.
  void set_reading(bool reading);
  /// As if the peer had just come.
  void reset();

 private:
  void on_ready(FdReady ready);
  bool read_some();
  void flush();
  void update_interest();
  void end();

  Loop& loop_;
  std::unique_ptr<Link> link_;
  Events events_;
  FrameReader reader_;
  std::vector<std::uint8_t> out_;
  std::size_t written_ = 0;  ///< Of out_.
  bool reading_ = true;
  bool was_busy_ = false;
  bool flushing_ = false;
  bool ended_ = false;
  /// Deferred tasks look whether the stream is still there.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::agent::rpc
