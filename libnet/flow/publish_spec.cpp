#include <fmt/format.h>
#include <net/publish.h>

#include <optional>
#include <utility>

namespace sluice {

namespace {

constexpr std::string_view kForm =
    "[BIND:]HPORT[-HPORT]:[GUESTADDR:]GPORT[-GPORT][/tcp|/udp] or unix:PATH:GPORT, IPv6 in "
    "brackets";
/// sockaddr_un holds 108 bytes with the final zero.
constexpr std::size_t kMaxUnixPath = 107;

Status bad(std::string_view text, std::string_view why) {
  return Status(StatusCode::invalid_argument,
                fmt::format("published port '{}': {}; the form is {}", text, why, kForm));
}

struct Range {
  std::uint16_t first, last;
};

std::optional<Range> parse_range(std::string_view text) {
  auto dash = text.find('-');
  auto first = Port::parse(text.substr(0, dash));
  auto last = dash == std::string_view::npos ? first : Port::parse(text.substr(dash + 1));
  if (!first || !last || last->value() < first->value()) return std::nullopt;
  return Range{first->value(), last->value()};
}

/// Takes "ADDRESS:" or "[ADDRESS]:" from the front, if it is there.
std::optional<IpAddress> take_address(std::string_view& text) {
  std::string_view host;
  std::size_t end;
  if (text.starts_with('[')) {
    end = text.find("]:");
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    end += 2;
  } else {
    end = text.find(':');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(0, end);
    end += 1;
  }
  auto address = IpAddress::parse(host);
  if (!address || address->is_v6() != text.starts_with('[')) return std::nullopt;
  text.remove_prefix(end);
  return *address;
}

bool usable_path(std::string_view path) {
  return path.size() > 1 && path.size() <= kMaxUnixPath && path.front() == '/' &&
         path.find('\0') == std::string_view::npos;
}

}  // namespace

Result<PublishSpec> parse_publish(std::string_view whole) {
  PublishSpec spec;
  std::string_view text = whole;
  if (text.starts_with("unix:")) {
    auto colon = text.rfind(':');
    auto port = Port::parse(text.substr(colon + 1));
    std::string_view path = colon > 5 ? text.substr(5, colon - 5) : std::string_view();
    if (!port || *port == Port(0)) return bad(whole, "it ends in no guest port from 1 to 65535");
    if (!usable_path(path)) return bad(whole, "the path must be absolute and at most 107 bytes");
    spec.unix_path = path;
    spec.guest_first = *port;
    return spec;
  }
  auto slash = text.rfind('/');
  if (slash != std::string_view::npos) {
    std::string_view protocol = text.substr(slash + 1);
    if (protocol == "udp") {
      spec.protocol = Protocol::udp;
    } else if (protocol != "tcp") {
      return bad(whole, fmt::format("'{}' is neither tcp nor udp", protocol));
    }
    text = text.substr(0, slash);
  }
  if (auto bind = take_address(text)) spec.bind = *bind;
  auto colon = text.find(':');
  if (colon == std::string_view::npos) return bad(whole, "a guest port is missing");
  auto host = parse_range(text.substr(0, colon));
  if (!host) {
    return bad(whole,
               fmt::format("'{}' is no host port or range from 0 to 65535", text.substr(0, colon)));
  }
  text.remove_prefix(colon + 1);
  spec.guest_address = take_address(text);
  auto guest = parse_range(text);
  if (!guest || guest->first == 0) {
    return bad(whole, fmt::format("'{}' is no guest port or range from 1 to 65535", text));
  }
  if (host->first == 0 && host->last != 0) return bad(whole, "a range can't begin with port 0");
  if (host->last - host->first != guest->last - guest->first) {
    return bad(whole, "the ranges of host and guest ports differ in length");
  }
  spec.host_first = Port(host->first);
  spec.host_last = Port(host->last);
  spec.guest_first = Port(guest->first);
  return spec;
}

std::string to_string(const PublishSpec& spec) {
  if (!spec.unix_path.empty()) {
    return fmt::format("unix:{}:{}", spec.unix_path, spec.guest_first.value());
  }
  auto bracketed = [](const IpAddress& address) {
    return address.is_v6() ? fmt::format("[{}]", address.to_string()) : address.to_string();
  };
  auto range = [](int first, int count) {
    return count == 0 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + count);
  };
  int count = spec.host_last.value() - spec.host_first.value();
  std::string guest = spec.guest_address ? bracketed(*spec.guest_address) + ":" : "";
  return fmt::format("{}:{}:{}{}/{}", bracketed(spec.bind), range(spec.host_first.value(), count),
                     guest, range(spec.guest_first.value(), count), to_string(spec.protocol));
}

Result<ReverseSpec> parse_reverse(std::string_view text) {
  auto colon = text.find(":unix:");
  auto port = Port::parse(text.substr(0, colon));
  if (colon == std::string_view::npos || !port || *port == Port(0) ||
      !usable_path(text.substr(colon + 6))) {
    return Status(
        StatusCode::invalid_argument,
        fmt::format("reverse port '{}': the form is GPORT:unix:PATH, with an absolute path "
                    "of at most 107 bytes",
                    text));
  }
  return ReverseSpec{*port, std::string(text.substr(colon + 6))};
}

}  // namespace sluice
