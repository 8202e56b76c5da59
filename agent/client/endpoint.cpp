#include "agent/client/endpoint.h"

#include <fmt/format.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/client/serial_client_link.h"
#include "base/number.h"
#include "base/posix_unix.h"

namespace sluice::agent::client {

namespace {

constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;
/// "OK 4294967295\n" and some to spare.
constexpr std::size_t kMaxAnswer = 64;

Status bad(std::string_view text) {
  return Status(StatusCode::invalid_argument,
                fmt::format("'{}' is none of serial:PATH, unix:PATH, firecracker:PATH:PORT and "
                            "vsock:CID:PORT",
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

/// A link that begins with the handshake of Firecracker's vsock: a line out, and a line back.
class HandshakeLink final : public rpc::Link {
 public:
  HandshakeLink(Loop& loop, UniqueFd fd, std::uint32_t port) : link_(loop, std::move(fd)) {
    std::string line = fmt::format("CONNECT {}\n", port);
    // A socket that has just been connected takes as much.
    static_cast<void>(
        link_.write({reinterpret_cast<const std::uint8_t*>(line.data()), line.size()}));
  }

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
  IoResult write(ConstBytes from) override { return link_.write(from); }
  void set_interest(FdReady interest) override { link_.set_interest(interest); }
  void set_handler(std::function<void(FdReady)> on_ready) override {
    link_.set_handler(std::move(on_ready));
  }

 private:
  rpc::FdLink link_;
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
  }
  return {};
}

Result<std::unique_ptr<rpc::Link>> dial(Loop& loop, const AgentEndpoint& endpoint) {
  auto fd = endpoint.kind == AgentEndpoint::Kind::vsock ? connect_vsock(endpoint.cid, endpoint.port)
                                                        : connect_unix(endpoint.path);
  if (!fd) return fd.status();
  if (endpoint.kind == AgentEndpoint::Kind::serial) {
    return std::unique_ptr<rpc::Link>(std::make_unique<SerialClientLink>(loop, std::move(*fd)));
  }
  if (endpoint.kind == AgentEndpoint::Kind::firecracker) {
    return std::unique_ptr<rpc::Link>(
        std::make_unique<HandshakeLink>(loop, std::move(*fd), endpoint.port));
  }
  return std::unique_ptr<rpc::Link>(std::make_unique<rpc::FdLink>(loop, std::move(*fd)));
}

}  // namespace sluice::agent::client
