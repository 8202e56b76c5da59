#include "hostd/directories.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace sluice::hostd {

namespace {

/// An absolute path from the environment; empty without.
std::string from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value == '/' ? value : "";
}

}  // namespace

std::string runtime_directory() {
  if (::geteuid() == 0) return "/run/sluice";
  std::string base = from_environment("XDG_RUNTIME_DIR");
  return base.empty() ? "" : base + "/sluice";
}

std::string api_socket_path(const std::string& name) {
  std::string directory = runtime_directory();
  return directory.empty() ? "" : directory + "/" + name + ".sock";
}

std::string agent_socket_path(const std::string& api_socket) {
  constexpr std::string_view kEnding = ".sock";
  std::string stem = api_socket;
  if (stem.ends_with(kEnding)) stem.resize(stem.size() - kEnding.size());
  return stem + ".agent.sock";
}

std::string state_directory(const std::string& name) {
  if (::geteuid() == 0) return "/var/lib/sluice/" + name;
  if (std::string base = from_environment("XDG_STATE_HOME"); !base.empty()) {
    return base + "/sluice/" + name;
  }
  std::string home = from_environment("HOME");
  return home.empty() ? "" : home + "/.local/state/sluice/" + name;
}

std::string make_parent_directory(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path();
  std::error_code error;
  bool is_made = !directory.empty() && std::filesystem::create_directories(directory, error);
  return is_made ? directory : "";
}

}  // namespace sluice::hostd
