#include "hostd/directories.h"

#include <unistd.h>

#include <cstdlib>

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

std::string state_directory(const std::string& name) {
  if (::geteuid() == 0) return "/var/lib/sluice/" + name;
  if (std::string base = from_environment("XDG_STATE_HOME"); !base.empty()) {
    return base + "/sluice/" + name;
  }
  std::string home = from_environment("HOME");
  return home.empty() ? "" : home + "/.local/state/sluice/" + name;
}

}  // namespace sluice::hostd
