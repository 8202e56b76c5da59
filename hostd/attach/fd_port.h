#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "hostd/attach/frame_queue.h"
#include "link/guest_port.h"

namespace sluice::hostd {

/// What all attachments over a descriptor have in common: one that can be watched, a queue for
/// frames that it does not take yet, and a guest's end that comes and goes. On the loop's thread.
///
/// While the descriptor is full, the port is blocked: frames are queued, and nothing is tried until
/// what it waits for comes. Where the queue is full too, TCP's frames are refused; a part of it is
/// kept for those that nobody would send again.
class FdPort : public link::GuestPort {
 public:
  /// What to do when the guest's end is gone.
  using OnClosed = std::function<void()>;

  ~FdPort() override;
  /// Called after the guest's end went, from a later turn of the loop.
  void set_on_closed(OnClosed on_closed) { on_closed_ = std::move(on_closed); }
  bool is_open() const { return static_cast<bool>(fd_); }

  void set_handler(link::PortHandler* handler) final;
  link::SendResult send(const link::RxFrame& frame, link::FrameClass frame_class) final;
  void flush() final;
  std::size_t max_mtu() const override { return 65520; }
  link::PortCounters counters() const final { return counters_; }

 protected:
  /// What a blocked port waits for.
  enum class Until : std::uint8_t {
    writable,  ///< The descriptor can be written to.
    moment,    ///< A millisecond has passed; where nothing tells.
    told,      ///< unblock() is called.
  };

  /// `guest`: see FrameQueue.
  FdPort(Loop& loop, FrameQueue::Prefix prefix, const link::Offloads& guest = {});

  /// Begins with a non-blocking descriptor; an earlier one is dropped.
  void begin(UniqueFd fd);
  /// The guest's end is there; it was not before.
  void link_up();
  /// It is gone: what is queued is lost, and everybody is told later in this turn.
  void link_down(const char* why);
  /// The same, and the descriptor is of no more use.
  void close(const char* why);
  bool has_link() const { return link_; }

  /// Reads and hands on what fits a batch; whether more may be there.
  virtual bool read_frames() = 0;
  /// Writes until the queue is empty, or block() or close() has been called.
  virtual void write_queue() = 0;
  /// The end of a batch, after write_queue(): tells the guest of it, where writing does not.
  virtual void notify() {}

  void block(Until until);
  void unblock();
  /// Hands on and clears frames_.
  void deliver();

  Loop& loop_;
  UniqueFd fd_;
  FrameQueue queue_;
  std::vector<link::TxFrame> frames_;  ///< The batch being read; kept for its memory.
  link::PortCounters counters_;

 private:
  void write();
  void on_ready(FdReady ready);
  void watch();
  void tell_of_room();
  void tell_down();

  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> moment_;
  std::shared_ptr<bool> alive_;
  link::PortHandler* handler_ = nullptr;
  OnClosed on_closed_;
  bool link_ = false;
  bool down_untold_ = false;
  bool blocked_ = false;
  Until until_ = Until::writable;
  bool writing_ = false;
  bool refused_ = false;
};

}  // namespace sluice::hostd
