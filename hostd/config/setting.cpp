#include "hostd/config/setting.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <utility>

#include "core/config_check.h"
#include "dns/host_resolvers.h"

namespace sluice::hostd {

namespace {

constexpr std::string_view kPolicyGroup = "Policy (in the order given; first match wins)";
constexpr std::string_view kPortsGroup = "Ports";
constexpr std::string_view kAddressGroup = "Addresses";
constexpr std::string_view kProcessGroup = "Process";

Status bad(std::string why) {
  return Status(StatusCode::invalid_argument, std::move(why));
}

/// Moves a parsed value to its place, or passes the parser's error on.
template <typename T, typename Place>
Status take(Result<T> result, Place&& place) {
  if (!result) return result.status();
  place(std::move(*result));
  return Status::ok();
}

template <typename Number>
bool parse_number(std::string_view text, Number& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

Status set_nic(Options& options, Attachment attachment) {
  options.attachment = std::move(attachment);
  return Status::ok();
}

template <typename PathNic>
Status set_path(Options& options, const Given& given) {
  constexpr std::size_t kMaxUnixPath = 107;
  if (given.text.empty() || given.text.size() > kMaxUnixPath) {
    return bad("a Unix socket's path has 1 to 107 bytes");
  }
  return set_nic(options, PathNic{given.text});
}

Status set_tap(Options& options, const Given& given) {
  auto at = given.text.find('@');
  Tap tap{given.text.substr(0, at), at == std::string::npos ? "" : given.text.substr(at + 1)};
  constexpr std::size_t kMaxName = 15;  // IFNAMSIZ less the final zero
  if (tap.name.empty() || tap.name.size() > kMaxName ||
      (at != std::string::npos && tap.netns.empty())) {
    return bad("the form is NAME[@NETNS], NAME of 1 to 15 characters");
  }
  return set_nic(options, std::move(tap));
}

Status set_fd(Options& options, const Given& given) {
  int fd = -1;
  if (!parse_number(given.text, fd) || fd < 0) return bad("a file descriptor's number is needed");
  return set_nic(options, PassedFd{fd});
}

Status add_rule(Options& options, const Given& given, std::optional<Action> shorthand) {
  options.network.rules.push_back(
      {.text = given.text,
       .origin = given.on_command_line() ? RuleOrigin::command_line : RuleOrigin::config,
       .where = given.where,
       .line = given.line,
       .shorthand = shorthand});
  return Status::ok();
}

Status set_action(const Given& given, std::string_view allow, Action& out) {
  if (given.text != allow && given.text != "deny") {
    return bad(fmt::format("'deny' or '{}' is needed", allow));
  }
  out = given.text == "deny" ? Action::deny : Action::allow;
  return Status::ok();
}

Status set_address(const Given& given, std::optional<IpAddress>& out) {
  auto address = IpAddress::parse(given.text);
  if (!address) return address.status();
  if (!address->is_v4()) return bad("an IPv4 address is needed");
  out = *address;
  return Status::ok();
}

Status set_prefix(const Given& given, IpPrefix& out) {
  return take(IpPrefix::parse(given.text), [&](IpPrefix prefix) { out = prefix; });
}

Status set_mtu(Options& options, const Given& given) {
  options.mtu_given = true;
  return take(core::parse_mtu(given.text), [&](std::uint16_t mtu) { options.network.mtu = mtu; });
}

constexpr auto kSettings = std::to_array<Setting>({
    {"--qemu", "nic.qemu", Setting::Kind::value, kNicGroup, "PATH",
     "listen for QEMU's -netdev stream, libkrun, passt clients", set_path<ListenStream>},
    {"--qemu-connect", "nic.qemu-connect", Setting::Kind::value, kNicGroup, "PATH",
     "connect to a QEMU that listens", set_path<ConnectStream>},
    {"--vfkit", "nic.vfkit", Setting::Kind::value, kNicGroup, "PATH",
     "Unix datagrams: vfkit, krunkit, QEMU's -netdev dgram", set_path<ListenDatagram>},
    {"--tap", "nic.tap", Setting::Kind::value, kNicGroup, "NAME[@NETNS]",
     "a tap device: NAME[@NETNS]", set_tap},
    {"--fd", "", Setting::Kind::value, kNicGroup, "N",
     "a connected socket or tap that was passed on", set_fd},

    {"--allow", "", Setting::Kind::list, kPolicyGroup, "TARGET",
     "let the guest reach a name, address, block or group",
     [](Options& options, const Given& given) { return add_rule(options, given, Action::allow); }},
    {"--deny", "", Setting::Kind::list, kPolicyGroup, "TARGET", "refuse it",
     [](Options& options, const Given& given) { return add_rule(options, given, Action::deny); }},
    {"--rule", "policy.rules", Setting::Kind::list, kPolicyGroup, "RULE",
     "allow|deny[:egress|ingress|any]@TARGET[:PROTO[:PORTS]]",
     [](Options& options, const Given& given) { return add_rule(options, given, std::nullopt); }},
    {"--profile", "policy.profile", Setting::Kind::value, kPolicyGroup, "NAME",
     "none, public (default), private, host, all",
     [](Options& options, const Given& given) {
       options.network.profile = given.text;
       return Status::ok();
     }},
    {"--unidentified", "policy.unidentified", Setting::Kind::value, kPolicyGroup, "WHAT",
     "TLS, HTTP, QUIC without a readable name: deny, allow-if-bound",
     [](Options& options, const Given& given) {
       return set_action(given, "allow-if-bound", options.network.unidentified);
     }},
    {"--ech", "policy.ech", Setting::Kind::value, kPolicyGroup, "WHAT",
     "TLS hellos that may hide a name: deny, allow",
     [](Options& options, const Given& given) {
       return set_action(given, "allow", options.network.encrypted_hello);
     }},

    {"-p,--publish", "publish", Setting::Kind::list, kPortsGroup, "SPEC",
     "[BIND:]HPORT:[GUEST:]GPORT[/udp], or unix:PATH:GPORT",
     [](Options& options, const Given& given) {
       return take(parse_publish(given.text), [&](PublishSpec spec) {
         options.network.publish.push_back(std::move(spec));
       });
     }},
    {"-R,--reverse", "reverse", Setting::Kind::list, kPortsGroup, "SPEC",
     "GPORT:unix:PATH: a port of the gateway leads to a socket here",
     [](Options& options, const Given& given) {
       return take(parse_reverse(given.text), [&](ReverseSpec spec) {
         options.network.reverse.push_back(std::move(spec));
       });
     }},

    {"--subnet", "guest.subnet", Setting::Kind::value, kAddressGroup, "BLOCK",
     "the guest's IPv4 subnet (192.168.127.0/24)",
     [](Options& options, const Given& given) {
       return set_prefix(given, options.network.subnet4);
     }},
    {"--gateway", "guest.gateway", Setting::Kind::value, kAddressGroup, "ADDR",
     "the gateway's address (the subnet's first)",
     [](Options& options, const Given& given) {
       return set_address(given, options.network.gateway4);
     }},
    {"--guest", "guest.address", Setting::Kind::value, kAddressGroup, "ADDR",
     "the guest's address (the next one)",
     [](Options& options, const Given& given) {
       return set_address(given, options.network.guest4);
     }},
    {"--prefix6", "guest.prefix6", Setting::Kind::value, kAddressGroup, "BLOCK",
     "the guest's IPv6 /64 (fd53:4c55:4943::/64)",
     [](Options& options, const Given& given) {
       return set_prefix(given, options.network.prefix6);
     }},
    {"--mtu", "guest.mtu", Setting::Kind::value, kAddressGroup, "N",
     "largest IP packet (65520; 1500 on datagrams)", set_mtu},
    {"--dns", "dns.upstream", Setting::Kind::list, kAddressGroup, "ADDR[:PORT]",
     "resolver to ask, repeatable (this host's)",
     [](Options& options, const Given& given) {
       return take(dns::parse_resolver(given.text), [&](const Endpoint& resolver) {
         options.network.dns_upstreams.push_back(resolver);
       });
     }},

    {"--name", "name", Setting::Kind::value, kProcessGroup, "NAME",
     "of this instance (hostd-PID)",
     [](Options& options, const Given& given) {
       // It becomes part of paths.
       bool is_plain = !given.text.empty() && given.text.size() <= 64 && given.text[0] != '.' &&
                       given.text.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
                           std::string::npos;
       if (!is_plain) return bad("1 to 64 letters, digits, '-', '_' or '.', not first, are needed");
       options.name = given.text;
       return Status::ok();
     }},
    {"--api", "api", Setting::Kind::value, kProcessGroup, "PATH",
     "control socket (/run/sluice/NAME.sock), or none",
     [](Options& options, const Given& given) {
       if (given.text.empty()) return bad("a path, or 'none', is needed");
       options.api_path = given.text;
       return Status::ok();
     }},
    {"--guest-name", "guest.name", Setting::Kind::value, kProcessGroup, "NAME",
     "of the guest, under vm.internal (guest)",
     [](Options& options, const Given& given) {
       options.network.guest_name = given.text;
       return Status::ok();
     }},
    {"--runas", "runas", Setting::Kind::value, kProcessGroup, "USER",
     "user to become when started as root (nobody)",
     [](Options& options, const Given& given) {
       options.run_as = given.text;
       return Status::ok();
     }},
    {"--ready-fd", "", Setting::Kind::value, kProcessGroup, "N",
     "write one JSON line there once ready, then close it",
     [](Options& options, const Given& given) {
       if (!parse_number(given.text, options.ready_fd) || options.ready_fd < 0) {
         return bad("a file descriptor's number is needed");
       }
       return Status::ok();
     }},
    {"--one-off", "one-off", Setting::Kind::toggle, kProcessGroup, "",
     "end when the guest's end goes",
     [](Options& options, const Given& given) {
       options.one_off = given.text == "true";
       return Status::ok();
     }},
    {"-v,--verbose", "verbose", Setting::Kind::count, kProcessGroup, "",
     "log more; -vv for debugging",
     [](Options& options, const Given& given) {
       if (!parse_number(given.text, options.verbosity) || options.verbosity < 0 ||
           options.verbosity > 2) {
         return bad("0, 1 or 2 is needed");
       }
       return Status::ok();
     }},
});

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

Status complete(Options& options) {
  if (!options.attachment) {
    std::string flags;
    for (const Setting& setting : kSettings) {
      if (setting.group == kNicGroup)
        flags += fmt::format("{}{}", flags.empty() ? "" : ", ", setting.flag());
    }
    return bad("no guest: give one of " + flags);
  }
  if (options.name.empty()) options.name = fmt::format("hostd-{}", ::getpid());
  options.network.name = options.name;
  // A libkrun guest without GUEST_TSO posts buffers for 1500-byte packets and loses larger ones.
  bool datagram = std::holds_alternative<ListenDatagram>(*options.attachment);
  if (datagram && !options.mtu_given) options.network.mtu = 1500;
  return Status::ok();
}

}  // namespace sluice::hostd
