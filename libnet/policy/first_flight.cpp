#include "policy/first_flight.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::policy {

namespace {

using Tls = wire::TlsHelloReader::State;
using Http = wire::HttpRequestReader::State;

/// A fatal access_denied (RFC 8446 section 6) as a record of its own.
constexpr std::array<std::uint8_t, 7> kTlsAccessDenied = {21, 3, 3, 0, 2, 2, 49};

std::vector<std::uint8_t> http_forbidden(std::string_view why) {
  std::string body = fmt::format("refused by network policy: {}\n", why);
  std::string text = fmt::format(
      "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n"
      "Connection: close\r\n\r\n{}",
      body.size(), body);
  return {text.begin(), text.end()};
}

}  // namespace

std::size_t FirstFlight::feed(ConstBytes bytes) {
  std::size_t done = 0;
  while (done < bytes.size() && state_ == State::reading) {
    ConstBytes rest = bytes.subspan(done);
    std::size_t step = kind_ == Kind::unknown ? feed_start(rest)
                       : kind_ == Kind::tls   ? feed_tls(rest)
                                              : feed_http(rest);
    taken_ += step;
    done += step;
    if (step == 0) break;
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
      if (state_ == State::reading) tls_.approve();
      break;
    }
  }
  released_ = tls_.released();
  if (tls_.state() == Tls::opaque) state_ = State::open;
}

std::size_t FirstFlight::feed_http(ConstBytes bytes) {
  if (http_.state() == Http::switching) answer_upgrade();
  std::size_t taken = http_.feed(bytes);
  switch (http_.state()) {
    case Http::not_http:
      state_ = State::open;
      return taken;
    case Http::http2:
      unidentified("it is HTTP/2 in the clear");
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
  if (state_ == State::reading) released_ = http_.released();
  if (http_.state() == Http::opaque) state_ = State::open;
  return taken;
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
  if (state_ == State::reading) http_.approve();
}

void FirstFlight::answer_upgrade() {
  // Which answer belongs to a later request can't be told without reading all that the server
  // sends, so only the first may switch; what follows another is read as the next request.
  if (requests_ > 1 || http_.request().upgrade != wire::HttpRequest::Upgrade::websocket) {
    http_.not_switched();
  } else if (server_start_.size() == kStatusBytes) {
    server_start_.ends_with(" 101") ? http_.switched() : http_.not_switched();
  }
}

void FirstFlight::server_spoke(ConstBytes bytes) {
  std::size_t size = std::min(bytes.size(), kStatusBytes - server_start_.size());
  server_start_.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  if (state_ == State::reading && kind_ == Kind::http && http_.state() == Http::switching) {
    answer_upgrade();
    released_ = http_.released();
    if (http_.state() == Http::opaque) state_ = State::open;
  }
}

void FirstFlight::judge_name(const DomainName& name) {
  Verdict verdict = judge_(name);
  if (verdict.allowed()) {
    name_ = name;
    return;
  }
  deny({name, verdict, std::string(reason_of(verdict))});
}

bool FirstFlight::is_waiting() const {
  bool is_past_hello = kind_ == Kind::tls && tls_.state() == Tls::following;
  return state_ == State::reading && taken_ > released_ && !is_past_hello;
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
  if (kind_ == Kind::tls) {
    reply_.assign(kTlsAccessDenied.begin(), kTlsAccessDenied.end());
  } else if (kind_ == Kind::http && released_ == 0) {
    // A later one's would come in the midst of what the server says.
    reply_ = http_forbidden(denial_.name ? denial_.name->text() + ": " + denial_.reason
                                         : denial_.reason);
  }
}

}  // namespace sluice::policy
