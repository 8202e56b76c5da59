#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "link/guest_port.h"
#include "link/segmenter.h"

namespace sluice::hostd {

/// A Unix stream socket with QEMU's framing: a 32-bit big-endian length, then the frame (QEMU's
/// `-netdev stream`, libkrun's unixstream, passt's clients). Theory of operation:
///
/// Towards the gateway, large reads go into slabs of memory, and the frames in them are handed on
/// where they lie. A slab is used again once nobody refers to it.
///
/// Towards the guest, frames are queued as pieces (headers copied, payload by reference) and leave
/// with as few sendmsg() calls as possible. A partial write is continued before anything else.
/// Where the socket is full, TCP's frames are refused and come again; a part of the queue is kept
/// for those that nobody would send again.
///
/// The peer is never sent a frame over link::kMaxFrame, a half-close, or a length without its
/// frame: libkrun's net thread panics or spins on these.
class StreamPort final : public link::GuestPort {
 public:
  /// What to do when the connection ends.
  using OnClosed = std::function<void()>;

  explicit StreamPort(Loop& loop) : loop_(loop) {}
  ~StreamPort() override;

  /// Begins with a connected, non-blocking socket; an earlier one is dropped.
  void open(UniqueFd socket);
  bool is_open() const { return static_cast<bool>(socket_); }
  /// Called after the connection ended, from a later turn of the loop.
  void set_on_closed(OnClosed on_closed) { on_closed_ = std::move(on_closed); }

  void set_handler(link::PortHandler* handler) override;
  link::SendResult send(const link::RxFrame& frame, link::FrameClass frame_class) override;
  void flush() override;
  std::size_t max_mtu() const override { return 65520; }
  link::PortCounters counters() const override { return counters_; }

 private:
  struct Slab;
  /// A frame on its way, with its length in front.
  struct Out {
    std::array<std::uint8_t, 4 + link::kMaxHead> head;
    std::uint32_t head_size;
    std::uint32_t size;         ///< All of it.
    std::uint32_t first_piece;  ///< In pieces_.
    std::uint32_t pieces;
    std::unique_ptr<std::uint8_t[]> copy;  ///< Payload that is not referred to.
    void (*release)(void*);
    void* owner;
  };

  void on_ready(FdReady ready);
  bool read_frames();
  void use_slab(std::size_t at_least);
  Out& begin_out();
  void finish_out(Out& out, const link::RxFrame& frame, std::size_t head_size,
                  std::size_t payload_size, bool last);
  void write_queue();
  void take_sent(std::size_t count);
  void set_blocked(bool blocked);
  void close(const char* why);
  void drop_queue();

  Loop& loop_;
  UniqueFd socket_;
  std::unique_ptr<FdWatch> watch_;
  link::PortHandler* handler_ = nullptr;
  OnClosed on_closed_;
  std::unique_ptr<Timer> close_timer_;

  BufferRef slab_;
  std::size_t slab_begin_ = 0;  ///< Bytes before it were handed on.
  std::size_t slab_end_ = 0;    ///< Bytes from here on are free.
  std::vector<link::TxFrame> frames_;

  std::vector<Out> queue_;
  std::size_t queue_head_ = 0;
  std::vector<iovec> pieces_;
  std::size_t sent_of_head_ = 0;  ///< Bytes of the first frame that left already.
  std::size_t queued_bytes_ = 0;
  bool blocked_ = false;
  bool refused_ = false;
  bool in_handler_ = false;
  link::PortCounters counters_;
};

}  // namespace sluice::hostd
