#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "support/virtual_loop.h"

namespace sluice::agent::client {

inline ConstBytes bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string text_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Two ends of a line: ours goes to a link, and the test plays at the other.
struct Line {
  Line() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
  }

  void say(std::string_view text) {
    REQUIRE(::write(theirs.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  std::string heard() {
    std::string text(std::size_t{1} << 16, '\0');
    ssize_t got = ::read(theirs.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

  UniqueFd ours;
  UniqueFd theirs;
};

/// Lets everything happen that can without time.
inline void settle(test::VirtualLoop& loop) {
  for (int turns = 0; turns < 1000 && (loop.deferred_tasks() > 0 || loop.poll_watches() > 0);
       ++turns) {
    loop.run_ready();
  }
}

}  // namespace sluice::agent::client
