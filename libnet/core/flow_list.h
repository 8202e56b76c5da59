#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include <net/flow.h>
#include <net/name.h>
#include <net/status.h>

#include "base/loop.h"
#include "flow/flow_record.h"
#include "policy/name_index.h"

namespace sluice::core {

/// Looks at the open flows for people. On the loop's thread, for the length of a call.
class FlowList {
 public:
  /// Shows every flow to its argument, in any order, the same in each call.
  using Each = std::function<void(const flow::FlowVisitor& visit)>;

  FlowList(Loop& loop, const policy::NameIndex& names, Each each)
      : now_(loop.now()), names_(names), each_(std::move(each)) {}

  /// See Network's calls.
  Result<FlowPage> page(const FlowFilter& filter) const;
  std::optional<FlowInfo> one(FlowId id) const;

 private:
  FlowInfo describe(const flow::FlowSight& sight) const;

  TimePoint now_;
  const policy::NameIndex& names_;
  Each each_;
};

}  // namespace sluice::core
