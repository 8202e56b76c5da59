#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "agent/rpc/call.h"
#include "base/loop.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

/// Tells what happens to every client of Agent.Events. A client that doesn't read is held
/// kMaxHeld events and then told how many it has lost: it costs no more memory, and holds up
/// nobody. One thread; must outlive the connections whose calls it serves.
class EventBus {
 public:
  static constexpr std::size_t kMaxHeld = 256;

  explicit EventBus(Loop& loop) : loop_(loop) {}
  EventBus(const EventBus&) = delete;
  EventBus& operator=(const EventBus&) = delete;

  void add_to(rpc::Methods& methods);
  bool has_listeners() const { return !listeners_.empty(); }
  /// The time is filled in; what the message points to is needed no longer than this takes.
  void publish(sluice_agent_v1_EventsResponse event);

 private:
  class Listener;
  using Encoded = std::shared_ptr<const std::vector<std::uint8_t>>;

  Loop& loop_;
  std::list<Listener*> listeners_;
};

}  // namespace sluice::agent
