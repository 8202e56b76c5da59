#include "agent/legacy/frame.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace sluice::agent::legacy {

namespace {

using Bytes8 = std::vector<std::uint8_t>;

ConstBytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// All frames of a stream that comes in pieces of one size, as text.
std::string frames_of(ConstBytes stream, std::size_t piece) {
  FrameReader reader;
  std::string seen;
  while (!stream.empty()) {
    std::size_t size = std::min(piece, stream.size());
    reader.append(stream.first(size));
    stream = stream.subspan(size);
    while (auto frame = reader.next()) {
      seen += std::to_string(frame->type) + (frame->fault == Frame::Fault::none ? ":" : "!");
      seen.append(frame->payload.begin(), frame->payload.end());
      seen += ';';
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("a frame is its length, its type and its payload") {
  Bytes8 out;
  append_frame(out, 0x1021, bytes_of("log"));
  CHECK(out == Bytes8{0, 0, 0, 7, 0, 0, 0x10, 0x21, 'l', 'o', 'g'});
}

TEST_CASE("an error is a code, a length and a text") {
  Bytes8 out;
  append_error(out, 404, "no");
  CHECK(out == Bytes8{0, 0, 0, 14, 0, 0, 0xff, 0xff, 0, 0, 1, 0x94, 0, 0, 0, 2, 'n', 'o'});
}

TEST_CASE("frames are the same wherever the bytes are cut") {
  Bytes8 stream;
  append_frame(stream, 1, bytes_of("ping"));
  append_frame(stream, 2, {});
  append_frame(stream, 0x10, bytes_of(std::string(300, 'x')));
  append_error(stream, 500, "failed");
  std::string whole = frames_of(stream, stream.size());
  CHECK(whole.starts_with("1:ping;2:;16:xxx"));
  for (std::size_t piece = 1; piece < stream.size(); ++piece) {
    REQUIRE(frames_of(stream, piece) == whole);
  }
}

TEST_CASE("what is too large is skipped, and what follows is read") {
  Bytes8 stream;
  append_frame(stream, 7, Bytes8(kMaxPayload + 1));
  append_frame(stream, 8, bytes_of("next"));
  for (std::size_t piece : {std::size_t{1} << 24, std::size_t{4096}, std::size_t{7}}) {
    CHECK(frames_of(stream, piece) == "7!;8:next;");
  }
}

TEST_CASE("a length that is a lie costs no memory") {
  FrameReader reader;
  reader.append(Bytes8{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1});
  auto frame = reader.next();
  REQUIRE(frame);
  CHECK(frame->fault == Frame::Fault::oversized);
  for (int i = 0; i < 100; ++i) {
    reader.append(Bytes8(10'000));
    CHECK_FALSE(reader.next());
    CHECK(reader.waiting() == 0);
  }
}

TEST_CASE("after a frame without room for its type nothing is read any more") {
  for (std::uint8_t length : {0, 1, 3}) {
    FrameReader reader;
    reader.append(Bytes8{0, 0, 0, length, 0, 0, 0, 1});
    auto frame = reader.next();
    REQUIRE(frame);
    CHECK(frame->fault == Frame::Fault::cut);
    Bytes8 good;
    append_frame(good, 1, {});
    reader.append(good);
    CHECK_FALSE(reader.next());
  }
}

}  // namespace sluice::agent::legacy
