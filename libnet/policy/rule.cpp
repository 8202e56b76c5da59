#include "policy/rule.h"

#include <fmt/format.h>

namespace sluice::policy {

namespace {

struct TargetText {
  std::string operator()(Group group) const { return std::string(to_string(group)); }
  std::string operator()(const IpPrefix& prefix) const {
    bool is_single = prefix.length() == prefix.address().bits();
    if (prefix.family() == Family::v4) {
      return is_single ? prefix.address().to_string() : prefix.to_string();
    }
    std::string address = prefix.address().to_string();
    return is_single ? fmt::format("[{}]", address)
                     : fmt::format("[{}]/{}", address, prefix.length());
  }
  std::string operator()(const ExactName& exact) const {
    // A name of one label has its final dot, which tells it from a misspelt group.
    return exact.name.labels() == 1 ? exact.name.text() + "." : exact.name.text();
  }
  std::string operator()(const SuffixName& suffix) const { return "*." + suffix.zone.text(); }
};

std::string_view protocol_text(RuleProtocol protocol) {
  switch (protocol) {
    case RuleProtocol::any:
      return "any";
    case RuleProtocol::tcp:
      return "tcp";
    case RuleProtocol::udp:
      return "udp";
    case RuleProtocol::icmp:
      return "icmp";
  }
  return "any";
}

}  // namespace

std::string Origin::to_string() const {
  std::string text = line > 0 ? fmt::format("{}, line {}", source, line) : source;
  return set.empty() ? text : fmt::format("{}, set {}", text, set);
}

bool Rule::matches(Protocol wanted, Port port) const {
  switch (wanted) {
    case Protocol::icmp:
      return protocol == RuleProtocol::icmp || is_whole();
    case Protocol::tcp:
      return (protocol == RuleProtocol::any || protocol == RuleProtocol::tcp) &&
             ports.contains(port);
    case Protocol::udp:
      return (protocol == RuleProtocol::any || protocol == RuleProtocol::udp) &&
             ports.contains(port);
  }
  return false;
}

bool Rule::applies_to(Direction wanted) const {
  return direction == RuleDirection::any ||
         (direction == RuleDirection::egress) == (wanted == Direction::egress);
}

bool Rule::is_on_name() const {
  return std::holds_alternative<ExactName>(target) || std::holds_alternative<SuffixName>(target);
}

bool Rule::is_on(Group group) const {
  const Group* own = std::get_if<Group>(&target);
  return own != nullptr && *own == group;
}

std::string Rule::to_string() const {
  std::string text(sluice::to_string(action));
  if (is_fatal) text += '!';
  if (direction == RuleDirection::ingress) text += ":ingress";
  if (direction == RuleDirection::any) text += ":any";
  text += '@';
  text += std::visit(TargetText(), target);
  if (is_whole()) return text;
  text += ':';
  text += protocol_text(protocol);
  if (ports.is_all()) return text;
  text += fmt::format(":{}", ports.first.value());
  if (ports.last != ports.first) text += fmt::format("-{}", ports.last.value());
  return text;
}

}  // namespace sluice::policy
