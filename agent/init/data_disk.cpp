#include "agent/init/data_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/init/device.h"
#include "agent/init/modules.h"
#include "agent/os/file.h"
#include "agent/process/spawn.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kToldBytes = 512;

/// What a program says until it ends; the end of it.
std::string last_words(int fd) {
  std::string text;
  char chunk[4096];
  ssize_t got;
  while ((got = ::read(fd, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR)) {
    if (got < 0) continue;
    text.append(chunk, static_cast<std::size_t>(got));
    if (text.size() > kToldBytes) text.erase(0, text.size() - kToldBytes);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

int run_mkfs(const DataDisk& disk, std::string& why) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  SpawnPlan plan;
  plan.program = disk.mkfs;
  // Without -F: what it finds odd it is to refuse. No discard, as more than is needed is not to be
  // touched.
  plan.args = {"mkfs.ext4", "-q", "-t", "ext4", "-m", "1", "-E", "nodiscard,lazy_itable_init=1",
               disk.device};
  plan.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  plan.stdio = {-1, writer.get(), writer.get()};
  Spawned child = spawn(plan);
  writer.reset();
  if (child.error != 0) {
    why = fmt::format("it is blank, and can't be formatted: {}: {}", child.step,
                      std::strerror(child.error));
    return child.error;
  }
  std::string words = last_words(reader.get());
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  why = fmt::format("{} failed: {}", disk.mkfs, words);
  return EIO;
}

int mount_it(const DataDisk& disk, const std::string& type, std::string& why) {
  if (Status status = make_directories(disk.path); !status) {
    why = status.message();
    return errno;
  }
  load_module(type);
  if (::mount(disk.device.c_str(), disk.path.c_str(), type.c_str(), MS_NOSUID | MS_NODEV,
              nullptr) == 0) {
    return 0;
  }
  int error = errno;
  why = fmt::format("mount -t {} {} {}: {}", type, disk.device, disk.path, std::strerror(error));
  return error;
}

}  // namespace

StepEnd use_data_disk(const DataDisk& disk, const DiskWork& work) {
  using Kind = DiskContent::Kind;
  DiskContent content = work.look();
  bool formatted = false;
  std::string why;
  if (content.kind == Kind::blank) {
    if (!disk.format_if_blank) {
      return StepEnd::failed(0, "it is blank, and format=if-blank is not said: left as it is");
    }
    if (int error = work.format(why); error != 0) return StepEnd::failed(error, std::move(why));
    formatted = true;
    content = work.look();
  }
  if (content.kind == Kind::unreadable) {
    return StepEnd::failed(content.error, content.what + ": left as it is");
  }
  if (content.kind != Kind::file_system) {
    return StepEnd::failed(
        0, fmt::format("it has no file system that is known, but {}: left as it is", content.what));
  }
  if (int error = work.mount(content.what, why); error != 0) {
    return StepEnd::failed(error, std::move(why));
  }
  return StepEnd::done(
      fmt::format("{}{} on {}", formatted ? "was blank, is now " : "", content.what, disk.path));
}

StepEnd mount_data_disk(const DataDisk& disk) {
  if (!wait_for_device(disk.device)) {
    return StepEnd::failed(ENOENT, "there is no such device, nor has one come in 10 s");
  }
  DiskWork work;
  work.look = [&disk]() -> DiskContent {
    Disk reader;
    if (int error = reader.open(disk.device); error != 0) {
      return {.what = fmt::format("open: {}", std::strerror(error)), .error = error};
    }
    return look_at(reader);
  };
  work.format = [&disk](std::string& why) { return run_mkfs(disk, why); };
  work.mount = [&disk](const std::string& type, std::string& why) {
    return mount_it(disk, type, why);
  };
  return use_data_disk(disk, work);
}

}  // namespace sluice::agent
