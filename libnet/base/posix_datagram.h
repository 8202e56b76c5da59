#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "base/host_net.h"
#include "base/posix_address.h"
#include "base/posix_source.h"

namespace sluice {

/// Room for one recvmmsg() and one sendmmsg(), shared by all datagram sockets of a PosixNet.
class DatagramBatch {
 public:
  /// Messages of one recvmmsg(): a datagram each, or up to 64 that the kernel joined.
  static constexpr std::size_t kReceived = 32;
  /// Of those, where messages are joined ones: what is taken at once still has to fit what carries
  /// it to the guest.
  static constexpr std::size_t kJoinedReceived = 4;
  /// Messages of one sendmmsg().
  static constexpr std::size_t kMessages = 64;
  /// Datagrams of one message that the kernel cuts (udp(7), UDP_SEGMENT), and the largest of them:
  /// what an Ethernet carries in one packet. All together have to fit a packet of IP's. The
  /// kernel's own limit is 64, of which some versions take the headers off.
  static constexpr std::size_t kMostCut = 32;
  static constexpr std::size_t kMostCutSize = 1452;
  /// The largest UDP payload over IPv4 is 65507 bytes, over IPv6 65527; joined ones are no more.
  static constexpr std::size_t kMessageSize = 65536;

  DatagramBatch();
  /// Fills itself with at most `most` messages from `fd`; -1 and errno, or their number.
  int receive(int fd, std::size_t most);
  /// The datagrams of the first `count` messages that receive() gave.
  std::span<const InDatagram> datagrams(int count);
  /// Whether any of those came joined.
  bool has_joined() const { return has_joined_; }
  /// Sends the first of `datagrams`, at least one, to `fd`; -1 and errno, or how many were sent.
  /// `cut`: equal ones in a row go as one message that the kernel cuts.
  int send(int fd, std::span<const OutDatagram> datagrams, bool cut);
  /// Whether the last send() began with such a message, so that a failure is one of it.
  bool has_cut() const { return has_cut_; }
  /// As SocketAddress has it.
  unsigned link = 0;

 private:
  struct Control {
    alignas(cmsghdr) std::array<std::uint8_t, 2 * CMSG_SPACE(sizeof(int))> bytes;
  };

  /// 2 MiB, left untouched until datagrams come that need them.
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<sockaddr_storage, kReceived> peers_;
  std::array<Control, kReceived> controls_;
  std::array<iovec, kReceived> pieces_;
  std::array<mmsghdr, kReceived> messages_;
  std::vector<InDatagram> datagrams_;
  std::size_t used_ = kReceived;  ///< Of messages_ that have to be made ready again.
  bool has_joined_ = false;

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
  static Result<std::unique_ptr<DatagramSocket>> udp(Poller& poller, DatagramBatch& batch,
                                                     const Endpoint& at);
  /// As HostNet::open_query() says.
  static Result<std::unique_ptr<DatagramSocket>> query(Poller& poller, DatagramBatch& batch,
                                                       Family family);
  static Result<std::unique_ptr<DatagramSocket>> ping(Poller& poller, DatagramBatch& batch,
                                                      Family family);

  PosixDatagram(Poller& poller, DatagramBatch& batch, UniqueFd fd, Family family)
      : batch_(batch), source_(poller, std::move(fd)), family_(family) {}

  void set_handler(SocketHandler* handler) override { source_.set_handler(handler); }
  IoResult send_batch(std::span<const OutDatagram> datagrams) override;
  InBatch receive_batch() override;
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
  std::size_t most_received_ = DatagramBatch::kReceived;
};

}  // namespace sluice
