#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire/tls_hello.h"

namespace sluice::wire {

/// Finds every client hello in the bytes that a client sends on one TCP connection, across segments
/// and TLS records (RFC 8446 section 5.1), so that none reaches the server unjudged.
///
/// There can be two: a server may answer the first with HelloRetryRequest, and some take the server
/// name from the second. So after an approved hello the reader follows the records, without keeping
/// them, until no second hello can come.
///
/// The bytes belong to the caller, who holds them back; the reader only counts, and copies at most
/// one hello. Any split of the stream into feed() calls leads to the same states. Cost is linear in
/// the bytes. After not_tls, malformed and too_large, feed() takes nothing more.
///
///     need_more -> not_tls | malformed | too_large
///     need_more -> complete -> approve() -> following -> opaque
///                     ^---------------------'    '-> malformed | too_large
class TlsHelloReader {
 public:
  enum class State : std::uint8_t {
    need_more,  ///< A hello may be under way; nothing may pass.
    not_tls,    ///< No server would read these bytes as TLS. Known after at most 6 bytes.
    complete,   ///< hello() awaits the caller's verdict; feed() takes nothing until approve().
    following,  ///< What released() counts may pass; another hello may come.
    opaque,     ///< No hello can come any more: everything may pass, the reader is not needed.
    malformed,  ///< TLS that can't be read for certain. reason() says why.
    too_large,  ///< A hello over kMaxClientHelloBytes.
  };

  /// The next bytes of the stream. Returns how many were taken: all, or those up to where the
  /// state became one that takes no more; the rest is to be fed again after approve().
  std::size_t feed(ConstBytes bytes);

  State state() const { return state_; }
  /// Bytes from the stream's beginning that may go to the server: up to an approved hello's end,
  /// and from there as far as no other hello begins.
  std::uint64_t released() const { return released_; }
  /// Of the stream, over all feed() calls. Means nothing once feed() takes nothing more for good.
  std::uint64_t taken() const { return taken_; }
  /// Requires state() == complete.
  const ClientHello& hello() const { return hello_; }
  /// The hello may go to the server. Requires state() == complete; does nothing in another.
  void approve();
  /// What was wrong, of a malformed stream; empty in other states.
  std::string_view reason() const { return reason_; }

 private:
  static constexpr std::size_t kRecordHeaderBytes = 5;

  enum class ContentType : std::uint8_t {
    change_cipher_spec = 20,
    alert = 21,
    handshake = 22,
    application_data = 23,
    heartbeat = 24,
  };

  void take_header_byte(std::uint8_t byte);
  std::size_t take_content(ConstBytes bytes);
  void classify_start();
  void classify_odd_version();
  void begin_hello_record();
  void begin_later_record();
  void note_handshake_header();
  void note_later_handshake_header();
  void finish_hello();
  ContentType record_type() const { return static_cast<ContentType>(header_[0]); }
  std::size_t record_size() const { return load_be16(&header_[3]); }
  void fail(std::string_view reason);

  State state_ = State::need_more;
  bool first_record_ = true;
  bool hello_passed_ = false;
  bool early_data_ = false;
  bool cipher_changed_ = false;
  ClientHello hello_;
  std::uint64_t taken_ = 0;
  std::uint64_t released_ = 0;
  std::array<std::uint8_t, kRecordHeaderBytes + 1> header_{};
  std::size_t header_bytes_ = 0;
  std::size_t record_left_ = 0;          // bytes of the record's content still to come
  std::vector<std::uint8_t> handshake_;  // header and body of the hello under way
  std::size_t handshake_size_ = 0;       // of all of it; 0 until its header is there
  std::string reason_;
};

}  // namespace sluice::wire
