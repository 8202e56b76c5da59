#include "agent/client/serial_client_link.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/hash.h"

namespace sluice::agent::client {

namespace {

constexpr std::size_t kReadBytes = std::size_t{32} << 10;

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
  ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  writer_.reset(nonce_);
}

IoResult SerialClientLink::read(Bytes into) {
  if (in_.empty()) {
    in_.resize(std::min(kReadBytes, into.size()));
    ssize_t got = ::read(fd_.get(), in_.data(), in_.size());
    int error = errno;
    in_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    if (got == 0) return {};
    if (got < 0) return {.error = error == EINTR || error == EWOULDBLOCK ? EAGAIN : error};
  }
  ConstBytes in(in_.data(), std::min(in_.size(), into.size()));
  rpc::SerialDecoder::Step step = decoder_.decode(in, into.data());
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(step.taken));
  if (step.reset) {
    if (synchronized_) return {};
    synchronized_ = decoder_.nonce() == nonce_;
  }
  // What came before the agent's answer was for somebody else.
  if (step.reset || !synchronized_) {
    return in_.empty() ? IoResult{.error = EAGAIN} : read(into);
  }
  return step.made > 0 ? IoResult{.bytes = step.made} : IoResult{.error = EAGAIN};
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
  if (!wanted.readable && !wanted.writable) {
    watch_.reset();
  } else if (watch_) {
    watch_->set_interest(wanted);
  } else {
    watch_ = loop_.watch(fd_.get(), wanted, [this](FdReady ready) { on_fd_ready(ready); });
  }
}

void SerialClientLink::on_fd_ready(FdReady ready) {
  if (ready.writable && !writer_.flush(fd_.get())) ready.writable = false;
  ready.writable &= interest_.writable;
  ready.readable &= interest_.readable;
  watch();
  if (ready.readable || ready.writable) on_ready_(ready);
}

}  // namespace sluice::agent::client
