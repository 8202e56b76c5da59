#pragma once

#include <memory>
#include <vector>

#include "hostd/attach/fd_port.h"
#include "hostd/attach/vhost_user_channel.h"
#include "hostd/attach/vhost_user_device.h"

namespace sluice::hostd {

/// A guest whose virtio queues lie in memory that its VMM shares with us (vhost-user). One VMM at a
/// time connects to a listening socket; when it goes, the next one is taken.
///
///     VMM --messages--> channel --> device (features, memory, rings)
///     guest --transmit queue--> copied to a slab --> handler
///     handler --> FrameQueue --> copied to receive buffers --> guest
///                 host's socket, of what is unread --'
///
/// What the guest sends is copied at once and its buffers are given back, so that nothing that is
/// parsed can change, and no flow holds the guest's buffers. Of a long TCP segment only the headers
/// are: its payload is lent to the handler, and its buffer is given back at the end of the batch.
/// Kicks and calls go by eventfds, and are asked for only where a side has nothing left to do.
class VhostUserPort final : public FdPort {
 public:
  /// `listener` does not block. `on_gone` is called each time a VMM's connection ends.
  VhostUserPort(Loop& loop, UniqueFd listener, OnClosed on_gone);
  ~VhostUserPort() override;

  bool takes_unread() const override;

 private:
  /// A frame and its pieces, or none of it. Where there is no room the guest's kick was asked for.
  enum class Placed : std::uint8_t { all, no_room, never, fault };

  bool read_frames() override;
  void write_queue() override;
  void notify() override;

  void accept();
  void read_messages();
  void disconnect(const std::string& why);
  /// Begins or ends to move frames, as the device now has it.
  void follow_device();
  bool drain(int kick);
  void fail(std::size_t queue, const Status& status);
  /// Shows the guest what was given back of a queue, and calls it where it wants that.
  void publish(std::size_t queue);
  void on_receive_kick();

  bool take(std::size_t first_piece, std::uint64_t size);
  /// From sent_pieces_, which loses them.
  void copy_head(std::size_t first_piece, Bytes out);
  void show_lent();
  void give_back_kept();
  Placed place(std::span<const iovec> frame, const UnreadBytes& unread);
  /// To pieces_. False: what is unread is not there.
  bool scatter(std::span<const iovec> frame, const UnreadBytes& unread);

  OnClosed on_gone_;
  UniqueFd listener_;
  std::unique_ptr<FdWatch> listener_watch_;
  std::unique_ptr<VhostUserChannel> channel_;
  std::unique_ptr<FdWatch> channel_watch_;
  VhostUserDevice device_;
  std::uint64_t followed_ = 0;  ///< device_.changes() at the last follow_device().
  UniqueFd receive_kick_;
  std::unique_ptr<FdWatch> receive_watch_;
  std::shared_ptr<bool> alive_;

  BufferRef slab_;
  std::size_t slab_end_ = 0;  ///< Bytes from here on are free.
  // Of the batch that is read; kept for their memory.
  std::vector<iovec> sent_pieces_;
  std::vector<VirtQueue::Chain> kept_chains_;  ///< From the first whose frame is lent on.
  /// Of the frame that is written.
  std::vector<iovec> pieces_;
  std::vector<VirtQueue::Chain> chains_;
};

}  // namespace sluice::hostd
