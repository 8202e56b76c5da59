#include "agent/client/caller.h"

#include <memory>
#include <optional>

#include "agent/rpc/link.h"
#include "agent/rpc/status.h"
#include "agent_client/line_kit.h"
#include "ttrpc.pb.h"

namespace sluice::agent::client {

using rpc::CallError;
using rpc::Code;
using rpc::FrameType;

namespace {

struct Ended {
  CallError error;
  std::string message;
};

/// A caller, and the test in the server's place.
class Scene {
 public:
  Scene() {
    caller.emplace(loop, std::make_unique<rpc::FdLink>(loop, std::move(line.ours)),
                   [this] { gone = true; });
  }

  std::uint32_t begin(bool streams = false, Duration timeout = {}) {
    return caller->begin(
        "test.Service", "Method", bytes("request"),
        {.on_message = [this](ConstBytes one) { messages.push_back(text_of(one)); },
         .on_end = [this](const CallError& error,
                          ConstBytes message) { ended.push_back({error, text_of(message)}); }},
        streams, timeout);
  }
  void answer(std::uint32_t stream, FrameType type, std::uint8_t flags, ConstBytes payload) {
    std::vector<std::uint8_t> frame;
    rpc::append_frame(frame,
                      {.stream = stream, .type = static_cast<std::uint8_t>(type), .flags = flags},
                      payload);
    line.say(text_of(frame));
    settle(loop);
  }

  test::VirtualLoop loop;
  Line line;
  std::optional<Caller> caller;
  std::vector<std::string> messages;
  std::vector<Ended> ended;
  bool gone = false;
};

}  // namespace

TEST_CASE("a request has service, method, payload and deadline, on odd streams that grow") {
  Scene scene;
  CHECK(scene.begin() == 1);
  CHECK(scene.begin(true, std::chrono::milliseconds(5)) == 3);
  settle(scene.loop);
  rpc::FrameReader reader;
  std::string sent = scene.line.heard();
  Bytes space = reader.space();
  std::copy(sent.begin(), sent.end(), space.begin());
  reader.filled(sent.size());
  auto first = reader.next();
  REQUIRE(first);
  CHECK(first->header.flags == 0);
  auto request = rpc::Message<sluice_ttrpc_Request>::parse(first->payload);
  REQUIRE(request.is_ok());
  CHECK(rpc::text((*request)->service) == "test.Service");
  CHECK(rpc::text((*request)->method) == "Method");
  CHECK(text_of(rpc::bytes_of((*request)->payload)) == "request");
  auto second = reader.next();
  REQUIRE(second);
  CHECK(second->header.flags == rpc::kRemoteOpen);
  auto with_deadline = rpc::Message<sluice_ttrpc_Request>::parse(second->payload);
  REQUIRE(with_deadline.is_ok());
  CHECK((*with_deadline)->timeout_nano == 5'000'000);
}

TEST_CASE("an answer ends its call once, and another's not") {
  Scene scene;
  std::uint32_t first = scene.begin();
  scene.begin();
  scene.answer(first, FrameType::response, 0, rpc::response_of(bytes("answer")));
  REQUIRE(scene.ended.size() == 1);
  CHECK(scene.ended[0].error.code == Code::ok);
  CHECK(scene.ended[0].message == "answer");
  scene.answer(first, FrameType::response, 0, rpc::response_of(bytes("again")));
  scene.answer(99, FrameType::response, 0, rpc::response_of(bytes("nobody's")));
  CHECK(scene.ended.size() == 1);
}

TEST_CASE("an error comes with its code, words, errno and step") {
  Scene scene;
  std::uint32_t stream = scene.begin();
  scene.answer(stream, FrameType::response, 0,
               rpc::response_of(CallError::from_errno(ENOENT, "execve x")));
  REQUIRE(scene.ended.size() == 1);
  CHECK(scene.ended[0].error.code == Code::not_found);
  CHECK(scene.ended[0].error.message == "execve x: No such file or directory");
  CHECK(scene.ended[0].error.error == ENOENT);
  CHECK(scene.ended[0].error.step == "execve x");
}

TEST_CASE("a stream's messages come in order until its end") {
  Scene scene;
  std::uint32_t stream = scene.begin(true);
  scene.answer(stream, FrameType::data, 0, bytes("one"));
  scene.answer(stream, FrameType::data, 0, bytes(""));
  scene.answer(stream, FrameType::data, rpc::kRemoteClosed | rpc::kNoData, {});
  scene.answer(stream, FrameType::data, 0, bytes("late"));
  CHECK(scene.messages == std::vector<std::string>{"one", ""});
  REQUIRE(scene.ended.size() == 1);
  CHECK(scene.ended[0].error.code == Code::ok);
}

TEST_CASE("an answer that can't be read, or is too large, is an error of its call alone") {
  Scene scene;
  std::uint32_t garbled = scene.begin();
  scene.answer(garbled, FrameType::response, 0, bytes("\xFF\xFF\xFF"));
  REQUIRE(scene.ended.size() == 1);
  CHECK(scene.ended[0].error.code == Code::invalid_argument);
  CHECK_FALSE(scene.gone);
  std::uint32_t other = scene.begin();
  scene.answer(other, FrameType::response, 0, rpc::response_of(bytes("fine")));
  CHECK(scene.ended.size() == 2);
}

TEST_CASE("when the server goes, calls under way end as aborted, and then it is told") {
  Scene scene;
  scene.begin();
  scene.begin(true);
  scene.line.theirs.reset();
  settle(scene.loop);
  REQUIRE(scene.ended.size() == 2);
  CHECK(scene.ended[0].error.code == Code::aborted);
  CHECK(scene.ended[1].error.code == Code::aborted);
  CHECK(scene.gone);
}

}  // namespace sluice::agent::client
