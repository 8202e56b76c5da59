#include "agent/archive/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <string>

using namespace sluice;
using namespace sluice::agent;

namespace {

ConstBytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string gzip(const std::string& text) {
  z_stream state{};
  REQUIRE(deflateInit2(&state, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(text.size() + 1000, '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&state, Z_FINISH) == Z_STREAM_END);
  out.resize(state.total_out);
  deflateEnd(&state);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

/// All of it, read in pieces of these sizes.
Result<std::string> unpacked(const std::string& packed, std::size_t in = SIZE_MAX,
                             std::size_t out = 4096) {
  MemorySource source(bytes_of(packed), in);
  auto stream = decompressed(source);
  if (!stream) return stream.status();
  std::string text;
  std::vector<std::uint8_t> piece(out);
  for (;;) {
    auto got = (*stream)->read(piece);
    if (!got) return got.status();
    if (*got == 0) return text;
    text.append(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*got));
  }
}

std::string text_of_some_size() {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i * 7919 % 10007);
  return text;
}

}  // namespace

TEST_CASE("gzip and zstd are unpacked however they come, and anything else is as it is") {
  std::string text = text_of_some_size();
  for (const std::string& packed : {text, gzip(text), zstd(text)}) {
    for (std::size_t in : {std::size_t{1}, std::size_t{1000}, SIZE_MAX}) {
      for (std::size_t out : {std::size_t{1}, std::size_t{70000}}) {
        auto got = unpacked(packed, in, out);
        REQUIRE(got);
        REQUIRE(*got == text);
      }
    }
  }
  for (const char* little : {"", "a", "\x1f\x8b", "(\xb5/"}) CHECK(*unpacked(little) == little);
}

TEST_CASE("several members, frames, and zeros behind gzip are one stream") {
  std::string text = text_of_some_size();
  CHECK(*unpacked(gzip(text) + gzip("b") + gzip("")) == text + "b");
  CHECK(*unpacked(gzip(text) + std::string(5000, '\0'), 700) == text);
  CHECK(*unpacked(zstd(text) + zstd("b") + zstd("")) == text + "b");
  std::string skippable("\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
  CHECK(*unpacked(skippable + zstd(text)) == text);
}

TEST_CASE("what is damaged or cut off is an error") {
  std::string text = text_of_some_size();
  for (const std::string& packed : {gzip(text), zstd(text)}) {
    for (std::size_t size : {std::size_t{20}, packed.size() / 2, packed.size() - 1}) {
      auto got = unpacked(packed.substr(0, size));
      REQUIRE_FALSE(got);
      CHECK(got.status().code() == StatusCode::invalid_argument);
    }
    CHECK_FALSE(unpacked(packed + "rubbish"));
  }
  std::string broken = gzip(text);
  broken[broken.size() / 2] ^= 0x55;
  CHECK_FALSE(unpacked(broken));
}

TEST_CASE("an allowance ends what unpacks to more") {
  std::string packed = gzip(std::string(100'000, 'x'));
  MemorySource source(bytes_of(packed));
  auto stream = decompressed(source);
  REQUIRE(stream);
  Allowance allowance(50'000);
  MeteredSource metered(**stream, allowance);
  Status status = drain(metered);
  CHECK(status.code() == StatusCode::exhausted);
}
