#include "core/rule_info.h"

namespace sluice::core {

RuleInfo describe_rule(const policy::Rule& rule) {
  return {.text = rule.to_string(),
          .source = rule.origin.source,
          .line = rule.origin.line,
          .scope = rule.scope ? rule.scope->to_string() : "",
          .set = rule.origin.set};
}

}  // namespace sluice::core
