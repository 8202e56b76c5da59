#include "agent/services/event_bus.h"

#include "agent/rpc/message.h"

namespace sluice::agent {

/// One call of Agent.Events.
class EventBus::Listener final : public rpc::Handler {
 public:
  Listener(EventBus& bus, rpc::Call& call) : bus_(bus), call_(call) {
    place_ = bus_.listeners_.insert(bus_.listeners_.end(), this);
  }
  ~Listener() override { bus_.listeners_.erase(place_); }

  void take(const Encoded& event) {
    if (held_.size() == kMaxHeld) {
      held_.pop_front();
      ++lost_;
    }
    held_.push_back(event);
    on_writable();
  }

  void on_writable() override {
    while (!held_.empty() && call_.writable()) {
      Encoded event = std::move(held_.front());
      held_.pop_front();
      if (lost_ == 0) {
        call_.send(*event);
        continue;
      }
      // Messages one behind the other are one with the fields of both.
      sluice_agent_v1_EventsResponse lost{};
      lost.lost = std::exchange(lost_, 0);
      std::vector<std::uint8_t> whole = rpc::encode(lost);
      whole.insert(whole.end(), event->begin(), event->end());
      call_.send(whole);
    }
  }

 private:
  EventBus& bus_;
  rpc::Call& call_;
  std::list<Listener*>::iterator place_;
  std::deque<Encoded> held_;
  std::uint64_t lost_ = 0;
};

void EventBus::add_to(rpc::Methods& methods) {
  methods.add("sluice.agent.v1.Agent", "Events",
              {.begin = [this](rpc::Call& call, ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
                auto request = rpc::Message<sluice_agent_v1_EventsRequest>::parse(bytes);
                if (!request) {
                  call.fail(rpc::CallError::of(request.status()));
                  return nullptr;
                }
                sluice_agent_v1_EventsResponse first{};
                first.realtime_ns = loop_.wall_time_ns();
                call.send_one(first);
                return std::make_unique<Listener>(*this, call);
              }});
}

void EventBus::publish(sluice_agent_v1_EventsResponse event) {
  if (listeners_.empty()) return;
  event.realtime_ns = loop_.wall_time_ns();
  auto encoded = std::make_shared<const std::vector<std::uint8_t>>(rpc::encode(event));
  for (Listener* listener : listeners_) listener->take(encoded);
}

}  // namespace sluice::agent
