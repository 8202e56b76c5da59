#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "base/host_net.h"
#include "base/posix_address.h"
#include "base/posix_poller.h"

namespace sluice {

/// Room for one recvmmsg() and one sendmmsg(), shared by all datagram sockets of a PosixNet.
class DatagramBatch {
 public:
  static constexpr std::size_t kDatagrams = DatagramSocket::kFullBatch;
  /// Messages of one sendmmsg().
  static constexpr std::size_t kMessages = 64;
  /// Datagrams of one message that the kernel cuts (udp(7), UDP_SEGMENT), and the largest of them:
  /// what an Ethernet carries in one packet. All together have to fit a packet of IP's. The
  /// kernel's own limit is 64, of which some versions take the headers off.
  static constexpr std::size_t kMostCut = 32;
  static constexpr std::size_t kMostCutSize = 1452;
  /// The largest UDP payload over IPv4 is 65507 bytes, over IPv6 65527.
  static constexpr std::size_t kDatagramSize = 65536;

  DatagramBatch();
  /// Fills itself from `fd`; -1 and errno, or the number of datagrams.
  int receive(int fd);
  /// The first `count` of what receive() gave.
  std::span<const InDatagram> datagrams(int count);
  /// Sends the first of `datagrams`, at least one, to `fd`; -1 and errno, or how many were sent.
  /// `cut`: equal ones in a row go as one message that the kernel cuts.
  int send(int fd, std::span<const OutDatagram> datagrams, bool cut);
  /// Whether the last send() began with such a message, so that a failure is one of it.
  bool has_cut() const { return has_cut_; }
  /// As SocketAddress has it.
  unsigned link = 0;

 private:
  struct Control {
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> bytes;
  };

  /// 2 MiB, left untouched until datagrams come that need them.
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<sockaddr_storage, kDatagrams> peers_;
  std::array<Control, kDatagrams> controls_;
  std::array<iovec, kDatagrams> pieces_;
  std::array<mmsghdr, kDatagrams> messages_;
  std::array<InDatagram, kDatagrams> datagrams_;
  std::size_t used_ = kDatagrams;  ///< Of messages_ that have to be made ready again.

  struct CutControl {
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(std::uint16_t))> bytes;
  };
  std::array<SocketAddress, kMessages> out_peers_;
  std::array<mmsghdr, kMessages> out_messages_;
  std::array<std::size_t, kMessages> out_counts_;  ///< Datagrams of each.
  std::array<CutControl, kMessages> out_controls_;
  std::vector<iovec> out_pieces_;
  bool has_cut_ = false;
};

/// A UDP or ping socket.
class PosixDatagram final : public DatagramSocket {
 public:
  static Result<std::unique_ptr<DatagramSocket>> udp(PosixPoller& poller, DatagramBatch& batch,
                                                     const Endpoint& at);
  /// As HostNet::open_query() says.
  static Result<std::unique_ptr<DatagramSocket>> query(PosixPoller& poller, DatagramBatch& batch,
                                                       Family family);
  static Result<std::unique_ptr<DatagramSocket>> ping(PosixPoller& poller, DatagramBatch& batch,
                                                      Family family);

  PosixDatagram(PosixPoller& poller, DatagramBatch& batch, UniqueFd fd, Family family)
      : batch_(batch), source_(poller, std::move(fd)), family_(family) {}

  void set_handler(SocketHandler* handler) override { source_.set_handler(handler); }
  IoResult send_batch(std::span<const OutDatagram> datagrams) override;
  std::span<const InDatagram> receive_batch() override;
  std::optional<SocketError> take_queued_error() override;
  void set_ttl(std::uint8_t ttl) override;
  std::optional<Endpoint> local() const override;

 private:
  static Result<std::unique_ptr<DatagramSocket>> start(std::unique_ptr<PosixDatagram> socket);

  DatagramBatch& batch_;
  PosixSource source_;
  Family family_;
  int ttl_ = -1;      ///< Set last; -1: the kernel's default.
  bool cut_ = false;  ///< The kernel may cut; no more where it once could not.
};

}  // namespace sluice
