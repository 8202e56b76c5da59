#include "agent/net/dhcp_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "wire/dhcp.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace sluice::agent {
namespace {

// A packet as long as the largest MTU of an Ethernet link.
constexpr std::size_t kPacketBytes = 65536;

/// Lets through IPv4, UDP, no fragment but a first one, to port 68. Offsets are of the IP header:
/// a SOCK_DGRAM packet socket gives no link header.
const std::array kToClient{
    sock_filter BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),  // protocol
    sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
    sock_filter BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),  // flags, fragment offset
    sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
    sock_filter BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),  // header length
    sock_filter BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),   // destination port
    sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),
    sock_filter BPF_STMT(BPF_RET | BPF_K, 0x40000),
    sock_filter BPF_STMT(BPF_RET | BPF_K, 0),
};

const std::array kNothing{sock_filter BPF_STMT(BPF_RET | BPF_K, 0)};

template <std::size_t N>
bool attach(int fd, const std::array<sock_filter, N>& filter) {
  sock_fprog program{};
  program.len = N;
  program.filter = const_cast<sock_filter*>(filter.data());
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

sockaddr_ll link_address(const Link& link, const MacAddress& mac) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_IP);
  address.sll_ifindex = link.index;
  address.sll_halen = MacAddress::kSize;
  std::ranges::copy(mac.bytes(), address.sll_addr);
  return address;
}

sockaddr_in inet_address(const IpAddress& ip, Port port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.value());
  std::memcpy(&address.sin_addr, ip.bytes().data(), sizeof address.sin_addr);
  return address;
}

/// Whether the kernel says of the packet just received that its checksum is still to be filled in.
bool has_partial_checksum(msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA) continue;
    if (part->cmsg_len < CMSG_LEN(sizeof(tpacket_auxdata))) continue;
    tpacket_auxdata data{};
    std::memcpy(&data, CMSG_DATA(part), sizeof data);
    return (data.tp_status & TP_STATUS_CSUMNOTREADY) != 0;
  }
  return false;
}

}  // namespace

ConstBytes dhcp_message_in(ConstBytes packet, bool partial_checksum) {
  auto ip = wire::Ipv4View::parse(packet);
  if (!ip || ip->protocol() != wire::IpProtocol::udp || ip->more_fragments() ||
      ip->fragment_offset() != 0 || !ip->checksum_ok()) {
    return {};
  }
  auto udp = wire::UdpView::parse(ip->payload());
  if (!udp || udp->destination_port() != wire::kDhcpClientPort) return {};
  if (!partial_checksum && !udp->checksum_ok(ip->source(), ip->destination())) return {};
  return udp->payload();
}

Result<std::unique_ptr<DhcpSocket>> DhcpSocket::open(Loop& loop, const Link& link) {
  // Bound to no protocol until the filter is there.
  UniqueFd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  sockaddr_ll local = link_address(link, MacAddress());
  if (!fd || !attach(fd.get(), kToClient) ||
      ::setsockopt(fd.get(), SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    return Status::from_errno(errno, fmt::format("open a packet socket on {}", link.name));
  }
  int watched = fd.get();
  std::unique_ptr<DhcpSocket> socket(new DhcpSocket(link, std::move(fd)));
  socket->watch_ = loop.watch(watched, {.readable = true},
                              [self = socket.get()](FdReady) { self->on_readable(); });
  if (!socket->watch_) return Status(StatusCode::internal, "can't watch a packet socket");
  return socket;
}

Status DhcpSocket::broadcast(const IpAddress& source, ConstBytes message) {
  std::vector<std::uint8_t> packet(wire::kIpv4HeaderSize + wire::kUdpHeaderSize + message.size());
  std::size_t size =
      wire::emit_udp(packet, {source, wire::kDhcpClientPort},
                     {IpAddress::v4(255, 255, 255, 255), wire::kDhcpServerPort}, message);
  sockaddr_ll to = link_address(link_, MacAddress::broadcast());
  ssize_t sent =
      ::sendto(packets_.get(), packet.data(), size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  if (sent < 0) return Status::from_errno(errno, fmt::format("broadcast on {}", link_.name));
  return Status::ok();
}

Status DhcpSocket::bind_udp(const IpAddress& source) {
  if (udp_ && udp_source_ == source) return Status::ok();
  udp_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  sockaddr_in local = inet_address(source, wire::kDhcpClientPort);
  if (!udp_ || !attach(udp_.get(), kNothing) ||
      ::setsockopt(udp_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(udp_.get(), SOL_SOCKET, SO_BINDTODEVICE, link_.name.c_str(),
                   static_cast<socklen_t>(link_.name.size())) != 0 ||
      ::bind(udp_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    int error = errno;
    udp_.reset();
    return Status::from_errno(error, fmt::format("bind {} port 68", source.to_string()));
  }
  udp_source_ = source;
  return Status::ok();
}

Status DhcpSocket::send(const IpAddress& source, const IpAddress& server, ConstBytes message) {
  if (Status bound = bind_udp(source); !bound) return bound;
  sockaddr_in to = inet_address(server, wire::kDhcpServerPort);
  ssize_t sent = ::sendto(udp_.get(), message.data(), message.size(), 0,
                          reinterpret_cast<sockaddr*>(&to), sizeof to);
  if (sent < 0) return Status::from_errno(errno, fmt::format("send to {}", server.to_string()));
  return Status::ok();
}

void DhcpSocket::on_readable() {
  std::weak_ptr<bool> alive = alive_;
  std::vector<std::uint8_t> buffer(kPacketBytes);
  for (int reads = 0; reads < kMaxReads; ++reads) {
    iovec data{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr) std::array<char, 256> control;
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t n = ::recvmsg(packets_.get(), &message, 0);
    if (n < 0 && errno == EINTR) continue;
    // ENETDOWN comes once when the link goes down; what else there is comes with the next
    // readiness.
    if (n < 0) return;
    bool partial = has_partial_checksum(message);
    ConstBytes found =
        dhcp_message_in(ConstBytes(buffer).first(static_cast<std::size_t>(n)), partial);
    if (found.empty() || !receiver_) continue;
    Receiver receiver = receiver_;  // The callee may take it away.
    receiver(found);
    if (alive.expired()) return;
  }
}

}  // namespace sluice::agent
