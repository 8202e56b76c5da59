#include "agent/client/serial_client_link.h"

#include <cerrno>

#include "agent/os/descriptor.h"
#include "base/hash.h"

namespace sluice::agent::client {

namespace {

/// Never the zeros of an agent that starts.
rpc::SerialNonce make_nonce() {
  rpc::SerialNonce nonce;
  std::uint64_t random = random_u64();
  for (std::uint8_t& byte : nonce) {
    byte = static_cast<std::uint8_t>(1 + random % 254);
    random /= 254;
  }
  return nonce;
}

}  // namespace

SerialClientLink::SerialClientLink(Loop& loop, UniqueFd fd)
    : loop_(loop), fd_(std::move(fd)), nonce_(make_nonce()) {
  make_non_blocking(fd_.get());
  writer_.reset(nonce_);
}

IoResult SerialClientLink::read(Bytes into) {
  do {
    rpc::SerialReader::Piece piece = reader_.read(fd_.get(), into);
    if (piece.error != 0) return {.error = piece.error};
    bool is_anothers = piece.reset && synchronized_;
    if (piece.ended || is_anothers) return {};
    // What came before the agent's answer was for somebody else.
    if (synchronized_ && piece.bytes > 0) return {.bytes = piece.bytes};
    if (piece.reset) synchronized_ = reader_.nonce() == nonce_;
  } while (reader_.has_more());
  return {.error = EAGAIN};
}

IoResult SerialClientLink::write(ConstBytes from) {
  IoResult result = writer_.write(fd_.get(), from);
  watch();
  return result;
}

void SerialClientLink::set_interest(FdReady interest) {
  interest_ = interest;
  watch();
}

void SerialClientLink::watch() {
  FdReady wanted = interest_;
  wanted.writable |= !writer_.empty();
  rpc::watch_for(loop_, watch_, fd_.get(), wanted, [this](FdReady ready) { on_fd_ready(ready); });
}

void SerialClientLink::on_fd_ready(FdReady ready) {
  if (ready.writable && !writer_.flush(fd_.get())) ready.writable = false;
  ready.writable &= interest_.writable;
  ready.readable &= interest_.readable;
  watch();
  if (ready.readable || ready.writable) on_ready_(ready);
}

}  // namespace sluice::agent::client
