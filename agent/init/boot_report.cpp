#include "agent/init/boot_report.h"

#include <algorithm>
#include <chrono>

namespace sluice::agent {

namespace {

TimePoint now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

BootReport::BootReport() : start_(now()) {}

BootReport::Index BootReport::begin(std::string name, bool mandatory) {
  steps_.push_back({.name = std::move(name), .mandatory = mandatory, .started = age()});
  return steps_.size() - 1;
}

void BootReport::done(Index step, std::string message) {
  end(step, Result::done, 0, std::move(message));
}

void BootReport::skipped(Index step, std::string why) {
  end(step, Result::skipped, 0, std::move(why));
}

void BootReport::failed(Index step, int error, std::string message) {
  end(step, Result::failed, error, std::move(message));
}

void BootReport::note(std::string name, Result result, std::string message, int error) {
  end(begin(std::move(name)), result, error, std::move(message));
}

void BootReport::end(Index step, Result result, int error, std::string message) {
  Step& ended = steps_[step];
  ended.result = result;
  ended.error = error;
  ended.message = std::move(message);
  ended.took = age() - ended.started;
  const Step told = ended;  // A listener may begin another.
  for (const auto& listener : listeners_) listener(told);
}

std::vector<BootReport::Step> BootReport::steps() const {
  std::vector<Step> steps = steps_;
  for (Step& step : steps) {
    if (step.result == Result::running) step.took = age() - step.started;
  }
  return steps;
}

bool BootReport::complete() const {
  return std::none_of(steps_.begin(), steps_.end(),
                      [](const Step& step) { return step.result == Result::running; });
}

bool BootReport::has_failed() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    return step.mandatory && step.result == Result::failed;
  });
}

Duration BootReport::age() const {
  return now() - start_;
}

}  // namespace sluice::agent
