#include "agent/services/job_call.h"

#include <unistd.h>

#include <csignal>

#include "agent_services/call_kit.h"
#include "sluice/agent/v1/file.pb.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("what a job answers is the call's answer") {
  JobWorld world;
  KeptCall call(*world.loop);
  auto handler =
      world.jobs.begin(call, [](JobIo& io) { io.done(sluice_agent_v1_ReadFileDone{.bytes = 42}); });
  world.run(call);
  auto answer = rpc::Message<sluice_agent_v1_ReadFileDone>::parse(call.answer);
  REQUIRE(answer);
  CHECK((*answer)->bytes == 42);
}

TEST_CASE("why a job failed comes whole, with its errno and step") {
  JobWorld world;
  KeptCall call(*world.loop);
  auto handler = world.jobs.begin(
      call, [](JobIo& io) { io.fail(rpc::CallError::from_errno(ENOENT, "open /x\xff")); });
  world.run(call);
  CHECK(call.error.code == rpc::Code::not_found);
  CHECK(call.error.error == ENOENT);
  CHECK(call.error.step == "open /x?");
}

TEST_CASE("a worker that dies, or says nothing, fails its call") {
  JobWorld world;
  KeptCall killed(*world.loop);
  auto handler = world.jobs.begin(killed, [](JobIo&) { ::raise(SIGKILL); });
  world.run(killed);
  CHECK(killed.error.code == rpc::Code::internal);
  CHECK(killed.error.message.find("signal 9") != std::string::npos);
  KeptCall silent(*world.loop);
  handler = world.jobs.begin(silent, [](JobIo&) {});
  world.run(silent);
  CHECK(silent.error.code == rpc::Code::internal);
}

TEST_CASE("a call that goes has its job give up, and clean up") {
  JobWorld world;
  KeptCall call(*world.loop);
  JobWire wire{.read = [](ConstBytes, const JobWire::Take&) { return Status::ok(); },
               .grant = [](std::uint32_t) { return std::vector<std::uint8_t>(); }};
  auto handler = world.jobs.begin(
      call,
      [](JobIo& io) {
        std::uint8_t byte;
        auto got = io.in().read({&byte, 1});
        // Its exit code says whether that was the client's end or ours.
        ::_exit(!got && got.status().code() == StatusCode::closed ? 7 : 8);
      },
      wire,
      [&](const Exit& exit) {
        CHECK(exit.code == 7);
        call.finish();
      });
  REQUIRE(handler);
  handler.reset();
  world.run(call);
}
