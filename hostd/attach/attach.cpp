#include "hostd/attach/attach.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <memory>

#include "base/unique_fd.h"
#include "hostd/attach/dgram_port.h"
#include "hostd/attach/stream_source.h"
#include "hostd/attach/tap_port.h"
#include "hostd/attach/unix_socket.h"
#include "hostd/attach/vhost_user_port.h"

namespace sluice::hostd {

namespace {

using OnGone = std::function<void()>;
using Port = Result<std::unique_ptr<link::GuestPort>>;

Status named(const char* flag, const Status& status) {
  return Status(status.code(), fmt::format("{}: {}", flag, status.message()));
}

/// A factory that is called once owns a descriptor; std::function wants what it holds to be copied.
template <typename Make>
Network::PortFactory with_fd(UniqueFd fd, const Make& make) {
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  return [shared, make](Loop& loop) -> Port { return make(loop, std::move(*shared)); };
}

Result<PreparedAttachment> prepare(const ListenStream& at, std::uint16_t, const OnGone& on_gone) {
  auto listener = listen_unix_stream(at.path);
  if (!listener) return named("--qemu", listener.status());
  return PreparedAttachment{with_fd(std::move(*listener),
                                    [on_gone](Loop& loop, UniqueFd fd) -> Port {
                                      return make_listening_port(loop, std::move(fd), on_gone);
                                    }),
                            at.path};
}

Result<PreparedAttachment> prepare(const ConnectStream& at, std::uint16_t, const OnGone& on_gone) {
  return PreparedAttachment{[path = at.path, on_gone](Loop& loop) -> Port {
                              return make_connecting_port(loop, path, on_gone);
                            },
                            {}};
}

/// The type of a Unix socket that has frames; 0 for anything else.
int unix_type(int fd) {
  int domain = 0, type = 0;
  socklen_t size = sizeof type;
  bool known = ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
               ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0;
  return known && domain == AF_UNIX ? type : 0;
}

bool is_connected(int fd) {
  sockaddr_un peer;
  socklen_t size = sizeof peer;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

bool is_bound(int fd) {
  sockaddr_un address;
  socklen_t size = sizeof address;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         size > offsetof(sockaddr_un, sun_path);
}

Network::PortFactory datagrams(UniqueFd socket, DgramPort::Peer peer, const OnGone& on_gone) {
  size_message_buffers(socket.get());
  return with_fd(std::move(socket), [peer, on_gone](Loop& loop, UniqueFd fd) -> Port {
    auto port = std::make_unique<DgramPort>(loop, std::move(fd), peer);
    port->set_on_closed(on_gone);
    return Port(std::move(port));
  });
}

Network::PortFactory tap(TapDevice device, const OnGone& on_gone) {
  auto shared = std::make_shared<TapDevice>(std::move(device));
  return [on_gone, shared](Loop& loop) -> Port {
    auto port = std::make_unique<TapPort>(loop, std::move(*shared));
    port->set_on_closed(on_gone);
    return Port(std::move(port));
  };
}

Network::PortFactory stream(UniqueFd socket, const OnGone& on_gone) {
  return with_fd(std::move(socket), [on_gone](Loop& loop, UniqueFd fd) -> Port {
    auto port = std::make_unique<StreamPort>(loop);
    port->set_on_closed(on_gone);
    port->open(std::move(fd));
    return Port(std::move(port));
  });
}

Result<PreparedAttachment> prepare(const PassedFd& passed, std::uint16_t, const OnGone& on_gone) {
  auto bad = [&](const std::string& why) {
    return Status(StatusCode::invalid_argument, fmt::format("--fd {}: {}", passed.fd, why));
  };
  int flags = ::fcntl(passed.fd, F_GETFL);
  if (flags < 0) return bad("no such open descriptor");
  int type = unix_type(passed.fd);
  bool connected = type != 0 && is_connected(passed.fd);
  bool is_tap = type == 0 && is_tun(passed.fd);
  if (type == 0 && !is_tap) {
    return bad("is neither a Unix socket nor a tap: pass one of these");
  } else if (type == SOCK_DGRAM && !connected && !is_bound(passed.fd)) {
    return bad("is a datagram socket without a peer: connect it or bind it");
  } else if (type != 0 && type != SOCK_DGRAM && !connected) {
    return bad("is a socket that is not connected: connect it first");
  }
  ::fcntl(passed.fd, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(passed.fd, F_SETFD, FD_CLOEXEC);
  UniqueFd fd(passed.fd);
  if (is_tap) {
    auto device = adopt_tap(std::move(fd));
    if (!device) return bad(device.status().message());
    return PreparedAttachment{tap(std::move(*device), on_gone), {}};
  }
  if (type == SOCK_STREAM) return PreparedAttachment{stream(std::move(fd), on_gone), {}};
  auto peer = connected ? DgramPort::Peer::connected : DgramPort::Peer::learnt;
  return PreparedAttachment{datagrams(std::move(fd), peer, on_gone), {}, true};
}

Result<PreparedAttachment> prepare(const ListenDatagram& at, std::uint16_t, const OnGone& on_gone) {
  auto socket = bind_unix_datagram(at.path);
  if (!socket) return named("--vfkit", socket.status());
  return PreparedAttachment{datagrams(std::move(*socket), DgramPort::Peer::learnt, on_gone),
                            at.path, true};
}

Result<PreparedAttachment> prepare(const Tap& at, std::uint16_t mtu, const OnGone& on_gone) {
  auto device = open_tap(at.name, at.netns, mtu);
  if (!device) return device.status();
  return PreparedAttachment{tap(std::move(*device), on_gone), {}};
}

Result<PreparedAttachment> prepare(const ListenVhostUser& at, std::uint16_t,
                                   const OnGone& on_gone) {
  auto listener = listen_unix_stream(at.path);
  if (!listener) return named("--vhost-user", listener.status());
  return PreparedAttachment{
      with_fd(std::move(*listener),
              [on_gone](Loop& loop, UniqueFd fd) -> Port {
                return Port(std::make_unique<VhostUserPort>(loop, std::move(fd), on_gone));
              }),
      at.path};
}

/// Refuses an MTU that the port can't carry; the guest would lose what it was told it may send.
Network::PortFactory check_mtu(Network::PortFactory make, std::uint16_t mtu) {
  return [make = std::move(make), mtu](Loop& loop) -> Port {
    Port port = make(loop);
    if (!port || (*port)->max_mtu() >= mtu) return port;
    std::size_t most = (*port)->max_mtu();
    return Status(StatusCode::invalid_argument,
                  fmt::format("--mtu {}: this attachment carries packets of up to {} bytes: give "
                              "--mtu {}",
                              mtu, most, most));
  };
}

}  // namespace

Result<PreparedAttachment> prepare_attachment(const Attachment& attachment, std::uint16_t mtu,
                                              std::function<void()> on_gone) {
  auto prepared =
      std::visit([&](const auto& one) { return prepare(one, mtu, on_gone); }, attachment);
  if (prepared) prepared->make_port = check_mtu(std::move(prepared->make_port), mtu);
  return prepared;
}

}  // namespace sluice::hostd
