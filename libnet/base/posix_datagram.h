#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "base/host_net.h"
#include "base/posix_poller.h"

namespace sluice {

/// Room for one recvmmsg(), shared by all datagram sockets of a PosixNet.
class DatagramBatch {
 public:
  static constexpr std::size_t kDatagrams = 32;
  /// The largest UDP payload over IPv4 is 65507 bytes, over IPv6 65527.
  static constexpr std::size_t kDatagramSize = 65536;

  DatagramBatch();
  /// Fills itself from `fd`; -1 and errno, or the number of datagrams.
  int receive(int fd);
  /// The first `count` of what receive() gave.
  std::span<const InDatagram> datagrams(int count);
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
  int send_some(std::span<const OutDatagram> datagrams);

  DatagramBatch& batch_;
  PosixSource source_;
  Family family_;
  int ttl_ = -1;  ///< Set last; -1: the kernel's default.
};

}  // namespace sluice
