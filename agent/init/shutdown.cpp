#include "agent/init/shutdown.h"

#include <dirent.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>

#include "agent/init/mounts.h"
#include "agent/os/file.h"
#include "agent/os/process_stat.h"
#include "base/log.h"

namespace sluice::agent {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(20);
/// What has SIGKILL and doesn't go hangs in the kernel, and is not waited for.
constexpr Duration kKillWait = std::chrono::seconds(2);
constexpr int kSyncSeconds = 10;
constexpr useconds_t kSyncLookMicroseconds = 5000;

bool is_living_program(const std::string& pid) {
  constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD
  auto stat = parse_process_stat(read_file("/proc/" + pid + "/stat").value_or(""));
  return stat && stat->state != 'Z' && stat->state != 'X' && (stat->flags & kKernelThread) == 0;
}

/// There is no program but this one. (kill(-1, 0) would count the kernel's threads too.)
bool is_alone() {
  std::unique_ptr<DIR, int (*)(DIR*)> processes(::opendir("/proc"), ::closedir);
  while (dirent* entry = processes ? ::readdir(processes.get()) : nullptr) {
    std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") != std::string::npos || name == "1") continue;
    if (is_living_program(name)) return false;
  }
  return true;
}

/// sync() has no limit of its own: a disk that hangs must not keep the guest from ending. False if
/// it did.
bool sync_with_limit() {
  pid_t child = ::fork();
  if (child == 0) {
    ::sync();
    ::_exit(0);
  }
  if (child < 0) {
    ::sync();
    return true;
  }
  for (int looks = 0; looks < kSyncSeconds * 1'000'000 / static_cast<int>(kSyncLookMicroseconds);
       ++looks) {
    if (::waitpid(child, nullptr, WNOHANG) != 0) return true;
    ::usleep(kSyncLookMicroseconds);
  }
  log(LogLevel::error, "agent: the disks were not written within {} s", kSyncSeconds);
  return false;
}

}  // namespace

Shutdown::Shutdown(Loop& loop) : loop_(loop), timer_(loop.make_timer([this] { look(); })) {}

void Shutdown::begin(const ShutdownOrder& order) {
  TimePoint deadline = loop_.now() + std::min(order.grace, kMostGrace);
  if (begun_) {
    if (!killed_) deadline_ = std::min(deadline_, deadline);
    return;
  }
  begun_ = true;
  order_ = order;
  deadline_ = deadline;
  log(LogLevel::notice, "agent: {}", order.reboot ? "rebooting" : "powering off");
  ::kill(-1, SIGTERM);
  ::kill(-1, SIGCONT);
  // Not at once: the answer to who asked for it is still to be written.
  timer_->start(kLook);
}

void Shutdown::look() {
  if (is_alone()) finish();
  if (loop_.now() >= deadline_) {
    if (killed_) finish();
    killed_ = true;
    deadline_ = loop_.now() + kKillWait;
    ::kill(-1, SIGKILL);
  }
  timer_->start(kLook);
}

void Shutdown::finish() {
  // A disk that hangs would keep umount(2) too.
  if (sync_with_limit()) {
    unmount_all();
    sync_with_limit();
  }
  ::reboot(order_.reboot ? RB_AUTOBOOT : RB_POWER_OFF);
  // A machine without a power switch.
  ::reboot(RB_HALT_SYSTEM);
  for (;;) ::pause();
}

}  // namespace sluice::agent
