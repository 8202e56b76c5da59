#include "agent/legacy/connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/legacy/types.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/container.pb.h"
#include "sluice/legacy/v1/legacy.pb.h"
#include "support/virtual_loop.h"

namespace sluice::agent::legacy {

namespace {

using rpc::Call;
using rpc::Handler;

struct Reply {
  std::uint32_t type = 0;
  std::vector<std::uint8_t> payload;
};

/// A log that is sent as the test says. It is in `all` as long as it lives.
struct Log final : Handler {
  Log(std::vector<Log*>& live, Call& made_for) : all(live), call(made_for) { all.push_back(this); }
  ~Log() override { std::erase(all, this); }
  void on_message(ConstBytes bytes) override {
    auto request = rpc::Message<sluice_agent_v1_LogsRequest>::parse(bytes);
    REQUIRE(request.is_ok());
    granted += (*request)->message.grant;
  }
  void say(const std::string& text) {
    rpc::BytesField data({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    sluice_agent_v1_LogsResponse message{};
    message.which_message = sluice_agent_v1_LogsResponse_record_tag;
    message.message.record.data = data.array();
    call.send_one(message);
  }
  std::vector<Log*>& all;
  Call& call;
  std::size_t granted = 0;
};

/// A connection with a Ping that answers, a Container.Start that fails, and logs as the test says.
struct World {
  World() {
    methods.add_unary<sluice_agent_v1_PingRequest, sluice_agent_v1_PingResponse>(
        "sluice.agent.v1.Agent", "Ping", [](Call& call, const sluice_agent_v1_PingRequest&) {
          std::string version = "1.2";
          sluice_agent_v1_PingResponse response{};
          response.version = rpc::field(version);
          call.reply_with(response);
        });
    methods.add("sluice.agent.v1.Container", "Start",
                {.begin = [](Call& call, ConstBytes) -> std::unique_ptr<Handler> {
                  call.fail({.code = rpc::Code::not_found, .message = "there is no container x"});
                  return nullptr;
                }});
    methods.add("sluice.agent.v1.Container", "Logs",
                {.begin = [this](Call& call, ConstBytes) -> std::unique_ptr<Handler> {
                   return std::make_unique<Log>(logs, call);
                 },
                 .streams_in = true});
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    client.reset(ends[0]);
    connection = std::make_unique<Connection>(
        loop, methods, std::make_unique<rpc::FdLink>(loop, UniqueFd(ends[1])), [this] {
          ++ended;
          connection.reset();
        });
  }

  void settle() {
    loop.run_ready();
    while (loop.poll_watches() > 0) {
    }
  }
  void send(const std::vector<std::uint8_t>& bytes) {
    REQUIRE(::write(client.get(), bytes.data(), bytes.size()) ==
            static_cast<ssize_t>(bytes.size()));
    settle();
  }
  void request(Type type, const std::vector<std::uint8_t>& payload = {}) {
    std::vector<std::uint8_t> frame;
    append_frame(frame, static_cast<std::uint32_t>(type), payload);
    send(frame);
  }
  /// Whole frames that came back since the last look.
  std::vector<Reply> replies() {
    settle();
    std::vector<std::uint8_t> buffer(1 << 16);
    ssize_t size = 0;
    while ((size = ::read(client.get(), buffer.data(), buffer.size())) > 0) {
      reader.append(ConstBytes(buffer).first(static_cast<std::size_t>(size)));
      settle();
    }
    std::vector<Reply> all;
    while (auto frame = reader.next()) {
      all.push_back({frame->type, {frame->payload.begin(), frame->payload.end()}});
    }
    return all;
  }
  std::uint32_t only_type() {
    auto all = replies();
    REQUIRE(all.size() == 1);
    return all[0].type;
  }
  /// The code of the one frame that came, an Error.
  std::uint32_t error() {
    auto all = replies();
    REQUIRE(all.size() == 1);
    REQUIRE(all[0].type == static_cast<std::uint32_t>(Type::error));
    return load_be32(all[0].payload.data());
  }

  test::VirtualLoop loop;
  rpc::Methods methods;
  std::vector<Log*> logs;
  UniqueFd client;
  FrameReader reader;
  int ended = 0;
  std::unique_ptr<Connection> connection;
};

constexpr auto kPong = static_cast<std::uint32_t>(Type::pong);
constexpr auto kEmpty = static_cast<std::uint32_t>(Type::empty);
constexpr auto kEntry = static_cast<std::uint32_t>(Type::log_entry);

}  // namespace

TEST_CASE("a ping is answered with its message and the version") {
  World world;
  sluice_legacy_v1_PingRequest ping{};
  ping.message = const_cast<char*>("hello");
  world.request(Type::ping, rpc::encode(ping));
  auto all = world.replies();
  REQUIRE(all.size() == 1);
  CHECK(all[0].type == kPong);
  auto pong = rpc::Message<sluice_legacy_v1_PingResponse>::parse(all[0].payload);
  REQUIRE(pong.is_ok());
  CHECK(rpc::text((*pong)->message) == "pong: hello");
  CHECK(rpc::text((*pong)->version) == "1.2");
}

TEST_CASE("requests are answered the same wherever they are cut") {
  std::vector<std::uint8_t> frames;
  append_frame(frames, static_cast<std::uint32_t>(Type::ping), {});
  append_frame(frames, 0x0099, {});
  append_frame(frames, static_cast<std::uint32_t>(Type::ping), {});
  for (std::size_t cut = 0; cut <= frames.size(); ++cut) {
    World world;
    world.send({frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(cut)});
    world.send({frames.begin() + static_cast<std::ptrdiff_t>(cut), frames.end()});
    auto all = world.replies();
    REQUIRE(all.size() == 3);
    CHECK(all[0].type == kPong);
    CHECK(all[1].type == static_cast<std::uint32_t>(Type::error));
    CHECK(all[2].type == kPong);
  }
}

TEST_CASE("what fails is an error with a code, and the connection goes on") {
  World world;
  world.request(Type::start);
  CHECK(world.error() == 404);
  world.request(static_cast<Type>(0x0022));
  CHECK(world.error() == 400);
  world.request(Type::ping, {0x0a, 0xff});
  CHECK(world.error() == 400);
  world.request(Type::stop);  // There is no such method here.
  CHECK(world.error() == 400);
  world.request(Type::ping);
  CHECK(world.only_type() == kPong);
  CHECK(world.ended == 0);
}

TEST_CASE("a message that is too large is refused, and the connection goes on") {
  World world;
  std::vector<std::uint8_t> head;
  append_frame(head, 1, {});
  store_be32(head.data(), kTypeBytes + kMaxPayload + 1);
  world.send(head);
  CHECK(world.error() == 400);
  std::vector<std::uint8_t> piece(4096);
  for (std::size_t left = kMaxPayload + 1; left > 0;) {
    piece.resize(std::min(left, piece.size()));
    left -= piece.size();
    world.send(piece);
  }
  world.request(Type::ping);
  CHECK(world.only_type() == kPong);
}

TEST_CASE("after a frame without a type the connection ends, with a word") {
  World world;
  world.send({0, 0, 0, 2, 0, 0, 0, 1});
  CHECK(world.error() == 400);
  CHECK(world.ended == 1);
}

TEST_CASE("a log ends with an empty frame, and the next request is answered after it") {
  World world;
  world.request(Type::logs);
  world.request(Type::ping);
  REQUIRE(world.logs.size() == 1);
  world.logs[0]->say("line\n");
  auto all = world.replies();
  REQUIRE(all.size() == 1);
  CHECK(all[0].type == kEntry);
  CHECK(world.logs[0]->granted == 5);
  world.logs[0]->call.finish();
  all = world.replies();
  REQUIRE(all.size() == 2);
  CHECK(all[0].type == kEmpty);
  CHECK(all[1].type == kPong);
  CHECK(world.logs.empty());
}

TEST_CASE("who doesn't read is granted no more, until it does") {
  World world;
  world.request(Type::logs);
  std::size_t said = 0;
  for (int i = 0; i < 64; ++i) {
    world.logs[0]->say(std::string(60'000, 'x'));
    said += 60'000;
    world.settle();
  }
  std::size_t granted = world.logs[0]->granted;
  CHECK(granted < said);
  world.settle();
  CHECK(world.logs[0]->granted == granted);
  CHECK(world.replies().size() == 64);
  CHECK(world.logs[0]->granted == said);
}

TEST_CASE("a client that goes ends its call at once, also in the midst of it") {
  World world;
  world.request(Type::logs);
  world.request(Type::ping);
  REQUIRE(world.logs.size() == 1);
  world.client.reset();
  world.settle();
  CHECK(world.ended == 1);
  CHECK(world.logs.empty());
}

TEST_CASE("too many requests ahead end the connection, with a word") {
  World world;
  world.request(Type::logs);
  for (std::size_t i = 0; i < kMaxAhead; ++i) world.request(Type::ping);
  CHECK(world.ended == 0);
  CHECK(world.logs.size() == 1);
  world.request(Type::ping);
  CHECK(world.error() == 503);
  CHECK(world.ended == 1);
  CHECK(world.logs.empty());
}

}  // namespace sluice::agent::legacy
