#include "wire/http_request.h"

#include <algorithm>
#include <cstring>

#include "wire/http_text.h"

namespace sluice::wire {

namespace {

/// Below 2^31, the least of the limits that readers of chunk sizes have.
constexpr std::size_t kMaxChunkDigits = 8;
constexpr std::uint64_t kMaxChunk = 0x7fffffff;

/// Whether a request of this method has a body only by mistake (RFC 9110 section 9.3).
bool is_bodiless(std::string_view method) {
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"};
  return std::ranges::any_of(kMethods, [&](auto known) { return same_word(known, method); });
}

}  // namespace

std::size_t HttpRequestReader::feed(ConstBytes bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    ConstBytes rest = bytes.subspan(taken);
    std::size_t count = 0;
    if (state_ == State::undecided || state_ == State::head) {
      count = take_line(rest);
    } else if (state_ == State::body) {
      count = take_body(rest);
    } else if (state_ == State::opaque) {
      count = rest.size();
      taken_ += count;
      released_ = taken_;
    } else {
      break;
    }
    taken += count;
  }
  return taken;
}

void HttpRequestReader::approve() {
  if (state_ != State::verdict) return;
  released_ = taken_;
  state_ = State::body;
  section_bytes_ = 0;
  bool has_body = head_.chunked || head_.content_length.value_or(0) > 0;
  holds_body_ = has_body && (request_.expects_continue || head_.has_bodiless_method);
  doubt_ = holds_body_ ? std::make_unique<HttpRequestReader>() : nullptr;
  head_end_ = taken_;
  if (head_.chunked) {
    part_ = BodyPart::chunk_size;
  } else {
    part_ = BodyPart::sized;
    body_left_ = head_.content_length.value_or(0);
    if (body_left_ == 0) end_message();
  }
}

void HttpRequestReader::continued() {
  if (state_ == State::body || state_ == State::head) doubt_.reset();
}

/// Shows the bytes, of a body or what came after it, to the second reading. False where that finds
/// a request in them.
bool HttpRequestReader::is_no_request(ConstBytes bytes) {
  if (!doubt_) return true;
  doubt_->feed(bytes);
  if (doubt_->state() == State::undecided) return true;
  if (doubt_->state() == State::not_http) {
    doubt_.reset();
    return true;
  }
  fail("a body that a server could read as a request");
  return false;
}

void HttpRequestReader::switched() {
  if (state_ != State::switching) return;
  state_ = State::opaque;
  line_ = {};
}

void HttpRequestReader::not_switched() {
  if (state_ == State::switching) begin_head();
}

std::size_t HttpRequestReader::line_limit() const {
  bool chunk = state_ == State::body && part_ == BodyPart::chunk_size;
  return chunk ? kMaxChunkLineBytes : kMaxHeadBytes;
}

std::size_t HttpRequestReader::take_line(ConstBytes bytes) {
  // Never zero: the byte that used up the limit failed.
  std::size_t room = line_limit() - section_bytes_ - line_.size();
  ConstBytes view = bytes.first(std::min(bytes.size(), room));
  const void* found = std::memchr(view.data(), '\n', view.size());
  if (found) {
    view = view.first(
        static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - view.data()) + 1);
  }
  taken_ += view.size();
  bool can_be_all = state_ == State::body || head_.has_request_line;
  std::size_t sound = can_be_all ? view.size() : begin_request(view);
  // The second reading sees no more than it would if the stream came byte by byte.
  if (!is_no_request(view.first(std::min(sound + 1, view.size())))) return view.size();
  if (sound < view.size()) {
    if (state_ == State::undecided) {
      state_ = State::not_http;
      line_ = {};
    } else {
      fail("no request after a request");
    }
    return view.size();
  }
  std::string_view text(reinterpret_cast<const char*>(view.data()), view.size());
  if (!found) {
    if (view.size() == room) {
      fail("a line or head that is too long");
    } else {
      line_.append(text);
    }
    return view.size();
  }
  section_bytes_ += line_.size() + text.size();
  if (line_.empty()) {
    end_line(text);
  } else {
    std::string whole = std::move(line_);
    line_.clear();
    whole.append(text);
    end_line(whole);
  }
  bool more_lines = state_ == State::undecided || state_ == State::head || state_ == State::body;
  if (more_lines && section_bytes_ == line_limit()) fail("a line or head that is too long");
  return view.size();
}

/// How many of the bytes go on with a line that is blank or begins with a method.
std::size_t HttpRequestReader::begin_request(ConstBytes bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char c = static_cast<char>(bytes[i]);
    if (start_ == Start::rest) break;
    if (is_loose_blank(c)) {
      if (start_ == Start::method) start_ = Start::rest;
      continue;
    }
    if (!is_http_token_char(c)) return i;
    start_ = Start::method;
  }
  return bytes.size();
}

/// `line` ends in the LF.
void HttpRequestReader::end_line(std::string_view line) {
  line.remove_suffix(1);
  if (state_ == State::undecided) return read_first_line(line);
  if (!line.ends_with('\r')) return fail("a line that doesn't end in CR LF");
  line.remove_suffix(1);
  if (state_ == State::body) return end_body_line(line);
  read_head_line(line);
}

void HttpRequestReader::read_first_line(std::string_view line) {
  if (start_ == Start::blank) {
    if (line != "\r" || empty_line_) odd_start_ = true;
    empty_line_ = true;
    return;
  }
  if (!looks_like_http_request(line)) {
    state_ = State::not_http;
    return;
  }
  if (line == "PRI * HTTP/2.0\r" && !odd_start_ && !empty_line_) {
    state_ = State::http2;
    return;
  }
  state_ = State::head;
  if (odd_start_) return fail("blanks before the request");
  if (!line.ends_with('\r')) return fail("a line that doesn't end in CR LF");
  line.remove_suffix(1);
  read_head_line(line);
}

void HttpRequestReader::read_head_line(std::string_view line) {
  if (!head_.has_request_line) {
    // One may come before a request (RFC 9112 section 2.2).
    if (line.empty() && !empty_line_) {
      empty_line_ = true;
      return;
    }
    return read_request_line(line);
  }
  if (line.empty()) return end_head();
  read_field(line);
}

void HttpRequestReader::read_request_line(std::string_view line) {
  auto first = line.find(' ');
  auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return fail("no request line");
  std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  std::string_view version = line.substr(last + 1);
  if (!is_http_token(method)) return fail("the method is not a token");
  if (!is_http_target(target)) return fail("blanks or control bytes in the request target");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return fail("an unknown HTTP version");
  head_.has_request_line = true;
  head_.has_bodiless_method = is_bodiless(method);
  head_.version_11 = version.ends_with('1');
  read_target(method, target);
}

void HttpRequestReader::read_target(std::string_view method, std::string_view target) {
  if (method == "CONNECT") {
    request_.target = HttpRequest::Target::connect;
    head_.target_authority = target;
    return;
  }
  // Readers that don't mind the case of a method would take it for the other kind of request.
  if (same_word(method, "CONNECT")) return fail("CONNECT in lower case");
  if (target.starts_with('/')) {
    request_.target = HttpRequest::Target::origin;
    return;
  }
  if (target == "*") {
    request_.target = HttpRequest::Target::asterisk;
    if (method != "OPTIONS") fail("the request target is not a path");
    return;
  }
  request_.target = HttpRequest::Target::absolute;
  auto scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return fail("the request target is not a path");
  std::string_view scheme = target.substr(0, scheme_end);
  if (same_word(scheme, "https")) {
    head_.default_port = Port(443);
  } else if (!same_word(scheme, "http")) {
    return fail("the request target has an unknown scheme");
  }
  std::string_view rest = target.substr(scheme_end + 3);
  head_.target_authority = rest.substr(0, rest.find_first_of("/?"));
}

void HttpRequestReader::read_field(std::string_view line) {
  if (line.starts_with(' ') || line.starts_with('\t')) return fail("a folded line");
  auto colon = line.find(':');
  if (colon == std::string_view::npos) return fail("a field without a colon");
  std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  if (!is_http_token(name)) return fail("a field's name is not a token");
  if (!is_http_value(value)) return fail("control bytes in a field");
  note_field(name, trimmed(value));
}

void HttpRequestReader::note_field(std::string_view name, std::string_view value) {
  if (same_word(name, "host")) {
    if (head_.has_host) return fail("Host comes twice");
    head_.has_host = true;
    head_.host = value;
  } else if (same_word(name, "content-length")) {
    note_content_length(value);
  } else if (same_word(name, "transfer-encoding")) {
    if (value != "chunked" || head_.chunked) return fail("an unknown Transfer-Encoding");
    head_.chunked = true;
  } else if (same_word(name, "upgrade")) {
    note_upgrade(value);
  } else if (same_word(name, "connection")) {
    note_connection(value);
  } else if (same_word(name, "expect")) {
    if (!same_word(value, "100-continue") || request_.expects_continue) {
      return fail("an unknown expectation");
    }
    request_.expects_continue = true;
  } else if (frames_or_routes(name)) {
    fail("a field whose name some read as another");
  }
}

void HttpRequestReader::note_content_length(std::string_view value) {
  auto length = parse_content_length(value);
  if (!length) return fail("Content-Length is not a number");
  if (head_.content_length && *head_.content_length != *length) {
    return fail("Content-Length comes with two values");
  }
  head_.content_length = length;
}

void HttpRequestReader::note_connection(std::string_view value) {
  while (!value.empty()) {
    auto comma = std::min(value.find(','), value.size());
    if (frames_or_routes(trimmed(value.substr(0, comma)))) {
      return fail("Connection names a field that frames or routes");
    }
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
}

void HttpRequestReader::note_upgrade(std::string_view value) {
  using Upgrade = HttpRequest::Upgrade;
  Upgrade upgrade = same_word(value, "websocket") ? Upgrade::websocket
                    : same_word(value, "h2c")     ? Upgrade::h2c
                                                  : Upgrade::other;
  request_.upgrade = head_.has_upgrade ? Upgrade::other : upgrade;
  head_.has_upgrade = true;
}

void HttpRequestReader::end_head() {
  bool framed = head_.chunked || head_.content_length.has_value();
  if (head_.version_11 && !head_.has_host) return fail("no Host");
  if (head_.chunked && head_.content_length) {
    return fail("both Content-Length and Transfer-Encoding");
  }
  if (head_.chunked && !head_.version_11) return fail("Transfer-Encoding in HTTP/1.0");
  if (request_.target == HttpRequest::Target::connect && framed) {
    return fail("CONNECT with a body");
  }
  if (!read_authority()) return;
  state_ = State::verdict;
}

bool HttpRequestReader::read_authority() {
  auto& authority = request_.authority;
  if (!head_.host.empty()) {
    authority = HttpAuthority::parse(head_.host);
    if (!authority) {
      fail("Host is neither a name nor an address");
      return false;
    }
  }
  bool connect = request_.target == HttpRequest::Target::connect;
  if (!connect && request_.target != HttpRequest::Target::absolute) return true;

  auto target = HttpAuthority::parse(head_.target_authority);
  if (!target || (connect && !target->port)) {
    fail("the request target's authority is not a host");
    return false;
  }
  if (head_.has_host) {
    // A proxy's Host often lacks the port of CONNECT.
    Port fallback = connect ? *target->port : head_.default_port;
    bool agree = authority && authority->host == target->host &&
                 authority->port.value_or(fallback) == target->port.value_or(fallback);
    if (!agree) {
      fail("Host is another than the request target's");
      return false;
    }
  }
  authority = std::move(target);
  return true;
}

std::size_t HttpRequestReader::take_body(ConstBytes bytes) {
  switch (part_) {
    case BodyPart::sized:
    case BodyPart::chunk_data:
      return take_sized(bytes);
    case BodyPart::chunk_end:
      return take_chunk_end(bytes);
    case BodyPart::chunk_size:
    case BodyPart::trailer:
      return take_line(bytes);
  }
  return bytes.size();
}

std::size_t HttpRequestReader::take_sized(ConstBytes bytes) {
  auto count = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), body_left_));
  body_left_ -= count;
  taken_ += count;
  if (!is_no_request(bytes.first(count))) return count;
  released_ = taken_;
  if (body_left_ > 0) return count;
  if (part_ == BodyPart::sized) {
    end_message();
  } else {
    part_ = BodyPart::chunk_end;
  }
  return count;
}

std::size_t HttpRequestReader::take_chunk_end(ConstBytes bytes) {
  ++taken_;
  char wanted = chunk_end_cr_ ? '\n' : '\r';
  if (static_cast<char>(bytes[0]) != wanted) {
    fail("a chunk that doesn't end in CR LF");
    return 1;
  }
  if (chunk_end_cr_) {
    released_ = taken_;
    part_ = BodyPart::chunk_size;
    section_bytes_ = 0;
  }
  chunk_end_cr_ = !chunk_end_cr_;
  return 1;
}

void HttpRequestReader::end_body_line(std::string_view line) {
  if (part_ == BodyPart::chunk_size) {
    read_chunk_size(line);
  } else {
    read_trailer(line);
  }
  if (state_ != State::malformed) released_ = taken_;
}

void HttpRequestReader::read_chunk_size(std::string_view line) {
  auto digits = line.substr(0, line.find(';'));
  auto size = parse_http_number(digits, kMaxChunkDigits, 16);
  if (!size || *size > kMaxChunk) return fail("a chunk's size is not a number");
  if (!is_http_value(line)) return fail("control bytes in a chunk's extension");
  section_bytes_ = 0;
  body_left_ = *size;
  part_ = body_left_ > 0 ? BodyPart::chunk_data : BodyPart::trailer;
}

void HttpRequestReader::read_trailer(std::string_view line) {
  if (line.empty()) return end_message();
  if (line.starts_with(' ') || line.starts_with('\t')) return fail("a folded line");
  auto colon = line.find(':');
  if (colon == std::string_view::npos) return fail("a field without a colon");
  std::string_view name = line.substr(0, colon);
  if (!is_http_token(name)) return fail("a field's name is not a token");
  if (!is_http_value(line)) return fail("control bytes in a field");
  // RFC 9110 section 6.5.1; a reader that merged it would frame or route anew.
  if (frames_or_routes(name)) return fail("a trailer that frames or routes");
}

void HttpRequestReader::end_message() {
  // A server that waits for the body must get it. What completes the other reading is held anyway.
  holds_body_ = false;
  bool connect = request_.target == HttpRequest::Target::connect;
  if (connect || request_.upgrade != HttpRequest::Upgrade::none) {
    state_ = State::switching;
    return;
  }
  begin_head();
}

void HttpRequestReader::begin_head() {
  state_ = State::head;
  start_ = Start::blank;
  head_ = {};
  request_ = {};
  section_bytes_ = 0;
  empty_line_ = false;
}

void HttpRequestReader::fail(std::string_view reason) {
  if (state_ == State::malformed) return;
  state_ = State::malformed;
  reason_ = reason;
  line_ = {};
}

}  // namespace sluice::wire
