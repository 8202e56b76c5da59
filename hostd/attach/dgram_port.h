#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <vector>

#include "hostd/attach/fd_port.h"

namespace sluice::hostd {

/// A Unix socket that keeps the bounds of messages: one frame each (vfkit, krunkit, libkrun's
/// unixgram, QEMU's `-netdev dgram`; SOCK_SEQPACKET for UML and slirp4netns's users). A message
/// `VFKT`, which some clients begin with, is no frame.
///
/// A bound socket serves the first client that is heard and answers to the address that it bound.
/// It stays unconnected: the kernel lets nobody but its peer write to a connected one, so that a
/// VMM which is started anew could not. Nobody tells when a client goes; it is noticed when a frame
/// for it is refused, when another client is heard, or within a second.
///
/// A full client has two faces (unix(7) says EAGAIN for both). If our socket's own send buffer is
/// full, poll() tells when it is not. If the client's queue is (net.unix.max_dgram_qlen frames,
/// often 10), poll() on our unconnected socket does not see it; it does on another socket that is
/// connected to the client, which nothing is ever sent on.
class DgramPort final : public FdPort {
 public:
  /// Of a bound socket, unconnected.
  enum class Peer : std::uint8_t { learnt, connected };

  DgramPort(Loop& loop, UniqueFd socket, Peer peer);
  ~DgramPort() override;

  std::size_t max_mtu() const override;

 private:
  static constexpr std::size_t kReadBatch = 16;
  static constexpr std::size_t kWriteBatch = 64;

  bool read_frames() override;
  void write_queue() override;

  /// Whether the sender is the client, or becomes it.
  bool is_from_client(const sockaddr_un& sender, socklen_t size);
  void lose_client(const char* why);
  void wait_for_room();
  bool watch_client_queue();
  void check_client();

  const Peer peer_;
  bool is_seqpacket_ = false;

  sockaddr_un client_{};
  socklen_t client_size_ = 0;  ///< 0: none is known.
  std::unique_ptr<Timer> check_timer_;
  bool stranger_reported_ = false;
  bool denial_reported_ = false;
  bool stranger_probed_ = false;  ///< In this batch.

  UniqueFd waiter_;  ///< Connected to the client, for poll() only.
  std::unique_ptr<FdWatch> waiter_watch_;
  bool woken_in_vain_ = false;

  BufferRef slab_;
  struct Incoming;
  std::unique_ptr<Incoming> incoming_;
  struct Outgoing;
  std::unique_ptr<Outgoing> outgoing_;
};

/// Gives a message socket buffers of several MiB, as far as the kernel allows; best done while we
/// are root.
void size_message_buffers(int fd);

}  // namespace sluice::hostd
