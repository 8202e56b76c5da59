// Any bytes as a client's HTTP connection: the outcome doesn't depend on how the stream is cut,
// nothing is released before it was judged, and every head that is released reads the same to a
// plain second reader.

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "wire/http_request.h"

using namespace sluice;
using wire::HttpRequestReader;
using State = wire::HttpRequestReader::State;

namespace {

enum class Server { stays, switches };

struct Outcome {
  State state = State::undecided;
  std::vector<std::string> hosts;
  std::uint64_t released = 0;
  std::string reason;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

std::string host_of(const wire::HttpRequest& request) {
  if (!request.authority) return "none";
  std::string text = request.authority->to_string();
  auto again = wire::HttpAuthority::parse(text);
  FUZZ_CHECK(again && *again == *request.authority);
  return text;
}

/// A head as every reader of lines sees it.
void check_head(std::string_view head, const wire::HttpRequest& request) {
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

Outcome run(ConstBytes all, std::size_t step, Server server) {
  HttpRequestReader reader;
  Outcome outcome;
  std::uint64_t fed = 0;
  while (fed < all.size()) {
    std::uint64_t before = reader.released();
    ConstBytes rest = all.subspan(fed);
    std::size_t taken = reader.feed(rest.first(std::min(step, rest.size())));
    fed += taken;
    FUZZ_CHECK(reader.released() >= before && reader.released() <= fed);
    if (reader.state() == State::verdict) {
      FUZZ_CHECK(reader.taken() == fed && reader.released() < fed);
      auto head = all.subspan(reader.released(), fed - reader.released());
      check_head({reinterpret_cast<const char*>(head.data()), head.size()}, reader.request());
      outcome.hosts.push_back(host_of(reader.request()));
      reader.approve();
      FUZZ_CHECK(reader.released() == fed);
    } else if (reader.state() == State::switching) {
      FUZZ_CHECK(reader.released() == fed);
      if (server == Server::switches) {
        reader.switched();
      } else {
        reader.not_switched();
      }
    } else if (taken == 0) {
      break;
    }
  }
  // The last byte may have been a head's.
  if (reader.state() == State::switching) {
    if (server == Server::switches) {
      reader.switched();
    } else {
      reader.not_switched();
    }
  }
  outcome.state = reader.state();
  outcome.released = reader.released();
  outcome.reason = reader.reason();
  bool ended = outcome.state == State::not_http || outcome.state == State::http2 ||
               outcome.state == State::malformed;
  FUZZ_CHECK(ended || fed == all.size());
  FUZZ_CHECK((outcome.state == State::malformed) == !outcome.reason.empty());
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  for (auto server : {Server::stays, Server::switches}) {
    Outcome whole = run(in, in.size(), server);
    FUZZ_CHECK(run(in, 1, server) == whole);
    FUZZ_CHECK(run(in, 13, server) == whole);
  }
  return 0;
}
