#include "agent/services/agent_service.h"

#include <fmt/format.h>

#include <array>
#include <ctime>
#include <list>
#include <vector>

#include "agent/os/clock.h"
#include "agent/os/file.h"
#include "agent/os/random_seed.h"
#include "agent/rpc/message.h"
#include "agent/services/system_info.h"
#include "agent/version.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::Code;
using rpc::field;

constexpr const char* kAgentService = "sluice.agent.v1.Agent";
/// What leaves room to reckon with in 64 bits, and no clock of the kernel's at its end.
constexpr std::int64_t kLastTime = std::int64_t{272} * 365 * 86'400 * kNsPerSecond;
constexpr std::int64_t kMostRoundTrip = 60 * kNsPerSecond;
/// From here on the clock is set, and below it is slewed.
constexpr std::int64_t kStepNs = kNsPerSecond / 2;

void ping(Call& call, const sluice_agent_v1_PingRequest&) {
  static const std::string version = kVersion;
  static std::array<std::string, 10> features{"exec",   "terminal", "containers", "files",
                                              "images", "names",    "ports",      "tunnel",
                                              "events", "metrics"};
  std::vector<char*> feature_fields;
  for (const std::string& feature : features) feature_fields.push_back(field(feature));
  static const std::string boot_id = read_line("/proc/sys/kernel/random/boot_id");
  sluice_agent_v1_PingResponse response{};
  response.version = field(version);
  response.protocol = kProtocol;
  response.features_count = static_cast<pb_size_t>(feature_fields.size());
  response.features = feature_fields.data();
  response.boot_id = field(boot_id);
  response.realtime_ns = clock_ns(CLOCK_REALTIME);
  response.boottime_ns = clock_ns(CLOCK_BOOTTIME);
  call.reply_with(response);
}

void seed(Call& call, const sluice_agent_v1_SeedRandomRequest& request) {
  ConstBytes bytes = rpc::bytes_of(request.seed);
  if (bytes.size() < kLeastSeed || bytes.size() > kMostSeed) {
    call.fail({.code = Code::invalid_argument,
               .message = fmt::format("a seed has {} to {} bytes", kLeastSeed, kMostSeed)});
    return;
  }
  if (Status status = seed_random(bytes); !status) {
    call.fail(rpc::CallError::of(status));
    return;
  }
  call.reply_with(sluice_agent_v1_SeedRandomResponse{});
}

sluice_agent_v1_BootStep_Result result_of(BootReport::Result result) {
  switch (result) {
    case BootReport::Result::running:
      return sluice_agent_v1_BootStep_Result_RUNNING;
    case BootReport::Result::done:
      return sluice_agent_v1_BootStep_Result_DONE;
    case BootReport::Result::skipped:
      return sluice_agent_v1_BootStep_Result_SKIPPED;
    case BootReport::Result::failed:
      return sluice_agent_v1_BootStep_Result_FAILED;
  }
  return sluice_agent_v1_BootStep_Result_RESULT_UNSPECIFIED;
}

void report(Call& call, const BootReport& boot) {
  std::vector<BootReport::Step> steps = boot.steps();
  std::vector<sluice_agent_v1_BootStep> messages;
  for (const BootReport::Step& step : steps) {
    messages.push_back(boot_step_message(step));
  }
  sluice_agent_v1_BootReportResponse response{};
  response.steps_count = static_cast<pb_size_t>(messages.size());
  response.steps = messages.data();
  response.complete = boot.complete();
  response.failed = boot.has_failed();
  call.reply_with(response);
}

void set_time(Call& call, const sluice_agent_v1_SetTimeRequest& request) {
  std::int64_t now = clock_ns(CLOCK_REALTIME);
  std::int64_t offset = request.offset_ns;
  bool is_time = offset == 0;
  if (is_time && (request.realtime_ns <= 0 || request.realtime_ns > kLastTime ||
                  request.round_trip_ns < 0 || request.round_trip_ns > kMostRoundTrip)) {
    call.fail({.code = Code::invalid_argument,
               .message = "realtime_ns: no time from 1970 to 2242, or a round trip of over 60 s"});
    return;
  }
  if (is_time) offset = request.realtime_ns + request.round_trip_ns / 2 - now;
  if (offset <= -now || offset > kLastTime - now || (!is_time && request.realtime_ns != 0)) {
    call.fail({.code = Code::invalid_argument,
               .message = "offset_ns: leads out of 1970 to 2242, or realtime_ns is given too"});
    return;
  }
  bool step = request.step || offset >= kStepNs || offset <= -kStepNs;
  if (int error = move_clock(offset, step); error != 0) {
    call.fail(rpc::CallError::from_errno(error, "adjtimex"));
    return;
  }
  sluice_agent_v1_SetTimeResponse response{};
  response.offset_ns = offset;
  response.stepped = step;
  call.reply_with(response);
}

}  // namespace

sluice_agent_v1_BootStep boot_step_message(const BootReport::Step& step) {
  return {.name = field(step.name),
          .result = result_of(step.result),
          .mandatory = step.mandatory,
          .error_number = step.error,
          .message = field(step.message),
          .started_ns = step.started.count(),
          .duration_ns = step.took.count()};
}

void AgentService::add_to(rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_PingRequest, sluice_agent_v1_PingResponse>(kAgentService,
                                                                               "Ping", ping);
  methods.add_unary<sluice_agent_v1_SystemInfoRequest, sluice_agent_v1_SystemInfoResponse>(
      kAgentService, "SystemInfo",
      [](Call& call, const sluice_agent_v1_SystemInfoRequest&) { answer_system_info(call); });
  methods.add_unary<sluice_agent_v1_BootReportRequest, sluice_agent_v1_BootReportResponse>(
      kAgentService, "BootReport",
      [this](Call& call, const sluice_agent_v1_BootReportRequest&) { report(call, boot_); });
  methods.add_unary<sluice_agent_v1_SetTimeRequest, sluice_agent_v1_SetTimeResponse>(
      kAgentService, "SetTime", set_time);
  methods.add_unary<sluice_agent_v1_SeedRandomRequest, sluice_agent_v1_SeedRandomResponse>(
      kAgentService, "SeedRandom", seed);
  methods.add_unary<sluice_agent_v1_CancelRequest, sluice_agent_v1_CancelResponse>(
      kAgentService, "Cancel", [](Call& call, const sluice_agent_v1_CancelRequest& request) {
        call.cancel(request.stream_id);
        call.reply_with(sluice_agent_v1_CancelResponse{});
      });
  methods.add_unary<sluice_agent_v1_ShutdownRequest, sluice_agent_v1_ShutdownResponse>(
      kAgentService, "Shutdown",
      [this](Call& call, const sluice_agent_v1_ShutdownRequest& request) {
        if (!shutdown_) {
          call.fail({.code = Code::failed_precondition,
                     .message = "the agent is not this guest's init (PID 1): it can't end it"});
          return;
        }
        ShutdownOrder order;
        order.reboot = request.action == sluice_agent_v1_ShutdownRequest_Action_REBOOT;
        if (request.grace_ns > 0) order.grace = Duration(request.grace_ns);
        call.reply_with(sluice_agent_v1_ShutdownResponse{});
        shutdown_(order);
      });
}

}  // namespace sluice::agent
