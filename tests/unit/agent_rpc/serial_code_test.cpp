#include <random>

#include "agent/rpc/serial_link.h"
#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

namespace {

constexpr SerialNonce kNonce{1, 2, 3, 4, 5, 6, 7, 0xFE};

std::string escaped(std::string_view text) {
  std::vector<std::uint8_t> out;
  serial_escape(out, bytes(text));
  return text_of(out);
}

std::string reset_of(const SerialNonce& nonce) {
  std::vector<std::uint8_t> out;
  serial_reset(out, nonce);
  return text_of(out);
}

/// What is decoded, with "|" and the nonce where a reset came; fed in pieces.
std::string decoded(std::string_view line, std::size_t piece) {
  SerialDecoder decoder;
  std::string all;
  for (std::size_t at = 0; at < line.size(); at += piece) {
    std::string in(line.substr(at, piece));
    ConstBytes rest = bytes(in);
    while (!rest.empty()) {
      std::vector<std::uint8_t> out(rest.size());
      auto step = decoder.decode(rest, out.data());
      REQUIRE(step.taken > 0);
      REQUIRE(step.made <= step.taken);
      all += text_of(ConstBytes(out).first(step.made));
      if (step.reset) all += "|" + text_of(decoder.nonce());
      rest = rest.subspan(step.taken);
    }
  }
  return all;
}

std::string mark(const SerialNonce& nonce) {
  return "|" + text_of(nonce);
}

}  // namespace

TEST_CASE("bytes come through the line as they are, however they are cut") {
  std::mt19937 random(3);
  std::string plain;
  for (int i = 0; i < 2000; ++i) {
    plain += static_cast<char>(random() % 3 == 0 ? 0xFF : random() % 4);
  }
  std::string line = escaped(plain);
  for (std::size_t piece : {1, 2, 3, 7, 64, 5000}) CHECK(decoded(line, piece) == plain);
  CHECK(escaped("").empty());
  CHECK(escaped("no escape") == "no escape");
  CHECK(escaped("\xFF") == std::string("\xFF\x00", 2));
}

TEST_CASE("a decoder may work in its input's own place") {
  std::string line = escaped(
      "ab\xFF\xFF"
      "cd\xFF");
  auto* place = reinterpret_cast<std::uint8_t*>(line.data());
  auto step = SerialDecoder().decode(ConstBytes(place, line.size()), place);
  CHECK(line.substr(0, step.made) ==
        "ab\xFF\xFF"
        "cd\xFF");
}

TEST_CASE("a reset is seen in the midst of anything") {
  std::string before = escaped("old\xFF");
  std::string line = reset_of(kNonce) + escaped("new\xFF");
  for (std::size_t cut = 0; cut <= before.size(); ++cut) {
    for (std::size_t piece : {1, 2, 5, 100}) {
      std::string all = decoded(before.substr(0, cut) + line, piece);
      auto at = all.find(mark(kNonce));
      REQUIRE(at != std::string::npos);
      CHECK(all.substr(at) == mark(kNonce) + "new\xFF");
    }
  }
}

TEST_CASE("a reset that is broken off leaves the next one whole") {
  SerialNonce first{9, 9, 9, 9, 9, 9, 9, 9};
  std::string broken = reset_of(first);
  for (std::size_t cut = 0; cut < broken.size(); ++cut) {
    for (std::size_t piece : {1, 3, 100}) {
      std::string all = decoded(broken.substr(0, cut) + reset_of(kNonce) + "x", piece);
      CHECK(all == mark(kNonce) + "x");
    }
  }
}

TEST_CASE("an unknown escape is passed over") {
  CHECK(decoded("a\xFF\x02"
                "b\xFF\x7F"
                "c",
                1) == "abc");
}

TEST_CASE("each of two resets stops the decoder") {
  std::string line = "a" + reset_of(kNonce) + reset_of(kNonce) + "b";
  CHECK(decoded(line, 100) == "a" + mark(kNonce) + mark(kNonce) + "b");
}

}  // namespace sluice::agent::rpc
