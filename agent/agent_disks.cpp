// The part of Agent that is about disks: what has to wait for a disk, and what waits for it.

#include <fmt/format.h>

#include "agent/agent.h"
#include "agent/init/data_disk.h"
#include "agent/init/swap.h"
#include "agent/os/text.h"
#include "base/log.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr const char* kOnDisk[] = {"sluice.agent.v1.Image", "sluice.agent.v1.Container"};

/// "done 0 ext4 on /data"
std::string to_text(const StepEnd& end) {
  return fmt::format("{} {} {}", end.result == BootReport::Result::done ? "done" : "failed",
                     end.error, end.message);
}

void tell_end(BootReport& boot, BootReport::Index step, std::string_view text) {
  std::string_view result = take_part(text, ' ');
  int error = parse_number<int>(take_part(text, ' ')).value_or(0);
  if (result == "done") {
    boot.done(step, std::string(text));
  } else {
    boot.failed(step, error, text.empty() ? "the work on it ended early" : std::string(text));
  }
}

}  // namespace

void Agent::bring_up_disks() {
  if (options_.swap.on()) {
    auto step = boot_.begin(
        fmt::format("swap {}", options_.swap.device.empty() ? "in memory" : options_.swap.device));
    swap_work_ = std::make_unique<Aside>(
        *loop_, *children_, [swap = options_.swap] { return to_text(start_swap(swap)); },
        [this, step](const std::string& end) { tell_end(boot_, step, end); });
  }
  if (options_.disk.device.empty()) return on_disk_ready();
  // Nothing is to be written to the place that the disk will cover.
  for (const char* service : kOnDisk) {
    methods_.hold_back(service, fmt::format("{} is not mounted yet", options_.disk.device));
  }
  auto step = boot_.begin(fmt::format("data disk {}", options_.disk.device), true);
  disk_work_ = std::make_unique<Aside>(
      *loop_, *children_, [disk = options_.disk] { return to_text(mount_data_disk(disk)); },
      [this, step](const std::string& end) {
        tell_end(boot_, step, end);
        for (const char* service : kOnDisk) methods_.hold_back(service, "");
        on_disk_ready();
      });
}

void Agent::on_disk_ready() {
  image_service_->sweep();
  // What an earlier boot left on a disk belongs to nobody.
  containers_->recover();
  start_services();
  if (!boot_.has_failed()) return;
  log(LogLevel::error, "agent: the boot has failed in a mandatory step");
  if (options_.halt_on_failure) shut_down({.grace = Duration::zero()});
}

}  // namespace sluice::agent
