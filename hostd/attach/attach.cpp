#include "hostd/attach/attach.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

#include "base/unique_fd.h"
#include "hostd/attach/stream_source.h"
#include "hostd/attach/unix_socket.h"

namespace sluice::hostd {

namespace {

using OnGone = std::function<void()>;
using Port = Result<std::unique_ptr<link::GuestPort>>;

Status named(const char* flag, const Status& status) {
  return Status(status.code(), fmt::format("{}: {}", flag, status.message()));
}

/// A factory that is called once owns a descriptor; std::function wants what it holds to be copied.
template <typename Make>
Network::PortFactory with_fd(UniqueFd fd, Make make) {
  auto shared = std::make_shared<UniqueFd>(std::move(fd));
  return [shared, make](Loop& loop) -> Port { return make(loop, std::move(*shared)); };
}

Result<PreparedAttachment> prepare(const ListenStream& at, OnGone on_gone) {
  auto listener = listen_unix_stream(at.path);
  if (!listener) return named("--qemu", listener.status());
  return PreparedAttachment{with_fd(std::move(*listener),
                                    [on_gone](Loop& loop, UniqueFd fd) -> Port {
                                      return make_listening_port(loop, std::move(fd), on_gone);
                                    }),
                            at.path};
}

Result<PreparedAttachment> prepare(const ConnectStream& at, OnGone on_gone) {
  return PreparedAttachment{[path = at.path, on_gone](Loop& loop) -> Port {
                              return make_connecting_port(loop, path, on_gone);
                            },
                            {}};
}

Result<PreparedAttachment> prepare(const PassedFd& passed, OnGone on_gone) {
  auto bad = [&](const std::string& why) {
    return Status(StatusCode::invalid_argument, fmt::format("--fd {}: {}", passed.fd, why));
  };
  int flags = ::fcntl(passed.fd, F_GETFL);
  if (flags < 0) return bad("no such open descriptor");
  int domain = 0, type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(passed.fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      ::getsockopt(passed.fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) {
    return bad("is no socket; a connected Unix stream socket is needed");
  }
  if (domain != AF_UNIX || type != SOCK_STREAM) {
    return bad("a connected Unix stream socket is needed");
  }
  ::fcntl(passed.fd, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(passed.fd, F_SETFD, FD_CLOEXEC);
  return PreparedAttachment{with_fd(UniqueFd(passed.fd),
                                    [on_gone](Loop& loop, UniqueFd fd) -> Port {
                                      auto port = std::make_unique<StreamPort>(loop);
                                      port->set_on_closed(on_gone);
                                      port->open(std::move(fd));
                                      return Port(std::move(port));
                                    }),
                            {}};
}

Result<PreparedAttachment> prepare(const ListenDatagram&, OnGone) {
  return Status(StatusCode::unsupported, "--vfkit: not yet");
}

Result<PreparedAttachment> prepare(const Tap&, OnGone) {
  return Status(StatusCode::unsupported, "--tap: not yet");
}

}  // namespace

Result<PreparedAttachment> prepare_attachment(const Attachment& attachment, std::uint16_t,
                                              std::function<void()> on_gone) {
  return std::visit([&](const auto& one) { return prepare(one, on_gone); }, attachment);
}

}  // namespace sluice::hostd
