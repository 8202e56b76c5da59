#pragma once

#include <net/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "agent/rpc/link.h"
#include "base/loop.h"

namespace sluice::agent::client {

/// Where a guest's agent is reached from the host.
struct AgentEndpoint {
  enum class Kind : std::uint8_t {
    serial,       ///< serial:PATH, the Unix socket of a virtio-serial port (QEMU's -chardev socket)
    unix_socket,  ///< unix:PATH, a stream to the agent with nothing before it (libkrun; an agent on
                  ///< this host)
    firecracker,  ///< firecracker:PATH:PORT, "CONNECT PORT\n" first (Cloud Hypervisor's vsock too)
    vsock,        ///< vsock:CID:PORT
  };
  Kind kind = Kind::unix_socket;
  std::string path;
  std::uint32_t cid = 0;
  std::uint32_t port = 0;

  /// invalid_argument says what is wrong.
  static Result<AgentEndpoint> parse(std::string_view text);
  std::string to_string() const;
};

/// Connects. A link whose peer does not answer as it should ends when it is read.
Result<std::unique_ptr<rpc::Link>> dial(Loop& loop, const AgentEndpoint& endpoint);

}  // namespace sluice::agent::client
