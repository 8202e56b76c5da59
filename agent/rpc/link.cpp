#include "agent/rpc/link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "agent/os/descriptor.h"

namespace sluice::agent::rpc {

namespace {

IoResult result_of(ssize_t moved) {
  if (moved >= 0) return {.bytes = static_cast<std::size_t>(moved)};
  return {.error = errno == EINTR || errno == EWOULDBLOCK ? EAGAIN : errno};
}

}  // namespace

bool watch_for(Loop& loop, std::unique_ptr<FdWatch>& watch, int fd, FdReady interest,
               std::function<void(FdReady)> on_ready) {
  if (!interest.readable && !interest.writable) {
    watch.reset();
    return true;
  }
  if (watch) {
    watch->set_interest(interest);
  } else {
    watch = loop.watch(fd, interest, std::move(on_ready));
  }
  return watch != nullptr;
}

FdLink::FdLink(Loop& loop, UniqueFd in, UniqueFd out)
    : loop_(loop), in_(std::move(in)), out_(std::move(out)) {
  make_non_blocking(in_.get());
  make_non_blocking(out_.get());
}

IoResult FdLink::read(Bytes into) {
  return result_of(::read(in_.get(), into.data(), into.size()));
}

IoResult FdLink::write(ConstBytes from) {
  ssize_t moved = ::send(out(), from.data(), from.size(), MSG_NOSIGNAL);
  if (moved < 0 && errno == ENOTSOCK) moved = ::write(out(), from.data(), from.size());
  return result_of(moved);
}

void FdLink::set_interest(FdReady interest) {
  if (!out_) {
    watch(in_watch_, in_.get(), interest);
    return;
  }
  watch(in_watch_, in_.get(), {.readable = interest.readable});
  watch(out_watch_, out_.get(), {.writable = interest.writable});
}

void FdLink::watch(std::unique_ptr<FdWatch>& watch, int fd, FdReady interest) {
  if (!watch_for(loop_, watch, fd, interest, [this](FdReady ready) { on_ready_(ready); })) {
    be_ready_later(interest);
  }
}

/// A file or /dev/null can't be waited for, and needn't be.
void FdLink::be_ready_later(FdReady interest) {
  ready_.readable |= interest.readable;
  ready_.writable |= interest.writable;
  if (ready_later_) return;
  ready_later_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    ready_later_ = false;
    on_ready_(std::exchange(ready_, {}));
  });
}

}  // namespace sluice::agent::rpc
