#include "agent/client/endpoint.h"

// Before the kernel's header, which takes it for granted.
#include <sys/socket.h>

#include <fmt/format.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/client/serial_client_link.h"
#include "base/number.h"
#include "base/posix_address.h"
#include "base/posix_unix.h"

namespace sluice::agent::client {

namespace {

constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;
/// "OK 4294967295\n" and some to spare.
constexpr std::size_t kMaxAnswer = 64;

Status bad(std::string_view text) {
  return Status(StatusCode::invalid_argument,
                fmt::format("'{}' is none of serial:PATH, unix:PATH, firecracker:PATH:PORT, "
                            "vsock:CID:PORT, tcp:[ADDR:]PORT and host-tcp:ADDR:PORT",
                            text));
}

bool read_number(std::string_view text, std::uint32_t& number) {
  auto parsed = parse_number<std::uint32_t>(text);
  number = parsed.value_or(0);
  return parsed.has_value();
}

Result<UniqueFd> connect_unix(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "socket AF_UNIX");
  auto address = unix_address(path);
  if (!address) return address.status();
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0) {
    return Status::from_errno(errno, "connect to " + path);
  }
  return fd;
}

Result<UniqueFd> connect_vsock(std::uint32_t cid, std::uint32_t port) {
  UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::from_errno(errno, "socket AF_VSOCK");
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(errno, fmt::format("connect to vsock {}:{}", cid, port));
  }
  return fd;
}

/// A socket of which nobody waits for the connection.
Result<UniqueFd> connect_tcp(const Endpoint& to) {
  // Some 15 s without an answer.
  constexpr int kTries = 3;
  UniqueFd fd(
      ::socket(address_family(to.address.family()), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Status::from_errno(errno, "socket TCP");
  set_option(fd.get(), IPPROTO_TCP, TCP_SYNCNT, kTries);
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  SocketAddress address(to);
  if (::connect(fd.get(), address.get(), address.size()) != 0 && errno != EINPROGRESS) {
    return Status::from_errno(errno, "connect to " + to.to_string());
  }
  return fd;
}

/// A link that begins with a handshake: a line out, and one that begins with OK back. Of
/// Firecracker's vsock that is its port, over TCP the token.
class HandshakeLink final : public rpc::Link {
 public:
  HandshakeLink(Loop& loop, UniqueFd fd, std::string line)
      : link_(loop, std::move(fd)), line_(std::move(line)) {}

  IoResult read(Bytes into) override {
    while (!done_) {
      std::uint8_t byte = 0;
      IoResult result = link_.read({&byte, 1});
      if (!result.ok() || result.bytes == 0) return result;
      answer_.push_back(static_cast<char>(byte));
      done_ = byte == '\n';
      if ((done_ && !answer_.starts_with("OK")) || answer_.size() > kMaxAnswer) {
        return {.error = ECONNREFUSED};
      }
    }
    return link_.read(into);
  }
  IoResult write(ConstBytes from) override {
    while (!line_.empty()) {
      IoResult result =
          link_.write({reinterpret_cast<const std::uint8_t*>(line_.data()), line_.size()});
      if (!result.ok()) return result;
      line_.erase(0, result.bytes);
    }
    return link_.write(from);
  }
  void set_interest(FdReady interest) override { link_.set_interest(interest); }
  void set_handler(std::function<void(FdReady)> on_ready) override {
    link_.set_handler(std::move(on_ready));
  }

 private:
  rpc::FdLink link_;
  std::string line_;  ///< What of it is still to be said.
  std::string answer_;
  bool done_ = false;
};

}  // namespace

Result<AgentEndpoint> AgentEndpoint::parse(std::string_view text) {
  AgentEndpoint endpoint;
  auto colon = text.find(':');
  if (colon == std::string_view::npos) return bad(text);
  std::string_view kind = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  std::string_view port = rest.substr(std::min(rest.size(), rest.rfind(':') + 1));
  if (kind == "vsock") {
    endpoint.kind = Kind::vsock;
    auto middle = rest.find(':');
    if (middle == std::string_view::npos || !read_number(rest.substr(0, middle), endpoint.cid) ||
        !read_number(rest.substr(middle + 1), endpoint.port)) {
      return bad(text);
    }
    return endpoint;
  }
  if (kind == "tcp" || kind == "host-tcp") {
    endpoint.kind = kind == "tcp" ? Kind::guest_tcp : Kind::host_tcp;
    if (auto at = Endpoint::parse(rest)) {
      endpoint.address = at->address;
      endpoint.port = at->port.value();
    } else if (auto number = parse_number<std::uint16_t>(rest); number && kind == "tcp") {
      endpoint.port = *number;
    }
    if (endpoint.port == 0) return bad(text);
    return endpoint;
  }
  if (kind == "serial") {
    endpoint.kind = Kind::serial;
  } else if (kind == "firecracker") {
    endpoint.kind = Kind::firecracker;
    if (port.size() == rest.size() || !read_number(port, endpoint.port)) return bad(text);
    rest.remove_suffix(port.size() + 1);
  } else if (kind != "unix") {
    return bad(text);
  }
  if (rest.empty() || rest.size() > kMaxPath) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("'{}': a Unix socket's path has 1 to {} bytes", text, kMaxPath));
  }
  endpoint.path = rest;
  return endpoint;
}

std::string AgentEndpoint::to_string() const {
  switch (kind) {
    case Kind::serial:
      return "serial:" + path;
    case Kind::unix_socket:
      return "unix:" + path;
    case Kind::firecracker:
      return fmt::format("firecracker:{}:{}", path, port);
    case Kind::vsock:
      return fmt::format("vsock:{}:{}", cid, port);
    case Kind::guest_tcp:
    case Kind::host_tcp: {
      std::string at = address
                           ? Endpoint{*address, Port(static_cast<std::uint16_t>(port))}.to_string()
                           : std::to_string(port);
      return (kind == Kind::guest_tcp ? "tcp:" : "host-tcp:") + at;
    }
  }
  return {};
}

namespace {

Result<UniqueFd> connect(const AgentEndpoint& endpoint, const GuestDialer& guest) {
  if (endpoint.is_tcp() && !endpoint.token) {
    return Status(StatusCode::invalid_argument,
                  endpoint.to_string() + " needs the token that the guest was booted with");
  }
  Port port(static_cast<std::uint16_t>(endpoint.port));
  switch (endpoint.kind) {
    case AgentEndpoint::Kind::vsock:
      return connect_vsock(endpoint.cid, endpoint.port);
    case AgentEndpoint::Kind::host_tcp:
      return connect_tcp({endpoint.address.value_or(IpAddress()), port});
    case AgentEndpoint::Kind::guest_tcp:
      if (guest) return guest(endpoint.address, port);
      return Status(StatusCode::unsupported,
                    endpoint.to_string() + ": only what is the guest's network can connect there");
    default:
      return connect_unix(endpoint.path);
  }
}

}  // namespace

Result<std::unique_ptr<rpc::Link>> dial(Loop& loop, const AgentEndpoint& endpoint,
                                        const GuestDialer& guest) {
  auto fd = connect(endpoint, guest);
  if (!fd) return fd.status();
  if (endpoint.kind == AgentEndpoint::Kind::serial) {
    return std::unique_ptr<rpc::Link>(std::make_unique<SerialClientLink>(loop, std::move(*fd)));
  }
  std::string line;
  if (endpoint.is_tcp()) line = endpoint.token->line();
  if (endpoint.kind == AgentEndpoint::Kind::firecracker) {
    line = fmt::format("CONNECT {}\n", endpoint.port);
  }
  if (line.empty()) {
    return std::unique_ptr<rpc::Link>(std::make_unique<rpc::FdLink>(loop, std::move(*fd)));
  }
  return std::unique_ptr<rpc::Link>(
      std::make_unique<HandshakeLink>(loop, std::move(*fd), std::move(line)));
}

}  // namespace sluice::agent::client
