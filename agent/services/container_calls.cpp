#include "agent/services/container_calls.h"

#include <fmt/format.h>

namespace sluice::agent {

std::shared_ptr<Container> container_of(const Containers& containers, rpc::Call& call,
                                        std::string_view text) {
  if (auto missing = containers.missing()) {
    call.fail(*missing);
    return nullptr;
  }
  auto container = containers.find(text);
  if (!container) {
    call.fail(
        {.code = rpc::Code::not_found, .message = fmt::format("there is no container {}", text)});
  }
  return container;
}

void name_program(rpc::CallError& error, const std::string& program) {
  error.step = "execve " + program;
  if (error.message.find(program) == std::string::npos) {
    error.message = fmt::format("{}: {}", program, error.message);
  }
}

std::unique_ptr<rpc::Handler> ContainerWait::begin(std::shared_ptr<Container> container,
                                                   Look look) {
  if (look(*container)) return nullptr;
  auto waiting = std::make_unique<ContainerWait>(std::move(container), std::move(look));
  ContainerWait* raw = waiting.get();
  raw->number_ = raw->container_->watch([raw] {
    // An answer destroys this.
    auto kept = raw->container_;
    auto look_again = raw->look_;
    look_again(*kept);
  });
  return waiting;
}

}  // namespace sluice::agent
