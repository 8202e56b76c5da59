#include "hostd/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

#include "core/config_check.h"
#include "dns/host_resolvers.h"

namespace sluice::hostd {

namespace {

constexpr const char* kExamples = R"(
Examples:
  A QEMU guest that may reach one site, with port 8080 of this host leading to its port 80:
    hostd run --qemu /tmp/vm.sock --allow example.com -p 8080:80
    qemu-system-x86_64 ... -netdev stream,id=n,addr.type=unix,addr.path=/tmp/vm.sock \
                           -device virtio-net-pci,netdev=n
  The public Internet, but neither this host nor its networks (the default):
    hostd run --vfkit /tmp/vm.sock
  A network namespace as the guest:
    hostd run --tap tap0@sandbox --profile all

Exit status: 0 ended, 1 ran and failed, 2 wrong usage, 3 guest closed by policy.)";

/// A flag's value that can't be used; what() is the whole message.
CLI::ValidationError bad(const std::string& flag, const std::string& value,
                         const std::string& why) {
  return CLI::ValidationError(fmt::format("{} {}: {}", flag, value, why));
}

template <typename T>
T value_of(const std::string& flag, const std::string& value, Result<T> result) {
  if (!result) throw bad(flag, value, result.status().message());
  return std::move(*result);
}

Tap parse_tap(const std::string& text) {
  auto at = text.find('@');
  Tap tap{text.substr(0, at), at == std::string::npos ? "" : text.substr(at + 1)};
  constexpr std::size_t kMaxName = 15;  // IFNAMSIZ less the final zero
  if (tap.name.empty() || tap.name.size() > kMaxName ||
      (at != std::string::npos && tap.netns.empty())) {
    throw bad("--tap", text, "the form is NAME[@NETNS], NAME of 1 to 15 characters");
  }
  return tap;
}

void check_path(const std::string& flag, const std::string& path) {
  constexpr std::size_t kMaxUnixPath = 107;
  if (path.empty() || path.size() > kMaxUnixPath) {
    throw bad(flag, path, "a Unix socket's path has 1 to 107 bytes");
  }
}

/// Adds the options of `run` in the order in which --help shows them. Values are converted as they
/// are met, so that rules keep the order of the command line.
void add_run_options(CLI::App& app, RunOptions& options) {
  auto attach = [&](const char* flag, const char* meaning, auto make) {
    return app
        .add_option_function<std::string>(
            flag, [&options, make](const std::string& value) { options.attachment = make(value); },
            meaning)
        ->group("Guest's NIC (one of)");
  };
  std::vector<CLI::Option*> attachments = {
      attach("--qemu", "listen for QEMU's -netdev stream, libkrun, passt clients",
             [](const std::string& path) -> Attachment {
               check_path("--qemu", path);
               return ListenStream{path};
             }),
      attach("--qemu-connect", "connect to a QEMU that listens",
             [](const std::string& path) -> Attachment {
               check_path("--qemu-connect", path);
               return ConnectStream{path};
             }),
      attach("--vfkit", "Unix datagrams: vfkit, krunkit, QEMU's -netdev dgram",
             [](const std::string& path) -> Attachment {
               check_path("--vfkit", path);
               return ListenDatagram{path};
             }),
      attach("--tap", "a tap device: NAME[@NETNS]",
             [](const std::string& text) -> Attachment { return parse_tap(text); }),
      attach("--fd", "a connected socket or tap that was passed on",
             [](const std::string& text) -> Attachment {
               int fd = -1;
               auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fd);
               if (error != std::errc() || end != text.data() + text.size() || fd < 0) {
                 throw bad("--fd", text, "a file descriptor's number is needed");
               }
               return PassedFd{fd};
             })};
  for (CLI::Option* one : attachments) {
    for (CLI::Option* other : attachments) {
      if (one != other) one->excludes(other);
    }
    one->type_name("PATH");
  }
  attachments[3]->type_name("NAME[@NETNS]");
  attachments[4]->type_name("N");

  NetworkConfig& network = options.network;
  auto rule = [&](const char* flag, const char* meaning, std::optional<Action> shorthand) {
    app.add_option_function<std::vector<std::string>>(
           flag,
           [&network, flag, shorthand](const std::vector<std::string>& texts) {
             for (const std::string& text : texts) {
               network.rules.push_back({.text = text, .where = flag, .shorthand = shorthand});
             }
           },
           meaning)
        ->group("Policy (in the order given; first match wins)")
        ->trigger_on_parse()
        ->expected(1)
        ->type_name(shorthand ? "TARGET" : "RULE");
  };
  rule("--allow", "let the guest reach a name, address, block or group", Action::allow);
  rule("--deny", "refuse it", Action::deny);
  rule("--rule", "allow|deny[:egress|ingress|any]@TARGET[:PROTO[:PORTS]]", std::nullopt);
  app.add_option("--profile", network.profile, "none, public (default), private, host, all")
      ->group("Policy (in the order given; first match wins)")
      ->type_name("NAME");

  app.add_option_function<std::vector<std::string>>(
         "-p,--publish",
         [&network](const std::vector<std::string>& specs) {
           for (const std::string& spec : specs) {
             network.publish.push_back(value_of("-p", spec, parse_publish(spec)));
           }
         },
         "[BIND:]HPORT:[GUEST:]GPORT[/udp], or unix:PATH:GPORT")
      ->group("Ports")
      ->type_name("SPEC");
  app.add_option_function<std::vector<std::string>>(
         "-R,--reverse",
         [&network](const std::vector<std::string>& specs) {
           for (const std::string& spec : specs) {
             network.reverse.push_back(value_of("-R", spec, parse_reverse(spec)));
           }
         },
         "GPORT:unix:PATH: a port of the gateway leads to a socket here")
      ->group("Ports")
      ->type_name("SPEC");

  auto address = [&](const char* flag, const char* meaning, std::optional<IpAddress>& out) {
    app.add_option_function<std::string>(
           flag,
           [flag, &out](const std::string& text) {
             out = value_of(flag, text, IpAddress::parse(text));
             if (!out->is_v4()) throw bad(flag, text, "an IPv4 address is needed");
           },
           meaning)
        ->group("Addresses")
        ->type_name("ADDR");
  };
  app.add_option_function<std::string>(
         "--subnet",
         [&network](const std::string& text) {
           network.subnet4 = value_of("--subnet", text, IpPrefix::parse(text));
         },
         "the guest's IPv4 subnet (192.168.127.0/24)")
      ->group("Addresses")
      ->type_name("BLOCK");
  address("--gateway", "the gateway's address (the subnet's first)", network.gateway4);
  address("--guest", "the guest's address (the next one)", network.guest4);
  app.add_option_function<std::string>(
         "--prefix6",
         [&network](const std::string& text) {
           network.prefix6 = value_of("--prefix6", text, IpPrefix::parse(text));
         },
         "the guest's IPv6 /64 (fd53:4c55:4943::/64)")
      ->group("Addresses")
      ->type_name("BLOCK");
  app.add_option_function<std::string>(
         "--mtu",
         [&options](const std::string& text) {
           options.network.mtu = value_of("--mtu", text, core::parse_mtu(text));
           options.mtu_given = true;
         },
         "largest IP packet (65520; 1500 on datagrams)")
      ->group("Addresses")
      ->type_name("N");
  app.add_option_function<std::vector<std::string>>(
         "--dns",
         [&network](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) {
             network.dns_upstreams.push_back(value_of("--dns", text, dns::parse_resolver(text)));
           }
         },
         "resolver to ask, repeatable (this host's)")
      ->group("Addresses")
      ->type_name("ADDR[:PORT]");

  app.add_option("--name", options.name, "of this instance (hostd-PID)")
      ->group("Process")
      ->type_name("NAME");
  app.add_option("--runas", options.run_as, "user to become when started as root (nobody)")
      ->group("Process")
      ->type_name("USER");
  app.add_option("--ready-fd", options.ready_fd,
                 "write one JSON line there once ready, then close it")
      ->group("Process")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  app.add_flag("--one-off", options.one_off, "end when the guest's end goes")->group("Process");
  app.add_flag("-v,--verbose", options.verbosity, "log more; -vv for debugging")->group("Process");

  app.callback([attachments] {
    for (CLI::Option* one : attachments) {
      if (one->count() > 0) return;
    }
    throw CLI::ValidationError(
        "no guest: give one of --qemu, --qemu-connect, --vfkit, --tap or --fd");
  });
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  CLI::App app("hostd gives one VM a network, and reaches for it only what policy allows", "hostd");
  app.set_version_flag("--version", std::string("hostd ") + SLUICE_VERSION);
  app.require_subcommand(1);
  app.footer(kExamples);
  app.fallthrough();
  RunOptions options;
  CLI::App* run = app.add_subcommand("run", "run beside a VM until told to stop");
  add_run_options(*run, options);
  // The one subcommand is what people look for in --help.
  app.get_formatter()->column_width(28);
  run->get_formatter()->column_width(28);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs((run->count() > 0 ? run->help() : app.help()).c_str(), stdout);
    return {std::nullopt, 0};
  } catch (const CLI::CallForVersion& version) {
    std::printf("%s\n", version.what());
    return {std::nullopt, 0};
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "hostd: %s\n", error.what());
    return {std::nullopt, 2};
  }
  if (options.name.empty()) options.name = fmt::format("hostd-{}", ::getpid());
  bool datagram = std::holds_alternative<ListenDatagram>(options.attachment);
  // A libkrun guest without GUEST_TSO posts buffers for 1500-byte packets and loses larger ones.
  if (datagram && !options.mtu_given) options.network.mtu = 1500;
  options.network.name = options.name;
  return {std::move(options), 0};
}

}  // namespace sluice::hostd
