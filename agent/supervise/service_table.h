#pragma once

#include <net/status.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"

namespace sluice::agent {

/// By what a service is known to be ready. At most one of them; none: as soon as it runs.
struct Readiness {
  std::string tcp;                   ///< "127.0.0.1:2375": it takes a connection.
  std::string unix_socket;           ///< A path, that takes one.
  std::vector<std::string> command;  ///< That exits 0 within 5 s.

  bool any() const { return !tcp.empty() || !unix_socket.empty() || !command.empty(); }
};

/// A program that the agent keeps alive.
struct ServiceSpec {
  enum class Restart : std::uint8_t { always, on_failure, never };

  std::string name;  ///< Letters, digits, '-', '_' and '.', 64 at most.
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::string cwd = "/";
  std::string user;                ///< As find_identity() has it.
  std::vector<std::string> after;  ///< Services that are ready before it starts.
  Readiness ready;
  Restart restart = Restart::always;
  Duration stop_grace = std::chrono::seconds(10);  ///< Between SIGTERM and the kill.
};

struct DirectorySpec {
  std::string path;
  unsigned mode = 0755;
};

struct LinkSpec {
  std::string path;
  std::string to;
};

struct MountSpec {
  std::string source;  ///< A virtiofs tag, a device, or what else the type takes.
  std::string target;
  std::string type;
  std::string options;
  bool read_only = false;
  bool optional = false;  ///< No failure where there is no such thing.
};

/// What a distribution puts into /etc/sluice/services.json.
struct SystemTable {
  std::vector<DirectorySpec> directories;
  std::vector<LinkSpec> links;
  std::vector<MountSpec> mounts;
  std::vector<ServiceSpec> services;  ///< Each behind all that it is after.
};

inline constexpr std::size_t kMaxServices = 256;

/// Reads such a file. invalid_argument names what is wrong: no JSON, an unknown member, a service
/// without a name or a command, one that is there twice, an `after` that nobody is or that comes
/// round to itself.
Result<SystemTable> parse_system_table(std::string_view text);

}  // namespace sluice::agent
