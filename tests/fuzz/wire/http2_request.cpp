// Any bytes as a client's HTTP/2 connection, as they are and as frames of well-formed length: the
// outcome doesn't depend on how the stream is cut, and no request is released before it was judged.

#include <algorithm>

#include "check.h"
#include "wire/http2_frames.h"
#include "wire/reader_kit.h"

using namespace sluice;
using wire::Http2RequestReader;
using State = wire::Http2RequestReader::State;
using Outcome = testing::Outcome<Http2RequestReader>;

namespace {

Outcome run(ConstBytes all, std::size_t step) {
  testing::ReaderRun<Http2RequestReader> run;
  run.on_verdict = [](const Http2RequestReader& reader, std::uint64_t from, std::uint64_t to) {
    FUZZ_CHECK(to - from <= Http2RequestReader::kMaxBlockBytes);
    FUZZ_CHECK(reader.request().stream % 2 == 1);
    const auto& authority = reader.request().authority;
    if (!authority) return;
    auto again = wire::HttpAuthority::parse(authority->to_string());
    FUZZ_CHECK(again && *again == *authority);
  };
  run.feed(all, step);
  Outcome outcome = run.outcome();
  FUZZ_CHECK(outcome.broken.empty());
  FUZZ_CHECK(outcome.state == State::malformed || run.fed() == all.size());
  FUZZ_CHECK((outcome.state == State::malformed) == !outcome.reason.empty());
  return outcome;
}

void check(ConstBytes stream) {
  Outcome whole = run(stream, SIZE_MAX);
  FUZZ_CHECK(run(stream, 1) == whole);
  FUZZ_CHECK(run(stream, 13) == whole);
}

/// After the preface; of each frame the type, the flags, the stream and the size in a byte each.
testing::Message frames_of(ConstBytes in) {
  testing::Message stream = testing::http2::begin();
  while (in.size() > 4) {
    std::size_t size = std::min<std::size_t>(in[3], in.size() - 4);
    ConstBytes payload = in.subspan(4, size);
    auto frame = testing::http2::frame(in[0] % 12, in[1], in[2], {payload.begin(), payload.end()});
    stream.insert(stream.end(), frame.begin(), frame.end());
    in = in.subspan(4 + size);
  }
  return stream;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  check(in);
  check(frames_of(in));
  return 0;
}
