#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <vector>

#include "flow/proxy_protocol.h"
#include "flow/read_buffer.h"
#include "flow/token_bucket.h"

using namespace sluice;
using namespace sluice::flow;
using namespace std::chrono_literals;

namespace {

using Octets = std::vector<std::uint8_t>;

Octets header(const char* client, const char* server) {
  return make_proxy_header(*Endpoint::parse(client), *Endpoint::parse(server));
}

/// Reads `bytes` numbered ones into the buffer, as a socket would.
void fill(std::span<const iovec> space, std::size_t bytes, std::uint8_t from) {
  for (const iovec& piece : space) {
    std::size_t here = std::min(bytes, piece.iov_len);
    std::iota(static_cast<std::uint8_t*>(piece.iov_base),
              static_cast<std::uint8_t*>(piece.iov_base) + here, from);
    from = static_cast<std::uint8_t>(from + here);
    bytes -= here;
  }
  REQUIRE(bytes == 0);
}
std::size_t size_of(std::span<const iovec> space) {
  std::size_t size = 0;
  for (const iovec& piece : space) size += piece.iov_len;
  return size;
}

}  // namespace

TEST_CASE("a PROXY header of an IPv4 client is that of section 2.2, byte for byte") {
  CHECK(header("203.0.113.5:4000", "192.0.2.1:443") ==
        Octets{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,  //
               0x21, 0x11, 0x00, 0x0c,                                                  //
               203,  0,    113,  5,    192,  0,    2,    1,    0x0f, 0xa0, 0x01, 0xbb});
}

TEST_CASE("a PROXY header of an IPv6 client has 36 bytes of addresses") {
  Octets bytes = header("[2001:db8::5]:4000", "[2001:db8::1]:443");
  REQUIRE(bytes.size() == 16 + 36);
  CHECK(Octets(bytes.begin() + 12, bytes.begin() + 16) == Octets{0x21, 0x21, 0x00, 0x24});
  CHECK(bytes[16] == 0x20);
  CHECK(bytes[31] == 5);
  CHECK(bytes[47] == 1);
  CHECK(Octets(bytes.end() - 4, bytes.end()) == Octets{0x0f, 0xa0, 0x01, 0xbb});
}

TEST_CASE("a PROXY header of ends in two families says LOCAL and no address") {
  Octets bytes = header("203.0.113.5:4000", "[2001:db8::1]:443");
  CHECK(Octets(bytes.begin() + 12, bytes.end()) == Octets{0x20, 0, 0, 0});
}

TEST_CASE("a token bucket gives its burst at once and its rate afterwards") {
  TokenBucket bucket(10, 3);
  TimePoint now{1s};
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
  CHECK_FALSE(bucket.take(now + 90ms));
  CHECK(bucket.take(now + 110ms));
  CHECK_FALSE(bucket.take(now + 110ms));
}

TEST_CASE("a token bucket saves no more than its burst, and asking in vain costs nothing") {
  TokenBucket bucket(10, 3);
  TimePoint now{1s};
  while (bucket.take(now)) {
  }
  int taken = 0;
  for (; now < TimePoint(11s); now += 1ms) taken += bucket.take(now) ? 1 : 0;
  CHECK(taken >= 99);
  CHECK(taken <= 100);
  now += 1h;
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(now));
  CHECK_FALSE(bucket.take(now));
}

TEST_CASE("a token bucket stands a clock that does not move on") {
  TokenBucket bucket(10, 1);
  CHECK(bucket.take(TimePoint(5s)));
  CHECK_FALSE(bucket.take(TimePoint(5s)));
  CHECK_FALSE(bucket.take(TimePoint(4s)));
}

TEST_CASE("reads lie in the buffer one after the other and keep their bytes") {
  ReadBuffer buffer;
  std::vector<ReadBuffer::Piece> kept;
  for (std::uint8_t i = 0; i < 5; ++i) {
    fill(buffer.space(1000), 1000, i);
    for (const auto& piece : buffer.take(1000)) kept.push_back(piece);
  }
  REQUIRE(kept.size() == 5);
  for (std::uint8_t i = 0; i < 5; ++i) {
    CHECK(kept[i].bytes.size() == 1000);
    CHECK(kept[i].bytes[0] == i);
    CHECK(kept[i].bytes[999] == static_cast<std::uint8_t>(i + 999));
  }
  CHECK(buffer.chunks() == 1);
}

TEST_CASE("a read across the end of a chunk is two pieces without a gap") {
  ReadBuffer buffer;
  buffer.space(ReadBuffer::kChunkBytes - 20000);
  buffer.take(ReadBuffer::kChunkBytes - 20000);
  auto space = buffer.space(50000);
  REQUIRE(space.size() == 2);
  CHECK(size_of(space) == 50000);
  fill(space, 50000, 0);
  auto pieces = buffer.take(50000);
  REQUIRE(pieces.size() == 2);
  CHECK(pieces[0].bytes.size() == 20000);
  CHECK(pieces[1].bytes.size() == 30000);
  CHECK(pieces[1].bytes[0] == static_cast<std::uint8_t>(20000));
  // What was left of it is used on.
  fill(buffer.space(100), 100, 9);
  CHECK(buffer.take(100)[0].bytes.data() == pieces[1].bytes.data() + 30000);
}

TEST_CASE("the most that is offered is what was asked for") {
  ReadBuffer buffer;
  CHECK(size_of(buffer.space(1)) == 1);
  CHECK(size_of(buffer.space(ReadBuffer::kChunkBytes)) == ReadBuffer::kChunkBytes);
  CHECK(size_of(buffer.space(10 * ReadBuffer::kChunkBytes)) == 2 * ReadBuffer::kChunkBytes);
}

TEST_CASE("bytes that were only looked at make room for the next read") {
  ReadBuffer buffer;
  auto first = buffer.space(100)[0].iov_base;
  fill(buffer.space(100), 100, 1);
  CHECK(buffer.peek(100)[99] == 100);
  CHECK(buffer.space(100)[0].iov_base == first);
}

TEST_CASE("chunks that nobody holds are used again") {
  ReadBuffer buffer;
  for (int i = 0; i < 1000; ++i) {
    buffer.space(100000);
    buffer.take(100000);
  }
  CHECK(buffer.chunks() <= 4);
}

TEST_CASE("of many chunks that were held a few are kept") {
  ReadBuffer buffer;
  std::vector<ReadBuffer::Piece> held;
  for (int i = 0; i < 50; ++i) {
    buffer.space(ReadBuffer::kChunkBytes);
    for (const auto& piece : buffer.take(ReadBuffer::kChunkBytes)) held.push_back(piece);
  }
  CHECK(buffer.chunks() >= 50);
  held.clear();
  CHECK(buffer.chunks() < 20);
}

TEST_CASE("bytes outlive the buffer they were read with") {
  std::vector<ReadBuffer::Piece> held;
  {
    ReadBuffer buffer;
    fill(buffer.space(5000), 5000, 3);
    for (const auto& piece : buffer.take(5000)) held.push_back(piece);
  }
  CHECK(held.at(0).bytes[0] == 3);
}
