#include "hostd/ctl/guest_network_commands.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/number.h"
#include "hostd/ctl/container_text.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/guest_tunnel.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Caller;
using agent::client::DnsInfo;
using agent::client::GuestEvent;
using agent::client::ListeningPort;
using agent::client::NamedValue;
using agent::client::Names;
using agent::client::Nothing;
using agent::client::PortNews;
using agent::rpc::CallError;
using nlohmann::json;
using End = GuestCommands::End;

json to_json(const Names& one) {
  return {{"owner", one.owner},
          {"network", one.network},
          {"kind", one.sandbox ? "sandbox" : "container"},
          {"names", one.names},
          {"addresses", one.addresses},
          {"by_host", one.by_host}};
}

json to_json(const ListeningPort& one) {
  return {{"protocol", one.udp ? "udp" : "tcp"},
          {"address", one.address},
          {"port", one.port},
          {"netns", one.netns},
          {"uid", one.uid}};
}

void print_dns(Output output, const DnsInfo& info, const std::vector<Names>& names) {
  if (output == Output::json) {
    json counters = json::object();
    for (const NamedValue& one : info.counters) {
      counters[one.name] = static_cast<std::uint64_t>(one.value);
    }
    json listening = json::array();
    for (const auto& one : info.listening) {
      listening.push_back({{"address", one.address},
                           {"network", one.network},
                           {"serving", one.serving},
                           {"problem", one.problem}});
    }
    json list = json::array();
    for (const Names& one : names) list.push_back(to_json(one));
    print(json{{"suffix", info.suffix},
               {"listening", std::move(listening)},
               {"upstreams", info.upstreams},
               {"pending", info.pending},
               {"sessions", info.sessions},
               {"counters", std::move(counters)},
               {"names", std::move(list)}}
              .dump() +
          "\n");
    return;
  }
  fmt::print("suffix     {}\n", printable(info.suffix));
  for (const auto& one : info.listening) {
    fmt::print("listening  {}{}\n", printable(one.address),
               one.serving ? "" : ": not yet, " + printable(one.problem));
  }
  fmt::print("upstreams  {}\n", info.upstreams.empty() ? "none" : joined(json(info.upstreams)));
  for (const NamedValue& one : info.counters) {
    if (one.value > 0) fmt::print("{:<18} {:.0f}\n", printable(one.name), one.value);
  }
  Table table({"OWNER", "NETWORK", "NAMES", "ADDRESSES", "BY"});
  for (const Names& one : names) {
    table.add({printable(one.owner), printable(one.network), joined(json(one.names)),
               joined(json(one.addresses)), one.by_host ? "host" : "itself"});
  }
  print(table.to_string("No names are registered.\n"));
}

void print_port(const char* sign, const ListeningPort& one) {
  bool v6 = one.address.find(':') != std::string::npos;
  fmt::print("{}{} {}{}{}:{}{}{}\n", sign, one.udp ? "udp" : "tcp", v6 ? "[" : "",
             printable(one.address), v6 ? "]" : "", one.port, one.netns.empty() ? "" : " in ",
             printable(one.netns));
}

}  // namespace

int GuestNetworkCommands::dns() {
  return guest_.run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::dns_info(
        caller, [this, &caller, end](const CallError& error, const DnsInfo& info) {
          if (!worked(error, end)) return;
          agent::client::list_names(
              caller, [this, end, info](const CallError& failed, const std::vector<Names>& names) {
                if (!worked(failed, end)) return;
                print_dns(guest_.output(), info, names);
                end(0);
              });
        });
    return nullptr;
  });
}

int GuestNetworkCommands::add_names(const Names& names) {
  return guest_.run([&names](UvLoop&, Caller& caller, const End& end) {
    agent::client::add_names(caller, names, [end](const CallError& error, const Nothing&) {
      if (worked(error, end)) end(0);
    });
    return nullptr;
  });
}

int GuestNetworkCommands::remove_names(const std::string& owner, const std::string& network) {
  return guest_.run([&](UvLoop&, Caller& caller, const End& end) {
    agent::client::remove_names(caller, owner, network,
                                [end](const CallError& error, const Nothing&) {
                                  if (worked(error, end)) end(0);
                                });
    return nullptr;
  });
}

int GuestNetworkCommands::ports(bool follow, const std::vector<std::string>& namespaces) {
  return guest_.run([&, follow](UvLoop&, Caller& caller, const End& end) {
    auto there = std::make_shared<bool>(false);
    auto tell = [this](const char* sign, const char* change, const ListeningPort& one) {
      if (guest_.output() == Output::people) return print_port(sign, one);
      json line = to_json(one);
      line["change"] = change;
      print(line.dump() + "\n");
    };
    agent::client::watch_ports(
        caller, namespaces,
        [follow, end, there, tell](const PortNews& news) {
          for (const auto& one : news.removed) tell("- ", "removed", one);
          for (const auto& one : news.added) tell(*there ? "+ " : "", "added", one);
          *there = *there || news.present;
          std::fflush(stdout);
          if (*there && !follow) end(0);
        },
        [end](const CallError& error) {
          if (worked(error, end)) end(0);
        });
    return nullptr;
  });
}

int GuestNetworkCommands::events() {
  return guest_.run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::watch_events(
        caller,
        [this](const GuestEvent& event) {
          if (guest_.output() == Output::json) {
            print(json{{"realtime_ns", event.realtime_ns},
                       {"lost", event.lost},
                       {"kind", event.kind},
                       {"text", event.text}}
                      .dump() +
                  "\n");
          } else if (!event.kind.empty()) {
            if (event.lost > 0) fmt::print("({} events were lost)\n", event.lost);
            fmt::print("{} {:<8} {}\n", time_text(event.realtime_ns), event.kind,
                       printable(event.text));
          }
          std::fflush(stdout);
        },
        [end](const CallError& error) {
          if (worked(error, end)) end(0);
        });
    return nullptr;
  });
}

int GuestNetworkCommands::metrics() {
  return guest_.run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::metrics(
        caller, [this, end](const CallError& error, const std::vector<NamedValue>& list) {
          if (!worked(error, end)) return;
          json values = json::object();
          for (const NamedValue& one : list) {
            values[one.name] = one.value;
            if (guest_.output() == Output::people) {
              fmt::print("{} {}\n", printable(one.name), one.value);
            }
          }
          if (guest_.output() == Output::json) print(values.dump() + "\n");
          end(0);
        });
    return nullptr;
  });
}

int GuestNetworkCommands::tunnel(const std::string& to) {
  std::string host = to;
  std::uint16_t number = 0;
  if (!to.starts_with('/')) {
    auto colon = to.rfind(':');
    host = colon == std::string::npos ? "" : to.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    auto port =
        Port::parse(std::string_view(to).substr(colon == std::string::npos ? 0 : colon + 1));
    if (!port || port->value() == 0) {
      fmt::print(stderr, "hostctl: '{}' is no PORT, HOST:PORT or /PATH\n", printable(to));
      return 2;
    }
    number = port->value();
  }
  return guest_.run([&](UvLoop& loop, Caller& caller, const End& end) {
    auto session = std::make_shared<GuestTunnel>(loop);
    session->begin(caller, host, number, end);
    return session;
  });
}

}  // namespace sluice::ctl
