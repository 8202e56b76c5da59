#pragma once

#include <net/verdict.h>

#include "policy/rule.h"

namespace sluice::core {

/// A rule for people.
RuleInfo describe_rule(const policy::Rule& rule);

}  // namespace sluice::core
