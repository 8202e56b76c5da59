#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "agent/rpc/link.h"

namespace sluice::agent::rpc {

/// How bytes go over a line that has no connections, such as a virtio-serial port: who opens it
/// finds what others left half-said. So one byte is set apart:
///
///     0xFF 0x00            the byte 0xFF
///     0xFF 0x01 nonce[8]   all before this is void. The client sends it when it begins; the agent
///                          sends it back, with the client's nonce, before anything else. Bytes of
///                          a nonce are never 0xFF.
///
/// What follows 0xFF otherwise is passed over. The coder is pure; both ends use it.
inline constexpr std::uint8_t kSerialEscape = 0xFF;
inline constexpr std::uint8_t kSerialLiteral = 0x00;
inline constexpr std::uint8_t kSerialReset = 0x01;
using SerialNonce = std::array<std::uint8_t, 8>;

/// Appends `bytes`, escaped.
void serial_escape(std::vector<std::uint8_t>& out, ConstBytes bytes);
/// Appends a reset.
void serial_reset(std::vector<std::uint8_t>& out, const SerialNonce& nonce);

/// Takes the escapes out again, cut anywhere.
class SerialDecoder {
 public:
  /// Decodes from the beginning of `in` into `out`, which may be `in`'s own place, up to the end or
  /// the first reset. `taken` bytes of `in` gave `made` bytes.
  struct Step {
    std::size_t taken = 0;
    std::size_t made = 0;
    bool reset = false;
  };
  Step decode(ConstBytes in, std::uint8_t* out);
  /// Of the last reset.
  const SerialNonce& nonce() const { return nonce_; }

 private:
  enum class State : std::uint8_t { plain, escaped, nonce };
  State state_ = State::plain;
  std::size_t nonce_bytes_ = 0;
  SerialNonce nonce_{};
};

/// Bytes that came over such a line.
class SerialReader {
 public:
  struct Piece {
    std::size_t bytes = 0;  ///< Decoded, up to the first reset.
    int error = 0;          ///< errno; EAGAIN: nothing more now.
    bool reset = false;
    bool ended = false;
  };
  /// Reads and decodes some into `into`. What follows a reset waits here for the next call.
  Piece read(int fd, Bytes into);
  bool has_more() const { return !in_.empty(); }
  /// Of the last reset.
  const SerialNonce& nonce() const { return decoder_.nonce(); }

 private:
  SerialDecoder decoder_;
  std::vector<std::uint8_t> in_;  ///< Read and not yet decoded.
};

/// Bytes on their way out over such a line.
class SerialWriter {
 public:
  /// Takes some of `from` where all that was taken before is written; else EAGAIN.
  IoResult write(int fd, ConstBytes from);
  /// Writes what it can. Whether all is written.
  bool flush(int fd);
  bool empty() const { return written_ == out_.size(); }
  /// Drops what is not yet written and begins anew. What is half written is void by the reset after
  /// it.
  void reset(const SerialNonce& nonce);
  void clear();

 private:
  std::vector<std::uint8_t> out_;  ///< Escaped.
  std::size_t written_ = 0;
};

/// The agent's end of a virtio-serial port. While nobody on the host has it open there is nothing
/// to read, and the kernel says "hung up" without end: then the port is looked at every 20 ms.
class SerialLink final : public Link {
 public:
  SerialLink(Loop& loop, UniqueFd port);
  ~SerialLink() override { *alive_ = false; }

  /// Told when the peer has begun anew: all calls of the one before are void. Never from inside a
  /// call.
  void set_reset_handler(std::function<void()> on_reset) { on_reset_ = std::move(on_reset); }

  IoResult read(Bytes into) override;
  IoResult write(ConstBytes from) override;
  void set_interest(FdReady interest) override;
  void set_handler(std::function<void(FdReady)> on_ready) override {
    on_ready_ = std::move(on_ready);
  }

 private:
  void on_port_ready(FdReady ready);
  void on_hang_up();
  void begin_anew_later();
  void watch();
  bool has_peer() const;

  Loop& loop_;
  UniqueFd port_;
  std::function<void(FdReady)> on_ready_;
  std::function<void()> on_reset_;
  FdReady interest_;
  SerialReader reader_;
  SerialWriter writer_;
  bool answer_ = false;  ///< The peer asked to begin anew, and is waiting for its nonce.
  bool beginning_anew_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<Timer> look_again_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent::rpc
