#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/client/containers.h"
#include "base/uv_loop.h"
#include "hostd/ctl/container_options.h"
#include "hostd/ctl/guest_exec.h"

namespace sluice::ctl {

/// One `guest run`: makes a container, attaches to it before it can say anything, and starts it;
/// or, detached, makes and starts it and prints its id.
class ContainerRun {
 public:
  ContainerRun(UvLoop& loop, const RunAsked& asked) : loop_(loop), asked_(asked) {}
  ContainerRun(const ContainerRun&) = delete;
  ContainerRun& operator=(const ContainerRun&) = delete;

  void begin(agent::client::Caller& caller, std::function<void(int)> end);

 private:
  void on_created(const std::string& id);
  void start();

  UvLoop& loop_;
  RunAsked asked_;
  agent::client::Caller* caller_ = nullptr;
  std::function<void(int)> end_;
  std::string id_;
  bool is_started_ = false;
  std::optional<int> ended_with_;
  std::unique_ptr<GuestExec> session_;
};

}  // namespace sluice::ctl
