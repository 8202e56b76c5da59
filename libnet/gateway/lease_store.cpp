#include "gateway/lease_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include <net/name.h>

#include "base/number.h"
#include "base/unique_fd.h"

namespace sluice::gateway {
namespace {

constexpr std::string_view kHeader = "sluice-leases 1";
// Two families' full tables have 2048 lines of at most 150 bytes.
constexpr std::size_t kMaxFileBytes = 512 * 1024;
// Keeps arithmetic on a damaged file's times in range: ten years.
constexpr std::int64_t kMaxSeconds = 10LL * 365 * 24 * 3600;

std::string_view next_word(std::string_view& line) {
  std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), word.size() + 1));
  return word;
}

std::optional<StoredLease> parse_line(std::string_view line, std::int64_t wall_now) {
  auto mac = MacAddress::parse(next_word(line));
  auto address = IpAddress::parse(next_word(line));
  auto expires = parse_number<std::int64_t>(next_word(line));
  std::string_view name = next_word(line);
  if (!mac || !address || !expires) return std::nullopt;
  if (mac->is_multicast() || mac->is_zero() || name.empty() || !line.empty()) return std::nullopt;
  if (*expires < wall_now - kMaxSeconds || *expires > wall_now + kMaxSeconds) return std::nullopt;
  StoredLease lease{*mac, *address, std::chrono::seconds(*expires - wall_now), {}};
  if (name != "-") {
    auto label = DomainName::parse(name);
    if (!label || label->labels() != 1) return std::nullopt;
    lease.name = label->text();
  }
  return lease;
}

std::string read_file(const std::string& path) {
  std::string text;
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info{};
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return text;
  char chunk[4096];
  while (text.size() < kMaxFileBytes) {
    ssize_t n = ::read(file.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

FileLeaseStore::FileLeaseStore(std::string path, std::function<std::int64_t()> wall_seconds)
    : path_(std::move(path)), wall_seconds_(std::move(wall_seconds)) {}

std::vector<StoredLease> FileLeaseStore::load() {
  std::vector<StoredLease> leases;
  std::string text = read_file(path_);
  std::string_view rest = text;
  bool first = true;
  while (!rest.empty()) {
    std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // a line without its end was cut off
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (first && line != kHeader) return leases;
    first = false;
    if (auto lease = parse_line(line, wall_seconds_())) leases.push_back(std::move(*lease));
  }
  return leases;
}

Status FileLeaseStore::save(const std::vector<StoredLease>& leases) {
  std::string text = fmt::format("{}\n", kHeader);
  std::int64_t now = wall_seconds_();
  for (const StoredLease& lease : leases) {
    auto remaining = std::chrono::duration_cast<std::chrono::seconds>(lease.remaining).count();
    text += fmt::format("{} {} {} {}\n", lease.mac.to_string(), lease.address.to_string(),
                        now + remaining, lease.name.empty() ? "-" : lease.name);
  }
  std::string temporary = path_ + ".new";
  // A leftover of a killed run, or a link somebody put there, is replaced and never followed.
  ::unlink(temporary.c_str());
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return Status::from_errno(errno, fmt::format("create {}", temporary));
  if (!write_all(file.get(), text)) {
    int error = errno;
    ::unlink(temporary.c_str());
    return Status::from_errno(error, fmt::format("write {}", temporary));
  }
  if (::rename(temporary.c_str(), path_.c_str()) != 0) {
    int error = errno;
    ::unlink(temporary.c_str());
    return Status::from_errno(error, fmt::format("rename {} to {}", temporary, path_));
  }
  return Status::ok();
}

}  // namespace sluice::gateway
