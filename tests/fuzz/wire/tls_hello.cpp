// Any bytes as a hello and as a client's stream: the outcome doesn't depend on how the stream is
// cut, nothing is released before it was judged, and what passes is counted right.

#include "check.h"
#include "wire/reader_kit.h"

using namespace sluice;
using wire::TlsHelloReader;
using State = wire::TlsHelloReader::State;
using Outcome = testing::Outcome<TlsHelloReader>;

namespace {

void check_hello(const wire::ClientHello& hello) {
  FUZZ_CHECK(hello.has_server_name == hello.server_name.has_value());
  if (hello.server_name) {
    auto again = DomainName::parse(hello.server_name->text());
    FUZZ_CHECK(again && !again->is_root() && *again == *hello.server_name);
  }
  FUZZ_CHECK(hello.alpn.size() <= wire::ClientHello::kMaxAlpn);
  for (const auto& protocol : hello.alpn) FUZZ_CHECK(!protocol.empty());
}

Outcome run(ConstBytes stream, std::size_t step) {
  testing::ReaderRun<TlsHelloReader> run;
  run.on_verdict = [](const TlsHelloReader& reader, std::uint64_t, std::uint64_t) {
    check_hello(reader.hello());
  };
  run.feed(stream, step);
  Outcome outcome = run.outcome();
  FUZZ_CHECK(outcome.broken.empty());
  bool bad = outcome.state == State::not_tls || outcome.state == State::too_large ||
             outcome.state == State::malformed;
  FUZZ_CHECK(bad || run.fed() == stream.size());
  FUZZ_CHECK((outcome.state == State::malformed) == !outcome.reason.empty());
  FUZZ_CHECK(outcome.state != State::opaque || outcome.released == run.fed());
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  if (auto hello = wire::parse_client_hello(in)) check_hello(*hello);
  Outcome whole = run(in, in.size());
  FUZZ_CHECK(run(in, 1) == whole);
  FUZZ_CHECK(run(in, 7) == whole);
  return 0;
}
