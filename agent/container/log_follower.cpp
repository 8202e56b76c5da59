#include "agent/container/log_follower.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>

namespace sluice::agent {

LogFollower::LogFollower(Loop& loop, const std::string& directory, std::function<void()> on_more)
    : reader_(directory), changes_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (!changes_) return;
  ::inotify_add_watch(changes_.get(), directory.c_str(), IN_MODIFY | IN_CREATE);
  watch_ =
      loop.watch(changes_.get(), {.readable = true}, [this, on_more = std::move(on_more)](FdReady) {
        // Equal events that nobody has read yet are one.
        std::array<char, 4096> events;
        while (::read(changes_.get(), events.data(), events.size()) > 0) {
        }
        auto tell = on_more;
        tell();
      });
}

}  // namespace sluice::agent
