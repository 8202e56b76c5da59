#include "dns/host_resolvers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "base/unique_fd.h"
#include "wire/dns.h"

namespace sluice::dns {

namespace {

constexpr std::size_t kMaxResolvers = 8;

/// Changes whenever the file, or what its name leads to, does.
std::string stamp_of(const struct stat& file) {
  return fmt::format("{}:{}:{}:{}.{}:{}.{}", file.st_dev, file.st_ino, file.st_size,
                     file.st_mtim.tv_sec, file.st_mtim.tv_nsec, file.st_ctim.tv_sec,
                     file.st_ctim.tv_nsec);
}

std::optional<std::string> read_start(const std::string& path, std::size_t limit_bytes) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 4096> piece;
  while (text.size() < limit_bytes) {
    auto count =
        ::read(file.get(), piece.data(), std::min(piece.size(), limit_bytes - text.size()));
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  return text;
}

std::string_view take_word(std::string_view& line) {
  constexpr std::string_view kBlanks = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  auto word = line.substr(0, line.find_first_of(kBlanks));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

}  // namespace sluice::dns

std::string sluice::DnsResolver::to_string() const {
  return uses_tls() ? fmt::format("tls://{}#{}", endpoint.to_string(), tls_name)
                    : endpoint.to_string();
}

namespace sluice::dns {

namespace {

constexpr Port kTlsPort{853};

Result<Endpoint> parse_endpoint(std::string_view text, Port port) {
  if (auto address = IpAddress::parse(text)) return Endpoint{*address, port};
  if (auto endpoint = Endpoint::parse(text)) return endpoint;
  if (text.starts_with('[') && text.ends_with(']')) {
    if (auto address = IpAddress::parse(text.substr(1, text.size() - 2))) {
      return Endpoint{*address, port};
    }
  }
  return Status(StatusCode::invalid_argument,
                fmt::format("'{}' is not a resolver: give ADDRESS or ADDRESS:PORT, an IPv6 address "
                            "with a port in brackets; over TLS tls://ADDRESS#NAME",
                            text));
}

/// What a certificate is for: a domain name or an IP address.
Result<std::string> parse_tls_name(std::string_view text) {
  if (auto address = IpAddress::parse(text)) return address->to_string();
  auto name = DomainName::parse(text);
  if (!name) return name.status();
  if (name->is_root()) {
    return Status(StatusCode::invalid_argument,
                  "a resolver over TLS needs the name in its certificate: tls://ADDRESS#NAME");
  }
  return name->text();
}

}  // namespace

Result<DnsResolver> parse_resolver(std::string_view text) {
  constexpr std::string_view kScheme = "tls://";
  bool uses_tls = text.starts_with(kScheme);
  if (uses_tls) text.remove_prefix(kScheme.size());
  auto hash = text.find('#');
  uses_tls |= hash != std::string_view::npos;
  auto endpoint = parse_endpoint(text.substr(0, hash), uses_tls ? kTlsPort : wire::kDnsPort);
  if (!endpoint) return endpoint.status();
  if (!uses_tls) return DnsResolver(*endpoint);
  auto name = parse_tls_name(hash == std::string_view::npos ? "" : text.substr(hash + 1));
  if (!name) return name.status();
  return DnsResolver(*endpoint, std::move(*name));
}

Result<DnsSplit> parse_split(std::string_view text) {
  auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    return Status::invalid_argument(fmt::format("'{}': the form is ZONE=ADDRESS[,ADDRESS]", text));
  }
  auto zone = DomainName::parse(text.substr(0, equals));
  if (!zone) return zone.status();
  if (zone->is_root())
    return Status::invalid_argument("the root has the general resolvers; name a zone");
  DnsSplit split{std::move(*zone), {}};
  for (auto rest = text.substr(equals + 1); !rest.empty();) {
    auto part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    auto resolver = parse_resolver(part);
    if (!resolver) return resolver.status();
    split.resolvers.push_back(*resolver);
  }
  if (split.resolvers.empty()) {
    return Status::invalid_argument(
        fmt::format("zone {} has no resolver; give at least one", split.zone.text()));
  }
  return split;
}

std::vector<Endpoint> parse_resolv_conf(std::string_view text) {
  std::vector<Endpoint> resolvers;
  while (!text.empty() && resolvers.size() < kMaxResolvers) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (take_word(line) != "nameserver") continue;
    auto word = take_word(line);
    if (auto address = IpAddress::parse(word)) {
      resolvers.push_back({*address, wire::kDnsPort});
    } else {
      log(LogLevel::warn, "resolv.conf: nameserver '{}' can't be used", word);
    }
  }
  return resolvers;
}

HostResolvers::HostResolvers(Loop& loop, std::string path, OnChange on_change)
    : path_(std::move(path)), on_change_(std::move(on_change)), timer_(loop.make_timer([this] {
        timer_->start(kInterval);
        look();
      })) {
  timer_->start(Duration::zero());
}

void HostResolvers::look() {
  struct stat file{};
  if (::stat(path_.c_str(), &file) != 0) {
    if (!absence_reported_) log(LogLevel::warn, "{}: can't be read: {}", path_, strerror(errno));
    absence_reported_ = true;
    return;
  }
  absence_reported_ = false;
  auto stamp = stamp_of(file);
  if (stamp == stamp_) return;
  auto text = read_start(path_, kMaxFileBytes);
  if (!text) return;
  stamp_ = std::move(stamp);
  auto resolvers = parse_resolv_conf(*text);
  if (resolvers == last_) return;
  if (resolvers.empty()) log(LogLevel::warn, "{}: names no resolver", path_);
  last_ = resolvers;
  on_change_(std::move(resolvers));
}

}  // namespace sluice::dns
