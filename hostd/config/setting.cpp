#include "hostd/config/setting.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <utility>

#include "base/number.h"
#include "core/config_check.h"
#include "dns/host_resolvers.h"
#include "dns/record_set.h"
#include "dns/record_text.h"
#include "hostd/presets/presets.h"

namespace sluice::hostd {

namespace {

constexpr std::string_view kPolicyGroup = "Policy (in the order given; first match wins)";
constexpr std::string_view kPortsGroup = "Ports";
constexpr std::string_view kAddressGroup = "Addresses";
constexpr std::string_view kNamesGroup = "Names";
constexpr std::string_view kProcessGroup = "Process";

/// Moves a parsed value to its place, or passes the parser's error on.
template <typename T, typename Place>
Status take(Result<T> result, Place&& place) {
  if (!result) return result.status();
  place(std::move(*result));
  return Status::ok();
}

/// `refusal` says what is needed.
template <typename Number>
Status set_number(const Given& given, Number least, Number most, const char* refusal, Number& out) {
  auto number = parse_number<Number>(given.text);
  if (!number || *number < least || *number > most) return Status::invalid_argument(refusal);
  out = *number;
  return Status::ok();
}

constexpr const char* kFdNeeded = "a file descriptor's number is needed";

Status set_nic(Options& options, Attachment attachment) {
  options.attachment = std::move(attachment);
  return Status::ok();
}

template <typename PathNic>
Status set_path(Options& options, const Given& given) {
  constexpr std::size_t kMaxUnixPath = 107;
  if (given.text.empty() || given.text.size() > kMaxUnixPath) {
    return Status::invalid_argument("a Unix socket's path has 1 to 107 bytes");
  }
  return set_nic(options, PathNic{given.text});
}

Status set_tap(Options& options, const Given& given) {
  auto at = given.text.find('@');
  Tap tap{given.text.substr(0, at), at == std::string::npos ? "" : given.text.substr(at + 1)};
  constexpr std::size_t kMaxName = 15;  // IFNAMSIZ less the final zero
  if (tap.name.empty() || tap.name.size() > kMaxName ||
      (at != std::string::npos && tap.netns.empty())) {
    return Status::invalid_argument("the form is NAME[@NETNS], NAME of 1 to 15 characters");
  }
  return set_nic(options, std::move(tap));
}

Status set_fd(Options& options, const Given& given) {
  int fd = -1;
  Status status = set_number(given, 0, std::numeric_limits<int>::max(), kFdNeeded, fd);
  return status ? set_nic(options, PassedFd{fd}) : status;
}

Status add_rule(Options& options, const Given& given, std::optional<Action> shorthand) {
  options.network.policy.rules.push_back(
      {.text = given.text,
       .origin = given.on_command_line() ? RuleOrigin::command_line : RuleOrigin::config,
       .where = given.where,
       .line = given.line,
       .shorthand = shorthand});
  return Status::ok();
}

Status set_action(const Given& given, std::string_view allow, Action& out) {
  if (given.text != allow && given.text != "deny") {
    return Status::invalid_argument(fmt::format("'deny' or '{}' is needed", allow));
  }
  out = given.text == "deny" ? Action::deny : Action::allow;
  return Status::ok();
}

/// "NAME=MEMBER,..."
Status add_set(Options& options, const Given& given) {
  auto equals = given.text.find('=');
  if (equals == std::string::npos)
    return Status::invalid_argument("the form is NAME=TARGET[,TARGET...]");
  options.network.policy.sets.push_back({.name = given.text.substr(0, equals),
                                         .members = given.text.substr(equals + 1),
                                         .where = given.where,
                                         .line = given.line});
  return Status::ok();
}

/// "BLOCK=RULE"
Status add_scoped_rule(Options& options, const Given& given) {
  auto equals = given.text.find('=');
  if (equals == std::string::npos) return Status::invalid_argument("the form is BLOCK=RULE");
  return take(IpPrefix::parse(given.text.substr(0, equals)), [&](const IpPrefix& scope) {
    static_cast<void>(
        add_rule(options, {given.text.substr(equals + 1), given.where, given.line}, {}));
    options.network.policy.rules.back().scope = scope;
  });
}

Status add_preset(Options& options, const Given& given) {
  return take(preset_rules(given.text), [&](std::vector<RuleText> rules) {
    auto& all = options.network.policy.rules;
    std::move(rules.begin(), rules.end(), std::back_inserter(all));
  });
}

Status set_address(const Given& given, std::optional<IpAddress>& out) {
  auto address = IpAddress::parse(given.text);
  if (!address) return address.status();
  if (!address->is_v4()) return Status::invalid_argument("an IPv4 address is needed");
  out = *address;
  return Status::ok();
}

Status set_prefix(const Given& given, IpPrefix& out) {
  return take(IpPrefix::parse(given.text), [&](IpPrefix prefix) { out = prefix; });
}

/// An enum whose values are written as `words`, in order.
template <typename Enum>
Status set_choice(const Given& given, std::array<std::string_view, 2> words, Enum& out) {
  auto at = std::find(words.begin(), words.end(), given.text);
  if (at == words.end())
    return Status::invalid_argument(fmt::format("{} or {} is needed", words[0], words[1]));
  out = static_cast<Enum>(at - words.begin());
  return Status::ok();
}

Status set_limit(const Given& given, std::uint32_t& out) {
  return set_number(given, 0u, std::numeric_limits<std::uint32_t>::max(),
                    "a number is needed; 0: no limit", out);
}

Status add_dns_record(Options& options, const Given& given) {
  return take(dns::parse_record(given.text),
              [&](const dns::Record&) { options.network.dns_records.push_back(given.text); });
}

Status add_dns_zone(Options& options, const Given& given) {
  return take(DomainName::parse(given.text),
              [&](DomainName zone) { options.network.dns_zones.push_back(std::move(zone)); });
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
    {"--vhost-user", "nic.vhost-user", Setting::Kind::value, kNicGroup, "PATH",
     "listen for a VMM's vhost-user-net: shared memory", set_path<ListenVhostUser>},
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
       options.network.policy.profile = given.text;
       return Status::ok();
     }},
    {"--preset", "policy.presets", Setting::Kind::list, kPolicyGroup, "NAME",
     "what a tool needs, such as github; hostd presets lists them", add_preset},
    {"--set", "policy.sets", Setting::Kind::list, kPolicyGroup, "NAME=TARGET,...",
     "a set of names and addresses, for rules on set:NAME", add_set},
    {"--scope", "policy.scope", Setting::Kind::list, kPolicyGroup, "BLOCK=RULE",
     "a rule for one block of addresses inside the guest alone", add_scoped_rule},
    {"--on-violation", "policy.on-violation", Setting::Kind::value, kPolicyGroup, "WHAT",
     "of a rule deny!@...: close-guest (default), or event",
     [](Options& options, const Given& given) {
       if (given.text != "event" && given.text != "close-guest") {
         return Status::invalid_argument("event or close-guest is needed");
       }
       options.on_violation =
           given.text == "event" ? OnViolation::event : OnViolation::close_guest;
       return Status::ok();
     }},
    {"--allow-wide-suffix", "policy.allow-wide-suffix", Setting::Kind::toggle, kPolicyGroup, "",
     "let a rule be on a whole top-level domain, *.com",
     [](Options& options, const Given& given) {
       options.network.policy.wide_suffix = given.text == "true";
       return Status::ok();
     }},
    {"--encrypted-dns", "policy.encrypted-dns", Setting::Kind::value, kPolicyGroup, "WHAT",
     "beside rules on names, DoT, DoQ and DoH that no rule names: deny, allow",
     [](Options& options, const Given& given) {
       return set_action(given, "allow", options.network.policy.encrypted_dns);
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
    {"--resolve-and-dial", "policy.resolve-and-dial", Setting::Kind::toggle, kPolicyGroup, "",
     "reach TLS, HTTP and QUIC names at addresses that hostd itself resolves",
     [](Options& options, const Given& given) {
       options.network.resolve_and_dial = given.text == "true";
       return Status::ok();
     }},
    {"--revoked-flows", "policy.revoked-flows", Setting::Kind::value, kPolicyGroup, "WHAT",
     "open flows that a new policy would refuse: reset (default), keep",
     [](Options& options, const Given& given) {
       return set_choice(given, {"reset", "keep"}, options.network.revoked_flows);
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
    {"--route", "guest.routes", Setting::Kind::list, kAddressGroup, "BLOCK",
     "addresses behind the guest, its containers; repeatable",
     [](Options& options, const Given& given) {
       return take(IpPrefix::parse(given.text), [&](const IpPrefix& block) {
         options.network.routed_prefixes.push_back(block);
       });
     }},
    {"--mtu", "guest.mtu", Setting::Kind::value, kAddressGroup, "N",
     "largest IP packet (65520; 1500 on datagrams)", set_mtu},
    {"--dns", "dns.upstream", Setting::Kind::list, kAddressGroup, "RESOLVER",
     "ADDR[:PORT], or tls://ADDR[:PORT]#NAME; repeatable (this host's)",
     [](Options& options, const Given& given) {
       return take(dns::parse_resolver(given.text), [&](DnsResolver resolver) {
         options.network.dns_upstreams.push_back(std::move(resolver));
       });
     }},

    {"--dns-ca", "dns.ca", Setting::Kind::value, kNamesGroup, "FILE",
     "certificates for resolvers over TLS (the host's trust store)",
     [](Options& options, const Given& given) {
       if (given.text.empty()) {
          return Status::invalid_argument("a file of certificates in PEM is needed");
        }
       options.network.dns_ca = given.text;
       return Status::ok();
     }},
    {"--dns-split", "dns.split", Setting::Kind::list, kNamesGroup, "ZONE=ADDR[,ADDR]",
     "resolvers of one zone; no other is asked for it",
     [](Options& options, const Given& given) {
       return take(dns::parse_split(given.text), [&](DnsSplit split) {
         options.network.dns_split.push_back(std::move(split));
       });
     }},
    {"--dns-record", "dns.records", Setting::Kind::list, kNamesGroup, "RECORD",
     "'NAME [TTL] TYPE VALUE', answered here", add_dns_record},
    {"--dns-zone", "dns.zones", Setting::Kind::list, kNamesGroup, "ZONE",
     "what has no record there does not exist", add_dns_zone},
    {"--dns-denied", "dns.denied-names", Setting::Kind::value, kNamesGroup, "ANSWER",
     "nxdomain (default) or refused",
     [](Options& options, const Given& given) {
       return set_choice(given, {"nxdomain", "refused"}, options.network.denied_names);
     }},
    {"--dns-stale", "dns.stale-if-error", Setting::Kind::value, kNamesGroup, "SECONDS",
     "how old an answer may be when all resolvers fail (0)",
     [](Options& options, const Given& given) {
       constexpr std::uint32_t kLongest = 7 * 24 * 3600;
       std::uint32_t seconds = 0;
       Status status =
           set_number(given, 0u, kLongest, "0 to 604800 seconds are possible", seconds);
       if (status) options.network.dns_stale_if_error = std::chrono::seconds(seconds);
       return status;
     }},
    {"--dns-rate", "dns.queries-per-second", Setting::Kind::value, kNamesGroup, "N",
     "lookups that go to resolvers (500; 0: no limit)",
     [](Options& options, const Given& given) {
       return set_limit(given, options.network.dns_limits.queries_per_second);
     }},
    {"--dns-names", "dns.names-per-zone", Setting::Kind::value, kNamesGroup, "N",
     "different names of a zone in a minute (3000; 0: no limit)",
     [](Options& options, const Given& given) {
       return set_limit(given, options.network.dns_limits.names_per_zone);
     }},
    {"--dns-data", "dns.data-per-minute", Setting::Kind::value, kNamesGroup, "BYTES",
     "of answers that are no addresses (262144; 0: no limit)",
     [](Options& options, const Given& given) {
       return set_limit(given, options.network.dns_limits.data_bytes);
     }},
    {"--dns-encoded", "dns.encoded-names", Setting::Kind::value, kNamesGroup, "ACTION",
     "names like data below an allowed zone: deny (default) or allow",
     [](Options& options, const Given& given) {
       return set_choice(given, {"deny", "allow"}, options.network.dns_limits.encoded_names);
     }},

    {"--name", "name", Setting::Kind::value, kProcessGroup, "NAME",
     "of this instance (hostd-PID)",
     [](Options& options, const Given& given) {
       // It becomes part of paths.
       bool is_plain = !given.text.empty() && given.text.size() <= 64 && given.text[0] != '.' &&
                       given.text.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
                           std::string::npos;
       if (!is_plain) {
          return Status::invalid_argument(
              "1 to 64 letters, digits, '-', '_' or '.', not first, are needed");
        }
       options.name = given.text;
       return Status::ok();
     }},
    {"--api", "api", Setting::Kind::value, kProcessGroup, "PATH",
     "control socket (/run/sluice/NAME.sock), or none",
     [](Options& options, const Given& given) {
       if (given.text.empty()) return Status::invalid_argument("a path, or 'none', is needed");
       options.api_path = given.text;
       return Status::ok();
     }},
    {"--agent", "agent", Setting::Kind::value, kProcessGroup, "ENDPOINT",
     "of the guest's agent: serial:PATH, unix:PATH, firecracker:PATH:PORT, vsock:CID:PORT, "
     "tcp:[ADDR:]PORT in the guest, host-tcp:ADDR:PORT",
     [](Options& options, const Given& given) {
       return take(agent::client::AgentEndpoint::parse(given.text),
                   [&](agent::client::AgentEndpoint endpoint) { options.agent = std::move(endpoint); });
     }},
    {"--agent-token-file", "agent-token-file", Setting::Kind::value, kProcessGroup, "FILE",
     "what sluice.token= says in the guest, of mode 0600; for an agent on TCP",
     [](Options& options, const Given& given) {
       if (given.text.empty()) return Status::invalid_argument("a path is needed");
       options.agent_token_file = given.text;
       return Status::ok();
     }},
    {"--agent-clock", "agent-clock", Setting::Kind::value, kProcessGroup, "WHAT",
     "host (default): the agent keeps the guest's clock at the host's; or off",
     [](Options& options, const Given& given) {
       if (given.text != "host" && given.text != "off") {
         return Status::invalid_argument("host or off is needed");
       }
       options.keeps_agent_clock = given.text == "host";
       return Status::ok();
     }},
    {"--events", "events", Setting::Kind::value, kProcessGroup, "WHAT",
     "denied (default), or all: what is let through, and ends, too",
     [](Options& options, const Given& given) {
       return set_choice(given, {"denied", "all"}, options.events);
     }},
    {"--event-file", "event-file", Setting::Kind::value, kProcessGroup, "PATH",
     "write them there too, a JSON object a line; SIGHUP reopens it",
     [](Options& options, const Given& given) {
       if (given.text.empty()) return Status::invalid_argument("a path is needed");
       options.event_file = given.text;
       return Status::ok();
     }},
    {"--event-file-size", "event-file-size", Setting::Kind::value, kProcessGroup, "BYTES",
     "then it becomes PATH.1 (67108864; 0: never)",
     [](Options& options, const Given& given) {
       constexpr std::uint64_t kLeast = 4096;
       auto size = parse_number<std::uint64_t>(given.text);
       if (!size || (*size > 0 && *size < kLeast)) {
         return Status::invalid_argument("4096 or more bytes are needed; 0: it grows without end");
       }
       options.event_file_bytes = *size;
       return Status::ok();
     }},
    {"--event-file-keep", "event-file-keep", Setting::Kind::value, kProcessGroup, "N",
     "how many former ones stay (4)",
     [](Options& options, const Given& given) {
       return set_number(given, 1u, 100u, "1 to 100 files are possible", options.event_file_keep);
     }},
    {"--guest-name", "guest.name", Setting::Kind::value, kProcessGroup, "NAME",
     "of the guest, under vm.internal (guest)",
     [](Options& options, const Given& given) {
       options.network.guest_name = given.text;
       return Status::ok();
     }},
    {"--max-flows", "max-flows", Setting::Kind::value, kProcessGroup, "N",
     "TCP connections of the guest at a time, a descriptor each (16384)",
     [](Options& options, const Given& given) {
       Status status = set_number(given, std::size_t{1}, std::size_t{1} << 20,
                                  "1 to 1048576 are possible", options.network.max_flows);
       // A window for each: the library's own budget is enough for 32768.
       constexpr std::size_t kWindow = 16 << 10;
       options.network.memory_bytes =
           std::max(options.network.memory_bytes, options.network.max_flows * kWindow);
       return status;
     }},
    {"--runas", "runas", Setting::Kind::value, kProcessGroup, "USER",
     "user to become when started as root: name, UID or UID:GID (nobody)",
     [](Options& options, const Given& given) {
       options.run_as = given.text;
       return Status::ok();
     }},
    {"--ready-fd", "", Setting::Kind::value, kProcessGroup, "N",
     "write one JSON line there once ready, then close it",
     [](Options& options, const Given& given) {
       return set_number(given, 0, std::numeric_limits<int>::max(), kFdNeeded, options.ready_fd);
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
       return set_number(given, 0, 2, "0, 1 or 2 is needed", options.verbosity);
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
    return Status::invalid_argument("no guest: give one of " + flags);
  }
  auto records = dns::parse_record_set(options.network.dns_records, options.network.dns_zones);
  if (!records) return records.status();
  if (options.name.empty()) options.name = fmt::format("hostd-{}", ::getpid());
  options.network.name = options.name;
  // A libkrun guest without GUEST_TSO posts buffers for 1500-byte packets and loses larger ones.
  bool datagram = std::holds_alternative<ListenDatagram>(*options.attachment);
  if (datagram && !options.mtu_given) options.network.mtu = 1500;
  return Status::ok();
}

}  // namespace sluice::hostd
