#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "hostd/ctl/client.h"
#include "hostd/ctl/commands.h"
#include "hostd/ctl/container_arguments.h"
#include "hostd/ctl/guest_commands.h"
#include "hostd/ctl/guest_network_commands.h"
#include "hostd/ctl/guest_service_commands.h"
#include "hostd/directories.h"

namespace {

constexpr const char* kExamples = R"(
Examples:
  What was refused, as it happens:     hostctl events -f --denied
  Why a name is not reached:           hostctl events --to '*.example.com'
  May the guest reach it, and why:     hostctl policy check tcp github.com:443
  Who does the guest talk to:          hostctl flows --to '*.example.com'
  Publish a port of a running guest:   hostctl ports add 8080:80

Exit status: 0, 1 failed or (policy check) denied, 2 wrong usage.)";

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  using sluice::ctl::Commands;
  using sluice::ctl::GuestCommands;
  CLI::App app("hostctl looks at a running hostd and changes it", "hostctl");
  app.set_version_flag("--version", std::string("hostctl ") + SLUICE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(kExamples);
  app.get_formatter()->column_width(28);

  std::string name;
  bool as_json = false;
  app.add_option("-n,--name", name, "instance, or path of a control socket (the only one running)")
      ->type_name("NAME");
  app.add_flag("--json", as_json, "print JSON");

  std::function<int(Commands&)> action;
  auto command = [&](CLI::App& parent, const char* word, const char* meaning,
                     std::function<int(Commands&)> run) {
    CLI::App* sub = parent.add_subcommand(word, meaning);
    // A command's own callback comes before that of the one above it.
    sub->callback([&action, run = std::move(run)] {
      if (!action) action = run;
    });
    return sub;
  };
  command(app, "status", "what it does: flows, bytes, denials",
          [](Commands& commands) { return commands.status(); });
  sluice::ctl::FlowsShown shown;
  std::vector<std::uint64_t> ids;
  CLI::App* flows = command(app, "flows", "open connections: where to, how much, by which rule",
                            [&](Commands& commands) { return commands.flows(shown); });
  flows->require_subcommand(0, 1);
  flows->add_option("--to", shown.to, "only to an address, a block, a name, or *.NAME")
      ->type_name("DEST");
  flows->add_option("--proto", shown.proto, "only tcp, udp or icmp")->type_name("PROTO");
  flows->add_option("--direction", shown.direction, "only egress or ingress")->type_name("WAY");
  flows->add_option("--limit", shown.limit, "this many at most (1000)")->type_name("N");
  flows->add_option("--after", shown.after, "only those with greater IDs: the next page")
      ->type_name("ID");
  flows->add_flag("-w,--wide", shown.is_wide, "all columns, whatever the terminal's width");
  command(*flows, "show", "all about one",
          [&](Commands& commands) { return commands.show_flow(ids.front()); })
      ->add_option("ID", ids, "of `hostctl flows`")
      ->required()
      ->allow_extra_args(false);
  command(*flows, "kill", "reset some, at both ends",
          [&](Commands& commands) { return commands.reset_flows(ids); })
      ->add_option("ID", ids, "of `hostctl flows`")
      ->required();

  CLI::App* dns = command(app, "dns", "resolvers, cache and counters; records and zones",
                          [](Commands& commands) { return commands.dns(); });

  std::vector<std::string> record, resolvers;
  std::string record_name, record_type, record_value, zone;
  bool replaces = false;
  CLI::App* records = dns->add_subcommand("records", "records that are answered here");
  records->require_subcommand(1);
  command(*records, "ls", "list them, or those of a name", [&](Commands& commands) {
    return commands.dns_records(record_name);
  })->add_option("NAME", record_name);
  CLI::App* add_record = command(
      *records, "add", "add one; it is in force with the next question",
      [&](Commands& commands) { return commands.add_dns_record(joined(record), replaces); });
  add_record->add_option("RECORD", record, "NAME [TTL] TYPE VALUE")->required();
  add_record->add_flag("--replace", replaces, "in place of all of its name and type");
  CLI::App* remove_record = command(
      *records, "rm", "remove those of a name, and what they opened", [&](Commands& commands) {
        return commands.remove_dns_records(record_name, record_type, record_value);
      });
  remove_record->add_option("NAME", record_name)->required();
  remove_record->add_option("TYPE", record_type, "only of this type");
  remove_record->add_option("VALUE", record_value, "only this one");

  CLI::App* zones =
      dns->add_subcommand("zones", "zones in which what has no record does not exist");
  zones->require_subcommand(1);
  command(*zones, "ls", "list them", [](Commands& commands) { return commands.dns_zones(); });
  command(*zones, "add", "add one", [&](Commands& commands) { return commands.add_dns_zone(zone); })
      ->add_option("ZONE", zone)
      ->required();
  command(*zones, "rm", "remove one; its records stay",
          [&](Commands& commands) { return commands.remove_dns_zone(zone); })
      ->add_option("ZONE", zone)
      ->required();

  CLI::App* split = dns->add_subcommand("split", "zones that have resolvers of their own");
  split->require_subcommand(1);
  command(*split, "ls", "list them", [](Commands& commands) { return commands.dns_split(); });
  CLI::App* set_split =
      command(*split, "set", "set the resolvers of a zone",
              [&](Commands& commands) { return commands.set_dns_split(zone, resolvers); });
  set_split->add_option("ZONE", zone)->required();
  set_split->add_option("RESOLVER", resolvers, "in the order of preference")->required();
  command(*split, "rm", "ask for it where all others are asked",
          [&](Commands& commands) { return commands.remove_dns_split(zone); })
      ->add_option("ZONE", zone)
      ->required();

  CLI::App* upstream = dns->add_subcommand("upstream", "resolvers of all other names");
  upstream->require_subcommand(1);
  command(*upstream, "ls", "list them", [](Commands& commands) { return commands.dns_upstream(); });
  command(*upstream, "set", "replace them; none: this host's, as they change",
          [&](Commands& commands) { return commands.set_dns_upstream(resolvers); })
      ->add_option("RESOLVER", resolvers, "in the order of preference");

  std::string forgotten;
  CLI::App* names = command(
      app, "names", "which names DNS has bound to which addresses", [&](Commands& commands) {
        return forgotten.empty() ? commands.names() : commands.forget_name(forgotten);
      });
  names->add_option("--forget", forgotten, "drop a name and the flows that only it allowed")
      ->type_name("NAME");

  std::string spec;
  bool reset = false;
  CLI::App* ports = app.add_subcommand("ports", "published ports");
  ports->require_subcommand(1);
  command(*ports, "ls", "list them", [](Commands& commands) { return commands.ports(); });
  command(*ports, "add", "publish one more",
          [&](Commands& commands) { return commands.add_port(spec); })
      ->add_option("SPEC", spec, "[BIND:]HPORT:[GUEST:]GPORT[/udp]")
      ->required();
  CLI::App* remove = command(*ports, "rm", "withdraw one",
                             [&](Commands& commands) { return commands.remove_port(spec, reset); });
  remove->add_option("SPEC", spec, "as it was published")->required();
  remove->add_flag("--reset", reset, "end its open connections too");

  std::vector<std::string> rules, presets, question;
  std::string profile;
  CLI::App* policy = app.add_subcommand("policy", "what the guest may reach");
  policy->require_subcommand(1);
  command(*policy, "show", "the rules in force",
          [](Commands& commands) { return commands.policy(); });
  CLI::App* set =
      command(*policy, "set", "replace them, whole or not at all",
              [&](Commands& commands) { return commands.set_policy(rules, presets, profile); });
  set->add_option("RULE", rules, "allow|deny[:DIRECTION]@TARGET[:PROTO[:PORTS]]");
  set->add_option("--preset", presets, "what a tool needs, such as github; repeatable")
      ->type_name("NAME");
  set->add_option("--profile", profile, "none, public, private, host, all")->type_name("NAME");
  command(*policy, "check", "what they would say, and why",
          [&](Commands& commands) { return commands.check_policy(joined(question)); })
      ->add_option("QUESTION", question,
                   "tcp|udp HOST:PORT, icmp HOST, dns NAME; then from ADDRESS")
      ->required();

  bool refused_only = false;
  CLI::App* learn =
      policy->add_subcommand("learn", "record what the guest does, and print rules that allow it");
  learn->require_subcommand(1);
  command(*learn, "start", "begin anew; what is allowed stays as it is",
          [&](Commands& commands) { return commands.start_learning(refused_only); })
      ->add_flag("--refused", refused_only,
                 "only what the policy refuses (all that a policy without rules would refuse)");
  command(*learn, "stop", "stop, and print the rules",
          [](Commands& commands) { return commands.stop_learning(); });
  command(*learn, "show", "print the rules so far",
          [](Commands& commands) { return commands.learned(); });

  sluice::ctl::EventsShown wanted;
  CLI::App* events =
      command(app, "events", "what was refused (of hostd --events all: what was not, too), and why",
              [&](Commands& commands) { return commands.events(wanted); });
  events->add_flag("-f,--follow", wanted.follows, "go on as they happen");
  CLI::Option* kind = events->add_option("--event", wanted.kind, "only denied, allowed or closed")
                          ->type_name("KIND");
  events
      ->add_flag_callback(
          "--denied", [&wanted] { wanted.kind = "denied"; }, "the same as --event denied")
      ->excludes(kind);
  events->add_option("--layer", wanted.layer, "only dns, syn, first-flight, udp, icmp or ingress")
      ->type_name("LAYER");
  events->add_option("--to", wanted.to, "only to an address, a block, a name, or *.NAME")
      ->type_name("DEST");
  events->add_option("--limit", wanted.limit, "the latest N, or the first N after --since")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  events->add_option("--since", wanted.since, "only those after this number (seq, of --json)")
      ->type_name("SEQ");

  CLI::App* guest = app.add_subcommand("guest", "the guest, by its agent (hostd --agent)");
  guest->require_subcommand(1);
  auto command_of_guest = [&](CLI::App& parent, const char* word, const char* meaning,
                              std::function<int(GuestCommands&)> run) {
    return command(parent, word, meaning, [run = std::move(run)](Commands& commands) {
      GuestCommands guest_commands(
          sluice::hostd::agent_socket_path(commands.client().socket_path()), commands.output());
      return run(guest_commands);
    });
  };
  auto guest_command = [&](const char* word, const char* meaning,
                           std::function<int(GuestCommands&)> run) {
    return command_of_guest(*guest, word, meaning, std::move(run));
  };
  guest_command("ping", "who answers, and how soon", [](GuestCommands& in) { return in.ping(); });
  guest_command("info", "its system, memory and addresses",
                [](GuestCommands& in) { return in.info(); });
  guest_command("boot", "what its init has done, and how long each step took",
                [](GuestCommands& in) { return in.boot(); });
  guest_command("ps", "programs that were started by a call",
                [](GuestCommands& in) { return in.processes(); });
  sluice::ctl::ExecAsked asked;
  CLI::App* exec = guest_command("exec", "run a program in it; its exit status becomes ours",
                                 [&](GuestCommands& in) { return in.exec(asked); });
  exec->add_flag("-i,--interactive", asked.interactive, "standard input is the program's");
  exec->add_flag("-t,--tty", asked.terminal, "with a terminal");
  exec->add_flag("-d,--detach", asked.detach, "print its id and leave it running");
  exec->add_option("-e,--env", asked.env, "NAME=VALUE, or NAME with the value here; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  exec->add_option("-w,--workdir", asked.cwd, "where it begins (the user's home)")
      ->type_name("DIR");
  exec->add_option("-u,--user", asked.user, "whose it is: NAME or UID, :GROUP after it (root)")
      ->type_name("USER");
  exec->add_option("-c,--container", asked.container, "in a container, not in the guest itself")
      ->type_name("CONTAINER");
  exec->add_option("--timeout", asked.timeout_seconds, "then it is killed")->type_name("SECONDS");
  exec->add_option("COMMAND", asked.command, "the program and its arguments")->required();
  exec->positionals_at_end();
  using sluice::ctl::GuestNetworkCommands;
  CLI::App* guest_dns = guest->add_subcommand("dns", "names that the guest itself answers");
  guest_dns->require_subcommand(1);
  auto dns_command = [&](const char* word, const char* meaning,
                         std::function<int(GuestNetworkCommands&)> run) {
    return command_of_guest(*guest_dns, word, meaning, [run = std::move(run)](GuestCommands& in) {
      GuestNetworkCommands network_commands(in);
      return run(network_commands);
    });
  };
  dns_command("ls", "names, upstreams and counters",
              [](GuestNetworkCommands& in) { return in.dns(); });
  sluice::agent::client::Names named;
  CLI::App* add_names = dns_command("add", "names of an owner, in the place of those it has",
                                    [&](GuestNetworkCommands& in) { return in.add_names(named); });
  add_names->add_option("OWNER", named.owner, "such as a container's id")->required();
  add_names->add_option("NAME", named.names, "db, db.example.com")->required();
  add_names->add_option("-a,--address", named.addresses, "where they are; repeatable")
      ->type_name("ADDR")
      ->allow_extra_args(false)
      ->required();
  add_names->add_option("--network", named.network, "whose members see them (all)")
      ->type_name("NAME");
  add_names->add_flag("--sandbox", named.sandbox, "looked up after containers");
  CLI::App* rm_names = dns_command(
      "rm", "what was added for an owner",
      [&](GuestNetworkCommands& in) { return in.remove_names(named.owner, named.network); });
  rm_names->add_option("OWNER", named.owner)->required();
  rm_names->add_option("--network", named.network)->type_name("NAME");
  bool follow_ports = false;
  std::vector<std::string> namespaces;
  CLI::App* guest_ports = guest_command(
      "ports", "sockets in it that can be reached",
      [&](GuestCommands& in) { return GuestNetworkCommands(in).ports(follow_ports, namespaces); });
  guest_ports->add_flag("-f,--follow", follow_ports, "then what comes (+) and goes (-)");
  guest_ports->add_option("--netns", namespaces, "and in this network namespace; repeatable")
      ->type_name("PATH")
      ->allow_extra_args(false);
  guest_command("events", "what happens in it, from now on",
                [](GuestCommands& in) { return GuestNetworkCommands(in).events(); });
  guest_command("metrics", "numbers of its agent, for a monitor",
                [](GuestCommands& in) { return GuestNetworkCommands(in).metrics(); });
  std::string tunnel_to;
  guest_command("tunnel", "standard input and output to a server in it",
                [&](GuestCommands& in) { return GuestNetworkCommands(in).tunnel(tunnel_to); })
      ->add_option("TO", tunnel_to, "PORT, HOST:PORT or /PATH of a Unix socket")
      ->required();
  using sluice::ctl::GuestServiceCommands;
  guest_command("services", "programs that its init keeps alive",
                [](GuestCommands& in) { return GuestServiceCommands(in).services(); });
  CLI::App* service = guest->add_subcommand("service", "one of them");
  service->require_subcommand(1);
  std::string service_name;
  command_of_guest(*service, "logs", "the last that it has written",
                   [&](GuestCommands& in) { return GuestServiceCommands(in).logs(service_name); })
      ->add_option("NAME", service_name)
      ->required();
  using sluice::agent::client::ServiceOrder;
  auto order_command = [&](const char* word, const char* meaning, ServiceOrder order) {
    command_of_guest(*service, word, meaning,
                     [&, order](GuestCommands& in) {
                       return GuestServiceCommands(in).order(order, service_name);
                     })
        ->add_option("NAME", service_name)
        ->required();
  };
  order_command("start", "start it, and what it is after; waits until it is ready",
                ServiceOrder::start);
  order_command("stop", "stop it, and before it those that are after it, until they are started",
                ServiceOrder::stop);
  order_command("restart", "stop it as stop does, and start what that has stopped",
                ServiceOrder::restart);
  std::string top_of;
  guest_command("top", "processes of a container",
                [&](GuestCommands& in) { return GuestServiceCommands(in).top(top_of); })
      ->add_option("CONTAINER", top_of, "its name, or id")
      ->required();
  CLI::App* image = guest->add_subcommand("image", "images for containers");
  image->require_subcommand(1);
  auto image_command = [&](const char* word, const char* meaning,
                           std::function<int(GuestCommands&)> run) {
    return command_of_guest(*image, word, meaning, std::move(run));
  };
  sluice::ctl::ImportAsked imported;
  CLI::App* import_image =
      image_command("import", "take an archive: OCI, of docker save, or a root file system's tar",
                    [&](GuestCommands& in) { return in.import_image(imported); });
  import_image->add_option("FILE", imported.file, "- or nothing: standard input");
  // Behind this command --name is the image's, and -n still the instance's.
  import_image->add_option("-t,--name", imported.name, "its name, instead of the archive's")
      ->type_name("NAME[:TAG]");
  import_image->add_option("--kind", imported.kind, "auto, oci, docker, rootfs")
      ->check(CLI::IsMember({"auto", "oci", "docker", "rootfs"}))
      ->type_name("KIND");
  import_image->add_option("--platform", imported.platform, "linux/ARCH (the guest's own)")
      ->type_name("PLATFORM");
  import_image->add_option("--limit", imported.max_bytes, "what it may unpack to")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("BYTES");
  image_command("ls", "list them", [](GuestCommands& in) { return in.images(); });
  std::vector<std::string> images;
  bool is_forced = false;
  CLI::App* remove_image =
      image_command("rm", "take names away, and images with their last one",
                    [&](GuestCommands& in) { return in.remove_images(images, is_forced); });
  remove_image->add_option("IMAGE", images, "name, or id")->required();
  remove_image->add_flag("-f,--force", is_forced,
                         "by its id with all its names, and though containers have it");
  bool prunes_all = false;
  image_command("prune", "remove those without a name that no container has",
                [&](GuestCommands& in) { return in.prune_images(prunes_all); })
      ->add_flag("-a,--all", prunes_all, "with a name too");

  sluice::ctl::CopyAsked copied;
  CLI::App* copy =
      guest_command("cp", "copy files: SRC or DST is vm:PATH or CONTAINER:PATH, or - for a tar",
                    [&](GuestCommands& in) { return in.copy(copied); });
  copy->add_option("SRC", copied.from, "a file, a directory; DIR/. for what is in it")->required();
  copy->add_option("DST", copied.to, "a directory to copy into, or the copy's path")->required();
  copy->add_flag("-a,--archive", copied.archive, "keep owners, and device nodes");

  sluice::ctl::add_container_commands(guest_command);
  bool reboots = false;
  double grace = 0;
  CLI::App* shutdown =
      guest_command("shutdown", "end it: programs, file systems, power",
                    [&](GuestCommands& in) { return in.shutdown(reboots, grace); });
  shutdown->add_flag("--reboot", reboots, "and start it again");
  shutdown->add_option("--grace", grace, "for programs to end by themselves (10)")
      ->type_name("SECONDS");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  auto socket = sluice::ctl::find_socket(name);
  if (!socket) {
    std::fprintf(stderr, "hostctl: %s\n", socket.status().message().c_str());
    return 1;
  }
  Commands commands(sluice::ctl::Client(*socket),
                    as_json ? sluice::ctl::Output::json : sluice::ctl::Output::people);
  return action(commands);
}
