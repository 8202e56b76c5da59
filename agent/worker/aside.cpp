#include "agent/worker/aside.h"

#include <unistd.h>

#include <cerrno>

namespace sluice::agent {

Aside::Aside(Loop& loop, Children& children, std::function<std::string()> work,
             std::function<void(const std::string&)> on_end)
    : on_end_(std::move(on_end)) {
  auto worker = start_worker([work = std::move(work)](JobIo& io) {
    std::string said = work();
    (void)io.bytes().write({reinterpret_cast<const std::uint8_t*>(said.data()), said.size()});
  });
  if (worker) {
    worker_ = std::move(*worker);
    children.add(worker_.pid, [](const Exit&) {});
    watch_ = loop.watch(worker_.out.get(), {.readable = true}, [this](FdReady) { read(); });
  }
  if (watch_) return;
  failure_ = loop.make_timer([this] { on_end_(""); });
  failure_->start(Duration::zero());
}

void Aside::read() {
  char chunk[4096];
  ssize_t got = ::read(worker_.out.get(), chunk, sizeof chunk);
  if (got > 0) {
    said_.append(chunk, static_cast<std::size_t>(got));
    return;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  watch_.reset();
  // One frame, whose header is the pipe's, not ours.
  on_end_(said_.size() > kJobHeaderBytes ? said_.substr(kJobHeaderBytes) : "");
}

}  // namespace sluice::agent
