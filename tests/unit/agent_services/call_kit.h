#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent/process/children.h"
#include "agent/rpc/call.h"
#include "agent/services/job_call.h"
#include "base/uv_loop.h"

namespace sluice::agent {

/// What a call was answered with.
class KeptCall final : public rpc::Call {
 public:
  explicit KeptCall(UvLoop& loop) : loop_(loop) {}
  void reply(ConstBytes message) override {
    answer.assign(message.begin(), message.end());
    finish();
  }
  void fail(const rpc::CallError& failed) override {
    error = failed;
    finish();
  }
  void send(ConstBytes message) override { sent.emplace_back(message.begin(), message.end()); }
  void finish() override {
    ended = true;
    loop_.stop();
  }
  bool writable() const override { return is_writable; }
  void cancel(std::uint32_t) override {}

  bool is_writable = true;
  bool ended = false;
  std::vector<std::uint8_t> answer;
  std::vector<std::vector<std::uint8_t>> sent;
  rpc::CallError error{.code = rpc::Code::ok};

 private:
  UvLoop& loop_;
};

/// A loop with children, and jobs on it.
struct JobWorld {
  JobWorld() : loop(std::move(*UvLoop::create())), children(std::move(*Children::create(*loop))) {}

  /// Until the call has ended, or a minute has passed.
  void run(KeptCall& call) {
    auto limit = loop->make_timer([this] { loop->stop(); });
    limit->start(std::chrono::minutes(1));
    if (!call.ended) loop->run();
    REQUIRE(call.ended);
  }

  std::unique_ptr<UvLoop> loop;
  std::unique_ptr<Children> children;
  JobRunner jobs{*loop, *children};
};

}  // namespace sluice::agent
