#pragma once

#include <cstdint>
#include <memory>

#include <net/network.h>

#include "base/host_routes.h"
#include "gateway/config.h"
#include "policy/policy.h"

namespace sluice::core {

/// What the policy has to know of a Network and its host.
policy::HostView make_host_view(const gateway::Config& config, const HostRoutesSnapshot& host);

/// The policy that a text comes to. The error names the place in the text and the fix.
Result<std::shared_ptr<const policy::Policy>> compile_policy(const PolicyText& text,
                                                             const policy::HostView& view,
                                                             std::uint64_t generation);

}  // namespace sluice::core
