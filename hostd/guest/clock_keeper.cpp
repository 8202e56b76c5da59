#include "hostd/guest/clock_keeper.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "agent/rpc/message.h"
#include "base/hash.h"
#include "base/log.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::hostd {

namespace {

constexpr int kMostSlowAnswers = 3;
constexpr double kNsPerSecond = 1e9;

}  // namespace

ClockKeeper::ClockKeeper(Loop& loop, Call call)
    : loop_(loop), call_(std::move(call)), timer_(loop.make_timer([this] { measure(); })) {}

void ClockKeeper::begin() {
  slow_answers_ = 0;
  may_move_ = true;
  seed();
  measure();
}

void ClockKeeper::stop() {
  timer_->stop();
  offset_ns_.reset();
}

void ClockKeeper::measure() {
  asked_at_ = loop_.now();
  call_("Ping", agent::rpc::encode(sluice_agent_v1_PingRequest{}),
        [this](auto message) { on_measured(message); });
}

void ClockKeeper::on_measured(std::optional<ConstBytes> message) {
  auto pong = message ? agent::rpc::Message<sluice_agent_v1_PingResponse>::parse(*message)
                      : agent::rpc::Message<sluice_agent_v1_PingResponse>::parse({});
  // An agent that does not tell its clock has none to set.
  if (!pong || (*pong)->realtime_ns <= 0) return;
  Duration round_trip = loop_.now() - asked_at_;
  if (round_trip > kSlow && ++slow_answers_ < kMostSlowAnswers) return measure();
  slow_answers_ = 0;
  timer_->start(kPeriod);
  std::int64_t host_ns = loop_.wall_time_ns() - round_trip.count() / 2;
  offset_ns_ = host_ns - (*pong)->realtime_ns;
  if (may_move_ && std::abs(*offset_ns_) > (round_trip / 2 + kTolerance).count()) move();
}

void ClockKeeper::move() {
  sluice_agent_v1_SetTimeRequest request{};
  request.offset_ns = *offset_ns_;
  call_("SetTime", agent::rpc::encode(request), [this](auto message) { on_moved(message); });
}

void ClockKeeper::on_moved(std::optional<ConstBytes> message) {
  if (!message) {
    may_move_ = false;
    log(LogLevel::warn, "agent: the guest's clock is {:.3f} s behind, and it can't be set",
        static_cast<double>(offset_ns_.value_or(0)) / kNsPerSecond);
    return;
  }
  auto moved = agent::rpc::Message<sluice_agent_v1_SetTimeResponse>::parse(*message);
  if (!moved || !(*moved)->stepped) return;
  log(LogLevel::notice, "agent: the guest's clock was {:.3f} s behind, and is set",
      static_cast<double>((*moved)->offset_ns) / kNsPerSecond);
  seed();
}

void ClockKeeper::seed() {
  std::array<std::uint8_t, 32> seed;
  fill_random(seed);
  agent::rpc::BytesField field(seed);
  sluice_agent_v1_SeedRandomRequest request{};
  request.seed = field.array();
  // An agent that can't, or is too old, goes on with what the kernel has.
  call_("SeedRandom", agent::rpc::encode(request), [](auto) {});
}

}  // namespace sluice::hostd
