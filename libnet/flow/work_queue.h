#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace sluice::flow {

/// What a thing in a WorkQueue derives from.
class WorkItem {
 public:
  /// Retired things are still there, but only wait to be forgotten.
  bool retired() const { return retired_; }

 private:
  template <typename Thing>
  friend class WorkQueue;
  static constexpr std::uint32_t kNowhere = ~std::uint32_t{0};
  std::uint32_t place_ = kNowhere;
  bool retired_ = false;
};

/// Things in which something happened and that wait for their turn, each at most once. Events only
/// add(); run() then serves each thing once, and what is added meanwhile waits for the next turn.
/// Things that end are retire()d, and forgotten when nothing can hold them any more. Every call
/// takes constant time for each thing concerned, so that ending all of them is linear.
template <typename Thing>
class WorkQueue {
 public:
  /// `forget` destroys a retired thing; it must not call back.
  explicit WorkQueue(std::function<void(Thing&)> forget = {}) : forget_(std::move(forget)) {}

  /// Called when a run() is due and none is under way.
  void set_on_work(std::function<void()> on_work) { on_work_ = std::move(on_work); }
  bool has_work() const { return waiting_ > 0; }

  void add(Thing& thing) {
    if (thing.place_ != WorkItem::kNowhere) return;
    thing.place_ = static_cast<std::uint32_t>(queue_.size());
    queue_.push_back(&thing);
    ++waiting_;
    if (!running_ && on_work_) on_work_();
  }

  /// Takes a thing out that is about to be destroyed. Not from inside run().
  void remove(Thing& thing) {
    if (thing.place_ == WorkItem::kNowhere) return;
    queue_[std::exchange(thing.place_, WorkItem::kNowhere)] = nullptr;
    if (--waiting_ == 0) queue_.clear();
  }

  /// The thing has ended; false if it had already.
  bool retire(Thing& thing) {
    if (std::exchange(thing.retired_, true)) return false;
    retired_.push_back(&thing);
    return true;
  }
  /// Forgets what has been retired; not while run() may still hold it.
  void sweep() {
    if (running_) return;
    for (Thing* thing : std::exchange(retired_, {})) {
      remove(*thing);
      forget_(*thing);
    }
  }

  /// Calls `serve` for each thing that waits and has not been retired.
  template <typename Serve>
  void run(Serve&& serve) {
    running_ = true;
    turn_.swap(queue_);
    waiting_ = 0;
    for (Thing* thing : turn_) {
      if (!thing) continue;
      thing->place_ = WorkItem::kNowhere;
      if (!thing->retired_) serve(*thing);
    }
    turn_.clear();
    running_ = false;
    sweep();
    if (has_work() && on_work_) on_work_();
  }

 private:
  std::function<void(Thing&)> forget_;
  std::function<void()> on_work_;
  std::vector<Thing*> queue_;  ///< With nullptr for what was removed.
  std::vector<Thing*> turn_;   ///< Being served; kept for its memory.
  std::vector<Thing*> retired_;
  std::size_t waiting_ = 0;  ///< In queue_, without nullptr.
  bool running_ = false;
};

}  // namespace sluice::flow
