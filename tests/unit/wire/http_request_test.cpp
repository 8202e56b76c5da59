#include "wire/http_request.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "wire/every_cut.h"

using namespace sluice;
using namespace sluice::testing;
using wire::HttpRequest;
using wire::HttpRequestReader;
using State = wire::HttpRequestReader::State;

namespace {

Outcome<HttpRequestReader> outcome_of(const std::string& stream, Server server = Server::stays) {
  return outcome_of_every_cut<HttpRequestReader>(bytes_of(stream), server);
}

Outcome<HttpRequestReader> run(const std::string& stream, std::size_t step = SIZE_MAX) {
  return run_in_steps<HttpRequestReader>(bytes_of(stream), step);
}

using Hosts = std::vector<std::string>;

/// The hosts of a stream that consists of whole requests.
Hosts hosts_of(const std::string& stream) {
  auto outcome = outcome_of(stream);
  INFO(outcome);
  CHECK(outcome.state == State::head);
  CHECK(outcome.released == stream.size());
  return outcome.names;
}

HttpRequest first_request(std::string_view stream) {
  HttpRequestReader reader;
  reader.feed(bytes_of(stream));
  REQUIRE(reader.state() == State::verdict);
  return reader.request();
}

constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

}  // namespace

TEST_CASE("a request's host is known before a byte of its head is released") {
  std::string stream = kGet;
  HttpRequestReader reader;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    CHECK(reader.feed(bytes_of(std::string_view(stream).substr(i, 1))) == 1);
    CHECK(reader.released() == 0);
  }
  CHECK(reader.state() == State::verdict);
  CHECK(reader.request().authority->name()->text() == "a.example");
  CHECK(reader.feed(bytes_of("GET")) == 0);
  reader.approve();
  CHECK(reader.released() == stream.size());
  CHECK(reader.state() == State::head);
}

TEST_CASE("every request of a connection is judged, pipelined or not") {
  std::string stream =
      "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
      "POST /x HTTP/1.1\r\nHost: b.example:8080\r\nContent-Length: 5\r\n\r\nhello"
      "POST /y HTTP/1.1\r\nhost:C.Example.\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;name=\"a b\"\r\nhello\r\n1f\r\n0123456789012345678901234567890\r\n0\r\nX-Sum: 1\r\n\r\n"
      "\r\nOPTIONS * HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n"
      "GET http://d.example/path HTTP/1.1\r\nHost: d.example\r\n\r\n"
      "GET / HTTP/1.0\r\n\r\n"
      "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 0\r\n\r\n"
      "GET / HTTP/1.1\r\nHost:\r\n\r\n";
  CHECK(hosts_of(stream) == Hosts{"a.example", "b.example:8080", "c.example", "[2001:db8::1]:80",
                                  "d.example", "none", "192.0.2.1", "none"});
}

TEST_CASE("a second request with another host is not released before its verdict") {
  std::string first = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
  std::string second = "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
  std::string stream = first + second;
  HttpRequestReader reader;
  auto taken = reader.feed(bytes_of(stream));
  reader.approve();
  CHECK(taken + reader.feed(bytes_of(stream).subspan(taken)) == stream.size());
  CHECK(reader.state() == State::verdict);
  CHECK(reader.request().authority->name()->text() == "b.example");
  CHECK(reader.released() == first.size());
}

TEST_CASE("a body is released as it comes, but not the line of a chunk that is under way") {
  HttpRequestReader reader;
  std::string head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  reader.feed(bytes_of(head));
  reader.approve();
  reader.feed(bytes_of("5;a"));
  CHECK(reader.released() == head.size());
  reader.feed(bytes_of("\r\nhe"));
  CHECK(reader.released() == head.size() + 7);
}

TEST_CASE("what isn't HTTP is told as soon as its bytes say so") {
  auto [stream, needed] = GENERATE(table<std::string, std::size_t>({
      {std::string("\0", 1), 1},
      {"\x16\x03\x01", 1},
      {"SSH-2.0-OpenSSH_9.2\r\n", 21},
      {"{\"json\":1}", 1},
      {"<xml>", 1},
      {"*1\r\n$4\r\nPING\r\n", 4},
      {"EHLO me\r\n", 9},
      {"GET key\r\n", 9},
      {"PING\n", 5},
      {"\r\n\r\nhello there\n", 16},
      {"\n\n\x01", 3},
      {"REGISTER sip:a SIP/2.0\r\n", 24},
      {"a001 LOGIN u p\r\n", 16},
  }));
  CAPTURE(stream);
  for (std::size_t size = 0; size <= stream.size(); ++size) {
    HttpRequestReader reader;
    reader.feed(bytes_of(std::string_view(stream).substr(0, size)));
    CHECK(reader.state() == (size < needed ? State::undecided : State::not_http));
  }
  CHECK(outcome_of(stream).state == State::not_http);
}

TEST_CASE("the preface of HTTP/2 is seen for what it is") {
  CHECK(outcome_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").state == State::http2);
  CHECK(outcome_of("PRI / HTTP/2.0\r\n\r\n").state == State::malformed);
  CHECK(outcome_of("\r\nPRI * HTTP/2.0\r\n\r\n").state == State::malformed);
  CHECK(outcome_of(std::string(kGet) + "PRI * HTTP/2.0\r\n\r\n").state == State::malformed);
}

TEST_CASE("a first line that only a lenient server would read is malformed, not another protocol") {
  auto line = GENERATE(
      as<std::string>(), "GET / HTTP/1.1\n", "GET\t/\tHTTP/1.1\r\n", " GET / HTTP/1.1\r\n",
      "\tGET / HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n", "GET /  HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n",
      "GET / HTTP/1.1 x\r\n", "GET / http/1.1\r\n", "GET / HTTP/1.2\r\n", "GET / HTTP/2.0\r\n",
      "GET / HTTP/11\r\n", "GET / HTTP/1.1\r\r\n", "GET /a b HTTP/1.1\r\n", "GET /\rHTTP/1.1\r\n",
      "GET /\vHTTP/1.1\r\n", "GET /\x1fHTTP/1.1\r\n", "GET /\xa0HTTP/1.1\r\n",
      "GET /\x01 HTTP/1.1\r\n", "GET /\xff HTTP/1.1\r\n", "GET /\r\n", "GET http://a.example/\r\n",
      "\r\n\r\nGET / HTTP/1.1\r\n", "\nGET / HTTP/1.1\r\n", "\r\n \r\nGET / HTTP/1.1\r\n",
      "\r\n\nGET / HTTP/1.1\r\n", "FROB / HTTP/1.1\n", "get / HTTP/1.1\n", "GET /\r HTTP/1.1\r\n");
  CAPTURE(line);
  auto outcome = outcome_of(line + "Host: a.example\r\n\r\n");
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.names.empty());
  CHECK(outcome.released == 0);
}

TEST_CASE("one empty line may come before a request") {
  CHECK(hosts_of(std::string("\r\n") + kGet + "\r\n" + kGet).size() == 2);
  CHECK(outcome_of(std::string(kGet) + "\r\n\r\n" + kGet).state == State::malformed);
  CHECK(outcome_of(std::string(kGet) + "\n" + kGet).state == State::malformed);
}

TEST_CASE("any method is a request") {
  CHECK(hosts_of("FROB /x HTTP/1.1\r\nHost: a.example\r\n\r\n") == Hosts{"a.example"});
  CHECK(hosts_of("M-SEARCH /x HTTP/1.1\r\nHost: a.example\r\n\r\n") == Hosts{"a.example"});
}

TEST_CASE("fields that two readers could read as two requests are malformed") {
  auto fields = GENERATE(
      as<std::string>(), "", "Host: a.example\r\nHost: a.example\r\n",
      "Host: a.example\r\nhost: b.example\r\n", "Host : a.example\r\n", " Host: a.example\r\n",
      "Host: a.example\r\n folded\r\n", "Host: a.example\r\n\tfolded\r\n",
      "Host:\r\n a.example\r\n", "X: y\r\n Host: b.example\r\nHost: a.example\r\n",
      "Host: a.example\n", "Host: a.example\r", "Host: a.example\r\r\n",
      "Host: a.example\rX: y\r\n", "Ho st: a.example\r\n", "Host\r\n: a.example\r\n",
      ": a.example\r\n", "Host: a.example\r\nnocolon\r\n", std::string("Host: a.example\0\r\n", 18),
      "Host: a.exam\x7fple\r\n", "Host: a.example\r\nX: \x01\r\n",
      "Host: a.example\r\nX\x80: 1\r\n",
      "Host: a.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
      "Host: a.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
      "Host: a.example\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
      "Host: a.example\r\nContent-Length: 3, 3\r\n", "Host: a.example\r\nContent-Length: +3\r\n",
      "Host: a.example\r\nContent-Length: -3\r\n", "Host: a.example\r\nContent-Length: 0x3\r\n",
      "Host: a.example\r\nContent-Length: 03\r\n", "Host: a.example\r\nContent-Length:\r\n",
      "Host: a.example\r\nContent-Length: 3 3\r\n",
      "Host: a.example\r\nContent-Length: 18446744073709551616\r\n",
      "Host: a.example\r\nContent_Length: 3\r\n",
      "Host: a.example\r\nTransfer_Encoding: chunked\r\n",
      "Host: a.example\r\nTransfer-Encoding: Chunked\r\n",
      "Host: a.example\r\nTransfer-Encoding: gzip, chunked\r\n",
      "Host: a.example\r\nTransfer-Encoding: chunked, identity\r\n",
      "Host: a.example\r\nTransfer-Encoding: identity\r\n",
      "Host: a.example\r\nTransfer-Encoding: \"chunked\"\r\n",
      "Host: a.example\r\nTransfer-Encoding: xchunked\r\n",
      "Host: a.example\r\nTransfer-Encoding: \x0b"
      "chunked\r\n",
      "Host: a.example\r\nTransfer-Encoding:\r\n",
      "Host: a.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
      "Host: a.example\r\nExpect: 100-continue, x\r\n", "Host: a.example\r\nExpect: y\r\n");
  CAPTURE(fields);
  auto outcome = outcome_of("POST / HTTP/1.1\r\n" + fields + "\r\nabcdef");
  CHECK(outcome.state != State::verdict);
  CHECK(outcome.names.empty());
  CHECK(outcome.released == 0);
  // A lone CR leaves the line open until a LF comes, and then it is malformed.
  CHECK(outcome_of("POST / HTTP/1.1\r\n" + fields + "\r\nabcdef\n").state == State::malformed);
}

TEST_CASE("a Host that isn't one name or address is malformed") {
  auto host =
      GENERATE(as<std::string>(), "a.example, b.example", "a.example b.example", "u@a.example",
               "a.example/", "a.example:", "a.example:x", "a.example:+80", "a.example:65536",
               "a.example:000080", "a..b", ".", "a.example..", "a.example%2e",
               "b\xc3\xbc"
               "cher.example",
               "127.1", "0x7f.0.0.1", "2130706433", "01.2.3.4", "1.2.3.4.", "1.2.3", "2001:db8::1",
               "[2001:db8::1", "[2001:db8::1]x", "[fe80::1%25eth0]", "[fe80::1%eth0]",
               "[192.0.2.1]", "[]", ":80", "a.example:80:80", "\"a.example\"", "a.example;b",
               "a.example\\b", "a.example?b", "a.example#b");
  CAPTURE(host);
  CHECK(outcome_of("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n").state == State::malformed);
}

TEST_CASE("identical Content-Lengths count as one") {
  CHECK(hosts_of("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nContent-Length: 3\r\n"
                 "\r\nabc")
            .size() == 1);
}

TEST_CASE("the authority of an absolute target must be Host's") {
  auto state = [](std::string_view target, std::string_view host) {
    HttpRequestReader reader;
    reader.feed(bytes_of("GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) +
                         "\r\n\r\n"));
    return reader.state();
  };
  CHECK(state("http://a.example/x", "a.example") == State::verdict);
  CHECK(state("HTTP://A.Example", "a.example:80") == State::verdict);
  CHECK(state("http://a.example:80/", "a.example") == State::verdict);
  CHECK(state("https://a.example?q", "a.example:443") == State::verdict);
  CHECK(state("http://a.example:8080/", "a.example") == State::malformed);
  CHECK(state("http://a.example/", "b.example") == State::malformed);
  CHECK(state("http://a.example/", "") == State::malformed);
  CHECK(state("http://b.example@a.example/", "a.example") == State::malformed);
  CHECK(state("http://a.example#@b.example/", "a.example") == State::malformed);
  CHECK(state("http://a.example\\@b.example/", "a.example") == State::malformed);
  CHECK(state("http:///x", "a.example") == State::malformed);
  CHECK(state("http:/x", "a.example") == State::malformed);
  CHECK(state("ftp://a.example/", "a.example") == State::malformed);
  CHECK(state("x", "a.example") == State::malformed);
  CHECK(state("*", "a.example") == State::malformed);
  auto request = first_request("GET http://a.example:8080/x HTTP/1.0\r\n\r\n");
  CHECK(request.target == HttpRequest::Target::absolute);
  CHECK(host_of(request) == "a.example:8080");
}

TEST_CASE("CONNECT names the host of its tunnel, and what follows waits for the server") {
  std::string connect = "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n";
  auto request = first_request(connect);
  CHECK(request.target == HttpRequest::Target::connect);
  CHECK(host_of(request) == "b.example:443");
  auto tunnel = outcome_of(connect + "\x16\x03\x01", Server::switches);
  CHECK(tunnel.state == State::opaque);
  CHECK(tunnel.released == connect.size() + 3);
  CHECK(hosts_of(connect + kGet) == Hosts{"b.example:443", "a.example"});

  HttpRequestReader reader;
  reader.feed(bytes_of(connect));
  reader.approve();
  CHECK(reader.state() == State::switching);
  CHECK(reader.feed(bytes_of("x")) == 0);

  for (std::string bad :
       {"CONNECT b.example HTTP/1.1\r\nHost: b.example\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:80\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\n\r\n",
        "connect b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: b.example\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example\r\nContent-Length: 4\r\n\r\n"}) {
    CAPTURE(bad);
    CHECK(outcome_of(bad).state == State::malformed);
  }
}

TEST_CASE("after a request with Upgrade and its body, what follows waits for the server") {
  std::string head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nUpgrade: ";
  CHECK(first_request(head + "WebSocket\r\n\r\n").upgrade == HttpRequest::Upgrade::websocket);
  CHECK(first_request(head + "h2c\r\n\r\n").upgrade == HttpRequest::Upgrade::h2c);
  CHECK(first_request(head + "websocket, h2c\r\n\r\n").upgrade == HttpRequest::Upgrade::other);
  CHECK(first_request(head + "h2c\r\nUpgrade: websocket\r\n\r\n").upgrade ==
        HttpRequest::Upgrade::other);
  CHECK(first_request(kGet).upgrade == HttpRequest::Upgrade::none);

  std::string stream = head + "websocket\r\n\r\nab";
  CHECK(outcome_of(stream).state == State::switching);
  CHECK(outcome_of(stream).released == stream.size());
  CHECK(outcome_of(stream + "\x81\x05", Server::switches).state == State::opaque);
  CHECK(outcome_of(stream + "\x81\x05").state == State::malformed);
  CHECK(hosts_of(stream + kGet + kGet) == Hosts{"a.example", "a.example", "a.example"});
}

TEST_CASE("an expectation is told, and is not carried over to the next request") {
  std::string stream =
      "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  CHECK(first_request(stream).expects_continue);
  HttpRequestReader reader;
  reader.feed(bytes_of(stream));
  reader.approve();
  reader.feed(bytes_of("{}"));
  reader.feed(bytes_of(kGet));
  REQUIRE(reader.state() == State::verdict);
  CHECK_FALSE(reader.request().expects_continue);
}

TEST_CASE("chunks that two readers could read differently are malformed, and their line is held") {
  std::string head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  auto body = GENERATE(as<std::string>(), "\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n",
                       "1 \r\n", "1 ;a\r\n", "1\n", "1\r\r\n", "1;a\rb\r\n", "1;a\nb\r\n", ";a\r\n",
                       "100000000\r\n", "80000000\r\n", "000000001\r\n", "1;\x01\r\n",
                       "1;" + std::string(600, 'a'), std::string(600, '0'));
  CAPTURE(body);
  auto outcome = outcome_of(head + body);
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.released == head.size());
}

TEST_CASE("a chunk must end where its size says, and trailers must not frame or route") {
  std::string head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::string body :
       {"1\r\nab\r\n", "1\r\na\n", "1\r\na\r\r", "0\r\nHost: b.example\r\n\r\n",
        "0\r\nContent-Length: 3\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\ncontent_length: 3\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\n folded: 1\r\n\r\n",
        "0\r\nnocolon\r\n\r\n", "0\r\nX: 1\n\r\n", "0\r\n\n", "0\r\nX: \x01\r\n"}) {
    CAPTURE(body);
    CHECK(outcome_of(head + body).state == State::malformed);
  }
}

TEST_CASE("a head or trailers over the limit are malformed, those within are read") {
  std::string start = "GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
  std::string rest = "\r\n\r\n";
  std::string fits =
      start + std::string(HttpRequestReader::kMaxHeadBytes - start.size() - rest.size(), 'x') +
      rest;
  REQUIRE(fits.size() == HttpRequestReader::kMaxHeadBytes);
  CHECK(run(fits, 1).names.size() == 1);
  CHECK(run(fits).names.size() == 1);
  std::string longer = start + "x" + fits.substr(start.size());
  CHECK(run(longer).state == State::malformed);
  CHECK(run(longer, 1) == run(longer));

  for (std::string unit : {"\r\n", "a", "X: y\r\n"}) {
    for (std::string front :
         {"", "GET / HTTP/1.1\r\nHost: a.example\r\n",
          "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"}) {
      CAPTURE(unit, front);
      std::string stream = front;
      while (stream.size() < 3 * HttpRequestReader::kMaxHeadBytes) stream += unit;
      auto outcome = run(stream);
      bool text = front.empty() && unit == "X: y\r\n";
      CHECK(outcome.state == (text ? State::not_http : State::malformed));
      CHECK(run(stream, 1) == outcome);
    }
  }
}

TEST_CASE("requests of HTTP/1.0 may lack Host, those of 1.1 may not") {
  CHECK(hosts_of("GET / HTTP/1.0\r\n\r\n") == Hosts{"none"});
  CHECK(hosts_of("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n") == Hosts{"a.example"});
  CHECK(outcome_of("GET / HTTP/1.1\r\n\r\n").state == State::malformed);
  CHECK(outcome_of("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").state ==
        State::malformed);
}
