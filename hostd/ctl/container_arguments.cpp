#include "hostd/ctl/container_arguments.h"

#include <memory>
#include <string>
#include <vector>

#include "hostd/ctl/container_options.h"

namespace sluice::ctl {

namespace {

/// What the commands about containers are told. It lives as long as they may be run.
struct Told {
  RunAsked run;
  LogsAsked logs;
  std::vector<std::string> names;
  std::string signal;
  double timeout_seconds = 0;
  bool all = false;
  bool force = false;
};

void add_run(const AddGuestCommand& add, const std::shared_ptr<Told>& told) {
  CLI::App* run = add("run", "run a container; its exit status becomes ours",
                      [told](GuestCommands& in) { return in.run_container(told->run); });
  RunAsked& asked = told->run;
  run->add_flag("-i,--interactive", asked.interactive, "standard input is the program's");
  run->add_flag("-t,--tty", asked.terminal, "with a terminal");
  run->add_flag("-d,--detach", asked.detach, "print its id and leave it running");
  run->add_option("--log-driver", asked.log_driver,
                  "native, or json-file: its log's files as docker writes them")
      ->check(CLI::IsMember({"native", "json-file"}))
      ->type_name("FORMAT");
  run->add_flag("--rm", asked.remove, "remove it when it has stopped");
  run->add_option("--name", asked.name, "by which it is called")->type_name("NAME");
  run->add_option("--rootfs", asked.rootfs, "a directory of the guest in the place of an image")
      ->type_name("DIR");
  run->add_option("-e,--env", asked.env, "NAME=VALUE, or NAME with the value here; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  run->add_option("-v,--volume", asked.volumes, "a directory of the guest's in it; repeatable")
      ->type_name("DIR:TARGET[:ro]")
      ->allow_extra_args(false);
  run->add_option("--tmpfs", asked.tmpfs, "an empty directory in memory; repeatable")
      ->type_name("TARGET")
      ->allow_extra_args(false);
  run->add_option("-l,--label", asked.labels, "repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  run->add_option("-m,--memory", asked.memory, "the most, such as 512M")->type_name("SIZE");
  run->add_option("--cpus", asked.cpus, "the most, such as 1.5")->type_name("N");
  run->add_option("--pids", asked.pids, "processes and threads at most")->type_name("N");
  run->add_option("-w,--workdir", asked.cwd, "where it begins (the image's)")->type_name("DIR");
  run->add_option("-u,--user", asked.user, "whose it is: NAME or UID, :GROUP after it")
      ->type_name("USER");
  run->add_option("--hostname", asked.hostname, "its host name")->type_name("NAME");
  run->add_option("--entrypoint", asked.entrypoint, "in the place of the image's")
      ->type_name("PROGRAM");
  run->add_option("--network", asked.network, "bridge, host or none")->type_name("KIND");
  run->add_option("--restart", asked.restart, "no, always, on-failure[:N]")->type_name("POLICY");
  run->add_option("--cap-add", asked.add_capabilities, "repeatable")
      ->type_name("CAP")
      ->allow_extra_args(false);
  run->add_option("--cap-drop", asked.drop_capabilities, "repeatable")
      ->type_name("CAP")
      ->allow_extra_args(false);
  run->add_flag("--read-only", asked.read_only, "its root can't be written to");
  run->add_flag("--no-new-privileges", asked.no_new_privileges, "set-uid programs give none");
  run->add_flag("--all-devices", asked.all_devices, "no rule about devices");
  run->add_option("IMAGE COMMAND", asked.words,
                  "the image (without --rootfs), then the program and its arguments")
      ->required();
  run->positionals_at_end();
  run->prefix_command(false);
}

void add_logs(const AddGuestCommand& add, const std::shared_ptr<Told>& told) {
  CLI::App* logs = add("logs", "what a container has written",
                       [told](GuestCommands& in) { return in.logs(told->logs); });
  LogsAsked& asked = told->logs;
  logs->add_flag("-f,--follow", asked.follow, "go on until it has stopped");
  logs->add_flag("-t,--timestamps", asked.times, "the time before each line");
  logs->add_option("--tail", asked.tail, "the latest N lines")->type_name("N");
  logs->add_option("--since", asked.since, "10m, 1h, 2026-01-31T10:00:00Z")->type_name("TIME");
  logs->add_option("--until", asked.until, "as --since")->type_name("TIME");
  logs->add_option("CONTAINER", asked.container)->required();
}

}  // namespace

void add_container_commands(const AddGuestCommand& add) {
  auto told = std::make_shared<Told>();
  auto with_names = [&](const char* word, const char* meaning,
                        std::function<int(GuestCommands&)> run) {
    CLI::App* made = add(word, meaning, std::move(run));
    made->add_option("CONTAINER", told->names, "names, ids or the beginnings of ids")->required();
    return made;
  };
  add_run(add, told);
  add("containers", "those that run", [told](GuestCommands& in) {
    return in.containers(told->all);
  })->add_flag("-a,--all", told->all, "and those that don't");
  add_logs(add, told);
  with_names("start", "start what was created or has stopped",
             [told](GuestCommands& in) { return in.start(told->names); });
  CLI::App* stop =
      with_names("stop", "a signal, some time, then SIGKILL", [told](GuestCommands& in) {
        return in.stop(told->names, told->signal, told->timeout_seconds);
      });
  stop->add_option("-s,--signal", told->signal, "in the place of its own")->type_name("SIGNAL");
  stop->add_option("-t,--time", told->timeout_seconds, "until SIGKILL (its own; below 0: at once)")
      ->type_name("SECONDS");
  with_names("kill", "a signal to its first process",
             [told](GuestCommands& in) { return in.kill(told->names, told->signal); })
      ->add_option("-s,--signal", told->signal, "(SIGKILL, to all)")
      ->type_name("SIGNAL");
  with_names("rm", "remove it with its logs and what it wrote", [told](GuestCommands& in) {
    return in.remove(told->names, told->force);
  })->add_flag("-f,--force", told->force, "kill it first");
  with_names("pause", "let it stand still",
             [told](GuestCommands& in) { return in.pause(told->names); });
  with_names("resume", "let it go on",
             [told](GuestCommands& in) { return in.resume(told->names); });
  with_names("wait", "until it has stopped; prints its exit status",
             [told](GuestCommands& in) { return in.wait(told->names); });
  with_names("inspect", "all that is known of one",
             [told](GuestCommands& in) { return in.inspect(told->names.front()); });
  with_names("stats", "what it uses", [told](GuestCommands& in) { return in.stats(told->names); });
}

}  // namespace sluice::ctl
