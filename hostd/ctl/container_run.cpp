#include "hostd/ctl/container_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::rpc::CallError;
using agent::rpc::Code;

}  // namespace

void ContainerRun::begin(agent::client::Caller& caller, std::function<void(int)> end) {
  caller_ = &caller;
  end_ = std::move(end);
  auto spec = spec_of(asked_);
  if (!spec) {
    print_error(spec.status().message());
    return end_(kCallFailed);
  }
  if (asked_.terminal) {
    spec->terminal = terminal_size_of(STDOUT_FILENO);
    if (const char* kind = std::getenv("TERM")) spec->env.emplace("TERM", kind);
  }
  agent::client::create_container(caller, *spec,
                                  [this](const CallError& error, const std::string& id) {
                                    if (error.code == Code::ok) return on_created(id);
                                    print_error(error.message);
                                    end_(kCallFailed);
                                  });
}

void ContainerRun::on_created(const std::string& id) {
  id_ = id;
  if (asked_.detach) return start();
  ExecAsked asked;
  asked.interactive = asked_.interactive;
  asked.terminal = asked_.terminal;
  session_ = std::make_unique<GuestExec>(loop_, asked);
  agent::client::AttachSpec attach{.container = id, .no_stdin = !asked_.interactive};
  session_->begin(
      [this, attach](agent::client::Exec::Events events) {
        return std::make_unique<agent::client::Exec>(*caller_, attach, std::move(events));
      },
      [this](int status) {
        ended_with_ = status;
        // A start that failed has more to say.
        if (is_started_) end_(status);
      },
      [this] { start(); });
}

void ContainerRun::start() {
  agent::client::start_container(*caller_, id_,
                                 [this](const CallError& error, const agent::client::Done&) {
                                   if (error.code != Code::ok) {
                                     print_error(error.message);
                                     return end_(exit_status_of(error));
                                   }
                                   is_started_ = true;
                                   if (asked_.detach) print(id_ + "\n");
                                   if (asked_.detach || ended_with_) end_(ended_with_.value_or(0));
                                 });
}

}  // namespace sluice::ctl
