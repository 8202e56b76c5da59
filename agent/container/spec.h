#pragma once

#include <net/status.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/container/log_record.h"
#include "agent/process/terminal.h"

namespace sluice::agent {

/// 0 of each is no limit.
struct ContainerLimits {
  std::uint64_t memory = 0;       ///< Bytes.
  std::uint64_t memory_swap = 0;  ///< Bytes of swap besides.
  std::uint64_t cpu_millis = 0;   ///< Thousandths of a CPU.
  std::uint64_t cpu_weight = 0;   ///< 1 to 10000.
  std::string cpus;               ///< "0-2,4"
  std::uint64_t pids = 0;
  std::uint64_t io_weight = 0;  ///< 1 to 1000.
};

struct ContainerMount {
  enum class Kind : std::uint8_t { bind, tmpfs, virtiofs };
  Kind kind = Kind::bind;
  std::string source;
  std::string target;
  bool read_only = false;
  std::uint64_t size = 0;  ///< Bytes, of a tmpfs.
};

struct RestartPolicy {
  enum class Kind : std::uint8_t { no, on_failure, always };
  Kind kind = Kind::no;
  std::uint32_t most = 0;  ///< Of on_failure; 0: no limit.
};

enum class ContainerNetwork : std::uint8_t { bridge, host, none };

/// What a container is: all that was asked for, with what its image says filled in. It doesn't
/// change but by Update.
struct ContainerSpec {
  std::string id;
  std::string name;
  std::string image;  ///< As it was called; "" where it has a rootfs of its own.
  std::string image_id;
  std::string rootfs;               ///< The directory, of one without an image.
  std::vector<std::string> layers;  ///< Of the image, the lowest first.
  std::vector<std::string> args;
  std::vector<std::string> env;  ///< NAME=value
  std::string cwd = "/";
  std::string user;
  std::string hostname;
  std::optional<TerminalSize> terminal;
  bool open_stdin = false;
  bool read_only = false;
  std::vector<ContainerMount> mounts;
  ContainerLimits limits;
  std::vector<std::string> capabilities;  ///< "CAP_CHOWN"
  bool no_new_privileges = false;
  RestartPolicy restart;
  int stop_signal = 15;
  std::int64_t stop_timeout_ns = 0;
  std::map<std::string, std::string> labels;
  ContainerNetwork network = ContainerNetwork::none;
  std::vector<std::string> aliases;
  std::uint64_t log_file_bytes = 0;
  std::uint32_t log_files = 0;
  LogFormat log_format = LogFormat::records;
  bool auto_remove = false;
  bool all_devices = false;
  std::vector<std::string> dns;
  std::vector<std::string> dns_search;
  std::int64_t created_at_ns = 0;
};

/// As a journal keeps it. invalid_argument: no such text, or without an id.
std::string to_json(const ContainerSpec& spec);
Result<ContainerSpec> parse_spec(std::string_view text);

const char* to_string(ContainerNetwork network);
std::optional<ContainerNetwork> parse_network(std::string_view text);

/// What container tools give a program by default, and what there is besides; without "CAP_".
/// invalid_argument names the one that there isn't. Names with and without "CAP_", of any case;
/// "ALL" is all of them.
Result<std::vector<std::string>> capabilities_of(const std::vector<std::string>& add,
                                                 const std::vector<std::string>& drop);

/// "SIGTERM", "term" and "15" are 15.
std::optional<int> parse_signal(std::string_view text);

/// 1 to 128 of letters, digits, '_', '.' and '-', the first a letter or digit.
bool is_container_name(std::string_view name);

}  // namespace sluice::agent
