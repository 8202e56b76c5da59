#include "agent/init/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/dns/name_registry.h"
#include "agent/os/text.h"
#include "base/number.h"
#include "wire/dns.h"

namespace sluice::agent {

namespace {

constexpr std::uint32_t kUsualVsockPort = 1024;
constexpr std::size_t kMaxHostName = 64;

using Apply = Status (*)(Options& options, std::string_view value);

/// Who uses an option.
enum class Used : std::uint8_t { always, by_init };

struct Option {
  std::string_view name;
  std::string_view value;  ///< As usage() shows it.
  std::string_view help;
  Used used;
  Apply apply;
};

Status take_vsock_port(std::optional<std::uint32_t>& place, std::string_view value) {
  if (value == "off") {
    place.reset();
    return Status::ok();
  }
  auto port = parse_number<std::uint32_t>(value);
  if (!port || *port == 0) {
    return Status::invalid_argument(
        fmt::format("'{}' is not a port (1 to 4294967295) or off", value));
  }
  place = port;
  return Status::ok();
}

Status apply_vsock(Options& options, std::string_view value) {
  return take_vsock_port(options.vsock_port, value);
}

Status apply_vsock_from(Options& options, std::string_view value) {
  auto cid = parse_number<std::uint32_t>(value);
  if (!cid)
    return Status::invalid_argument(fmt::format("'{}' is not a CID (the host is 2)", value));
  options.vsock_from = *cid;
  return Status::ok();
}

Status apply_legacy(Options& options, std::string_view value) {
  return take_vsock_port(options.legacy_port, value);
}

Status apply_legacy_unix(Options& options, std::string_view value) {
  options.legacy_unix = value;
  return value.empty() ? Status::invalid_argument("a path is needed") : Status::ok();
}

/// "1024", "10.0.0.2:1024", "[::]:1024"
Status apply_tcp(Options& options, std::string_view value) {
  auto port = parse_number<std::uint16_t>(value);
  auto at = port ? Result<Endpoint>(Endpoint{IpAddress::any(Family::v6), Port(*port)})
                 : Endpoint::parse(value);
  if (!at || at->port.value() == 0) {
    return Status::invalid_argument(fmt::format("'{}' is neither PORT nor ADDR:PORT", value));
  }
  options.tcp.listen = *at;
  return Status::ok();
}

Status apply_hostname(Options& options, std::string_view value) {
  bool fits = !value.empty() && value.size() <= kMaxHostName;
  for (char c : value) {
    fits &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.';
  }
  if (!fits)
    return Status::invalid_argument(
        fmt::format("'{}' is not a host name (letters, digits, - and .)", value));
  options.hostname = value;
  return Status::ok();
}

Status apply_modules(Options& options, std::string_view value) {
  while (!value.empty()) {
    std::string_view one = take_part(value, ',');
    if (!one.empty()) options.modules.emplace_back(one);
  }
  return Status::ok();
}

NetworkConfig& network_of(Options& options) {
  if (!options.network) options.network.emplace();
  return *options.network;
}

/// Each part between commas, as `parse` reads it and `place` takes it.
template <typename Parse, typename Place>
Status take_list(std::string_view value, Parse parse, Place place) {
  do {
    std::string_view one = take_part(value, ',');
    auto parsed = parse(one);
    if (!parsed) return parsed.status();
    place(std::move(*parsed));
  } while (!value.empty());
  return Status::ok();
}

Status apply_net(Options& options, std::string_view value) {
  if (value == "off") {
    options.network.reset();
  } else if (value == "dhcp") {
    network_of(options);
  } else {
    return Status::invalid_argument(fmt::format("'{}' is neither dhcp nor off", value));
  }
  return Status::ok();
}

/// A family that has an address of its own here is not configured otherwise.
Status apply_ip(Options& options, std::string_view value) {
  NetworkConfig& network = network_of(options);
  return take_list(value, AddressOnLink::parse, [&network](const AddressOnLink& one) {
    if (one.address.is_v4()) {
      network.ipv4 = Ipv4Mode::fixed;
    } else {
      network.ipv6 = Ipv6Mode::fixed;
    }
    network.addresses.push_back(one);
  });
}

Status apply_gateway(Options& options, std::string_view value) {
  NetworkConfig& network = network_of(options);
  return take_list(value, IpAddress::parse, [&network](const IpAddress& one) {
    (one.is_v4() ? network.gateway4 : network.gateway6) = one;
  });
}

Status apply_dns(Options& options, std::string_view value) {
  if (value == "on" || value == "off") {
    options.dns.on = value == "on";
    return Status::ok();
  }
  NetworkConfig& network = network_of(options);
  return take_list(value, IpAddress::parse,
                   [&network](const IpAddress& one) { network.dns_servers.push_back(one); });
}

Status apply_dns_suffix(Options& options, std::string_view value) {
  auto suffix = DomainName::parse(value);
  if (!suffix) return suffix.status();
  if (Status status = NameRegistry::check_suffix(*suffix); !status) return status;
  options.dns.suffix = std::move(*suffix);
  return Status::ok();
}

/// "127.0.0.1", "127.0.0.1:5353", "[::1]:5353"
Result<Endpoint> parse_listen_address(std::string_view text) {
  Result<Endpoint> at = Endpoint::parse(text);
  if (!at) {
    auto address = IpAddress::parse(text);
    if (!address) return at.status();
    at = Endpoint{*address, wire::kDnsPort};
  }
  // Its answers would come from another address than was asked.
  if (at->address.is_unspecified())
    return Status::invalid_argument(fmt::format("'{}' is no one address", text));
  return at;
}

Status apply_dns_listen(Options& options, std::string_view value) {
  return take_list(value, parse_listen_address,
                   [&options](const Endpoint& one) { options.dns.listen.push_back(one); });
}

Status apply_tcp_from(Options& options, std::string_view value) {
  return take_list(value, IpPrefix::parse,
                   [&options](const IpPrefix& one) { options.tcp.from.push_back(one); });
}

Status apply_token_file(Options& options, std::string_view value) {
  options.tcp.token_file = value;
  return value.empty() ? Status::invalid_argument("a path is needed") : Status::ok();
}

Status apply_token(Options& options, std::string_view value) {
  auto token = rpc::BootToken::parse(value);
  if (!token) return token.status();
  options.tcp.token = std::move(*token);
  return Status::ok();
}

Status apply_search(Options& options, std::string_view value) {
  NetworkConfig& network = network_of(options);
  return take_list(value, DomainName::parse,
                   [&network](DomainName one) { network.search.push_back(std::move(one)); });
}

Status apply_mtu(Options& options, std::string_view value) {
  auto mtu = parse_number<std::uint32_t>(value);
  if (!mtu) return Status::invalid_argument(fmt::format("'{}' is not a number of bytes", value));
  network_of(options).mtu = *mtu;
  return Status::ok();
}

Status apply_root(Options& options, std::string_view value) {
  std::string_view device = take_part(value, ',');
  bool is_device = device.starts_with("/dev/") && device.size() > 5;
  bool is_share = device.starts_with("virtiofs:") && device.size() > 9;
  if ((!is_device && !is_share) || (!value.empty() && value != "rw")) {
    return Status::invalid_argument(
        "a root is /dev/NAME or virtiofs:TAG, and ',rw' if it is to be written to");
  }
  options.root.device = device;
  options.root.writable = value == "rw";
  return Status::ok();
}

Status apply_disk(Options& options, std::string_view value) {
  std::string_view rest = value;
  std::string_view where = take_part(rest, ',');
  std::string_view device = take_part(where, ':');
  if (!device.starts_with("/dev/") || (!where.empty() && !where.starts_with('/'))) {
    return Status::invalid_argument(
        fmt::format("'{}' is no DEVICE[:PATH], such as /dev/vdb:/srv", value));
  }
  if (!rest.empty() && rest != "format=if-blank") {
    return Status::invalid_argument(
        fmt::format("'{}' is no setting of a disk; there is format=if-blank", rest));
  }
  options.disk.device = device;
  if (!where.empty()) options.disk.path = where;
  options.disk.format_if_blank = !rest.empty();
  return Status::ok();
}

/// "/dev/vdc", "512M"
Status apply_swap(Options& options, std::string_view value) {
  if (value.starts_with("/dev/")) {
    options.swap = {.device = std::string(value)};
    return Status::ok();
  }
  constexpr std::string_view kUnits = "KMG";
  constexpr std::uint64_t kLeast = std::uint64_t{1} << 20;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  unsigned shift = 0;
  std::string_view digits = value;
  if (auto unit = value.empty() ? kUnits.npos : kUnits.find(value.back()); unit != kUnits.npos) {
    shift = 10 * (static_cast<unsigned>(unit) + 1);
    digits.remove_suffix(1);
  }
  auto count = parse_number<std::uint64_t>(digits);
  if (!count || *count > kMost >> shift || *count << shift < kLeast) {
    return Status::invalid_argument(
        fmt::format("'{}' is neither a device nor a size (1M to 1024G)", value));
  }
  options.swap = {.bytes = *count << shift};
  return Status::ok();
}

Status apply_init(Options& options, std::string_view value) {
  if (!value.starts_with('/'))
    return Status::invalid_argument(fmt::format("'{}' is not an absolute path", value));
  options.root.init = value;
  return Status::ok();
}

/// A path, absolute.
Status apply_path(std::string& path, std::string_view value) {
  if (!value.starts_with('/'))
    return Status::invalid_argument(fmt::format("'{}' is no absolute path", value));
  path = value;
  return Status::ok();
}

Status apply_containers(Options& options, std::string_view value) {
  options.containers.prefixes.clear();
  if (value == "off") return Status::ok();
  Status status = take_list(value, IpPrefix::parse, [&options](const IpPrefix& one) {
    options.containers.prefixes.push_back(one);
  });
  // One address is the bridge's, one at least a container's.
  constexpr int kLeastBits = 2;
  bool v4 = false;
  bool v6 = false;
  for (const IpPrefix& one : options.containers.prefixes) {
    bool& there = one.family() == Family::v4 ? v4 : v6;
    if (there || one.address().bits() - one.length() < kLeastBits) {
      return Status::invalid_argument(
          "one IPv4 prefix and one IPv6 prefix, each with room for four addresses");
    }
    there = true;
  }
  return status;
}

constexpr auto kOptions = std::to_array<Option>({
    {"unix", "PATH", "serve on a Unix socket, of mode 0600; repeatable", Used::always,
     [](Options& options, std::string_view value) {
       if (value.empty()) return Status::invalid_argument("a path is needed");
       options.unix_sockets.emplace_back(value);
       return Status::ok();
     }},
    {"vsock", "PORT|off", "serve the host on a vsock port; as PID 1 1024 where nothing is said",
     Used::always, apply_vsock},
    {"vsock_from", "CID", "who is served there: the host (2), or programs of the guest (1)",
     Used::always, apply_vsock_from},
    {"serial", "NAME|off", "serve on the virtio-serial port of that name; as PID 1 sluice.agent",
     Used::always,
     [](Options& options, std::string_view value) {
       options.serial = value == "off" ? "" : value;
       return Status::ok();
     }},
    {"tcp", "[ADDR:]PORT", "serve who has the token on TCP, and comes from the default router",
     Used::always, apply_tcp},
    {"tcp_from", "ADDR[/LEN],...", "from there, instead of from the default router", Used::always,
     apply_tcp_from},
    {"token_file", "FILE", "the token: 64 hex digits, in a file that nobody else may read",
     Used::always, apply_token_file},
    {"token", "HEX", "the token itself", Used::by_init, apply_token},
    {"legacy", "PORT|off", "serve the host on a vsock port in the older framing (off)",
     Used::always, apply_legacy},
    {"legacy_unix", "PATH", "serve on a Unix socket in the older framing", Used::always,
     apply_legacy_unix},
    {"images", "PATH", "where images are kept (/var/lib/sluice/images)", Used::always,
     [](Options& options, std::string_view value) {
       if (!value.starts_with('/'))
         return Status::invalid_argument(fmt::format("'{}' is no absolute path", value));
       options.images = value;
       return Status::ok();
     }},
    {"hostname", "NAME", "the guest's name", Used::by_init, apply_hostname},
    {"net", "dhcp|off", "the network: by DHCP and router advertisements, or untouched",
     Used::by_init, apply_net},
    {"nic", "NAME", "the interface (the first virtio one with a carrier)", Used::by_init,
     [](Options& options, std::string_view value) {
       network_of(options).interface = value;
       return Status::ok();
     }},
    {"ip", "ADDR/LEN,...", "fixed addresses, instead of DHCP or router advertisements",
     Used::by_init, apply_ip},
    {"gateway", "ADDR,...", "the routers of fixed addresses", Used::by_init, apply_gateway},
    {"dns", "on|off|ADDR,...",
     "the guest's own resolver (on, as PID 1); or resolvers, before those that are learnt",
     Used::always, apply_dns},
    {"dns_suffix", "NAME", "what the names of containers end in (guest.internal)", Used::always,
     apply_dns_suffix},
    {"dns_listen", "ADDR[:PORT],...", "where the guest's own resolver is (127.0.0.1,::1)",
     Used::always, apply_dns_listen},
    {"search", "NAME,...", "the search list, instead of the one that is learnt", Used::by_init,
     apply_search},
    {"mtu", "BYTES", "of the interface, instead of the lease's", Used::by_init, apply_mtu},
    {"modules", "A,B", "kernel modules to load, beside those of /etc/modules-load.d", Used::by_init,
     apply_modules},
    {"root", "DEVICE|virtiofs:TAG[,rw]", "in an initramfs: the root file system to go on in",
     Used::by_init, apply_root},
    {"init", "PATH", "what is started in that root (/sbin/init)", Used::by_init, apply_init},
    {"disk", "DEVICE[:PATH][,format=if-blank]",
     "a disk for what is kept (on /var/lib/sluice); made one where it is blank, and only then",
     Used::by_init, apply_disk},
    {"mkfs", "PATH", "what formats it, to ext4 (/sbin/mkfs.ext4)", Used::by_init,
     [](Options& options, std::string_view value) { return apply_path(options.disk.mkfs, value); }},
    {"swap", "DEVICE|SIZE", "swap: a swap area; or compressed memory, such as 512M", Used::by_init,
     apply_swap},
    {"handover", "PATH", "another init, such as /sbin/init, once the guest is mounted",
     Used::by_init,
     [](Options& options, std::string_view value) { return apply_path(options.handover, value); }},
    {"services", "PATH", "what it keeps alive (/etc/sluice/services.json)", Used::by_init,
     [](Options& options, std::string_view value) { return apply_path(options.services, value); }},
    {"runtime", "PATH", "the container runtime (/usr/bin/crun)", Used::always,
     [](Options& options, std::string_view value) {
       return apply_path(options.containers.runtime, value);
     }},
    {"state", "DIR", "of what containers are, as long as the guest is up (/run/sluice)",
     Used::always,
     [](Options& options, std::string_view value) {
       return apply_path(options.containers.state, value);
     }},
    {"data", "DIR", "of what containers write, and their logs (/var/lib/sluice)", Used::always,
     [](Options& options, std::string_view value) {
       return apply_path(options.containers.data, value);
     }},
    {"containers", "PREFIX,...|off", "addresses of the containers' bridge", Used::always,
     apply_containers},
    {"on-init-failure", "halt|continue", "when a mandatory step of the boot fails (continue)",
     Used::by_init,
     [](Options& options, std::string_view value) {
       if (value != "halt" && value != "continue") {
         return Status::invalid_argument(fmt::format("'{}' is neither halt nor continue", value));
       }
       options.halt_on_failure = value == "halt";
       return Status::ok();
     }},
});

/// '-' and '_' are the same.
const Option* find(std::string_view name) {
  auto plain = [](char c) { return c == '-' ? '_' : c; };
  for (const Option& option : kOptions) {
    if (std::ranges::equal(option.name, name, {}, plain, plain)) return &option;
  }
  return nullptr;
}

/// A word of the kernel's command line for a person to read; what may be a token is left out.
std::string shown(std::string_view word, std::string_view name, std::string_view value) {
  if (name != "token" && !rpc::BootToken::parse(value)) return std::string(word);
  return fmt::format("sluice.{}=...", name);
}

bool lacks_token(const Options& options) {
  return options.tcp.listen && !options.tcp.token && options.tcp.token_file.empty();
}

std::string known_names() {
  std::string names;
  for (const Option& option : kOptions)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", option.name);
  return names;
}

}  // namespace

Options options_of_kernel(std::string_view command_line) {
  constexpr std::string_view kPrefix = "sluice.";
  Options options;
  options.vsock_port = kUsualVsockPort;
  options.network.emplace();
  bool network_is_asked_for = false;
  while (!command_line.empty()) {
    std::string_view word = command_line.substr(0, command_line.find_first_of(" \t\n"));
    command_line.remove_prefix(std::min(command_line.size(), word.size() + 1));
    if (!word.starts_with(kPrefix)) continue;
    std::string_view name = word.substr(kPrefix.size());
    name = name.substr(0, name.find('='));
    std::string_view value = word.substr(std::min(word.size(), kPrefix.size() + name.size() + 1));
    const Option* option = find(name);
    Status status = option ? option->apply(options, value)
                           : Status::invalid_argument(fmt::format(
                                 "there is no such option; there are {}", known_names()));
    if (!status) {
      options.problems.push_back(
          {fmt::format("{}: {}", shown(word, name, value), status.message())});
    }
    network_is_asked_for |= name == "net" || name == "ip";
  }
  if (lacks_token(options)) {
    options.problems.push_back({"sluice.tcp: there is no token, so TCP is not served"});
    options.tcp.listen.reset();
  }
  // Another init has ways of its own to bring the network up.
  if (!options.handover.empty() && !network_is_asked_for) options.network.reset();
  if (options.network) {
    if (Status status = check(*options.network); !status) {
      options.problems.push_back({fmt::format("{}; the network is by DHCP", status.message())});
      options.network.emplace();
    }
  }
  return options;
}

Result<Options> options_of_arguments(const std::vector<std::string>& arguments) {
  Options options;
  options.serial.clear();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (argument == "--stdio") {
      options.stdio = true;
      continue;
    }
    if (!argument.starts_with("--"))
      return Status::invalid_argument(fmt::format("'{}' is no option; see --help", argument));
    std::string_view name = argument.substr(2);
    std::optional<std::string_view> value;
    if (auto equals = name.find('='); equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const Option* option = find(name);
    if (!option)
      return Status::invalid_argument(
          fmt::format("--{} is no option; there are {}", name, known_names()));
    if (!value) {
      if (i + 1 == arguments.size())
        return Status::invalid_argument(fmt::format("--{} needs {}", name, option->value));
      value = arguments[++i];
    }
    if (Status status = option->apply(options, *value); !status) {
      return Status::invalid_argument(fmt::format("--{}: {}", name, status.message()));
    }
    if (option->used == Used::by_init) {
      return Status::invalid_argument(
          fmt::format("--{}: only the guest's init uses it, as sluice.{} of the kernel's "
                      "command line",
                      name, name));
    }
  }
  if (lacks_token(options)) return Status::invalid_argument("--tcp: a --token-file is needed");
  return options;
}

std::string usage() {
  std::string text = "agent: the guest's end of Sluice: its init, and calls from the host\n\n";
  auto add = [&text](std::string_view term, std::string_view help) {
    text += fmt::format("  {:<40} {}\n", term, help);
  };
  text += "Started by somebody it serves calls: agent OPTION...\n";
  for (const Option& option : kOptions) {
    if (option.used == Used::always)
      add(fmt::format("--{} {}", option.name, option.value), option.help);
  }
  add("--stdio", "serve one connection, on standard input and output");
  add("--version", "print it");
  text += "\nAs PID 1 it brings the guest up, as the kernel's command line says:\n";
  for (const Option& option : kOptions) {
    add(fmt::format("sluice.{}={}", option.name, option.value), option.help);
  }
  text += "\nExit status: 0, 1 failed, 2 wrong usage.\n";
  return text;
}

}  // namespace sluice::agent
