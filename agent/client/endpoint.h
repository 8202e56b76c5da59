#pragma once

#include <net/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <net/address.h>

#include "agent/rpc/boot_token.h"
#include "agent/rpc/link.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent::client {

/// Where a guest's agent is reached from the host.
struct AgentEndpoint {
  enum class Kind : std::uint8_t {
    serial,       ///< serial:PATH, the Unix socket of a virtio-serial port (QEMU's -chardev socket)
    unix_socket,  ///< unix:PATH, a stream to the agent with nothing before it (libkrun; an agent on
                  ///< this host)
    firecracker,  ///< firecracker:PATH:PORT, "CONNECT PORT\n" first (Cloud Hypervisor's vsock too)
    vsock,        ///< vsock:CID:PORT
    guest_tcp,    ///< tcp:PORT or tcp:ADDR:PORT, by the guest's own network; needs a token
    host_tcp,     ///< host-tcp:ADDR:PORT, by the network of this host; needs a token
  };
  Kind kind = Kind::unix_socket;
  std::string path;
  std::uint32_t cid = 0;
  std::uint32_t port = 0;
  std::optional<IpAddress> address;  ///< Of TCP; nothing: the guest's own.
  /// Of TCP. Not a part of the text, either way.
  std::optional<rpc::BootToken> token;

  bool is_tcp() const { return kind == Kind::guest_tcp || kind == Kind::host_tcp; }

  /// invalid_argument says what is wrong.
  static Result<AgentEndpoint> parse(std::string_view text);
  std::string to_string() const;
};

/// Connects to a TCP port in the guest, by the guest's own network: a stream socket of which bytes
/// go there and back, though the connection may still be on its way. `address` as in AgentEndpoint.
using GuestDialer =
    std::function<Result<UniqueFd>(const std::optional<IpAddress>& address, Port port)>;

/// Connects, without waiting for anybody over TCP. A link whose peer does not answer as it should
/// ends when it is read. unsupported: Kind::guest_tcp without a `guest`; invalid_argument: TCP
/// without a token.
Result<std::unique_ptr<rpc::Link>> dial(Loop& loop, const AgentEndpoint& endpoint,
                                        const GuestDialer& guest = {});

}  // namespace sluice::agent::client
