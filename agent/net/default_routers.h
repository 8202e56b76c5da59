#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <net/address.h>

#include "base/loop.h"

namespace sluice::agent {

/// The routers of the kernel's default routes as they are now, of both families; none where it
/// can't be asked.
std::vector<IpAddress> default_routers();

/// Who they are, for a question that anybody may bring about as often as they like: the kernel is
/// asked at most once in kMaxAge, so that what is told is as old as that at most. One thread.
class DefaultRouters {
 public:
  static constexpr Duration kMaxAge = std::chrono::seconds(1);
  using Ask = std::function<std::vector<IpAddress>()>;

  explicit DefaultRouters(Loop& loop, Ask ask = default_routers)
      : loop_(loop), ask_(std::move(ask)) {}

  bool contains(const IpAddress& address);

 private:
  Loop& loop_;
  Ask ask_;
  std::vector<IpAddress> routers_;
  std::optional<TimePoint> asked_at_;
};

}  // namespace sluice::agent
