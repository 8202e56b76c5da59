#include "agent/init/modules.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/module.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "agent/os/file.h"
#include "agent/os/text.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr const char* kLists = "/etc/modules-load.d";
constexpr std::size_t kMaxDepBytes = std::size_t{8} << 20;

/// "kernel/net/vmw_vsock/vsock.ko.xz" is "vsock".
std::string module_name(std::string_view path) {
  path.remove_prefix(path.rfind('/') + 1);
  std::string name(path.substr(0, path.find('.')));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// As modules-load.d(5) has it: a name a line, comments after # and ;.
std::vector<std::string> listed_modules() {
  std::set<std::string> files;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(kLists), ::closedir);
  while (dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    std::string_view name = entry->d_name;
    if (name.ends_with(".conf")) files.insert(fmt::format("{}/{}", kLists, name));
  }
  std::vector<std::string> names;
  for (const std::string& file : files) {
    std::string text = read_file(file).value_or("");
    for (std::string_view rest = text; !rest.empty();) {
      std::string_view line = take_part(rest, '\n');
      line = line.substr(0, line.find_first_of("#; \t"));
      if (!line.empty()) names.emplace_back(line);
    }
  }
  return names;
}

int load_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno;
  bool compressed = !path.ends_with(".ko");
  int flags = compressed ? MODULE_INIT_COMPRESSED_FILE : 0;
  if (::syscall(SYS_finit_module, fd.get(), "", flags) == 0 || errno == EEXIST) return 0;
  return errno;
}

/// What the running kernel has.
struct Installed {
  std::string directory;
  std::string dep;  ///< modules.dep
};

Installed installed_modules() {
  utsname kernel{};
  ::uname(&kernel);
  std::string directory = fmt::format("/lib/modules/{}", kernel.release);
  return {directory, read_file(directory + "/modules.dep", kMaxDepBytes).value_or("")};
}

/// 0, or the errno of the file `at`.
int load_files(const Installed& installed, const std::vector<std::string>& files, std::string& at) {
  for (const std::string& file : files) {
    at = fmt::format("{}/{}", installed.directory, file);
    if (int error = load_file(at); error != 0) return error;
  }
  return 0;
}

}  // namespace

std::vector<std::string> module_files(std::string_view modules_dep, std::string_view name) {
  std::string wanted = module_name(name);
  for (std::string_view rest = modules_dep; !rest.empty();) {
    std::string_view line = take_part(rest, '\n');
    auto colon = line.find(':');
    if (colon == std::string_view::npos || module_name(line.substr(0, colon)) != wanted) continue;
    std::vector<std::string> files{std::string(line.substr(0, colon))};
    for (std::string_view needed = line.substr(colon + 1); !needed.empty();) {
      std::string_view one = take_part(needed, ' ');
      if (!one.empty()) files.emplace_back(one);
    }
    // modules.dep names what a module needs with the deepest last.
    std::reverse(files.begin(), files.end());
    return files;
  }
  return {};
}

void load_modules(BootReport& boot, const std::vector<std::string>& names) {
  std::vector<std::string> all = listed_modules();
  all.insert(all.end(), names.begin(), names.end());
  if (all.empty()) return;
  Installed installed = installed_modules();
  for (const std::string& name : all) {
    auto step = boot.begin("module " + name);
    std::vector<std::string> files = module_files(installed.dep, name);
    if (files.empty()) {
      boot.skipped(step, fmt::format("{} has none: built in, or missing", installed.directory));
      continue;
    }
    std::string at;
    if (int error = load_files(installed, files, at); error == 0) {
      boot.done(step);
    } else if (error == ENOENT) {
      // Of an initramfs with a list of all modules and a few of them: the root has the rest.
      boot.skipped(step, at + " is not here");
    } else {
      boot.failed(step, error, fmt::format("{}: {}", at, std::strerror(error)));
    }
  }
}

void load_module(const std::string& name) {
  Installed installed = installed_modules();
  std::string at;
  (void)load_files(installed, module_files(installed.dep, name), at);
}

}  // namespace sluice::agent
