#pragma once

#include <net/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/container/shim_message.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// The agent's end of a connection to a shim. One thread.
class ShimLink {
 public:
  struct Events {
    std::function<void(ShimWord word, ConstBytes rest)> on_word;
    std::function<void()> on_end;   ///< The shim has gone. The link may be destroyed from here.
    std::function<void()> on_room;  ///< send() works again.
  };

  static Result<std::unique_ptr<ShimLink>> connect(Loop& loop, const std::string& path,
                                                   Events events);
  ShimLink(const ShimLink&) = delete;
  ShimLink& operator=(const ShimLink&) = delete;

  /// False where there is no room: on_room tells when there is. What can't be sent as the shim has
  /// gone counts as sent.
  bool send(ShimWord word, ConstBytes rest = {});

 private:
  ShimLink(UniqueFd fd, Events events) : fd_(std::move(fd)), events_(std::move(events)) {}
  void on_ready(FdReady ready);

  UniqueFd fd_;
  Events events_;
  bool wants_room_ = false;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent
