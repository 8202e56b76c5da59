#pragma once

#include <net/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "agent/container/container_options.h"
#include "agent/init/data_disk.h"
#include "agent/init/swap.h"
#include "agent/init/switch_root.h"
#include "agent/net/network_config.h"
#include "agent/rpc/boot_token.h"

namespace sluice::agent {

/// The guest's own resolver.
struct DnsOptions {
  std::optional<bool> on;        ///< dns=on|off; nothing: as PID 1 where the network is ours.
  DomainName suffix;             ///< dns_suffix=NAME; the root: guest.internal.
  std::vector<Endpoint> listen;  ///< dns_listen=ADDR[:PORT],...; none: 127.0.0.1 and ::1, port 53.
};

/// Calls over TCP: by the network's router alone, and with a token.
struct TcpOptions {
  std::optional<Endpoint> listen;       ///< tcp=[ADDR:]PORT; `::` where only a port is said.
  std::vector<IpPrefix> from;           ///< tcp_from=ADDR[/LEN],...; none: the default routers.
  std::optional<rpc::BootToken> token;  ///< token=HEX, of a kernel command line alone.
  std::string token_file;               ///< token_file=PATH, instead of it.
};

/// What the agent is told: by `sluice.NAME=VALUE` on the kernel's command line where it is PID 1,
/// by `--NAME VALUE` where somebody starts it. The names are the same.
struct Options {
  std::vector<std::string> unix_sockets;    ///< unix=PATH, repeatable.
  std::optional<std::uint32_t> vsock_port;  ///< vsock=PORT|off
  std::uint32_t vsock_from = 2;             ///< vsock_from=CID: who is served there; 2: the host.
  std::string serial = "sluice.agent";      ///< serial=NAME: of a virtio-serial port; off: "".
  TcpOptions tcp;
  /// The older framing: legacy=PORT|off of vsock, legacy_unix=PATH.
  std::optional<std::uint32_t> legacy_port;
  std::string legacy_unix;
  bool stdio = false;                ///< --stdio: one connection, on standard input and output.
  std::string hostname;              ///< hostname=NAME
  std::vector<std::string> modules;  ///< modules=A,B
  RootSource root;                   ///< root=DEVICE[,rw], init=PATH
  DataDisk disk;                     ///< disk=DEVICE[:PATH][,format=if-blank], mkfs=PATH
  SwapOptions swap;                  ///< swap=DEVICE|SIZE
  std::string handover;              ///< handover=PATH
  std::string services = "/etc/sluice/services.json";  ///< services=PATH
  bool halt_on_failure = false;                        ///< on-init-failure=halt|continue
  DnsOptions dns;
  std::string images = "/var/lib/sluice/images";  ///< images=PATH
  /// net=dhcp|off, ip=, gateway=, dns=, search=, mtu=, nic=; nothing: the network is not touched.
  std::optional<NetworkConfig> network;
  /// runtime=PATH, state=DIR, data=DIR, containers=PREFIX[,PREFIX]
  ContainerOptions containers;

  struct Problem {
    std::string text;
  };
  std::vector<Problem> problems;  ///< Of a kernel command line: what could not be used, in words.
};

/// The `sluice.` words of a kernel command line. What is wrong with one becomes a problem and
/// changes nothing else: a guest that boots and says so is better than one that doesn't.
/// A problem never says the token.
Options options_of_kernel(std::string_view command_line);

/// invalid_argument: what is wrong, for a person. `arguments` is without the program's own name.
Result<Options> options_of_arguments(const std::vector<std::string>& arguments);

/// What `agent --help` prints.
std::string usage();

}  // namespace sluice::agent
