// Any bytes as a client's HTTP connection: the outcome doesn't depend on how the stream is cut,
// nothing is released before it was judged, and every head that is released reads the same to a
// plain second reader.

#include <algorithm>
#include <string>

#include "check.h"
#include "wire/reader_kit.h"

using namespace sluice;
using wire::HttpRequestReader;
using State = wire::HttpRequestReader::State;
using Outcome = testing::Outcome<HttpRequestReader>;

namespace {

/// A head as every reader of lines sees it.
void check_head(std::string_view head, const wire::HttpRequest& request) {
  if (request.authority) {
    auto again = wire::HttpAuthority::parse(request.authority->to_string());
    FUZZ_CHECK(again && *again == *request.authority);
  }
  FUZZ_CHECK(head.size() <= HttpRequestReader::kMaxHeadBytes);
  FUZZ_CHECK(head.ends_with("\r\n\r\n") && head.find('\0') == std::string_view::npos);
  for (std::size_t i = 0; i < head.size(); ++i) {
    FUZZ_CHECK(head[i] != '\n' || (i > 0 && head[i - 1] == '\r'));
    FUZZ_CHECK(head[i] != '\r' || (i + 1 < head.size() && head[i + 1] == '\n'));
  }
  std::string lower(head);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  auto host = lower.find("\nhost:");
  FUZZ_CHECK(host == std::string::npos || lower.find("\nhost:", host + 1) == std::string::npos);
  bool length = lower.find("\ncontent-length:") != std::string::npos;
  FUZZ_CHECK(!length || lower.find("\ntransfer-encoding:") == std::string::npos);
  if (request.authority && request.authority->name()) {
    FUZZ_CHECK(lower.find(request.authority->name()->text()) != std::string::npos);
  }
}

Outcome run(ConstBytes all, std::size_t step, testing::Server server) {
  testing::ReaderRun<HttpRequestReader> run(server);
  run.on_verdict = [&](const HttpRequestReader& reader, std::uint64_t from, std::uint64_t to) {
    auto head = all.subspan(from, to - from);
    check_head({reinterpret_cast<const char*>(head.data()), head.size()}, reader.request());
  };
  run.feed(all, step);
  Outcome outcome = run.outcome();
  FUZZ_CHECK(outcome.broken.empty());
  bool ended = outcome.state == State::not_http || outcome.state == State::http2 ||
               outcome.state == State::malformed;
  FUZZ_CHECK(ended || run.fed() == all.size());
  FUZZ_CHECK((outcome.state == State::malformed) == !outcome.reason.empty());
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  for (auto server : {testing::Server::stays, testing::Server::switches}) {
    Outcome whole = run(in, in.size(), server);
    FUZZ_CHECK(run(in, 1, server) == whole);
    FUZZ_CHECK(run(in, 13, server) == whole);
  }
  return 0;
}
