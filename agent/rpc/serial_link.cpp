#include "agent/rpc/serial_link.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/os/descriptor.h"

namespace sluice::agent::rpc {

namespace {

constexpr Duration kLookAgain = std::chrono::milliseconds(20);
constexpr std::size_t kChunkBytes = std::size_t{32} << 10;
/// Escaped and unwritten bytes beyond which no more are taken.
constexpr std::size_t kMostUnwritten = std::size_t{64} << 10;

const std::uint8_t* find_escape(ConstBytes bytes) {
  return static_cast<const std::uint8_t*>(std::memchr(bytes.data(), kSerialEscape, bytes.size()));
}

}  // namespace

void serial_escape(std::vector<std::uint8_t>& out, ConstBytes bytes) {
  while (!bytes.empty()) {
    const std::uint8_t* found = find_escape(bytes);
    std::size_t plain = found ? static_cast<std::size_t>(found - bytes.data()) : bytes.size();
    out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(plain));
    if (found) out.insert(out.end(), {kSerialEscape, kSerialLiteral});
    bytes = bytes.subspan(plain + (found ? 1 : 0));
  }
}

void serial_reset(std::vector<std::uint8_t>& out, const SerialNonce& nonce) {
  out.insert(out.end(), {kSerialEscape, kSerialReset});
  out.insert(out.end(), nonce.begin(), nonce.end());
}

SerialDecoder::Step SerialDecoder::decode(ConstBytes in, std::uint8_t* out) {
  Step step;
  while (step.taken < in.size()) {
    ConstBytes rest = in.subspan(step.taken);
    switch (state_) {
      case State::plain: {
        const std::uint8_t* found = find_escape(rest);
        std::size_t plain = found ? static_cast<std::size_t>(found - rest.data()) : rest.size();
        std::memmove(out + step.made, rest.data(), plain);
        step.made += plain;
        step.taken += plain + (found ? 1 : 0);
        if (found) state_ = State::escaped;
        break;
      }
      case State::escaped:
        ++step.taken;
        state_ = State::plain;
        if (rest[0] == kSerialLiteral) {
          out[step.made++] = kSerialEscape;
        } else if (rest[0] == kSerialReset) {
          state_ = State::nonce;
          nonce_bytes_ = 0;
        } else if (rest[0] == kSerialEscape) {
          state_ = State::escaped;
        }
        break;
      case State::nonce:
        if (rest[0] == kSerialEscape) {
          // No nonce has it: the sender broke off, and something else begins.
          state_ = State::escaped;
          ++step.taken;
          break;
        }
        nonce_[nonce_bytes_++] = rest[0];
        ++step.taken;
        if (nonce_bytes_ == nonce_.size()) {
          state_ = State::plain;
          step.reset = true;
          return step;
        }
        break;
    }
  }
  return step;
}

SerialReader::Piece SerialReader::read(int fd, Bytes into) {
  if (in_.empty()) {
    in_.resize(std::min(kChunkBytes, into.size()));
    ssize_t got = ::read(fd, in_.data(), in_.size());
    int error = errno;
    in_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    if (got == 0) return {.ended = true};
    if (got < 0) return {.error = error == EINTR || error == EWOULDBLOCK ? EAGAIN : error};
  }
  ConstBytes in(in_.data(), std::min(in_.size(), into.size()));
  SerialDecoder::Step step = decoder_.decode(in, into.data());
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(step.taken));
  return {.bytes = step.made, .reset = step.reset};
}

IoResult SerialWriter::write(int fd, ConstBytes from) {
  if (!flush(fd)) return {.error = EAGAIN};
  from = from.first(std::min(from.size(), kMostUnwritten));
  serial_escape(out_, from);
  flush(fd);
  return {.bytes = from.size()};
}

bool SerialWriter::flush(int fd) {
  while (!empty()) {
    ssize_t moved = ::write(fd, out_.data() + written_, out_.size() - written_);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return false;
    written_ += static_cast<std::size_t>(moved);
  }
  clear();
  return true;
}

void SerialWriter::reset(const SerialNonce& nonce) {
  clear();
  serial_reset(out_, nonce);
}

void SerialWriter::clear() {
  out_.clear();
  written_ = 0;
}

SerialLink::SerialLink(Loop& loop, UniqueFd port) : loop_(loop), port_(std::move(port)) {
  make_non_blocking(port_.get());
  look_again_ = loop_.make_timer([this] {
    if (has_peer()) {
      watch();
    } else {
      look_again_->start(kLookAgain);
    }
  });
  // Whoever has the port open on the host learns that what it knew of the guest is void.
  writer_.reset(SerialNonce{});
  writer_.flush(port_.get());
}

IoResult SerialLink::read(Bytes into) {
  SerialReader::Piece piece = reader_.read(port_.get(), into);
  if (piece.ended || (piece.error != 0 && piece.error != EAGAIN)) {
    on_hang_up();
  } else if (piece.reset) {
    // What came before it is the old peer's.
    answer_ = true;
    begin_anew_later();
  } else if (piece.bytes > 0) {
    return {.bytes = piece.bytes};
  }
  return {.error = EAGAIN};
}

IoResult SerialLink::write(ConstBytes from) {
  IoResult result = writer_.write(port_.get(), from);
  if (!writer_.empty()) watch();
  return result;
}

void SerialLink::set_interest(FdReady interest) {
  interest_ = interest;
  watch();
}

void SerialLink::watch() {
  if (look_again_->active()) return;
  FdReady wanted = interest_;
  wanted.writable |= !writer_.empty();
  watch_for(loop_, watch_, port_.get(), wanted, [this](FdReady ready) { on_port_ready(ready); });
}

void SerialLink::on_port_ready(FdReady ready) {
  if (!has_peer() && !ready.readable) {
    on_hang_up();
    return;
  }
  if (ready.writable && !writer_.flush(port_.get())) ready.writable = false;
  ready.writable &= interest_.writable;
  ready.readable &= interest_.readable;
  if (ready.readable || ready.writable) {
    on_ready_(ready);
  } else {
    watch();
  }
}

bool SerialLink::has_peer() const {
  pollfd port{.fd = port_.get(), .events = POLLIN | POLLOUT, .revents = 0};
  return ::poll(&port, 1, 0) >= 0 && (port.revents & (POLLHUP | POLLERR)) == 0;
}

/// Nobody on the host has the port open any more: what the last one wanted is void.
void SerialLink::on_hang_up() {
  watch_.reset();
  look_again_->start(kLookAgain);
  answer_ = false;
  begin_anew_later();
}

void SerialLink::begin_anew_later() {
  if (beginning_anew_) return;
  beginning_anew_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    beginning_anew_ = false;
    if (answer_) {
      writer_.reset(reader_.nonce());
    } else {
      writer_.clear();
    }
    if (on_reset_) on_reset_();
    writer_.flush(port_.get());
    watch();
    if (reader_.has_more() && interest_.readable) on_ready_({.readable = true});
  });
}

}  // namespace sluice::agent::rpc
