#include "hostd/config/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "hostd/config/setting.h"
#include "hostd/presets/presets.h"

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

void add_setting(CLI::App& app, const Setting& setting, std::vector<Configuration::Flag>& collected,
                 std::vector<CLI::Option*>& nics) {
  std::string flags(setting.flags), meaning(setting.meaning), where(setting.flag());
  auto collect = [&collected, &setting, where](const std::string& text) {
    collected.emplace_back(&setting, Given{text, where, 0});
  };
  CLI::Option* option = nullptr;
  switch (setting.kind) {
    case Setting::Kind::toggle:
      option = app.add_flag_callback(flags, [collect] { collect("true"); }, meaning);
      break;
    case Setting::Kind::count:
      option = app.add_flag_function(
          flags, [collect](std::int64_t count) { collect(std::to_string(count)); }, meaning);
      break;
    case Setting::Kind::value:
      option = app.add_option_function<std::string>(flags, collect, meaning);
      break;
    case Setting::Kind::list:
      // Values are taken as they are met, so that rules of several flags keep their order.
      option = app.add_option_function<std::vector<std::string>>(
                      flags,
                      [collect](const std::vector<std::string>& texts) {
                        for (const std::string& text : texts) collect(text);
                      },
                      meaning)
                   ->trigger_on_parse()
                   ->expected(1);
      break;
  }
  option->group(std::string(setting.group));
  if (!setting.value.empty()) option->type_name(std::string(setting.value));
  if (setting.group == kNicGroup) {
    for (CLI::Option* other : nics) {
      option->excludes(other);
      other->excludes(option);
    }
    nics.push_back(option);
  }
}

/// All of them with what they are for, or the text of one.
int show_presets(const std::string& wanted) {
  if (auto rules = preset_rules(wanted); !wanted.empty() && !rules) {
    std::fprintf(stderr, "hostd: %s\n", rules.status().message().c_str());
    return 2;
  }
  for (const Preset& preset : presets()) {
    if (wanted == preset.name) std::fputs(std::string(preset.text).c_str(), stdout);
    if (wanted.empty()) fmt::print("{:<10}{}\n", preset.name, preset.purpose());
  }
  return 0;
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  CLI::App app("hostd gives one VM a network, and reaches for it only what policy allows", "hostd");
  app.set_version_flag("--version", std::string("hostd ") + SLUICE_VERSION);
  app.require_subcommand(1);
  app.footer(kExamples);
  app.fallthrough();
  app.get_formatter()->column_width(28);

  std::string config_path;
  std::vector<Configuration::Flag> collected;
  std::vector<CLI::Option*> nics;
  CLI::App* run = app.add_subcommand("run", "run beside a VM until told to stop");
  run->get_formatter()->column_width(28);
  run->add_option("--config", config_path,
                  "a TOML file that says the same as flags; flags count first")
      ->type_name("FILE");
  for (const Setting& setting : settings()) add_setting(*run, setting, collected, nics);
  CLI::App* check = app.add_subcommand("check", "check a config file and print what it comes to");
  check->add_option("CONFIG", config_path, "the TOML file")->required()->type_name("");

  std::string preset;
  CLI::App* list = app.add_subcommand("presets", "list the presets, or show the rules of one");
  list->add_option("NAME", preset, "the preset to show")->type_name("");

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    CLI::App* asked = run->parsed() ? run : check->parsed() ? check : list->parsed() ? list : &app;
    std::fputs(asked->help().c_str(), stdout);
    return {};
  } catch (const CLI::CallForVersion& version) {
    std::printf("%s\n", version.what());
    return {};
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "hostd: %s\n", error.what());
    return {.exit_status = 2};
  }
  if (list->parsed()) return {.exit_status = show_presets(preset)};
  bool checks = check->parsed();
  CommandLine out{.command = checks ? CommandLine::Command::check : CommandLine::Command::run,
                  .configuration = Configuration(std::move(collected), config_path)};
  auto options = out.configuration.load();
  Status status = options.status();
  if (status && !checks) status = complete(*options);
  if (status) {
    out.options = std::move(*options);
  } else {
    std::fprintf(stderr, "hostd: %s\n", status.message().c_str());
    out.exit_status = status.code() == StatusCode::invalid_argument ? 2 : 1;
  }
  return out;
}

}  // namespace sluice::hostd
