#include "agent/rpc/frame.h"

#include <cstring>
#include <random>

#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

namespace {

struct Seen {
  std::uint32_t stream = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  bool oversized = false;
  std::string payload;
  bool operator==(const Seen&) const = default;
};

void feed(FrameReader& reader, std::string_view bytes, std::vector<Seen>& seen) {
  while (!bytes.empty()) {
    Bytes space = reader.space();
    REQUIRE(space.size() >= 4096);
    std::size_t size = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), size);
    reader.filled(size);
    bytes.remove_prefix(size);
    while (auto frame = reader.next()) {
      seen.push_back({frame->header.stream, frame->header.type, frame->header.flags,
                      frame->oversized, text_of(frame->payload)});
    }
  }
}

std::vector<Seen> read_in_pieces(std::string_view stream, std::size_t piece) {
  FrameReader reader;
  std::vector<Seen> seen;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    feed(reader, stream.substr(at, piece), seen);
  }
  CHECK_FALSE(reader.partial());
  return seen;
}

}  // namespace

TEST_CASE("frames are the same however their bytes are cut") {
  std::string stream = frame(1, kRequest, kRemoteOpen, "hello") + frame(3, kData, 0, "") +
                       frame(0xFFFFFFFF, 0xEE, 0xFF, std::string(300, 'x')) +
                       frame(5, kResponse, kNoData, std::string("\0\xFF", 2));
  auto whole = read_in_pieces(stream, stream.size());
  REQUIRE(whole.size() == 4);
  CHECK(whole[0] == Seen{1, kRequest, kRemoteOpen, false, "hello"});
  CHECK(whole[1] == Seen{3, kData, 0, false, ""});
  CHECK(whole[2] == Seen{0xFFFFFFFF, 0xEE, 0xFF, false, std::string(300, 'x')});
  for (std::size_t piece = 1; piece < 40; ++piece) CHECK(read_in_pieces(stream, piece) == whole);
  for (std::size_t cut = 1; cut < stream.size(); ++cut) {
    FrameReader reader;
    std::vector<Seen> seen;
    feed(reader, stream.substr(0, cut), seen);
    feed(reader, stream.substr(cut), seen);
    REQUIRE(seen == whole);
  }
}

TEST_CASE("random frames cut at random are the same") {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::string stream;
    std::vector<Seen> sent;
    for (int i = 0; i < 20; ++i) {
      std::size_t size = random() % 4 == 0 ? random() % 200'000 : random() % 50;
      Seen one{static_cast<std::uint32_t>(random()), static_cast<std::uint8_t>(random()),
               static_cast<std::uint8_t>(random()), false,
               std::string(size, static_cast<char>(random()))};
      stream += frame(one.stream, one.type, one.flags, one.payload);
      sent.push_back(one);
    }
    FrameReader reader;
    std::vector<Seen> seen;
    for (std::size_t at = 0; at < stream.size();) {
      std::size_t piece = 1 + random() % (random() % 3 == 0 ? 100'000 : 30);
      feed(reader, std::string_view(stream).substr(at, piece), seen);
      at += piece;
    }
    REQUIRE(seen == sent);
  }
}

TEST_CASE("a payload of the most is taken and one byte more is skipped") {
  std::string most(kMaxPayloadBytes, 'm');
  std::string more(kMaxPayloadBytes + 1, 'n');
  auto seen = read_in_pieces(
      frame(1, kData, 0, most) + frame(3, kData, 0, more) + frame(5, kData, 0, "next"), 50'000);
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].payload == most);
  CHECK_FALSE(seen[0].oversized);
  CHECK(seen[1] == Seen{3, kData, 0, true, ""});
  CHECK(seen[2] == Seen{5, kData, 0, false, "next"});
}

TEST_CASE("the longest announced length is skipped byte for byte") {
  FrameReader reader;
  std::vector<Seen> seen;
  std::string head = frame(1, kData, 0, "");
  head.replace(0, 4, "\xFF\xFF\xFF\xFF");
  feed(reader, head, seen);
  CHECK(seen.size() == 1);
  CHECK(seen[0].oversized);
  for (std::size_t left = 0xFFFFFFFF; left > 0;) {
    std::size_t size = std::min(left, reader.space().size());  // Whatever is there.
    reader.filled(size);
    left -= size;
    if (reader.next()) FAIL("there is no frame in it");
  }
  CHECK_FALSE(reader.partial());
  feed(reader, frame(3, kData, 0, "after"), seen);
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].payload == "after");
}

TEST_CASE("memory grows with what has come and not with what was announced") {
  FrameReader reader;
  std::string start = frame(1, kData, 0, std::string(kMaxPayloadBytes, 'x'));
  std::vector<Seen> seen;
  std::size_t fed = 0;
  std::size_t most_ratio = 0;
  while (fed < start.size()) {
    std::size_t held = reader.space().size() + fed;
    most_ratio = std::max(most_ratio, held / std::max<std::size_t>(fed, 65'536));
    feed(reader, std::string_view(start).substr(fed, 1000), seen);
    fed += std::min<std::size_t>(1000, start.size() - fed);
  }
  CHECK(most_ratio <= 3);
  CHECK(seen.size() == 1);
}

TEST_CASE("after a large frame the memory is given back") {
  FrameReader reader;
  std::vector<Seen> seen;
  feed(reader, frame(1, kData, 0, std::string(kMaxPayloadBytes, 'x')), seen);
  CHECK(reader.space().size() <= std::size_t{256} << 10);
}

TEST_CASE("a reset forgets half a frame and what was to be skipped") {
  FrameReader reader;
  std::vector<Seen> seen;
  feed(reader, frame(1, kData, 0, "0123456789").substr(0, 15), seen);
  CHECK(reader.partial());
  reader.reset();
  CHECK_FALSE(reader.partial());
  feed(reader, frame(3, kData, 0, std::string(kMaxPayloadBytes + 1, 'x')).substr(0, 5000), seen);
  CHECK(reader.partial());
  reader.reset();
  feed(reader, frame(5, kData, 0, "new"), seen);
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].payload == "new");
}

TEST_CASE("what is appended as a frame is read as that frame") {
  std::vector<std::uint8_t> out{1, 2};
  append_frame(out, {.stream = 7, .type = kData, .flags = kRemoteClosed}, bytes("abc"));
  append_frame(out, {.stream = 9, .type = kResponse}, {});
  auto seen = read_in_pieces(text_of(ConstBytes(out).subspan(2)), 3);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0] == Seen{7, kData, kRemoteClosed, false, "abc"});
  CHECK(seen[1] == Seen{9, kResponse, 0, false, ""});
}

}  // namespace sluice::agent::rpc
