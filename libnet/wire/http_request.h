#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "wire/http_authority.h"

namespace sluice::wire {

/// What the head of an HTTP/1 request says about where it goes and how its connection goes on.
struct HttpRequest {
  enum class Target : std::uint8_t {
    origin,    ///< "/path"
    absolute,  ///< "http://host/path"; its authority and Host agree.
    asterisk,  ///< "*" of OPTIONS
    connect,   ///< "host:port" of CONNECT: the server is asked to be a tunnel to there.
  };
  enum class Upgrade : std::uint8_t {
    none,
    websocket,
    h2c,    ///< HTTP/2 (RFC 7540 section 3.2).
    other,  ///< TLS/1.0, several: after it the bytes mean something that names a host anew.
  };

  Target target = Target::origin;
  /// Nothing where the request names no host: HTTP/1.0 without Host, or an empty Host.
  std::optional<HttpAuthority> authority;
  Upgrade upgrade = Upgrade::none;
  /// The body should wait for the server's "100 Continue".
  bool expects_continue = false;
};

/// Finds every request in the bytes that a client sends on one TCP connection (RFC 9112), so that
/// no byte of a head reaches the server before the head has been judged.
///
/// Where two readers of HTTP could see different requests in the same bytes, this one sees
/// malformed: lines that don't end in CR LF, folded lines, two Hosts, Content-Length beside
/// Transfer-Encoding or in two values, any transfer coding but "chunked", blanks before a colon,
/// control bytes, a Connection that makes a proxy drop what frames or routes, over-long heads and
/// chunk sizes.
///
/// There are bodies that a server may leave unread, and take for the next request: one that it
/// refused to have (Expect: 100-continue answered by 417, say), and that of a method which has none
/// by its meaning, such as GET. Such a body is read in both ways, held until its beginning can't be
/// a request, and malformed if it is one.
///
/// The bytes belong to the caller, who holds them back; the reader only counts, and copies at most
/// the line under way. Any split of the stream into feed() calls leads to the same states. Cost is
/// linear in the bytes. After not_http, http2 and malformed, feed() takes nothing more.
///
///     undecided -> not_http | http2 | malformed
///     undecided -> head -> verdict -> approve() -> body -> head ...
///                   '-> malformed                    '-> switching -> switched() -> opaque
///                                                               '-> not_switched() -> head
class HttpRequestReader {
 public:
  /// A request line and its fields, or the trailer fields of a chunked body, with line ends. A
  /// first line that is longer, and could be a request's, is malformed too.
  static constexpr std::size_t kMaxHeadBytes = 16 * 1024;
  /// The size of a chunk with its extensions and the line end.
  static constexpr std::size_t kMaxChunkLineBytes = 512;

  enum class State : std::uint8_t {
    undecided,  ///< May become HTTP; nothing may pass.
    not_http,   ///< No HTTP server would read the first line as a request.
    http2,      ///< The first line is that of HTTP/2's preface (RFC 9113 section 3.4).
    head,       ///< Between requests or inside a head.
    verdict,    ///< request() awaits the caller's verdict; feed() takes nothing until approve().
    body,
    switching,  ///< After CONNECT, or a request with Upgrade and its body: what follows depends on
                ///< the server's answer. feed() takes nothing until the caller tells.
    opaque,     ///< The server switched: everything may pass, the reader is not needed.
    malformed,  ///< HTTP that can't be read for certain. reason() says why.
  };

  /// The next bytes of the stream. Returns how many were taken: all, or those up to where the
  /// state became one that takes no more; the rest is to be fed again once it is another.
  std::size_t feed(ConstBytes bytes);

  State state() const { return state_; }
  /// Bytes from the stream's beginning that may go to the server: approved heads and bodies. In
  /// state head a request is under way where taken() is more than this.
  std::uint64_t released() const { return doubt_ && holds_body_ ? head_end_ : released_; }
  /// Of the stream, over all feed() calls. Means nothing once feed() takes nothing more for good.
  std::uint64_t taken() const { return taken_; }
  /// What was read last. Requires state() == verdict; stays until the next head begins.
  const HttpRequest& request() const { return request_; }
  /// The head may go to the server. Requires state() == verdict; does nothing in another.
  void approve();
  /// The server said "100 Continue" to the request that was approved last: it will read the body.
  void continued();
  /// The server answered 101, or 2xx to CONNECT. Requires state() == switching.
  void switched();
  /// The server gave another final answer: the next request follows. Requires switching.
  void not_switched();
  /// What was wrong, of a malformed stream; empty in other states.
  std::string_view reason() const { return reason_; }

 private:
  /// How far a request line has come.
  enum class Start : std::uint8_t { blank, method, rest };
  enum class BodyPart : std::uint8_t { sized, chunk_size, chunk_data, chunk_end, trailer };

  /// Fields of the head under way that request_ is made of.
  struct Head {
    bool has_request_line = false;
    bool has_bodiless_method = false;
    bool version_11 = false;
    bool has_host = false;
    bool has_upgrade = false;
    bool chunked = false;
    std::optional<std::uint64_t> content_length;
    std::string target_authority;  // of absolute-form and CONNECT
    Port default_port{80};
    std::string host;
  };

  bool is_no_request(ConstBytes bytes);
  std::size_t take_line(ConstBytes bytes);
  std::size_t take_body(ConstBytes bytes);
  std::size_t take_sized(ConstBytes bytes);
  std::size_t take_chunk_end(ConstBytes bytes);
  std::size_t begin_request(ConstBytes bytes);
  std::size_t line_limit() const;
  void end_line(std::string_view line);
  void end_body_line(std::string_view line);
  void read_first_line(std::string_view line);
  void read_head_line(std::string_view line);
  void read_request_line(std::string_view line);
  void read_target(std::string_view method, std::string_view target);
  void read_field(std::string_view line);
  void note_field(std::string_view name, std::string_view value);
  void note_content_length(std::string_view value);
  void note_connection(std::string_view value);
  void note_upgrade(std::string_view value);
  void end_head();
  bool read_authority();
  void read_chunk_size(std::string_view line);
  void read_trailer(std::string_view line);
  void begin_head();
  void end_message();
  void fail(std::string_view reason);

  State state_ = State::undecided;
  BodyPart part_ = BodyPart::sized;
  std::uint64_t taken_ = 0;
  std::uint64_t released_ = 0;
  std::string line_;               // of the line under way, what earlier feeds brought
  std::size_t section_bytes_ = 0;  // of the head or the trailers before that line
  std::uint64_t body_left_ = 0;    // of the body or chunk
  bool chunk_end_cr_ = false;
  Start start_ = Start::blank;
  bool odd_start_ = false;   // more came before the first line than one empty line
  bool empty_line_ = false;  // one was passed over before this request
  Head head_;
  HttpRequest request_;
  /// Reads what follows the last head as though the server left its body unread.
  std::unique_ptr<HttpRequestReader> doubt_;
  std::uint64_t head_end_ = 0;  // of that head
  bool holds_body_ = false;     // until doubt_ has decided or the body is over
  std::string_view reason_;     // a literal
};

}  // namespace sluice::wire
