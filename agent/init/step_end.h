#pragma once

#include <string>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// What came of a step of the boot that was done elsewhere.
struct StepEnd {
  BootReport::Result result = BootReport::Result::failed;
  int error = 0;
  std::string message;

  static StepEnd done(std::string message) {
    return {BootReport::Result::done, 0, std::move(message)};
  }
  static StepEnd failed(int error, std::string message) {
    return {BootReport::Result::failed, error, std::move(message)};
  }
};

}  // namespace sluice::agent
