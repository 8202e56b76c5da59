// A peer that doesn't read: its calls wait, memory doesn't grow, and nobody else notices.
#include <map>

#include "agent/rpc/connection.h"
#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

namespace {

/// A stream that sends pieces as long as there is room.
void fill(Stream& stream, std::size_t piece, std::size_t& sent) {
  while (stream.call.writable()) {
    stream.call.send(bytes(std::string(piece, 'x')));
    sent += piece;
  }
}

}  // namespace

TEST_CASE("a call is told that there is no room, and again when there is") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  Stream& stream = *world.streams.at(0);
  world.wire->room = 0;
  std::size_t sent = 0;
  fill(stream, 10'000, sent);
  world.settle();
  CHECK(sent >= kBusyBytes - 10'000);
  CHECK(sent <= kBusyBytes + 10'000);
  CHECK(stream.offers == 0);
  world.wire->room = 50'000;
  world.settle();
  CHECK(stream.call.writable());
  CHECK(stream.offers == 1);
}

TEST_CASE("a peer that only asks and never reads is not read from any more") {
  World world;
  world.wire->room = 0;
  std::string payload(1000, 'p');
  std::string requests;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    requests += frame(2 * i + 1, kRequest, 0, request_bytes("test.Echo", "Say", payload));
  }
  world.send(requests);
  CHECK_FALSE(world.wire->interest.readable);
  // What was taken is what may wait, and the reads of one turn beyond.
  std::size_t taken = requests.size() - world.wire->in.size();
  CHECK(taken < 3 * kFullBytes);
  // Each is answered as soon as it reads.
  world.wire->room = SIZE_MAX;
  world.settle();
  auto replies = world.replies();
  REQUIRE(replies.size() == 20'000);
  CHECK(answer_of(replies.back()).payload == payload);
}

TEST_CASE("refusals that are longer than what they refuse are bounded too") {
  World world;
  world.wire->room = 0;
  std::string many;
  for (std::uint32_t i = 0; i < 1'000'000; ++i) many += frame(0, kData, 0, "");
  world.send(many);
  std::size_t taken = many.size() - world.wire->in.size();
  world.wire->room = SIZE_MAX;
  world.wire->in.clear();
  world.settle();
  CHECK(taken < kFullBytes);
  CHECK(world.wire->out.size() < 8 * kFullBytes);
}

TEST_CASE("a peer that doesn't read delays no other connection") {
  World slow;
  slow.wire->room = 0;
  slow.request(1, "Talk", "a", kRemoteOpen);
  std::size_t sent = 0;
  fill(*slow.streams.at(0), 60'000, sent);
  slow.settle();
  World other;
  other.request(1, "Say", "quick");
  CHECK(other.answer().payload == "quick");
}

TEST_CASE("streams that wait for room get it in turn") {
  World world;
  std::map<std::uint32_t, std::size_t> sent;
  for (std::uint32_t i = 0; i < 5; ++i) {
    world.request(2 * i + 1, "Talk", "a", kRemoteOpen);
    Stream& stream = *world.streams.at(i);
    std::size_t& own = sent[i];
    stream.on_offer = [&stream, &own] { fill(stream, 64 << 10, own); };
  }
  world.wire->room = 0;
  fill(*world.streams.at(0), 64 << 10, sent[0]);
  for (auto& [stream, own] : sent) own = 0;
  for (int turn = 0; turn < 100; ++turn) {
    world.wire->room = 100'000;
    world.settle();
  }
  std::size_t total = 0;
  for (const auto& [stream, bytes] : sent) total += bytes;
  for (const auto& [stream, bytes] : sent) {
    INFO("stream " << stream);
    CHECK(bytes > total / 10);
    CHECK(bytes < total * 3 / 10);
  }
}

TEST_CASE("a stream that waits is served though another of its connection ended meanwhile") {
  World world;
  world.request(1, "Talk", "a", kRemoteOpen);
  world.request(3, "Talk", "b", kRemoteOpen);
  Stream& first = *world.streams.at(0);
  Stream& second = *world.streams.at(1);
  world.wire->room = 0;
  std::size_t sent = 0;
  fill(first, 64 << 10, sent);
  first.call.finish();
  world.wire->room = SIZE_MAX;
  world.settle();
  REQUIRE(world.streams.size() == 1);
  CHECK(second.offers >= 1);
}

TEST_CASE("one client's many small requests are answered in the order they came") {
  World world;
  std::string requests;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    requests += frame(2 * i + 1, kRequest, 0, request_bytes("test.Echo", "Say", "x"));
  }
  world.wire->piece = 37;
  world.send(requests);
  auto replies = world.replies();
  REQUIRE(replies.size() == 1000);
  for (std::uint32_t i = 0; i < 1000; ++i) REQUIRE(replies[i].stream == 2 * i + 1);
}

}  // namespace sluice::agent::rpc
