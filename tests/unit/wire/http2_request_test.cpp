#include "wire/http2_request.h"

#include <nghttp2/nghttp2.h>
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "wire/every_cut.h"
#include "wire/http2_frames.h"

using namespace sluice;
using namespace sluice::testing;
using namespace sluice::testing::http2;
using wire::Http2RequestReader;
using State = wire::Http2RequestReader::State;
using Names = std::vector<std::string>;

namespace {

Outcome<Http2RequestReader> outcome_of(const Message& stream) {
  return outcome_of_every_cut<Http2RequestReader>(stream);
}
Outcome<Http2RequestReader> run(const Message& stream) {
  return run_in_steps<Http2RequestReader>(stream, SIZE_MAX);
}

/// The hosts of a stream in which everything is well.
Names names_of(const Message& stream) {
  auto outcome = outcome_of(stream);
  INFO(outcome);
  CHECK(outcome.state == State::frames);
  CHECK(outcome.released == stream.size());
  return outcome.names;
}

/// Why a first request with these fields is malformed; empty: it isn't.
std::string fault_of(const Message& block) {
  auto outcome = outcome_of(begin() + headers(1, block));
  CHECK((outcome.state == State::malformed) == outcome.names.empty());
  if (outcome.state == State::malformed) CHECK(outcome.released == begin().size());
  return outcome.reason;
}
std::string fault_of(FieldList fields) {
  return fault_of(block(fields));
}

Message concat(const Message& piece, int times) {
  Message all;
  for (int i = 0; i < times; ++i) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

/// A library's own encoder, with its dynamic table and Huffman's code.
class Encoder {
 public:
  explicit Encoder(std::size_t table_bytes = 4096) {
    nghttp2_hd_deflate_new(&deflater_, table_bytes);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder() { nghttp2_hd_deflate_del(deflater_); }

  void resize(std::size_t table_bytes) {
    nghttp2_hd_deflate_change_table_size(deflater_, table_bytes);
  }
  Message block(FieldList fields) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    Message out(nghttp2_hd_deflate_bound(deflater_, list.data(), list.size()));
    auto size = nghttp2_hd_deflate_hd(deflater_, out.data(), out.size(), list.data(), list.size());
    REQUIRE(size >= 0);
    out.resize(static_cast<std::size_t>(size));
    return out;
  }

 private:
  static std::uint8_t* bytes(std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  }
  nghttp2_hd_deflater* deflater_ = nullptr;
};

}  // namespace

TEST_CASE("the host of an HTTP/2 request is known before a byte of its block is released") {
  Message stream = begin() + get(1, "a.example:8080");
  Http2RequestReader reader;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    CHECK(reader.feed({&stream[i], 1}) == 1);
    CHECK(reader.released() <= begin().size());
  }
  REQUIRE(reader.state() == State::verdict);
  CHECK(reader.released() == begin().size());
  CHECK(reader.request().stream == 1);
  CHECK(reader.request().authority->to_string() == "a.example:8080");
  CHECK(reader.feed(begin()) == 0);
  reader.approve();
  CHECK(reader.released() == stream.size());
  CHECK(reader.state() == State::frames);
}

TEST_CASE("every request of an HTTP/2 connection is judged, whatever comes between") {
  Message stream = begin() + frame(kWindowUpdate, 0, 0, be32(65535)) + get(1, "a.example") +
                   frame(kSettings, kAck, 0) + headers(3, get_block("b.example"), kEndHeaders) +
                   frame(kData, 0, 3, Message(300, 'x')) + get(5, "A.Example.") +
                   frame(kData, kEndStream | kPadded, 3, {2, 'y', 0, 0}) +
                   frame(kPing, 0, 0, Message(8, 1)) + frame(kReset, 0, 5, be32(8)) +
                   frame(0xfe, 0xff, 77, {1, 2, 3}) + frame(kData, 0, 3) +
                   get(101, "[2001:db8::1]:80") + frame(kGoaway, 0, 0, Message(8, 0));
  CHECK(names_of(stream) == Names{"a.example", "b.example", "a.example", "[2001:db8::1]:80"});
}

TEST_CASE("bytes of a body that look like frames and requests are a body") {
  Message body =
      get(3, "evil.example") + message_of("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  CHECK(names_of(begin() + headers(1, get_block("a.example"), kEndHeaders) +
                 frame(kData, kEndStream, 1, body)) == Names{"a.example"});
}

TEST_CASE("a header block in many frames, padded and with a priority, is put together") {
  Message fields = get_block("a.example");
  auto part = [&](std::size_t from, std::size_t to) {
    return Message(fields.begin() + static_cast<std::ptrdiff_t>(from),
                   fields.begin() + static_cast<std::ptrdiff_t>(to));
  };
  Message first = Message{3} + be32(0) + Message{15} + part(0, 4) + Message(3, 0);
  Message stream = begin() + frame(kHeaders, kEndStream | kPadded | kPriority, 1, first) +
                   frame(kContinuation, 0, 1) + frame(kContinuation, 0, 1, part(4, 9)) +
                   frame(kContinuation, kEndHeaders, 1, part(9, fields.size()));
  CHECK(names_of(stream) == Names{"a.example"});
  Message empty_first =
      begin() + frame(kHeaders, kEndStream, 1) + frame(kContinuation, kEndHeaders, 1, fields);
  CHECK(names_of(empty_first) == Names{"a.example"});
}

TEST_CASE("the table of an encoder is followed through all header blocks, trailers too") {
  Encoder encoder;
  auto request = [&](std::uint32_t stream, std::string_view host, std::uint8_t flags) {
    return headers(stream,
                   encoder.block({{":method", "POST"},
                                  {":scheme", "http"},
                                  {":path", "/a/longer/path"},
                                  {":authority", host},
                                  {"user-agent", "somebody's client"}}),
                   flags);
  };
  Message stream = begin();
  auto append = [&](const Message& more) { stream.insert(stream.end(), more.begin(), more.end()); };
  append(request(1, "a.example", kEndHeaders | kEndStream));
  append(request(3, "b.example", kEndHeaders));
  append(headers(3, encoder.block({{"x-checksum", "0123456789"}})));
  std::size_t plain = request(5, "a.example", kEndHeaders | kEndStream).size();
  append(request(7, "a.example", kEndHeaders | kEndStream));
  append(request(9, "b.example", kEndHeaders | kEndStream));
  CHECK(plain < 30);  // It does refer to the table.
  // The block of stream 5 was made and is not there, which nobody need notice.
  CHECK(names_of(stream) == Names{"a.example", "b.example", "a.example", "b.example"});
}

TEST_CASE("an encoder may make its table smaller and as large again as all begin with") {
  Encoder encoder;
  FieldList fields = {{":method", "GET"},
                      {":scheme", "http"},
                      {":path", "/"},
                      {":authority", "a.example"},
                      {"x", "y"}};
  Message stream = begin() + headers(1, encoder.block(fields));
  encoder.resize(0);
  stream = stream + headers(3, encoder.block(fields));
  encoder.resize(4096);
  stream = stream + headers(5, encoder.block(fields));
  stream = stream + headers(7, encoder.block(fields));
  CHECK(names_of(stream) == Names(4, "a.example"));

  Message larger = {0x3f, 0xe2, 0x1f};  // 4097
  CHECK(fault_of(larger + get_block("a.example")) == "a header block that is not HPACK");
}

TEST_CASE("an index that goes beyond the table, or into what was evicted, is malformed") {
  CHECK(fault_of(get_fields() + indexed(62)) == "a header block that is not HPACK");
  Message keeps = get_fields() + kept_field(":authority", "a.example");
  CHECK(names_of(begin() + headers(1, keeps) + headers(3, get_fields() + indexed(62))) ==
        Names(2, "a.example"));
  // One that is larger than the table empties it.
  Message evicts = get_block("a.example") + kept_field("x", std::string(4096, 'x'));
  auto outcome = run(begin() + headers(1, keeps) + headers(3, evicts) +
                     headers(5, get_fields() + indexed(62)));
  CHECK(outcome.state == State::malformed);
  CHECK(outcome.names == Names(2, "a.example"));
}

TEST_CASE("a block that ends in the midst of a field is malformed") {
  Message whole = get_block("a.example");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Message cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    // Between two fields it is a request that names no host.
    bool is_between = size == get_fields().size();
    CHECK((run(begin() + headers(1, cut)).state == State::malformed) == !is_between);
  }
}

TEST_CASE("a decoded list that is too long is malformed, however short its block is") {
  Message bomb = get_fields() + kept_field("x", std::string(4000, 'x')) + Message(5, 0xbe);
  CHECK(fault_of(bomb) == "a header list that is too long");
  Message many = get_fields() + concat(indexed(16), 300);
  CHECK(fault_of(many) == "a header list that is too long");
}

TEST_CASE("a header block that never ends is malformed once its frames are too long") {
  Message large = get_fields() + field("x", std::string(Http2RequestReader::kMaxBlockBytes, 'x'));
  CHECK(run(begin() + frame(kHeaders, kEndStream, 1, large)).reason ==
        "a header block that is too long");
  // Frames without a byte count as well.
  Message flood =
      begin() + headers(1, get_fields(), kEndStream) + concat(frame(kContinuation, 0, 1), 2000);
  auto outcome = run(flood);
  CHECK(outcome.reason == "a header block that is too long");
  CHECK(outcome.released == begin().size());
  // A frame that says so is not waited for.
  Message claim = begin() + Message{0xff, 0xff, 0xff, kHeaders, 0, 0, 0, 0, 1};
  CHECK(outcome_of(claim).reason == "a header block that is too long");
}

TEST_CASE("a flood of empty frames passes, a few bytes each, and is not kept") {
  Message stream = begin() + concat(frame(kData, 0, 1) + frame(kSettings, 0, 0), 2000);
  auto outcome = run(stream);
  CHECK(outcome.state == State::frames);
  CHECK(outcome.released == stream.size());
}

TEST_CASE("a header block with anything in its midst is malformed") {
  Message part = headers(1, get_fields(), kEndStream);
  for (const Message& between :
       {frame(kData, 0, 1), frame(kPing, 0, 0, Message(8, 0)), frame(0xfe, 0, 1),
        get(3, "a.example"), frame(kContinuation, kEndHeaders, 3, field(":authority", "a.example")),
        frame(kSettings, 0, 0)}) {
    auto outcome = outcome_of(begin() + part + between);
    CHECK(outcome.reason == "a header block that is cut short");
    CHECK(outcome.released == begin().size());
  }
  CHECK(outcome_of(begin() + frame(kContinuation, kEndHeaders, 1)).reason ==
        "a header block that is cut short");
}

TEST_CASE("requests only come on the client's streams, and pushes not at all") {
  for (std::uint32_t stream : {0u, 2u, 100u}) {
    CHECK(outcome_of(begin() + get(stream, "a.example")).reason ==
          "a request on a stream that is not the client's");
  }
  CHECK(outcome_of(begin() + get(0x80000001, "a.example")).reason == "a reserved bit");
  CHECK(outcome_of(begin() + frame(kPushPromise, kEndHeaders, 1, be32(2) + get_block("a.example")))
            .reason == "a push by a client");
}

TEST_CASE("on a stream that has had its request, only trailers may come") {
  Message post = headers(5, get_block("a.example"), kEndHeaders);
  CHECK(names_of(begin() + post + headers(5, field("x-sum", "1"))) == Names{"a.example"});
  auto fault = [&](const Message& more) { return outcome_of(begin() + post + more).reason; };
  CHECK(fault(get(5, "b.example")) == "a trailer that routes");
  CHECK(fault(get(3, "b.example")) == "a trailer that routes");
  CHECK(fault(headers(5, field("host", "b.example"))) == "a trailer that frames or routes");
  CHECK(fault(headers(5, field("content-length", "3"))) == "a trailer that frames or routes");
  CHECK(fault(headers(5, field("x-sum", "1"), kEndHeaders)) ==
        "a second header block that ends nothing");
}

TEST_CASE("after an upgrade from HTTP/1 the first stream has had its request") {
  Http2RequestReader reader(Http2RequestReader::Start::after_upgrade);
  reader.feed(begin() + get(1, "a.example"));
  CHECK(reader.state() == State::malformed);
  Http2RequestReader next(Http2RequestReader::Start::after_upgrade);
  next.feed(begin() + get(3, "a.example"));
  CHECK(next.state() == State::verdict);
}

TEST_CASE("a preface that is another, or no SETTINGS after it, is malformed") {
  CHECK(outcome_of(message_of("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")).state == State::malformed);
  Message preface = message_of(Http2RequestReader::kPreface);
  for (const Message& first : {get(1, "a.example"), frame(kPing, 0, 0, Message(8, 0)),
                               frame(kSettings, kAck, 0), frame(kSettings, 0, 1)}) {
    CHECK(outcome_of(preface + first).reason == "another frame than SETTINGS first");
  }
}

TEST_CASE("more padding than a frame has is malformed") {
  for (const Message& payload : {Message{}, Message{1}, Message{200, 0x82}}) {
    CHECK(outcome_of(begin() + headers(1, payload, kEndHeaders | kPadded)).reason ==
          "more padding than a frame has");
  }
  CHECK(outcome_of(begin() + headers(1, {0, 0, 0}, kEndHeaders | kPriority)).reason ==
        "more padding than a frame has");
}

TEST_CASE(":authority and Host must be the same, and one is enough") {
  auto with = [](FieldList more) { return get_fields() + block(more); };
  CHECK(names_of(begin() + headers(1, with({{"host", "a.example"}}))) == Names{"a.example"});
  CHECK(names_of(begin() + headers(1, get_fields())) == Names{"none"});
  CHECK(fault_of(with({{":authority", "a.example"}, {"host", "A.example:80"}})).empty());
  CHECK(fault_of(with({{":authority", "a.example"}, {"host", "b.example"}})) ==
        "Host is another than :authority");
  CHECK(fault_of(with({{":authority", "a.example"}, {"host", "a.example:81"}})) ==
        "Host is another than :authority");
  CHECK(fault_of(with({{":authority", ""}, {"host", "a.example"}})) ==
        ":authority is neither a name nor an address");
  CHECK(fault_of(with({{":authority", "a.example"}, {"host", ""}})) ==
        "Host is neither a name nor an address");
  CHECK(fault_of(with({{":authority", "u@a.example"}})) ==
        ":authority is neither a name nor an address");
  CHECK(fault_of(with({{"host", "a.example"}, {"host", "a.example"}})) ==
        "Host or Content-Length comes twice");
}

TEST_CASE("fields that two servers could read as two requests are malformed") {
  auto with = [](FieldList more) { return get_block("a.example") + block(more); };
  CHECK(fault_of(with({{":authority", "b.example"}})) == "a pseudo-field that comes twice");
  CHECK(fault_of(with({{":path", "/b"}})) == "a pseudo-field that comes twice");
  CHECK(fault_of(with({{":protocol", "websocket"}})) == "an unknown pseudo-field");
  CHECK(fault_of(with({{":Authority", "b.example"}})) == "an unknown pseudo-field");
  CHECK(fault_of(get_fields() + block({{"x", "y"}, {":authority", "a.example"}})) ==
        "a pseudo-field that comes late");
  CHECK(fault_of(with({{"Host", "b.example"}})) == "a field's name is not a token in lower case");
  CHECK(fault_of(with({{"", "b"}})) == "a field's name is not a token in lower case");
  CHECK(fault_of(with({{"x\r\nhost", "b.example"}})) ==
        "a field's name is not a token in lower case");
  CHECK(fault_of(with({{"x", "y\r\nHost: b.example"}})) == "control bytes in a field");
  CHECK(fault_of(with({{"x", std::string_view("a\0b", 3)}})) == "control bytes in a field");
  CHECK(fault_of(with({{"transfer-encoding", "chunked"}})) ==
        "a field that some read as HTTP/1's framing");
  CHECK(fault_of(with({{"content_length", "3"}})) == "a field that some read as HTTP/1's framing");
  CHECK(fault_of(with({{"connection", "upgrade"}})) == "a field of HTTP/1's connections");
  CHECK(fault_of(with({{"upgrade", "websocket"}})) == "a field of HTTP/1's connections");
  CHECK(fault_of(with({{"content-length", "3"}, {"content-length", "4"}})) ==
        "Host or Content-Length comes twice");
  CHECK(fault_of(with({{"content-length", "3 "}})) == "Content-Length is not a number");
}

TEST_CASE("a body must be as long as its Content-Length, padding aside") {
  auto post = [](std::uint32_t stream, std::string_view length) {
    return headers(stream, get_block("a.example") + field("content-length", length), kEndHeaders);
  };
  Message trailer = headers(1, field("x-sum", "1"));
  CHECK(names_of(begin() + post(1, "5") + frame(kData, 0, 1, Message(3, 'x')) +
                 frame(kData, kEndStream | kPadded, 1, {2, 'x', 'x', 0, 0}))
            .size() == 1);
  CHECK(names_of(begin() + post(1, "2") + frame(kData, 0, 1, Message(2, 'x')) + trailer).size() ==
        1);
  CHECK(names_of(begin() + post(1, "9") + frame(kReset, 0, 1, be32(8)) + post(3, "0") +
                 frame(kData, kEndStream, 3))
            .size() == 2);
  auto fault = [&](const Message& more) {
    return outcome_of(begin() + post(1, "2") + more).reason;
  };
  CHECK(fault(frame(kData, 0, 1, Message(3, 'x'))) == "a body longer than its Content-Length");
  CHECK(fault(frame(kData, 0, 1, Message(2, 'x')) + frame(kData, 0, 1, {'x'})) ==
        "a body longer than its Content-Length");
  CHECK(fault(frame(kData, kEndStream, 1, {'x'})) == "a body shorter than its Content-Length");
  CHECK(fault(frame(kData, kEndStream | kPadded, 1, {1, 'x', 0})) ==
        "a body shorter than its Content-Length");
  CHECK(fault(trailer) == "a body shorter than its Content-Length");
  CHECK(fault(frame(kData, kPadded, 1)) == "more padding than a frame has");
  CHECK(fault(frame(kData, kPadded, 1, {2, 'x'})) == "more padding than a frame has");
  CHECK(fault_of(get_block("a.example") + field("content-length", "1")) ==
        "a body shorter than its Content-Length");
}

TEST_CASE("bodies of a given length are bounded at once, not in all") {
  auto post = [](std::uint32_t stream) {
    return headers(stream, get_block("a.example") + field("content-length", "1"), kEndHeaders);
  };
  Message one_by_one = begin(), beside = begin();
  for (std::uint32_t i = 0; i <= Http2RequestReader::kMaxBodies; ++i) {
    one_by_one = one_by_one + post(2 * i + 1) + frame(kData, kEndStream, 2 * i + 1, {'x'});
    beside = beside + post(2 * i + 1);
  }
  CHECK(run(one_by_one).state == State::frames);
  CHECK(run(beside).reason == "too many bodies at once");
}

TEST_CASE("a request without a method, a scheme of the web or a path is malformed") {
  CHECK(fault_of({{":scheme", "http"}, {":path", "/"}, {":authority", "a.example"}}) ==
        "the method is not a token");
  CHECK(fault_of({{":method", "G T"}, {":scheme", "http"}, {":path", "/"}}) ==
        "the method is not a token");
  CHECK(fault_of({{":method", "GET"}, {":path", "/"}, {":authority", "a.example"}}) ==
        "the scheme is unknown");
  CHECK(fault_of({{":method", "GET"}, {":scheme", "ftp"}, {":path", "/"}}) ==
        "the scheme is unknown");
  for (std::string_view path : {"", "x", "*", "http://b.example/", "/a b", "/a HTTP/1.1"}) {
    CHECK(fault_of({{":method", "GET"}, {":scheme", "http"}, {":path", path}}) ==
          "the path is none");
  }
  CHECK(fault_of({{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}}).empty());
}

TEST_CASE("CONNECT is told, in whatever case") {
  for (std::string_view method : {"CONNECT", "connect"}) {
    Http2RequestReader reader;
    reader.feed(begin() + headers(1, block({{":method", method}, {":authority", "a.example:1"}})));
    REQUIRE(reader.state() == State::verdict);
    CHECK(reader.request().is_connect);
  }
}
