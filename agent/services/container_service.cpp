#include "agent/services/container_service.h"

#include <fmt/format.h>

#include <csignal>

#include "agent/rpc/message.h"
#include "agent/services/attach_call.h"
#include "agent/services/container_calls.h"
#include "agent/services/container_exec.h"
#include "agent/services/container_messages.h"
#include "agent/services/container_top.h"
#include "agent/services/logs_call.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::text;
using Handler = std::unique_ptr<rpc::Handler>;

constexpr const char* kContainerService = "sluice.agent.v1.Container";
constexpr Duration kMostTimeout = std::chrono::hours(24 * 365);

bool answer(Call& call, const std::optional<CallError>& error) {
  if (error) call.fail(*error);
  return !error;
}

/// A signal's name, or `usual` where it is none at all; nothing where it is wrong, which is
/// answered.
std::optional<int> signal_of(Call& call, std::string_view name, int usual) {
  if (name.empty()) return usual;
  auto signal = parse_signal(name);
  if (!signal) {
    call.fail({.code = Code::invalid_argument, .message = fmt::format("'{}' is no signal", name)});
  }
  return signal;
}

/// Why a start came to nothing.
CallError start_error(const Container& container) {
  const auto& exit = container.status().exit;
  if (!exit || exit->error.empty()) {
    return {.code = Code::aborted, .message = container.spec().name + " was stopped before it ran"};
  }
  bool is_program = exit->code == 126 || exit->code == 127;
  CallError error{.code = Code::failed_precondition, .message = exit->error};
  if (exit->error_number != 0) {
    error = CallError::from_errno(exit->error_number, "");
    error.message = exit->error;
  }
  if (is_program) name_program(error, container.spec().args[0]);
  return error;
}

Handler answer_exit_when(Call& call, std::shared_ptr<Container> container,
                         std::function<bool(const Container&)> is_it) {
  return ContainerWait::begin(std::move(container),
                              [&call, is_it = std::move(is_it)](Container& one) {
                                if (!is_it(one)) return false;
                                MessageStore store;
                                // Stop and Wait answer with the same message.
                                sluice_agent_v1_WaitContainerResponse response{};
                                response.has_exit = one.status().exit.has_value();
                                response.exit = exit_message(one, store);
                                call.reply_with(response);
                                return true;
                              });
}

}  // namespace

void ContainerService::add_to(rpc::Methods& methods) {
  add_life_cycle(methods);
  add_questions(methods);
  add_streams(methods);
}

void ContainerService::add_life_cycle(rpc::Methods& methods) {
  methods
      .add_unary<sluice_agent_v1_CreateContainerRequest, sluice_agent_v1_CreateContainerResponse>(
          kContainerService, "Create",
          [this](Call& call, const sluice_agent_v1_CreateContainerRequest& request) {
            if (!answer(call, containers_.missing())) return;
            auto spec = spec_of(request, containers_, loop_.wall_time_ns());
            if (!spec) return call.fail(CallError::of(spec.status()));
            auto container = containers_.create(std::move(*spec));
            if (!container) return call.fail(CallError::of(container.status()));
            call.reply_with(sluice_agent_v1_CreateContainerResponse{
                .id = rpc::field((*container)->spec().id),
                .name = rpc::field((*container)->spec().name)});
          });

  add_method<sluice_agent_v1_StartContainerRequest>(
      methods, kContainerService, "Start",
      [this](Call& call, const sluice_agent_v1_StartContainerRequest& request) -> Handler {
        auto container = container_of(containers_, call, text(request.container));
        if (!container || !answer(call, container->start())) return nullptr;
        return ContainerWait::begin(container, [&call](Container& one) {
          if (one.state() == Container::State::starting) return false;
          // It may have run and ended by now: that is no failure to start.
          if (one.status().started) {
            call.reply_with(sluice_agent_v1_StartContainerResponse{.pid = one.status().pid});
          } else {
            call.fail(start_error(one));
          }
          return true;
        });
      });

  add_method<sluice_agent_v1_StopContainerRequest>(
      methods, kContainerService, "Stop",
      [this](Call& call, const sluice_agent_v1_StopContainerRequest& request) -> Handler {
        auto container = container_of(containers_, call, text(request.container));
        if (!container) return nullptr;
        auto signal = signal_of(call, text(request.signal), container->spec().stop_signal);
        if (!signal) return nullptr;
        std::int64_t timeout =
            request.timeout_ns == 0 ? container->spec().stop_timeout_ns : request.timeout_ns;
        container->stop(*signal, std::min(Duration(timeout), kMostTimeout));
        return answer_exit_when(call, container,
                                [](const Container& one) { return !one.is_alive(); });
      });

  methods.add_unary<sluice_agent_v1_KillContainerRequest, sluice_agent_v1_KillContainerResponse>(
      kContainerService, "Kill",
      [this](Call& call, const sluice_agent_v1_KillContainerRequest& request) {
        auto container = container_of(containers_, call, text(request.container));
        if (!container) return;
        auto signal = signal_of(call, text(request.signal), SIGKILL);
        if (!signal) return;
        if (!container->is_running()) {
          return call.fail({.code = Code::failed_precondition,
                            .message = container->spec().name + " doesn't run"});
        }
        if (*signal == SIGKILL) {
          container->kill_all();
        } else if (request.all) {
          for (pid_t pid : container->cgroup().processes()) ::kill(pid, *signal);
        } else {
          container->signal(*signal);
        }
        call.reply_with(sluice_agent_v1_KillContainerResponse{});
      });

  add_method<sluice_agent_v1_PauseContainerRequest>(
      methods, kContainerService, "Pause",
      [this](Call& call, const sluice_agent_v1_PauseContainerRequest& request) -> Handler {
        auto container = container_of(containers_, call, text(request.container));
        if (!container || !answer(call, container->set_paused(true))) return nullptr;
        return ContainerWait::begin(container, [&call](Container& one) {
          if (one.state() == Container::State::running) return false;
          if (one.state() == Container::State::paused) {
            call.reply_with(sluice_agent_v1_PauseContainerResponse{});
          } else {
            call.fail({.code = Code::aborted, .message = one.spec().name + " has ended"});
          }
          return true;
        });
      });

  methods
      .add_unary<sluice_agent_v1_ResumeContainerRequest, sluice_agent_v1_ResumeContainerResponse>(
          kContainerService, "Resume",
          [this](Call& call, const sluice_agent_v1_ResumeContainerRequest& request) {
            auto container = container_of(containers_, call, text(request.container));
            if (!container || !answer(call, container->set_paused(false))) return;
            call.reply_with(sluice_agent_v1_ResumeContainerResponse{});
          });

  add_method<sluice_agent_v1_WaitContainerRequest>(
      methods, kContainerService, "Wait",
      [this](Call& call, const sluice_agent_v1_WaitContainerRequest& request) -> Handler {
        auto container = container_of(containers_, call, text(request.container));
        if (!container) return nullptr;
        return answer_exit_when(call, container,
                                [](const Container& one) { return one.is_over(); });
      });

  add_method<sluice_agent_v1_RemoveContainerRequest>(
      methods, kContainerService, "Remove",
      [this](Call& call, const sluice_agent_v1_RemoveContainerRequest& request) -> Handler {
        auto container = container_of(containers_, call, text(request.container));
        if (!container) return nullptr;
        if (container->is_alive() && !request.force) {
          call.fail({.code = Code::failed_precondition,
                     .message = container->spec().name + " runs; force removes it all the same"});
          return nullptr;
        }
        container->stop(SIGKILL, Duration::zero());
        return ContainerWait::begin(container, [this, &call](Container& one) {
          if (one.is_alive()) return false;
          if (one.state() != Container::State::removed) {
            // Those who wait for its end are told of that first; the rest comes with `removed`.
            loop_.defer([this, kept = one.shared_from_this()] {
              if (!kept->is_alive() && kept->state() != Container::State::removed) {
                containers_.remove(kept);
              }
            });
            return false;
          }
          call.reply_with(sluice_agent_v1_RemoveContainerResponse{});
          return true;
        });
      });

  methods
      .add_unary<sluice_agent_v1_UpdateContainerRequest, sluice_agent_v1_UpdateContainerResponse>(
          kContainerService, "Update",
          [this](Call& call, const sluice_agent_v1_UpdateContainerRequest& request) {
            auto container = container_of(containers_, call, text(request.container));
            if (!container) return;
            auto limits = limits_of(request.limits);
            if (!limits) return call.fail(CallError::of(limits.status()));
            std::optional<RestartPolicy> restart;
            if (request.has_restart) restart = restart_of(request.restart);
            if (!answer(call, container->update(*limits, restart))) return;
            call.reply_with(sluice_agent_v1_UpdateContainerResponse{});
          });
}

void ContainerService::add_questions(rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_ListContainersRequest, sluice_agent_v1_ListContainersResponse>(
      kContainerService, "List",
      [this](Call& call, const sluice_agent_v1_ListContainersRequest& request) {
        if (!answer(call, containers_.missing())) return;
        MessageStore store;
        std::vector<sluice_agent_v1_ContainerInfo> infos;
        for (const auto& container : containers_.list()) {
          const auto& labels = container->spec().labels;
          bool wanted = request.all || container->is_running();
          for (pb_size_t i = 0; i < request.labels_count; ++i) {
            auto found = labels.find(std::string(text(request.labels[i].key)));
            wanted &= found != labels.end() && found->second == text(request.labels[i].value);
          }
          if (wanted) infos.push_back(info_message(*container, store));
        }
        sluice_agent_v1_ListContainersResponse response{};
        response.containers_count = static_cast<pb_size_t>(infos.size());
        response.containers = infos.data();
        call.reply_with(response);
      });

  methods
      .add_unary<sluice_agent_v1_InspectContainerRequest, sluice_agent_v1_InspectContainerResponse>(
          kContainerService, "Inspect",
          [this](Call& call, const sluice_agent_v1_InspectContainerRequest& request) {
            auto container = container_of(containers_, call, text(request.container));
            if (!container) return;
            MessageStore store;
            call.reply_with(inspect_message(*container, store));
          });

  methods.add_unary<sluice_agent_v1_ContainerStatsRequest, sluice_agent_v1_ContainerStatsResponse>(
      kContainerService, "Stats",
      [this](Call& call, const sluice_agent_v1_ContainerStatsRequest& request) {
        auto container = container_of(containers_, call, text(request.container));
        if (container) answer_stats(call, *container, loop_.wall_time_ns());
      });

  methods.add_unary<sluice_agent_v1_TopContainerRequest, sluice_agent_v1_TopContainerResponse>(
      kContainerService, "Top",
      [this](Call& call, const sluice_agent_v1_TopContainerRequest& request) {
        auto container = container_of(containers_, call, text(request.container));
        if (container) answer_top(call, *container);
      });
}

void ContainerService::add_streams(rpc::Methods& methods) {
  methods.add(kContainerService, "Logs",
              {.begin = [this](Call& call, ConstBytes first) -> Handler {
                 return LogsCall::begin(loop_, containers_, call, first);
               },
               .streams_in = true});
  methods.add(kContainerService, "Attach",
              {.begin = [this](Call& call, ConstBytes first) -> Handler {
                 return AttachCall::begin(loop_, containers_, call, first);
               },
               .streams_in = true});
  methods.add(kContainerService, "Exec",
              {.begin = [this](Call& call, ConstBytes first) -> Handler {
                 return begin_container_exec(containers_, processes_, call, first);
               },
               .streams_in = true});
}

}  // namespace sluice::agent
