#include "wire/http2_request.h"

#include <algorithm>

#include "wire/http_text.h"

namespace sluice::wire {

namespace {

/// RFC 9113 section 4.1: of a stream's 32 bits the first is reserved.
constexpr std::uint32_t kReservedBit = 0x80000000;
/// RFC 9113 section 10.5.1.
constexpr std::size_t kFieldOverhead = 32;
constexpr std::size_t kPriorityFieldBytes = 5;

/// RFC 9113 section 8.2.2.
bool is_of_connections(std::string_view name) {
  constexpr std::string_view kNames[] = {"connection", "keep-alive", "proxy-connection", "upgrade"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

bool is_lower_token(std::string_view name) {
  return is_http_token(name) && std::ranges::none_of(name, [](char c) { return to_lower(c) != c; });
}

}  // namespace

std::size_t Http2RequestReader::feed(ConstBytes bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && state_ == State::frames) {
    ConstBytes rest = bytes.subspan(taken);
    std::size_t count = part_ == Part::preface  ? take_preface(rest)
                        : part_ == Part::header ? take_header(rest)
                                                : take_payload(rest);
    taken += count;
  }
  return taken;
}

void Http2RequestReader::approve() {
  if (state_ != State::verdict) return;
  state_ = State::frames;
  released_ = taken_;
}

std::size_t Http2RequestReader::take_preface(ConstBytes bytes) {
  ++taken_;
  if (static_cast<char>(bytes[0]) != kPreface[taken_ - 1]) {
    fail("a preface that is not HTTP/2's");
  } else if (taken_ == kPreface.size()) {
    part_ = Part::header;
    released_ = taken_;
  }
  return 1;
}

std::size_t Http2RequestReader::take_header(ConstBytes bytes) {
  std::size_t count = std::min(bytes.size(), header_size() - header_bytes_);
  std::copy_n(bytes.begin(), count, header_ + header_bytes_);
  header_bytes_ += count;
  taken_ += count;
  if (header_bytes_ == header_size()) {
    header_bytes_ = 0;
    begin_frame();
  }
  return count;
}

std::size_t Http2RequestReader::header_size() const {
  if (header_bytes_ < kHeaderBytes) return kHeaderBytes;
  bool is_padded = static_cast<FrameType>(header_[3]) == FrameType::data &&
                   (header_[4] & kPadded) != 0 && (header_[0] | header_[1] | header_[2]) != 0;
  return is_padded ? kHeaderBytes + 1 : kHeaderBytes;
}

void Http2RequestReader::begin_frame() {
  frame_.size = std::size_t{header_[0]} << 16 | load_be16(header_ + 1);
  frame_.type = static_cast<FrameType>(header_[3]);
  frame_.flags = header_[4];
  frame_.stream = load_be32(header_ + 5);
  if ((frame_.stream & kReservedBit) != 0) {
    fail("a reserved bit");
    return;
  }
  if (!seen_settings_) {
    bool is_settings =
        frame_.type == FrameType::settings && frame_.stream == 0 && !frame_.has(kAck);
    if (!is_settings) {
      fail("another frame than SETTINGS first");
      return;
    }
    seen_settings_ = true;
  }
  if (frame_.type == FrameType::push_promise) {
    fail("a push by a client");
    return;
  }
  part_ = Part::payload;
  left_ = frame_.size;
  if (frame_.is_block() || block_stream_ != 0) {
    begin_block_frame();
  } else if (frame_.type == FrameType::data) {
    begin_data();
  } else if (frame_.type == FrameType::reset) {
    bodies_.erase(frame_.stream);
  }
  if (state_ != State::frames) return;
  if (!frame_.is_block()) released_ = taken_;
  if (left_ == 0) end_frame();
}

void Http2RequestReader::begin_data() {
  std::size_t size = frame_.size;
  if (frame_.has(kPadded)) {
    std::size_t front = 1, padding = header_[kHeaderBytes];
    if (front + padding > size) {
      fail("more padding than a frame has");
      return;
    }
    size -= front + padding;
    left_ -= front;
  }
  auto body = bodies_.find(frame_.stream);
  if (body == bodies_.end()) return;
  if (size > body->second) {
    fail("a body longer than its Content-Length");
    return;
  }
  body->second -= size;
  if (frame_.has(kEndStream)) end_body(frame_.stream);
}

void Http2RequestReader::end_body(std::uint32_t stream) {
  auto body = bodies_.find(stream);
  if (body == bodies_.end()) return;
  if (body->second > 0) {
    fail("a body shorter than its Content-Length");
  } else {
    bodies_.erase(body);
  }
}

/// A frame of a header block, or in the midst of one.
void Http2RequestReader::begin_block_frame() {
  bool continues = frame_.type == FrameType::continuation;
  if (continues ? block_stream_ == 0 || frame_.stream != block_stream_ : block_stream_ != 0) {
    fail("a header block that is cut short");
    return;
  }
  if (!continues) {
    if (frame_.stream % 2 == 0) {
      fail("a request on a stream that is not the client's");
      return;
    }
    block_stream_ = frame_.stream;
    block_ends_stream_ = frame_.has(kEndStream);
    block_frames_bytes_ = 0;
    block_.clear();
  }
  block_frames_bytes_ += kHeaderBytes + frame_.size;
  if (block_frames_bytes_ > kMaxBlockBytes) fail("a header block that is too long");
}

std::size_t Http2RequestReader::take_payload(ConstBytes bytes) {
  std::size_t count = std::min(bytes.size(), left_);
  left_ -= count;
  taken_ += count;
  if (frame_.is_block()) {
    block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  } else {
    released_ = taken_;
  }
  if (left_ == 0) end_frame();
  return count;
}

void Http2RequestReader::end_frame() {
  part_ = Part::header;
  if (!frame_.is_block()) return;
  if (frame_.type == FrameType::headers) strip_headers_frame();
  if (state_ == State::frames && frame_.has(kEndHeaders)) end_block();
}

/// Leaves the fragment of a HEADERS frame (RFC 9113 section 6.2).
void Http2RequestReader::strip_headers_frame() {
  std::size_t padding = 0, front = 0;
  if (frame_.has(kPadded)) {
    if (!block_.empty()) padding = block_[0];
    front += 1;
  }
  if (frame_.has(kPriority)) front += kPriorityFieldBytes;
  if (front + padding > block_.size()) {
    fail("more padding than a frame has");
    return;
  }
  block_.resize(block_.size() - padding);
  block_.erase(block_.begin(), block_.begin() + static_cast<std::ptrdiff_t>(front));
}

void Http2RequestReader::end_block() {
  block_stream_ = 0;
  fields_ = {};
  // What ended earlier can't begin again, so a block there is a trailer or an error.
  fields_.is_trailer = frame_.stream <= last_stream_;
  bool is_read = hpack_.read(block_, [this](std::string_view name, std::string_view value) {
    return note_field(name, value);
  });
  // Memory of a connection that has gone over to its bodies would be for nothing.
  block_ = {};
  if (state_ != State::frames) return;
  if (!is_read) {
    fail("a header block that is not HPACK");
  } else if (!fields_.is_trailer) {
    end_request();
  } else if (!block_ends_stream_) {
    fail("a second header block that ends nothing");
  } else {
    end_body(frame_.stream);
    if (state_ == State::frames) released_ = taken_;
  }
}

bool Http2RequestReader::note_field(std::string_view name, std::string_view value) {
  fields_.bytes += name.size() + value.size() + kFieldOverhead;
  if (fields_.bytes > kMaxListBytes) return fail("a header list that is too long");
  if (!is_http_value(value)) return fail("control bytes in a field");
  return name.starts_with(':') ? note_pseudo(name, value) : note_regular(name, value);
}

bool Http2RequestReader::note_pseudo(std::string_view name, std::string_view value) {
  if (fields_.is_trailer) return fail("a trailer that routes");
  if (fields_.past_pseudo) return fail("a pseudo-field that comes late");
  std::optional<std::string>* field = name == ":method"      ? &fields_.method
                                      : name == ":scheme"    ? &fields_.scheme
                                      : name == ":path"      ? &fields_.path
                                      : name == ":authority" ? &fields_.authority
                                                             : nullptr;
  if (!field) return fail("an unknown pseudo-field");
  if (*field) return fail("a pseudo-field that comes twice");
  *field = value;
  return true;
}

bool Http2RequestReader::note_regular(std::string_view name, std::string_view value) {
  fields_.past_pseudo = true;
  if (!is_lower_token(name)) return fail("a field's name is not a token in lower case");
  if (is_of_connections(name)) return fail("a field of HTTP/1's connections");
  if (!frames_or_routes(name)) return true;
  if (fields_.is_trailer) return fail("a trailer that frames or routes");
  std::optional<std::string>* field = name == "host"             ? &fields_.host
                                      : name == "content-length" ? &fields_.content_length
                                                                 : nullptr;
  if (!field) return fail("a field that some read as HTTP/1's framing");
  if (*field) return fail("Host or Content-Length comes twice");
  if (field == &fields_.content_length && !parse_content_length(value)) {
    return fail("Content-Length is not a number");
  }
  *field = value;
  return true;
}

void Http2RequestReader::end_request() {
  last_stream_ = frame_.stream;
  request_ = {};
  request_.stream = frame_.stream;
  if (!fields_.method || !is_http_token(*fields_.method)) {
    fail("the method is not a token");
    return;
  }
  request_.is_connect = same_word(*fields_.method, "CONNECT");
  if (!request_.is_connect) {
    bool is_web = fields_.scheme == "http" || fields_.scheme == "https";
    if (!is_web) {
      fail("the scheme is unknown");
      return;
    }
    bool is_path =
        fields_.path && is_http_target(*fields_.path) &&
        (fields_.path->starts_with('/') || (fields_.path == "*" && fields_.method == "OPTIONS"));
    if (!is_path) {
      fail("the path is none");
      return;
    }
  }
  if (fields_.content_length) {
    if (bodies_.size() == kMaxBodies) {
      fail("too many bodies at once");
      return;
    }
    bodies_[frame_.stream] = *parse_content_length(*fields_.content_length);
    if (block_ends_stream_) end_body(frame_.stream);
    if (state_ != State::frames) return;
  }
  if (read_authority()) state_ = State::verdict;
}

bool Http2RequestReader::read_authority() {
  auto& authority = request_.authority;
  if (fields_.authority) {
    authority = HttpAuthority::parse(*fields_.authority);
    if (!authority) return fail(":authority is neither a name nor an address");
  }
  if (!fields_.host) return true;
  auto host = HttpAuthority::parse(*fields_.host);
  if (!host) return fail("Host is neither a name nor an address");
  if (!authority) {
    authority = std::move(host);
    return true;
  }
  Port fallback(fields_.scheme == "https" ? 443 : 80);
  bool agree = host->host == authority->host &&
               host->port.value_or(fallback) == authority->port.value_or(fallback);
  return agree || fail("Host is another than :authority");
}

bool Http2RequestReader::fail(std::string_view reason) {
  if (state_ == State::malformed) return false;
  state_ = State::malformed;
  reason_ = reason;
  block_ = {};
  return false;
}

}  // namespace sluice::wire
