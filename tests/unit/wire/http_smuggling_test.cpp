// Ways to make a gateway and a server see different requests in the same bytes, one a test. Each
// would reach evil.example past a gateway that saw only good.example.

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>

#include "wire/every_cut.h"

using namespace sluice;
using namespace sluice::testing;
using wire::HttpRequestReader;
using State = wire::HttpRequestReader::State;

namespace {

const std::string kEvil = "GET /secret HTTP/1.1\r\nHost: evil.example\r\n\r\n";

std::string with_body(std::string_view method, std::string_view fields, std::string_view body) {
  return std::string(method) +
         " / HTTP/1.1\r\nHost: good.example\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

Outcome<HttpRequestReader> outcome_of(const std::string& stream, Server server = Server::stays) {
  return outcome_of_every_cut<HttpRequestReader>(bytes_of(stream), server);
}

/// Whether the stream is malformed, and no byte from `evil_at` on was released.
bool is_refused(const std::string& stream, std::size_t evil_at) {
  auto outcome = outcome_of(stream);
  INFO(outcome);
  CHECK(std::ranges::find(outcome.names, "evil.example") == outcome.names.end());
  return outcome.state == State::malformed && outcome.released <= evil_at;
}
bool is_refused(const std::string& stream) {
  return is_refused(stream, stream.find("evil"));
}

bool passes(const std::string& stream) {
  auto outcome = outcome_of(stream);
  INFO(outcome);
  return outcome.state == State::head && outcome.released == stream.size();
}

constexpr const char* kExpect = "Expect: 100-continue\r\n";

}  // namespace

TEST_CASE("a request in place of the body that a server refused to have is no body") {
  std::string stream = with_body("POST", kExpect, kEvil);
  CHECK(is_refused(stream, stream.size() - kEvil.size()));
}

TEST_CASE("a request in place of a refused body is refused whatever its host") {
  std::string next = "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n";
  std::string stream = with_body("POST", kExpect, next);
  CHECK(is_refused(stream, stream.size() - next.size()));
}

TEST_CASE("a request behind an empty line in a refused body is no body") {
  std::string stream = with_body("POST", kExpect, "\r\n" + kEvil);
  CHECK(is_refused(stream, stream.size() - kEvil.size() - 2));
}

TEST_CASE("a refused body that completes the next request line is no body") {
  std::string stream = with_body("POST", kExpect, "GET http://evil.example/?") +
                       "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n";
  // It is over before it completes anything, so that far it passes.
  CHECK(is_refused(stream, stream.rfind("GET / ")));
}

TEST_CASE("a chunked body that a server refused to have can't begin as a request") {
  std::string head = "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n" +
                     std::string(kExpect) + "\r\n";
  CHECK(is_refused(head + kEvil, head.size()));
}

TEST_CASE("a request in the body of a method without one is no body") {
  for (std::string_view method : {"GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "get"}) {
    CAPTURE(method);
    std::string stream = with_body(method, "", kEvil);
    CHECK(is_refused(stream, stream.size() - kEvil.size()));
  }
}

TEST_CASE("a body after an expectation is held until it can't be a request, then flows") {
  HttpRequestReader reader;
  std::string head = with_body("PUT", kExpect, std::string(100, 'x'));
  head.resize(head.size() - 100);
  reader.feed(bytes_of(head));
  reader.approve();
  reader.feed(bytes_of("word "));
  CHECK(reader.released() == head.size());
  reader.feed(bytes_of("after word\n"));
  CHECK(reader.released() == head.size() + 16);
  reader.feed(bytes_of("GET / HTTP/1.1\n"));
  CHECK(reader.released() == head.size() + 31);
}

TEST_CASE("once the server said 100 Continue, a body may be anything") {
  HttpRequestReader reader;
  std::string stream = with_body("POST", kExpect, kEvil);
  std::size_t head = stream.size() - kEvil.size();
  reader.feed(bytes_of(stream).first(head));
  reader.approve();
  reader.feed(bytes_of("GET "));
  CHECK(reader.released() == head);
  reader.continued();
  CHECK(reader.released() == head + 4);
  reader.feed(bytes_of(kEvil).subspan(4));
  CHECK(reader.state() == State::head);
  CHECK(reader.released() == stream.size());
}

TEST_CASE("uploads with an expectation pass, and the next request is found behind them") {
  std::string next = "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n";
  for (const std::string& body :
       {std::string("{\"json\": 1}"), std::string("a=1&b=2"), std::string("some text\nand more"),
        std::string("--boundary\r\nContent-Type: x\r\n"), std::string("\0\1\2", 3),
        std::string("\x1f\x8b\x08"), std::string("<xml/>"), std::string("a,b\n1,2\n")}) {
    CAPTURE(body);
    CHECK(passes(with_body("PUT", kExpect, body) + next));
    CHECK(passes(with_body("GET", "", body) + next));
  }
  CHECK(passes("POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n" +
               std::string(kExpect) + "\r\n5\r\nhello\r\n0\r\n\r\n" + next));
}

TEST_CASE("a request in the body of an ordinary upload is a body") {
  CHECK(passes(with_body("POST", "", kEvil)));
}

TEST_CASE("Content-Length beside Transfer-Encoding is refused, in either order") {
  std::string chunks = "0\r\n\r\n" + kEvil;
  CHECK(is_refused(
      "POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: " + std::to_string(chunks.size()) +
      "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks));
  CHECK(
      is_refused("POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n"
                 "Content-Length: 4\r\n\r\n" +
                 chunks));
}

TEST_CASE("a Transfer-Encoding that some don't know is refused") {
  for (std::string_view coding : {"xchunked", "chunked, identity", "identity, chunked", "Chunked",
                                  "\tchunked;q=1", "\"chunked\""}) {
    CAPTURE(coding);
    CHECK(is_refused("POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: " +
                     std::string(coding) + "\r\n\r\n0\r\n\r\n" + kEvil));
  }
}

TEST_CASE("a chunk extension with a bare line feed is refused") {
  std::string head = "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(is_refused(head + "2;\nxx\r\n4c\r\n0\r\n\r\n" + kEvil));
  CHECK(is_refused(head + "2;\rxx\r\n0\r\n\r\n" + kEvil));
}

TEST_CASE("a chunk size that some read as another is refused") {
  std::string head = "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::string_view size : {"0x5", "+5", "-5", " 5", "5 ", "100000005", "5_0"}) {
    CAPTURE(size);
    CHECK(is_refused(head + std::string(size) + "\r\nhello\r\n0\r\n\r\n" + kEvil));
  }
}

TEST_CASE("a bare line feed that ends a field or a head is refused") {
  CHECK(is_refused("GET / HTTP/1.1\r\nHost: good.example\n\n" + kEvil));
  CHECK(is_refused("GET / HTTP/1.1\r\nX: y\nHost: evil.example\r\nHost: good.example\r\n\r\n"));
}

TEST_CASE("a folded field is refused") {
  CHECK(is_refused("GET / HTTP/1.1\r\nHost: good.example\r\nX: y\r\n Host: evil.example\r\n\r\n"));
}

TEST_CASE("an absolute target for another host than Host is refused") {
  CHECK(is_refused("GET http://evil.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n", 0));
  CHECK(is_refused("GET http://good.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 0));
}

TEST_CASE("two Hosts are refused, however the second is written") {
  for (std::string_view second : {"Host: evil.example", "host:evil.example", "HOST: evil.example",
                                  "Host : evil.example", "Host\t: evil.example"}) {
    CAPTURE(second);
    CHECK(
        is_refused("GET / HTTP/1.1\r\nHost: good.example\r\n" + std::string(second) + "\r\n\r\n"));
  }
}

TEST_CASE("a Host with user information, an odd port, a list or a path is refused") {
  for (std::string_view host :
       {"good.example@evil.example", "evil.example:80@good.example", "good.example:evil.example",
        "good.example, evil.example", "good.example/evil.example", "good.example#evil.example",
        "good.example\tevil.example", "good.example\\evil.example"}) {
    CAPTURE(host);
    CHECK(is_refused("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n", 0));
  }
}

TEST_CASE("of pipelined requests the one for another host is held") {
  std::string first = "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n";
  HttpRequestReader reader;
  reader.feed(bytes_of(first + kEvil));
  reader.approve();
  reader.feed(bytes_of(kEvil));
  CHECK(reader.state() == State::verdict);
  CHECK(name_of(reader) == "evil.example");
  CHECK(reader.released() == first.size());
}

TEST_CASE("what follows CONNECT or Upgrade waits for the server's answer") {
  for (const std::string& head :
       {std::string("CONNECT good.example:80 HTTP/1.1\r\nHost: good.example\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\n\r\n")}) {
    HttpRequestReader reader;
    reader.feed(bytes_of(head));
    reader.approve();
    CHECK(reader.feed(bytes_of(kEvil)) == 0);
    CHECK(reader.released() == head.size());
    reader.not_switched();
    reader.feed(bytes_of(kEvil));
    CHECK(name_of(reader) == "evil.example");
  }
}

TEST_CASE("a Connection that makes a proxy drop Host or the framing is refused") {
  for (std::string_view option : {"Host", "close, host", "keep-alive ,Content-Length",
                                  "transfer-encoding", "content_length"}) {
    CAPTURE(option);
    CHECK(is_refused(with_body("POST", "Connection: " + std::string(option) + "\r\n", kEvil), 0));
  }
  CHECK(passes(with_body("POST", "Connection: keep-alive, TE\r\n", "body")));
}

TEST_CASE("Content-Length in two values, or in a form that some read as another, is refused") {
  for (std::string_view fields :
       {"Content-Length: 0\r\nContent-Length: 45\r\n", "Content-Length: 0, 45\r\n",
        "Content-Length: +45\r\n", "Content-Length: 045\r\n", "Content-Length: 4 5\r\n",
        "Content-Length: 45.0\r\n", "Content-Length: 0x2d\r\n", "Content-Length : 45\r\n",
        "Content_Length: 45\r\n", "Content-Length: 45\x0b\r\n"}) {
    CAPTURE(fields);
    CHECK(is_refused(
        "POST / HTTP/1.1\r\nHost: good.example\r\n" + std::string(fields) + "\r\n" + kEvil, 0));
  }
}

TEST_CASE("a trailer that would frame or route anew is refused") {
  std::string head = "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(is_refused(head + "0\r\nHost: evil.example\r\n\r\n"));
  CHECK(is_refused(head + "0\r\nContent-Length: 45\r\n\r\n" + kEvil));
}

TEST_CASE("a control byte or an odd blank anywhere in a head is refused") {
  for (char c : {'\0', '\x01', '\x0b', '\x0c', '\r', '\x1f', '\x7f'}) {
    std::string field = "X: y";
    field += c;
    CHECK(is_refused("GET / HTTP/1.1\r\nHost: good.example\r\n" + field +
                     "Host: evil.example\r\n\r\n"));
  }
}
