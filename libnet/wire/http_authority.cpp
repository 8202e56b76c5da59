#include "wire/http_authority.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/host_name.h"

namespace sluice::wire {

namespace {

constexpr std::size_t kMaxPortDigits = 5;

std::optional<Port> parse_port(std::string_view text) {
  bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (text.empty() || text.size() > kMaxPortDigits || !digits) return std::nullopt;
  auto port = Port::parse(text);
  if (!port) return std::nullopt;
  return *port;
}

std::optional<std::variant<DomainName, IpAddress>> parse_host(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) {
    auto address = IpAddress::parse(text.substr(1, text.size() - 2));
    if (!address || !address->is_v6()) return std::nullopt;
    return *address;
  }
  if (auto name = host_name(text)) return *std::move(name);
  auto address = IpAddress::parse(text);
  if (!address || !address->is_v4()) return std::nullopt;
  return *address;
}

}  // namespace

std::optional<HttpAuthority> HttpAuthority::parse(std::string_view text) {
  HttpAuthority authority;
  // The colons of an IPv6 address are inside its brackets.
  auto colon = text.find(':', text.starts_with('[') ? std::min(text.find(']'), text.size()) : 0);
  if (colon != std::string_view::npos) {
    authority.port = parse_port(text.substr(colon + 1));
    if (!authority.port) return std::nullopt;
    text = text.substr(0, colon);
  }
  auto host = parse_host(text);
  if (!host) return std::nullopt;
  authority.host = *std::move(host);
  return authority;
}

std::string HttpAuthority::to_string() const {
  std::string text;
  if (name()) {
    text = name()->text();
  } else {
    text =
        address()->is_v6() ? fmt::format("[{}]", address()->to_string()) : address()->to_string();
  }
  return port ? fmt::format("{}:{}", text, port->value()) : text;
}

}  // namespace sluice::wire
