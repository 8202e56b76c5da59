#include "link/segmenter.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "link/test_frames.h"

using namespace sluice;
using namespace sluice::link;
using test::FrameSpec;
using test::TestFrame;

namespace {

using Octets = std::vector<std::uint8_t>;

std::vector<Octets> cut_all(const RxFrame& frame) {
  std::vector<Octets> out;
  auto segmenter = Segmenter::make(frame);
  REQUIRE(segmenter);
  std::array<std::uint8_t, kMaxHead> head;
  std::vector<iovec> pieces;
  while (auto cut = segmenter->next(head, pieces)) {
    Octets whole(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(cut->head_size));
    for (const iovec& piece : pieces) {
      auto* at = static_cast<const std::uint8_t*>(piece.iov_base);
      whole.insert(whole.end(), at, at + piece.iov_len);
    }
    CHECK(whole.size() == cut->head_size + cut->payload_size);
    out.push_back(std::move(whole));
    pieces.clear();
  }
  CHECK(out.size() == segmenter->count());
  return out;
}

}  // namespace

TEST_CASE("cut frames are those that a slow, obvious cutter makes") {
  std::mt19937 random(20240607);
  auto upto = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random);
  };
  for (int round = 0; round < 600; ++round) {
    FrameSpec spec;
    spec.family = upto(1) ? Family::v4 : Family::v6;
    spec.tcp_options = upto(10) * 4;
    spec.ip_options = spec.family == Family::v4 ? upto(3) * 4 : 0;
    spec.payload = upto(3) == 0 ? upto(65400) : upto(9000);
    spec.segment_size = static_cast<std::uint16_t>(upto(5) == 0 ? 0 : 1 + upto(9000));
    spec.flags = static_cast<std::uint8_t>(upto(255));
    spec.sequence = static_cast<std::uint32_t>(random());
    spec.ip_id = static_cast<std::uint16_t>(random());
    spec.piece_size = upto(2) == 0 ? 1 + upto(40) : 1 + upto(5000);
    TestFrame frame(spec);
    INFO("round " << round << ", payload " << spec.payload << " by " << spec.segment_size);
    REQUIRE(cut_all(frame.view()) == test::reference_cut(frame.view()));
  }
}

TEST_CASE("every cut frame has right checksums and no more payload than was asked") {
  Family family = GENERATE(Family::v4, Family::v6);
  TestFrame frame({.family = family, .payload = 10'001, .segment_size = 1448});
  auto cut = cut_all(frame.view());
  CHECK(cut.size() == 7);
  std::size_t payload = 0;
  for (const auto& whole : cut) {
    CHECK(test::checksums_are_right(whole));
    CHECK(whole.size() - frame.view().head.size() <= 1448);
    payload += whole.size() - frame.view().head.size();
  }
  CHECK(payload == 10'001);
}

TEST_CASE("FIN and PSH stay on the last segment, CWR on the first") {
  constexpr std::uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10, kCwr = 0x80;
  TestFrame frame({.payload = 3000, .segment_size = 1000, .flags = kFin | kPsh | kAck | kCwr});
  auto cut = cut_all(frame.view());
  REQUIRE(cut.size() == 3);
  auto flags = [&](std::size_t i) { return int{cut[i][frame.view().l4_offset + 13u]}; };
  CHECK(flags(0) == (kAck | kCwr));
  CHECK(flags(1) == kAck);
  CHECK(flags(2) == (kFin | kPsh | kAck));
}

TEST_CASE("a frame that needs no cut gets its checksums, also without payload") {
  std::size_t payload = GENERATE(0, 1, 1460);
  TestFrame frame({.payload = payload, .segment_size = 1460});
  auto cut = cut_all(frame.view());
  REQUIRE(cut.size() == 1);
  CHECK(test::checksums_are_right(cut[0]));
}

TEST_CASE("payload is sliced where it lies, not copied") {
  TestFrame frame({.payload = 5000, .segment_size = 1000, .piece_size = 5000});
  auto segmenter = Segmenter::make(frame.view());
  std::array<std::uint8_t, kMaxHead> head;
  std::vector<iovec> pieces;
  while (segmenter->next(head, pieces)) {
  }
  REQUIRE(pieces.size() == 5);
  auto* base = static_cast<std::uint8_t*>(frame.view().payload[0].iov_base);
  for (std::size_t i = 0; i < 5; ++i) CHECK(pieces[i].iov_base == base + i * 1000);
}

TEST_CASE("a frame whose headers are not what it says can't be cut") {
  TestFrame good({.payload = 100, .segment_size = 50});
  RxFrame frame = good.view();
  SECTION("l4_offset inside the IP header") {
    frame.l4_offset = 20;
  }
  SECTION("l4_offset behind the head") {
    frame.l4_offset = 200;
  }
  SECTION("a head that ends inside the TCP header") {
    frame.head = frame.head.first(frame.head.size() - 1);
  }
  SECTION("no head") {
    frame.head = {};
  }
  SECTION("more than 64 KiB") {
    frame.payload_size = 70'000;
  }
  CHECK_FALSE(Segmenter::make(frame));
}
