#include "wire/tls_hello_reader.h"

#include <algorithm>

namespace sluice::wire {

namespace {

constexpr std::size_t kMaxPlaintext = 16384;
/// What TLS 1.2 lets an encrypted record grow to (RFC 5246 section 6.2.3).
constexpr std::size_t kMaxCiphertext = kMaxPlaintext + 2048;
/// Record versions below this are taken by servers that ignore the field, as RFC 8446 section 5.1
/// tells them to. Those that look at all begin here to call it another protocol.
constexpr std::uint8_t kOddMajorLimit = 0x10;
constexpr std::uint8_t kMajor = 3;
constexpr std::uint8_t kSslV2Flag = 0x80;
/// Version, random and three empty vectors: no hello is shorter.
constexpr std::size_t kMinHello = 38;
/// Longer handshake messages than this no known server takes, so what says it is one isn't.
constexpr std::size_t kMaxServerHandshake = (1u << 18) - 1;
/// As much of a handshake message as shows whether it is a hello: its header and the version.
constexpr std::size_t kTellingBytes = kTlsHandshakeHeaderBytes + 2;

std::size_t load_be24(const std::uint8_t* p) {
  return static_cast<std::size_t>(p[0]) << 16 | load_be16(p + 1);
}

}  // namespace

std::size_t TlsHelloReader::feed(ConstBytes bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    ConstBytes rest = bytes.subspan(taken);
    if (state_ == State::opaque) {
      taken_ += rest.size();
      released_ = taken_;
      return bytes.size();
    }
    if (state_ != State::need_more && state_ != State::following) break;
    if (record_left_ > 0) {
      taken += take_content(rest);
    } else {
      take_header_byte(rest[0]);
      ++taken;
    }
  }
  return taken;
}

void TlsHelloReader::approve() {
  if (state_ != State::complete) return;
  released_ = taken_;
  hello_passed_ = true;
  early_data_ = early_data_ || hello_.has_early_data;
  // Only TLS 1.3 has HelloRetryRequest.
  state_ = hello_.supported_versions.empty() ? State::opaque : State::following;
}

void TlsHelloReader::take_header_byte(std::uint8_t byte) {
  header_[header_bytes_++] = byte;
  ++taken_;
  if (first_record_) {
    classify_start();
  } else if (header_bytes_ == kRecordHeaderBytes) {
    header_bytes_ = 0;
    if (state_ == State::following) {
      begin_later_record();
    } else {
      begin_hello_record();
    }
  }
}

/// Called after each byte of the stream until they tell.
void TlsHelloReader::classify_start() {
  const auto& b = header_;
  if (b[0] & kSslV2Flag) {
    // The hello of SSL 2 (RFC 5246 appendix E.2), which has no server name and which servers of
    // TLS still take.
    if (header_bytes_ == 3 && b[2] != kTlsClientHello) state_ = State::not_tls;
    if (header_bytes_ < 5 || state_ != State::need_more) return;
    bool ssl = b[3] == kMajor || (b[3] == 0 && b[4] == 2);
    if (ssl) return fail("a hello in the format of SSL 2");
    state_ = State::not_tls;
    return;
  }
  if (record_type() < ContentType::change_cipher_spec || record_type() > ContentType::heartbeat) {
    state_ = State::not_tls;
    return;
  }
  if (header_bytes_ < 2) return;
  if (b[1] != kMajor) return classify_odd_version();
  if (record_type() != ContentType::handshake) return fail("TLS doesn't begin with a hello");
  if (header_bytes_ < kRecordHeaderBytes) return;
  first_record_ = false;
  header_bytes_ = 0;
  begin_hello_record();
}

/// Other protocols begin like this too, with a length in little-endian order for one. TLS it is
/// where a server that ignores the version finds a hello, or an alert that it would pass over.
void TlsHelloReader::classify_odd_version() {
  bool handshake = record_type() == ContentType::handshake;
  bool possible = header_[1] < kOddMajorLimit && (handshake || record_type() == ContentType::alert);
  if (possible && header_bytes_ < kRecordHeaderBytes + (handshake ? 1u : 0u)) return;
  if (possible && handshake) {
    possible = record_size() > 0 && record_size() <= kMaxCiphertext &&
               header_[kRecordHeaderBytes] == kTlsClientHello;
  } else if (possible) {
    possible = record_size() == 2;
  }
  if (possible) return fail("an unknown version of TLS records");
  state_ = State::not_tls;
}

void TlsHelloReader::begin_hello_record() {
  if (record_type() != ContentType::handshake) return fail("another record inside a hello");
  if (header_[1] != kMajor) return fail("an unknown version of TLS records");
  if (record_size() == 0) return fail("an empty record");
  if (record_size() > kMaxPlaintext) return fail("a record that is too long");
  record_left_ = record_size();
}

void TlsHelloReader::begin_later_record() {
  if (record_type() < ContentType::change_cipher_spec || record_type() > ContentType::heartbeat ||
      header_[1] != kMajor || record_size() > kMaxCiphertext) {
    return fail("not a TLS record after the hello");
  }
  record_left_ = record_size();
  if (record_type() == ContentType::handshake) {
    // Held until it shows that it is no hello.
    if (record_left_ == 0) fail("an empty record");
    return;
  }
  if (record_type() == ContentType::change_cipher_spec) cipher_changed_ = true;
  // A server that sent HelloRetryRequest passes over refused 0-RTT data, as long as some were
  // announced (RFC 8446 section 4.2.10), and over alerts. Other data mean that it didn't.
  if (record_type() == ContentType::application_data && !early_data_) state_ = State::opaque;
  released_ = taken_;
}

std::size_t TlsHelloReader::take_content(ConstBytes bytes) {
  std::size_t count = std::min(bytes.size(), record_left_);
  if (record_type() != ContentType::handshake) {
    record_left_ -= count;
    taken_ += count;
    released_ = taken_;
    return count;
  }
  std::size_t telling = hello_passed_ ? kTellingBytes : kTlsHandshakeHeaderBytes;
  std::size_t wanted = handshake_size_ != 0 ? handshake_size_ : telling;
  count = std::min(count, wanted - handshake_.size());
  auto end = bytes.begin() + static_cast<std::ptrdiff_t>(count);
  handshake_.insert(handshake_.end(), bytes.begin(), end);
  record_left_ -= count;
  taken_ += count;
  if (handshake_size_ == 0) {
    if (hello_passed_) {
      note_later_handshake_header();
    } else {
      note_handshake_header();
    }
  }
  if (handshake_size_ != 0 && handshake_.size() == handshake_size_) finish_hello();
  return count;
}

void TlsHelloReader::note_handshake_header() {
  if (handshake_[0] != kTlsClientHello) return fail("TLS doesn't begin with a hello");
  if (handshake_.size() < kTlsHandshakeHeaderBytes) return;
  std::size_t body = load_be24(&handshake_[1]);
  if (body > kMaxClientHelloBytes) {
    state_ = State::too_large;
    handshake_ = {};
    return;
  }
  if (body < kMinHello) return fail("the hello is cut off");
  handshake_size_ = kTlsHandshakeHeaderBytes + body;
}

/// After change_cipher_spec a handshake record is either encrypted (TLS 1.2) or a second hello; no
/// encrypted one is as short as what is looked at here, and one in four million looks like a hello.
void TlsHelloReader::note_later_handshake_header() {
  bool could_be_hello = handshake_[0] == kTlsClientHello;
  bool told = !could_be_hello;
  if (could_be_hello && handshake_.size() >= kTlsHandshakeHeaderBytes) {
    std::size_t body = load_be24(&handshake_[1]);
    could_be_hello = body >= kMinHello && body <= kMaxServerHandshake;
  }
  bool all = handshake_.size() == kTellingBytes;
  if (could_be_hello && all) could_be_hello = handshake_[kTlsHandshakeHeaderBytes] == kMajor;
  if (could_be_hello) {
    state_ = State::need_more;
    if (all) note_handshake_header();
    return;
  }
  if (!told && !cipher_changed_) return fail("a second hello that can't be read");
  state_ = State::opaque;
  released_ = taken_;
  handshake_ = {};
}

void TlsHelloReader::finish_hello() {
  if (record_left_ != 0) return fail("more in the hello's record than the hello");
  auto hello = parse_client_hello(ConstBytes(handshake_).subspan(kTlsHandshakeHeaderBytes));
  handshake_ = {};
  handshake_size_ = 0;
  if (!hello) return fail(hello.status().message());
  hello_ = std::move(hello).value();
  state_ = State::complete;
}

void TlsHelloReader::fail(std::string_view reason) {
  state_ = State::malformed;
  reason_ = reason;
  handshake_ = {};
}

}  // namespace sluice::wire
