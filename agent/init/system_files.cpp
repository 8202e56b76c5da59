#include "agent/init/system_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/os/file.h"

namespace sluice::agent {

namespace {

constexpr const char* kUsualName = "guest";

struct Default {
  const char* path;
  const char* text;
};

constexpr Default kDefaults[] = {
    {"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"},
    {"/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
    {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
};

bool exists(const char* path) {
  struct stat found{};
  return ::lstat(path, &found) == 0;
}

std::string hosts(const std::string& name) {
  return fmt::format(
      "127.0.0.1 localhost\n127.0.1.1 {}\n::1 localhost ip6-localhost ip6-loopback\n"
      "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n",
      name);
}

}  // namespace

void write_system_files(BootReport& boot, const std::string& hostname) {
  std::string name = hostname.empty() ? read_line("/etc/hostname") : hostname;
  if (name.empty()) name = kUsualName;
  auto named = boot.begin("hostname " + name);
  if (::sethostname(name.c_str(), name.size()) == 0) {
    boot.done(named);
  } else {
    int error = errno;
    boot.failed(named, error, fmt::format("sethostname: {}", std::strerror(error)));
  }

  auto step = boot.begin("files in /etc");
  Status status = make_directories("/etc");
  auto write = [&status](const char* path, const std::string& text, unsigned mode) {
    if (status) status = replace_file(path, text, mode);
  };
  if (!hostname.empty() || !exists("/etc/hostname")) write("/etc/hostname", name + "\n", 0644);
  write("/etc/hosts", hosts(name), 0644);
  if (read_line("/etc/machine-id").empty()) write("/etc/machine-id", random_id() + "\n", 0444);
  for (const Default& one : kDefaults) {
    if (!exists(one.path)) write(one.path, one.text, 0644);
  }
  if (status) {
    boot.done(step);
  } else {
    boot.failed(step, 0, status.message());
  }
}

}  // namespace sluice::agent
