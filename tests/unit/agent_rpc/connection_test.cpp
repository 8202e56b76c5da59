// What a client says, right or wrong, and what it gets for it.
#include "agent/rpc/connection.h"

#include <chrono>

#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

using namespace std::chrono_literals;

namespace {

constexpr std::int32_t kInvalidArgument = 3;
constexpr std::int32_t kDeadlineExceeded = 4;
constexpr std::int32_t kResourceExhausted = 8;
constexpr std::int32_t kUnimplemented = 12;

}  // namespace

TEST_CASE("a unary call gets its answer on its stream") {
  World world;
  world.request(1, "Say", "hello");
  Reply reply = world.reply();
  CHECK(reply.stream == 1);
  CHECK(reply.flags == 0);
  CHECK(answer_of(reply).code == 0);
  CHECK(answer_of(reply).payload == "hello");
  CHECK(world.connection->calls() == 0);
}

TEST_CASE("requests in one piece, or a byte at a time, get the same answers") {
  std::string both = frame(1, kRequest, 0, request_bytes("test.Echo", "Say", "one")) +
                     frame(3, kRequest, 0, request_bytes("test.Echo", "Say", "two"));
  World whole;
  whole.send(both);
  World bytewise;
  bytewise.wire->piece = 1;
  bytewise.send(both);
  CHECK(whole.replies().size() == 2);
  CHECK(whole.wire->out == bytewise.wire->out);
}

TEST_CASE("an error has errno and step in its details") {
  World world;
  world.request(1, "Refuse");
  Answer answer = world.answer();
  CHECK(answer.code == 5);
  CHECK(answer.detail == pb_number(1, ENOENT) + pb_text(2, "ENOENT") + pb_text(3, "open /x"));
}

TEST_CASE("an unknown service or method is UNIMPLEMENTED and says which") {
  World world;
  world.request(1, "Fly");
  Answer method = world.answer();
  CHECK(method.code == kUnimplemented);
  CHECK(method.message == "test.Echo has no method Fly");
  world.request(3, "Say", "", 0, 0, "test.Bird");
  Answer service = world.answer();
  CHECK(service.code == kUnimplemented);
  CHECK(service.message == "there is no service test.Bird");
  world.request(5, "Say", "still here");
  CHECK(world.answer().payload == "still here");
}

TEST_CASE("a stream of an even number is refused, as is stream 0") {
  World world;
  for (std::uint32_t stream : {2U, 0U}) {
    world.request(stream, "Say");
    Reply reply = world.reply();
    CHECK(reply.stream == stream);
    CHECK(answer_of(reply).code == kInvalidArgument);
  }
}

TEST_CASE("a stream's number is not used twice, nor one below") {
  World world;
  world.request(5, "Say");
  CHECK(world.answer().code == 0);
  world.request(5, "Say");
  CHECK(world.answer().code == kInvalidArgument);
  world.request(3, "Say");
  CHECK(world.answer().code == kInvalidArgument);
  world.request(7, "Say");
  CHECK(world.answer().code == 0);
}

TEST_CASE("the last of all numbers can be used") {
  World world;
  world.request(0xFFFFFFFF, "Say", "end");
  CHECK(world.answer().payload == "end");
}

TEST_CASE("the number of a live call used again ends that call, so that both ends know") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  REQUIRE(world.streams.size() == 1);
  world.request(1, "Say");
  CHECK(world.answer().code == kInvalidArgument);
  CHECK(world.streams.empty());
  CHECK(world.connection->calls() == 0);
}

TEST_CASE("data on a unary call ends it") {
  World world;
  world.request(1, "Hold");
  REQUIRE(world.streams.size() == 1);
  world.data(1, "more");
  CHECK(world.answer().code == kInvalidArgument);
  CHECK(world.streams.empty());
}

TEST_CASE("data before any request is refused") {
  World world;
  world.data(1, "early");
  CHECK(world.answer().code == kInvalidArgument);
  world.request(1, "Say", "now");
  CHECK(world.answer().payload == "now");
}

TEST_CASE("data for a call that has ended is passed over in silence") {
  World world;
  world.request(1, "Say");
  world.replies();
  world.data(1, "late");
  world.data(1, "", kRemoteClosed | kNoData);
  CHECK(world.replies().empty());
}

TEST_CASE("frames of unknown types are passed over") {
  World world;
  world.send(frame(1, 0x77, 0xFF, "later") + frame(3, kResponse, 0, "not a client's"));
  CHECK(world.replies().empty());
  world.request(1, "Say", "x");
  CHECK(world.answer().payload == "x");
}

TEST_CASE("a request that can't be read is INVALID_ARGUMENT") {
  World world;
  world.send(frame(1, kRequest, 0, "\xFF\xFF\xFF"));
  CHECK(world.answer().code == kInvalidArgument);
  world.send(frame(3, kRequest, 0, ""));
  CHECK(world.answer().code == kUnimplemented);
}

TEST_CASE("an oversized request is refused and its data is not taken for another call's") {
  World world;
  world.send(frame(1, kRequest, 0, std::string(kMaxPayloadBytes + 1, 'x')));
  CHECK(world.answer().code == kResourceExhausted);
  world.data(1, "more");
  CHECK(world.replies().empty());
  world.request(3, "Say", "x");
  CHECK(world.answer().payload == "x");
}

TEST_CASE("an oversized message ends the call that it was for") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  world.send(frame(1, kData, 0, std::string(kMaxPayloadBytes + 1, 'x')));
  CHECK(world.answer().code == kResourceExhausted);
  CHECK(world.streams.empty());
}

TEST_CASE("an answer beyond what a frame may have is an error instead") {
  World world;
  world.request(1, "Hold");
  world.streams.at(0)->call.reply(bytes(std::string(kMaxPayloadBytes + 1, 'x')));
  world.settle();
  Reply reply = world.reply();
  CHECK(reply.payload.size() < 1000);
  CHECK(answer_of(reply).code == kResourceExhausted);
}

TEST_CASE("a stream's first message may be in the request or after it") {
  World world;
  world.request(1, "Talk", "in it", kRemoteOpen);
  REQUIRE(world.streams.size() == 1);
  CHECK(world.streams[0]->messages == std::vector<std::string>{"in it"});

  world.request(3, "Talk", "", kRemoteOpen);
  CHECK(world.streams.size() == 1);
  world.data(3, "first");
  world.data(3, "second");
  world.data(3, "third", kRemoteClosed);
  REQUIRE(world.streams.size() == 2);
  CHECK(world.streams[1]->messages == std::vector<std::string>{"first", "second", "third"});
  CHECK(world.streams[1]->half_closes == 1);
  CHECK(world.replies().empty());
}

TEST_CASE("a request without more to come half-closes its stream") {
  World world;
  world.request(1, "Talk", "all", kRemoteClosed);
  REQUIRE(world.streams.size() == 1);
  CHECK(world.streams[0]->half_closes == 1);
  world.data(1, "yet more");
  CHECK(world.answer().code == kInvalidArgument);
}

TEST_CASE("a stream that ends before its first message is refused") {
  World world;
  world.request(1, "Talk", "", kRemoteOpen);
  world.data(1, "", kRemoteClosed | kNoData);
  CHECK(world.answer().code == kInvalidArgument);
  CHECK(world.made == 0);
}

TEST_CASE("messages of a stream come in order and its end after them") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  Call& call = world.streams.at(0)->call;
  call.send(bytes("one"));
  call.send(bytes("two"));
  call.finish();
  call.send(bytes("never"));
  call.fail({});
  world.settle();
  auto replies = world.replies();
  REQUIRE(replies.size() == 3);
  CHECK(replies[0].payload == "one");
  CHECK(replies[1].payload == "two");
  CHECK(replies[2].type == kData);
  CHECK(replies[2].flags == (kRemoteClosed | kNoData));
  CHECK(world.streams.empty());
}

TEST_CASE("a deadline ends its call when it has passed, and not before") {
  World world;
  world.request(1, "Hold", "", 0, std::chrono::nanoseconds(2s).count());
  world.request(3, "Talk", "", kRemoteOpen, std::chrono::nanoseconds(3s).count());
  world.loop.advance(1999ms);
  world.settle();
  CHECK(world.replies().empty());
  world.loop.advance(1ms);
  world.settle();
  Reply first = world.reply();
  CHECK(first.stream == 1);
  CHECK(answer_of(first).code == kDeadlineExceeded);
  CHECK(world.streams.empty());
  world.loop.advance(1s);
  world.settle();
  CHECK(answer_of(world.reply()).code == kDeadlineExceeded);
}

TEST_CASE("an answer in time disarms the deadline") {
  World world;
  world.request(1, "Hold", "", 0, std::chrono::nanoseconds(2s).count());
  world.streams.at(0)->call.reply(bytes("done"));
  world.settle();
  CHECK(world.answer().payload == "done");
  world.loop.advance(1h);
  CHECK(world.replies().empty());
  CHECK(world.loop.active_timers() == 0);
}

TEST_CASE("the longest deadline of all is far away, and a negative one is none") {
  World world;
  world.request(1, "Hold", "", 0, INT64_MAX);
  world.request(3, "Hold", "", 0, -5);
  world.loop.advance(24h);
  world.settle();
  CHECK(world.replies().empty());
  CHECK(world.streams.size() == 2);
}

TEST_CASE("Cancel ends another call and is answered itself") {
  World world;
  world.request(1, "Hold");
  world.request(3, "Cancel", "\x01");
  auto replies = world.replies();
  REQUIRE(replies.size() == 2);
  CHECK(replies[0].stream == 1);
  CHECK(answer_of(replies[0]).code == 1);
  CHECK(answer_of(replies[1]).code == 0);
  CHECK(world.streams.empty());
}

TEST_CASE("cancelling what has ended, or never was, is no error") {
  World world;
  world.request(1, "Say");
  world.replies();
  for (const char* stream : {"\x01", "\x63", ""}) {
    static std::uint32_t next = 101;
    world.request(next += 2, "Cancel", stream);
    CHECK(world.answer().code == 0);
  }
}

TEST_CASE("a call that cancels itself is CANCELLED once") {
  World world;
  world.request(1, "Cancel", "\x01");
  CHECK(world.answer().code == 1);
}

TEST_CASE("calls beyond the limit are refused until others have ended") {
  World world;
  std::uint32_t stream = 1;
  for (std::size_t i = 0; i < kMaxCalls; ++i, stream += 2) world.request(stream, "Hold");
  CHECK(world.connection->calls() == kMaxCalls);
  CHECK(world.replies().empty());
  world.request(stream, "Hold");
  CHECK(world.answer().code == kResourceExhausted);
  stream += 2;
  world.streams.front()->call.reply({});
  world.settle();
  CHECK(world.answer().code == 0);
  world.request(stream, "Hold");
  CHECK(world.replies().empty());
  CHECK(world.connection->calls() == kMaxCalls);
}

TEST_CASE("calls that ended at once make room in the same turn") {
  World world;
  std::string many;
  for (std::uint32_t i = 0; i < 2 * kMaxCalls; ++i) {
    many += frame(2 * i + 1, kRequest, 0, request_bytes("test.Echo", "Say", "x"));
  }
  world.send(many);
  auto replies = world.replies();
  REQUIRE(replies.size() == 2 * kMaxCalls);
  for (const Reply& reply : replies) REQUIRE(answer_of(reply).code == 0);
}

}  // namespace sluice::agent::rpc
