#include "policy/rule_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "policy/named_sets.h"
#include "policy/spelling.h"

namespace sluice::policy {

namespace {

constexpr std::array<std::string_view, 2> kActions = {"allow", "deny"};
constexpr std::array<std::string_view, 3> kDirections = {"egress", "ingress", "any"};
constexpr std::array<std::string_view, 4> kProtocols = {"any", "tcp", "udp", "icmp"};

// A target that is a named set; the '@' may be left out.
constexpr std::string_view kSetTarget = "@set:";

// What is quoted of a bad rule; more would hide the message.
constexpr std::size_t kQuotedBytes = 80;

/// `text` for a message: control bytes as escapes, cut where it is long.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, kQuotedBytes)) {
    bool printable = c >= 0x20 && c < 0x7f;
    out += printable ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out + (text.size() > kQuotedBytes ? "...'" : "'");
}

/// "'<before><text>'?", to end a question.
std::string suggested(std::string_view before, std::string_view text) {
  return quoted(std::string(before) + std::string(text)) + "?";
}

std::string_view trimmed(std::string_view text) {
  auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

template <std::size_t N>
std::optional<std::size_t> index_of(const std::array<std::string_view, N>& words,
                                    std::string_view word) {
  auto at = std::find(words.begin(), words.end(), word);
  if (at == words.end()) return std::nullopt;
  return static_cast<std::size_t>(at - words.begin());
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// Whether text can only have been meant as an IPv4 address: its last label is a number, as no
/// top-level domain is, in decimal or hexadecimal.
bool looks_like_v4(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  auto dot = text.rfind('.');
  std::string_view last = dot == std::string_view::npos ? text : text.substr(dot + 1);
  bool is_hex = last.starts_with("0x") &&
                last.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string_view::npos;
  return is_number(last) || is_hex;
}

/// Parses one item of the list. All views are parts of `whole_`, which is how a part knows its
/// column.
class ItemParser {
 public:
  ItemParser(const RuleSource& source, const ParseOptions& options)
      : source_(source), options_(options), whole_(source.text) {}

  /// One rule, or one for each member of the set that it names.
  Result<std::vector<Rule>> parse(std::string_view item) const {
    if (item.empty()) return bad(item, "a rule is missing");
    Rule rule;
    rule.scope = source_.scope;
    rule.origin = {source_.origin, source_.line, {}};
    std::string_view tail = item;
    if (source_.shorthand) {
      rule.action = *source_.shorthand;
      bool is_set = item.starts_with(kSetTarget);
      if (auto at = item.find('@', is_set ? 1 : 0); at != std::string_view::npos) {
        return bad(item, "stands where only a target can; write --rule " + quoted(item));
      }
    } else {
      auto at = item.find('@');
      if (at == std::string_view::npos) return missing_at(item);
      tail = item.substr(at + 1);
      if (Status head = parse_head(item.substr(0, at), rule); !head) return head;
    }
    if (tail.starts_with(kSetTarget)) tail.remove_prefix(1);
    if (tail.starts_with(kSetTarget.substr(1))) return parse_on_set(tail, std::move(rule));
    if (Status rest = parse_tail(tail, rule); !rest) return rest;
    return std::vector<Rule>{std::move(rule)};
  }

 private:
  Status bad(std::string_view part, std::string_view why) const {
    auto column = static_cast<std::size_t>(part.data() - whole_.data()) + 1;
    std::string where = Origin{source_.origin, source_.line, {}}.to_string();
    // On a command line there is no line to look at.
    if (source_.line == 0) where += " " + quoted(whole_);
    return Status(StatusCode::invalid_argument,
                  fmt::format("{}, column {}: {} {}", where, column, quoted(part), why));
  }

  Status missing_at(std::string_view item) const {
    bool is_action = index_of(kActions, item.substr(0, item.find_first_of(":! "))).has_value();
    if (is_action) return bad(item, "lacks '@' and a target, as in 'allow@example.com:tcp:443'");
    return bad(item, "lacks an action; did you mean " + suggested("allow@", item));
  }

  Status parse_head(std::string_view head, Rule& rule) const {
    auto colon = head.find(':');
    std::string_view action = head.substr(0, colon);
    rule.is_fatal = action.ends_with('!');
    if (rule.is_fatal) action.remove_suffix(1);
    auto action_index = index_of(kActions, action);
    if (!action_index) return bad(action, "is not an action" + spelling_hint(action, kActions));
    rule.action = *action_index == 0 ? Action::allow : Action::deny;
    if (rule.is_fatal && rule.action == Action::allow) {
      return bad(head.substr(0, colon), "is fatal, which only a deny can be: 'deny!'");
    }
    if (colon == std::string_view::npos) return Status::ok();
    std::string_view direction = head.substr(colon + 1);
    auto direction_index = index_of(kDirections, direction);
    if (!direction_index) {
      return bad(direction, "is not a direction" + spelling_hint(direction, kDirections));
    }
    rule.direction = static_cast<RuleDirection>(*direction_index);
    return Status::ok();
  }

  /// `tail` begins with "set:".
  Result<std::vector<Rule>> parse_on_set(std::string_view tail, Rule rule) const {
    std::string_view rest = tail.substr(kSetTarget.size() - 1);
    std::string_view name = rest.substr(0, rest.find(':'));
    static const NamedSets kNone;
    const NamedSets& sets = options_.sets ? *options_.sets : kNone;
    const std::vector<Target>* members = sets.find(name);
    if (!members) return bad(name, "is not a set" + sets.hint(name));
    if (name.size() < rest.size()) {
      Status status = parse_protocol_and_ports(rest.substr(name.size() + 1), rule);
      if (!status) return status;
    }
    rule.origin.set = name;
    std::vector<Rule> rules(members->size(), rule);
    for (std::size_t i = 0; i < rules.size(); ++i) rules[i].target = (*members)[i];
    return rules;
  }

  Status parse_tail(std::string_view tail, Rule& rule) const {
    if (auto scheme = tail.find("://"); scheme != std::string_view::npos) {
      std::string_view host = tail.substr(scheme + 3);
      host = host.substr(0, host.find_first_of("/:?#"));
      return bad(tail, "is a URL, not a target; did you mean " + suggested("", host));
    }
    std::size_t end = tail.find(':');
    if (tail.starts_with('[')) {
      auto bracket = tail.find(']');
      if (bracket == std::string_view::npos) return bad(tail, "lacks the closing ']'");
      end = tail.find(':', bracket);
    } else if (auto v6 = IpPrefix::parse(tail); v6 && v6->family() == Family::v6) {
      return bad(tail, fmt::format("is IPv6 without brackets; did you mean '{}'?",
                                   Rule{.target = *v6}.to_string().substr(5)));
    } else if (tail.find("::") != std::string_view::npos) {
      return bad(tail, "has '::'; IPv6 goes in brackets, as in '[2001:db8::]/32:tcp:443'");
    }
    std::string_view target = tail.substr(0, end);
    auto parsed = parse_target(target);
    if (!parsed) return parsed.status();
    rule.target = *parsed;
    if (end == std::string_view::npos) return Status::ok();
    return parse_protocol_and_ports(tail.substr(end + 1), rule);
  }

  Result<Target> parse_target(std::string_view text) const {
    if (text.empty()) return bad(text, "stands where a target is missing");
    if (text.starts_with('[')) return parse_bracketed(text);
    if (auto group = group_named(text)) return Target(*group);
    if (text == "*") return bad(text, "is not a target; did you mean 'any'?");
    if (text.starts_with("*.")) return parse_suffix(text);
    if (looks_like_v4(text.substr(0, text.find('/'))) || text.find('/') != std::string_view::npos) {
      return parse_block(text, text);
    }
    auto name = DomainName::parse(text);
    if (!name) return bad(text, "is neither a group nor a name: " + reason(name.status()));
    if (name->is_root()) return bad(text, "is the root, not a name; did you mean 'any'?");
    if (name->labels() == 1 && !text.ends_with('.')) {
      return bad(text, fmt::format("is no group{} (a name of one label ends in a dot: '{}.')",
                                   spelling_hint(text, group_names()), text));
    }
    return Target(ExactName{*name});
  }

  /// What DomainName says, without the text that it quotes first.
  static std::string reason(const Status& status) {
    auto colon = status.message().rfind(": ");
    return colon == std::string::npos ? status.message() : status.message().substr(colon + 2);
  }

  Result<Target> parse_suffix(std::string_view text) const {
    std::string_view rest = text.substr(2);
    auto zone = DomainName::parse(rest);
    if (!zone) return bad(text, "is not '*.' and a name: " + reason(zone.status()));
    if (zone->is_root()) return bad(text, "covers every name; did you mean 'any'?");
    if (zone->labels() < 2 && !options_.wide_suffix) {
      return bad(text, fmt::format("covers all of '{}'; name at least two labels, as in "
                                   "'*.example.{}', or give --allow-wide-suffix",
                                   zone->text(), zone->text()));
    }
    return Target(SuffixName{*zone});
  }

  Result<Target> parse_bracketed(std::string_view text) const {
    auto close = text.find(']');
    std::string_view inside = text.substr(1, close - 1), after = text.substr(close + 1);
    std::string joined = std::string(inside) + std::string(after);
    auto address = IpAddress::parse(inside.substr(0, inside.find('/')));
    if (!address || address->is_v4()) return bad(text, "is not an IPv6 address or block");
    return parse_block(text, joined);
  }

  /// `text` as written, `block` without brackets.
  Result<Target> parse_block(std::string_view text, std::string_view block) const {
    auto prefix = IpPrefix::parse(block);
    if (!prefix) return bad(text, "is not an address or block" + block_hint(block));
    auto address = IpAddress::parse(block.substr(0, block.find('/')));
    if (address && *address != prefix->address()) {
      Rule all{.target = *prefix}, one{.target = IpPrefix(*address, address->bits())};
      return bad(text, fmt::format("has bits set beyond its length; did you mean '{}' or '{}'?",
                                   all.to_string().substr(5), one.to_string().substr(5)));
    }
    return Target(*prefix);
  }

  static std::string block_hint(std::string_view block) {
    auto slash = block.find('/');
    auto address = IpAddress::parse(block.substr(0, slash));
    if (address && slash != std::string_view::npos) {
      return fmt::format("; its length is 0 to {}", address->bits());
    }
    return ", such as '192.0.2.1', '10.0.0.0/8' or '[2001:db8::]/32'";
  }

  Status parse_protocol_and_ports(std::string_view text, Rule& rule) const {
    auto colon = text.find(':');
    std::string_view protocol = text.substr(0, colon);
    auto index = index_of(kProtocols, protocol);
    if (!index) {
      if (is_number(protocol) || is_number(protocol.substr(0, protocol.find('-')))) {
        return bad(protocol, "is not a protocol; did you mean " + suggested("tcp:", protocol));
      }
      return bad(protocol, "is not a protocol" + spelling_hint(protocol, kProtocols));
    }
    rule.protocol = static_cast<RuleProtocol>(*index);
    if (colon == std::string_view::npos) return Status::ok();
    std::string_view ports = text.substr(colon + 1);
    if (ports == "any") return Status::ok();
    if (rule.protocol == RuleProtocol::icmp) return bad(ports, "follows icmp, which has no ports");
    return parse_ports(ports, rule);
  }

  Status parse_ports(std::string_view text, Rule& rule) const {
    auto dash = text.find('-');
    auto first = Port::parse(text.substr(0, dash));
    auto last = dash == std::string_view::npos ? first : Port::parse(text.substr(dash + 1));
    if (text == "*") return bad(text, "is not a port; did you mean 'any'?");
    if (!first || !last || *first == Port(0)) {
      return bad(text, "is not a port or range from 1 to 65535, such as '443' or '8000-8100'");
    }
    if (*last < *first) {
      return bad(text, fmt::format("runs backwards; did you mean '{}-{}'?", last->value(),
                                   first->value()));
    }
    rule.ports = {*first, *last};
    return Status::ok();
  }

  const RuleSource& source_;
  const ParseOptions& options_;
  std::string_view whole_;
};

}  // namespace

Result<std::vector<Rule>> parse_rules(const RuleSource& source, const ParseOptions& options) {
  ItemParser parser(source, options);
  std::vector<Rule> rules;
  std::string_view rest = source.text;
  while (true) {
    auto comma = rest.find(',');
    auto parsed = parser.parse(trimmed(rest.substr(0, comma)));
    if (!parsed) return parsed.status();
    if (rules.size() + parsed->size() > kMaxRules) {
      return Status(StatusCode::exhausted,
                    fmt::format("{}: more than {} rules", source.origin, kMaxRules));
    }
    std::move(parsed->begin(), parsed->end(), std::back_inserter(rules));
    if (comma == std::string_view::npos) return rules;
    rest = rest.substr(comma + 1);
  }
}

}  // namespace sluice::policy
