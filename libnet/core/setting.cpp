#include "core/setting.h"

#include <fmt/format.h>

#include <functional>
#include <string>
#include <unordered_map>

#include "base/number.h"
#include "core/config_check.h"
#include "dns/host_resolvers.h"

namespace sluice::core {

namespace {

using Apply = std::function<Status(NetworkConfig&, std::string_view)>;

/// Stores what `parse` makes of the value.
template <typename Parse, typename Store>
Apply parsed(Parse parse, Store store) {
  return [parse, store](NetworkConfig& config, std::string_view value) -> Status {
    auto result = parse(value);
    if (!result) return result.status();
    store(config, std::move(*result));
    return Status::ok();
  };
}

Apply text(std::string NetworkConfig::* member) {
  return [member](NetworkConfig& config, std::string_view value) {
    config.*member = value;
    return Status::ok();
  };
}

template <typename Number>
Apply number(Number NetworkConfig::* member) {
  return [member](NetworkConfig& config, std::string_view value) {
    auto parsed = parse_number<Number>(value);
    if (!parsed) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("'{}' is not a number in range", value));
    }
    config.*member = *parsed;
    return Status::ok();
  };
}

Apply address(std::optional<IpAddress> NetworkConfig::* member) {
  return parsed(IpAddress::parse,
                [member](NetworkConfig& config, IpAddress value) { config.*member = value; });
}

Apply rule(std::optional<Action> shorthand, const char* where) {
  return [shorthand, where](NetworkConfig& config, std::string_view value) {
    config.policy.rules.push_back(
        {.text = std::string(value), .where = where, .shorthand = shorthand});
    return Status::ok();
  };
}

const std::unordered_map<std::string_view, Apply>& settings() {
  static const std::unordered_map<std::string_view, Apply> table{
      {"name", text(&NetworkConfig::name)},
      {"guest-name", text(&NetworkConfig::guest_name)},
      {"dns-ca", text(&NetworkConfig::dns_ca)},
      {"lease-file", text(&NetworkConfig::lease_file)},
      {"resolv-conf", text(&NetworkConfig::resolv_conf)},
      {"mtu", parsed(parse_mtu, [](auto& c, std::uint16_t v) { c.mtu = v; })},
      {"max-flows", number(&NetworkConfig::max_flows)},
      {"memory-bytes", number(&NetworkConfig::memory_bytes)},
      {"gateway", address(&NetworkConfig::gateway4)},
      {"guest", address(&NetworkConfig::guest4)},
      {"host-alias", address(&NetworkConfig::host_alias4)},
      {"subnet", parsed(IpPrefix::parse, [](auto& c, IpPrefix v) { c.subnet4 = v; })},
      {"prefix6", parsed(IpPrefix::parse, [](auto& c, IpPrefix v) { c.prefix6 = v; })},
      {"route",
       parsed(IpPrefix::parse, [](auto& c, IpPrefix v) { c.routed_prefixes.push_back(v); })},
      {"profile",
       [](NetworkConfig& config, std::string_view value) {
         config.policy.profile = value;
         return Status::ok();
       }},
      {"allow", rule(Action::allow, "allow")},
      {"deny", rule(Action::deny, "deny")},
      {"rule", rule(std::nullopt, "rule")},
      {"publish",
       parsed(parse_publish, [](auto& c, PublishSpec v) { c.publish.push_back(std::move(v)); })},
      {"reverse",
       parsed(parse_reverse, [](auto& c, ReverseSpec v) { c.reverse.push_back(std::move(v)); })},
      {"dns", parsed(dns::parse_resolver,
                     [](auto& c, DnsResolver v) { c.dns_upstreams.push_back(std::move(v)); })},
  };
  return table;
}

}  // namespace

Status apply_setting(NetworkConfig& config, std::string_view setting, std::string_view value) {
  auto it = settings().find(setting);
  if (it == settings().end()) {
    return Status(StatusCode::not_found, fmt::format("there is no setting '{}'", setting));
  }
  Status status = it->second(config, value);
  if (status) return status;
  return Status(status.code(), fmt::format("{}: {}", setting, status.message()));
}

}  // namespace sluice::core
