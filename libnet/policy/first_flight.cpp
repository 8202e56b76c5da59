#include "policy/first_flight.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "policy/first_flight_reply.h"
#include "policy/reason.h"

namespace sluice::policy {

namespace {

using Tls = wire::TlsHelloReader::State;
using Http = wire::HttpRequestReader::State;
using Http2 = wire::Http2RequestReader;

/// Whether bytes that a server sent first are the header of the SETTINGS that begin HTTP/2.
bool is_http2_settings(std::string_view start) {
  constexpr std::size_t kHeaderBytes = 9;
  constexpr char kSettings = 4, kAck = 1;
  return start.size() >= kHeaderBytes && start[3] == kSettings && (start[4] & kAck) == 0 &&
         start.substr(5, 4) == std::string_view("\0\0\0\0", 4);
}

}  // namespace

std::size_t FirstFlight::feed(ConstBytes bytes) {
  std::size_t done = 0;
  while (done < bytes.size() && state_ == State::reading && !unconfirmed_) {
    ConstBytes rest = bytes.subspan(done);
    Kind kind = kind_;
    std::size_t step = kind == Kind::unknown ? feed_start(rest)
                       : kind == Kind::tls   ? feed_tls(rest)
                       : kind == Kind::http  ? feed_http(rest)
                                             : feed_http2(rest);
    taken_ += step;
    done += step;
    if (step == 0 && kind_ == kind) break;
  }
  if (state_ == State::open) released_ = taken_ = UINT64_MAX;
  return state_ == State::open ? bytes.size() : done;
}

std::size_t FirstFlight::feed_start(ConstBytes bytes) {
  // Byte by byte, so that what the TLS reader took is known when it is HTTP after all.
  std::size_t size = std::min(bytes.size(), kStartBytes - start_.size());
  for (std::size_t i = 0; i < size; ++i) {
    static_cast<void>(tls_.feed(bytes.subspan(i, 1)));
    start_.push_back(bytes[i]);
    if (tls_.state() == Tls::not_tls) {
      kind_ = Kind::http;
      static_cast<void>(feed_http(std::exchange(start_, {})));
      return i + 1;
    }
    if (tls_.state() != Tls::need_more) {
      kind_ = Kind::tls;
      judge_hello();
      return i + 1;
    }
  }
  if (start_.size() == kStartBytes) {
    kind_ = Kind::tls;
    start_.clear();
  }
  return size;
}

std::size_t FirstFlight::feed_tls(ConstBytes bytes) {
  std::size_t taken = tls_.feed(bytes);
  judge_hello();
  return taken;
}

void FirstFlight::judge_hello() {
  switch (tls_.state()) {
    case Tls::need_more:
    case Tls::following:
      break;
    case Tls::opaque:
    case Tls::not_tls:
      state_ = State::open;
      return;
    case Tls::malformed:
      unidentified(fmt::format("its TLS hello can't be read: {}", tls_.reason()));
      return;
    case Tls::too_large:
      unidentified("its TLS hello is too large");
      return;
    case Tls::complete: {
      const wire::ClientHello& hello = tls_.hello();
      if (hello.has_ech && options_.encrypted_hello == EncryptedHello::deny) {
        // Whatever becomes of the unidentified: this name was chosen to be seen.
        deny({hello.server_name, std::nullopt, std::string(kHiddenName)});
        return;
      }
      if (!hello.server_name) {
        unidentified("its TLS hello names no server");
        return;
      }
      judge_name(*hello.server_name);
      approve();
      break;
    }
  }
  released_ = tls_.released();
  if (tls_.state() == Tls::opaque) state_ = State::open;
}

std::size_t FirstFlight::feed_http(ConstBytes bytes) {
  if (http_.state() == Http::switching) {
    answer_upgrade();
    if (kind_ == Kind::http2) return 0;
  }
  std::size_t taken = http_.feed(bytes);
  release();
  switch (http_.state()) {
    case Http::not_http:
      state_ = State::open;
      return taken;
    case Http::http2:
      begin_http2(Http2::Start::first);
      return taken;
    case Http::malformed:
      unidentified(fmt::format("its HTTP request can't be read: {}", http_.reason()));
      return taken;
    case Http::verdict:
      judge_request();
      break;
    default:
      break;
  }
  if (http_.state() == Http::switching) answer_upgrade();
  release();
  return taken;
}

void FirstFlight::begin_http2(Http2::Start start) {
  kind_ = Kind::http2;
  http2_ = std::make_unique<Http2>(start);
  if (start == Http2::Start::first) {
    // The line that told it from HTTP/1, and nothing else was taken.
    std::string_view line = Http2::kPreface.substr(0, http_.taken());
    static_cast<void>(
        http2_->feed({reinterpret_cast<const std::uint8_t*>(line.data()), line.size()}));
    look_at_server();
  } else {
    http2_at_ = http_.taken();
    server_has_http2_ = true;
  }
}

std::size_t FirstFlight::feed_http2(ConstBytes bytes) {
  std::size_t taken = http2_->feed(bytes);
  release();
  if (http2_->state() == Http2::State::malformed) {
    unidentified(fmt::format("its HTTP/2 can't be read: {}", http2_->reason()));
  } else if (http2_->state() == Http2::State::verdict) {
    judge_http2_request();
  }
  release();
  return taken;
}

void FirstFlight::look_at_server() {
  if (kind_ == Kind::http && requests_ == 1 && server_start_.size() == kServerStartBytes &&
      server_start_.ends_with(" 100")) {
    http_.continued();
  }
  if (kind_ == Kind::http && http_.state() == Http::switching) answer_upgrade();
  if (kind_ == Kind::http2 && !server_has_http2_) {
    server_has_http2_ = is_http2_settings(server_start_);
  }
}

bool FirstFlight::can_reply_http2() const {
  bool is_first = requests_ <= 1 && http2_at_ == 0;
  return is_first && (server_start_.empty() || server_has_http2_) && server_frames_.is_between();
}

/// Lets go of what the reader of HTTP lets go of.
void FirstFlight::release() {
  if (state_ != State::reading) return;
  if (kind_ == Kind::http) {
    released_ = http_.released();
    if (http_.state() == Http::opaque) state_ = State::open;
  } else if (kind_ == Kind::http2) {
    std::uint64_t released = http2_->released();
    if (!server_has_http2_) released = std::min<std::uint64_t>(released, Http2::kPreface.size());
    if (withholds_preface()) released = 0;
    released_ = http2_at_ + released;
  }
}

void FirstFlight::judge_request() {
  const wire::HttpRequest& request = http_.request();
  ++requests_;
  if (request.target == wire::HttpRequest::Target::connect) {
    unidentified("it asks for a tunnel (CONNECT)");
  } else if (!request.authority || !request.authority->name()) {
    unidentified("its HTTP request names no host by name");
  } else {
    judge_name(*request.authority->name());
  }
  approve();
}

void FirstFlight::judge_http2_request() {
  const wire::Http2Request& request = http2_->request();
  ++requests_;
  if (request.is_connect) {
    unidentified("it asks for a tunnel (CONNECT)");
  } else if (!request.authority || !request.authority->name()) {
    unidentified("its HTTP/2 request names no host by name");
  } else {
    judge_name(*request.authority->name());
  }
  approve();
}

void FirstFlight::answer_upgrade() {
  using Upgrade = wire::HttpRequest::Upgrade;
  Upgrade upgrade = http_.request().upgrade;
  // Which answer belongs to a later request can't be told without reading all that the server
  // sends, so only the first may switch; what follows another is read as the next request.
  if (requests_ > 1 || (upgrade != Upgrade::websocket && upgrade != Upgrade::h2c)) {
    http_.not_switched();
  } else if (server_start_.size() == kServerStartBytes) {
    if (!server_start_.ends_with(" 101")) {
      http_.not_switched();
    } else if (upgrade == Upgrade::h2c) {
      begin_http2(Http2::Start::after_upgrade);
    } else {
      http_.switched();
    }
  }
}

void FirstFlight::server_spoke(ConstBytes bytes, std::size_t unseen) {
  if (requests_ == 0 && kind_ != Kind::tls) {
    server_frames_.feed(bytes);
    server_frames_.skip(unseen);
  }
  std::size_t size = std::min(bytes.size(), kServerStartBytes - server_start_.size());
  server_start_.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  if (state_ != State::reading || size == 0) return;
  look_at_server();
  release();
}

bool FirstFlight::awaits_server() const {
  if (state_ != State::reading) return false;
  return kind_ == Kind::http2 ? !server_has_http2_
                              : kind_ == Kind::http && http_.state() == Http::switching;
}

void FirstFlight::judge_name(const DomainName& name) {
  Verdict verdict = judge_(name);
  if (!verdict.allowed()) {
    deny({name, verdict, std::string(reason_of(verdict, Judged::named_flow))});
    return;
  }
  if (std::ranges::find(names_, name) != names_.end()) return;
  if (kind_ == Kind::http2 && names_.size() == kMaxNames) {
    deny({name, std::nullopt, "too many names on one connection"});
    return;
  }
  if (options_.allowed_name == AllowedName::awaits_server) {
    unconfirmed_ = name;
    return;
  }
  if (kind_ != Kind::http2) names_.clear();
  names_.push_back(name);
}

/// What was judged last may pass, unless something came of it that holds it.
void FirstFlight::approve() {
  if (state_ != State::reading || unconfirmed_) return;
  if (kind_ == Kind::tls) tls_.approve();
  if (kind_ == Kind::http) http_.approve();
  if (kind_ == Kind::http2) http2_->approve();
}

void FirstFlight::confirm() {
  if (kind_ != Kind::http2) names_.clear();
  names_.push_back(*std::exchange(unconfirmed_, std::nullopt));
  approve();
  if (kind_ == Kind::tls) {
    released_ = tls_.released();
    if (tls_.state() == Tls::opaque) state_ = State::open;
  }
  if (kind_ == Kind::http && http_.state() == Http::switching) answer_upgrade();
  release();
  if (state_ == State::open) released_ = taken_ = UINT64_MAX;
}

void FirstFlight::refuse(std::string reason, std::string_view decider) {
  deny({std::exchange(unconfirmed_, std::nullopt), std::nullopt, std::move(reason), decider});
}

bool FirstFlight::withholds_preface() const {
  return options_.allowed_name == AllowedName::awaits_server && names_.empty();
}

bool FirstFlight::is_waiting() const {
  if (state_ != State::reading || unconfirmed_) return false;
  // What the server has to let go of is not for the guest to complete.
  if (kind_ == Kind::http2) {
    return withholds_preface() || http2_->taken() > http2_->released();
  }
  bool is_past_hello = kind_ == Kind::tls && tls_.state() == Tls::following;
  return taken_ > released_ && !is_past_hello;
}

void FirstFlight::give_up(std::string_view reason) {
  if (is_waiting()) unidentified(std::string(reason));
}

void FirstFlight::unidentified(std::string reason) {
  if (options_.unidentified == Unidentified::allow_if_bound) {
    state_ = State::open;
    return;
  }
  deny({std::nullopt, std::nullopt, std::move(reason)});
}

void FirstFlight::deny(FirstFlightDenial denial) {
  state_ = State::denied;
  denial_ = std::move(denial);
  std::string why = denial_.name ? denial_.name->text() + ": " + denial_.reason : denial_.reason;
  if (kind_ == Kind::tls) {
    reply_ = tls_refusal();
  } else if (kind_ == Kind::http && released_ == 0 && server_start_.empty()) {
    // A later one's would come in the midst of what the server says.
    reply_ = http_refusal(why);
  } else if (kind_ == Kind::http2 && can_reply_http2()) {
    auto settings = server_start_.empty() ? ServerSettings::to_come : ServerSettings::sent;
    reply_ = http2_refusal(settings, requests_ == 0 ? 0 : http2_->request().stream, why);
  }
}

}  // namespace sluice::policy
