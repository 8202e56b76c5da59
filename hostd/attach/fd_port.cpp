#include "hostd/attach/fd_port.h"

#include <utility>

#include "base/log.h"

namespace sluice::hostd {

namespace {

/// Batches that are read before others on the loop have their turn.
constexpr int kReadsPerTurn = 4;
/// The same, of large ones.
constexpr std::uint64_t kBytesPerTurn = 2 << 20;
constexpr Duration kMoment = std::chrono::milliseconds(1);

}  // namespace

FdPort::FdPort(Loop& loop, FrameQueue::Prefix prefix, const link::Offloads& guest)
    : loop_(loop),
      queue_(prefix, guest),
      moment_(loop.make_timer([this] {
        if (blocked_ && until_ == Until::moment) unblock();
      })),
      alive_(std::make_shared<bool>(true)) {}

FdPort::~FdPort() {
  *alive_ = false;
  link_ = false;
  watch_.reset();
  queue_.clear();
}

void FdPort::begin(UniqueFd fd) {
  if (std::exchange(link_, false)) down_untold_ = true;
  counters_.rx_lost += queue_.clear();
  watch_.reset();
  fd_ = std::move(fd);
  blocked_ = false;
  watch_ = loop_.watch(fd_.get(), {}, [this](FdReady ready) { on_ready(ready); });
  watch();
}

void FdPort::watch() {
  // Nobody reads before there is somebody to take the frames.
  if (!watch_) return;
  watch_->set_interest(
      {.readable = handler_ != nullptr, .writable = blocked_ && until_ == Until::writable});
}

void FdPort::link_up() {
  tell_down();
  link_ = true;
  if (!handler_) return;
  handler_->on_port_link(true);
  tell_of_room();
}

void FdPort::link_down(const char* why) {
  if (!link_) return;
  log(LogLevel::info, "guest's end is gone: {}", why);
  link_ = false;
  counters_.rx_lost += queue_.clear();
  blocked_ = false;
  watch();
  down_untold_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    tell_down();
    if (on_closed_) on_closed_();
  });
}

void FdPort::tell_down() {
  if (!std::exchange(down_untold_, false)) return;
  if (!fd_) watch_.reset();
  if (handler_) handler_->on_port_link(false);
}

void FdPort::close(const char* why) {
  if (!fd_) return;
  link_down(why);
  // The watch may be the one that is calling, so it goes later.
  if (watch_) watch_->set_interest({});
  fd_.reset();
}

void FdPort::set_handler(link::PortHandler* handler) {
  handler_ = handler;
  if (fd_) watch();
  if (handler_ && link_) handler_->on_port_link(true);
}

link::SendResult FdPort::send(const link::RxFrame& frame, link::FrameClass frame_class) {
  if (!link_) {
    // Nobody is there. What TCP has will be asked for again; the rest is as lost as on a cable.
    if (frame_class == link::FrameClass::data) {
      refused_ = true;
      ++counters_.rx_refused;
      return link::SendResult::full;
    }
    ++counters_.rx_lost;
    if (frame.release) frame.release(frame.owner);
    return link::SendResult::sent;
  }
  if (!queue_.has_room(frame_class)) {
    refused_ = true;
    ++counters_.rx_refused;
    return link::SendResult::full;
  }
  FrameQueue::Taken taken = queue_.add(frame);
  counters_.rx_frames += taken.frames;
  counters_.rx_bytes += taken.bytes;
  if (taken.frames == 0) ++counters_.rx_lost;
  if (queue_.is_worth_writing()) write();
  return link::SendResult::sent;
}

void FdPort::flush() {
  write();
  if (link_) notify();
}

void FdPort::write() {
  // A frame's release(), called while writing, may send.
  if (!link_ || blocked_ || std::exchange(writing_, true)) return;
  write_queue();
  writing_ = false;
}

void FdPort::block(Until until) {
  blocked_ = true;
  until_ = until;
  if (until == Until::moment) moment_->start(kMoment);
  watch();
}

void FdPort::unblock() {
  if (!blocked_) return;
  blocked_ = false;
  flush();
  // Still writable's business if it blocked again.
  if (fd_) watch();
  tell_of_room();
}

void FdPort::tell_of_room() {
  if (!refused_ || blocked_ || !link_ || !handler_ || !queue_.has_much_room()) return;
  refused_ = false;
  handler_->on_port_space();
}

void FdPort::deliver() {
  counters_.tx_frames += frames_.size();
  for (const link::TxFrame& frame : frames_) counters_.tx_bytes += frame.bytes.size();
  if (!frames_.empty() && handler_) handler_->on_frames(frames_);
  frames_.clear();
}

void FdPort::on_ready(FdReady ready) {
  if (ready.writable && blocked_ && until_ == Until::writable) unblock();
  if (!ready.readable) return;
  const std::uint64_t most = counters_.tx_bytes + kBytesPerTurn;
  for (int i = 0; i < kReadsPerTurn && counters_.tx_bytes < most && fd_ && read_frames(); ++i) {
  }
}

}  // namespace sluice::hostd
