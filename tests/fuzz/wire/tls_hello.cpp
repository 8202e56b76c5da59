// Any bytes as a hello and as a client's stream: the outcome doesn't depend on how the stream is
// cut, nothing is released before it was judged, and what passes is counted right.

#include <string>
#include <vector>

#include "check.h"
#include "wire/tls_hello_reader.h"

using namespace sluice;
using wire::TlsHelloReader;
using State = wire::TlsHelloReader::State;

namespace {

struct Outcome {
  State state = State::need_more;
  std::vector<std::string> names;
  std::uint64_t released = 0;
  std::string reason;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

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
  TlsHelloReader reader;
  Outcome outcome;
  std::uint64_t fed = 0;
  while (!stream.empty()) {
    std::uint64_t before = reader.released();
    std::size_t taken = reader.feed(stream.first(std::min(step, stream.size())));
    fed += taken;
    stream = stream.subspan(taken);
    FUZZ_CHECK(reader.released() >= before && reader.released() <= fed);
    if (reader.state() == State::complete) {
      FUZZ_CHECK(reader.taken() == fed && reader.released() < fed);
      check_hello(reader.hello());
      outcome.names.push_back(reader.hello().server_name ? reader.hello().server_name->text()
                                                         : "none");
      reader.approve();
      FUZZ_CHECK(reader.released() == fed);
    } else if (taken == 0) {
      break;
    }
  }
  outcome.state = reader.state();
  outcome.released = reader.released();
  outcome.reason = reader.reason();
  bool bad = outcome.state == State::not_tls || outcome.state == State::too_large ||
             outcome.state == State::malformed;
  FUZZ_CHECK(bad || stream.empty());
  FUZZ_CHECK((outcome.state == State::malformed) == !outcome.reason.empty());
  FUZZ_CHECK(outcome.state != State::opaque || outcome.released == fed);
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
