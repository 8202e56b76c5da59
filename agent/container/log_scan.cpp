#include "agent/container/log_scan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "agent/container/log_json.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kFirstLook = 512;

std::string read_at(int fd, std::uint64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  ssize_t got = ::pread(fd, bytes.data(), size, static_cast<off_t>(at));
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

ConstBytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

bool is_json(int fd) {
  return read_at(fd, 0, 1) == "{";
}

std::optional<LogHead> head_at(int fd, std::uint64_t at) {
  return read_log_head(bytes_of(read_at(fd, at, kLogHeadBytes)));
}

/// Where the line begins that ends at `end`; nothing where it is longer than any.
std::optional<std::uint64_t> line_before(int fd, std::uint64_t end) {
  if (end == 0) return std::nullopt;
  for (std::size_t look = kFirstLook;; look *= 2) {
    std::uint64_t from = end - std::min<std::uint64_t>(end, look);
    std::string bytes = read_at(fd, from, end - from);
    if (bytes.size() != end - from || bytes.back() != '\n') return std::nullopt;
    bytes.pop_back();
    std::size_t before = bytes.rfind('\n');
    if (before != std::string::npos) return from + before + 1;
    if (from == 0) return 0;
    if (look > kMaxLogJsonLine) return std::nullopt;
  }
}

std::optional<LogPiece> json_before(int fd, std::uint64_t end) {
  auto at = line_before(fd, end);
  if (!at) return std::nullopt;
  auto line = parse_log_json(read_at(fd, *at, end - *at - 1));
  if (!line) return std::nullopt;
  return LogPiece{.at = *at, .end = end, .head = line->head, .data = std::move(line->data)};
}

}  // namespace

std::optional<LogPiece> log_piece_before(int fd, std::uint64_t end) {
  if (is_json(fd)) return json_before(fd, end);
  if (end < kLogOverhead) return std::nullopt;
  std::string tail = read_at(fd, end - kLogTailBytes, kLogTailBytes);
  if (tail.size() != kLogTailBytes) return std::nullopt;
  std::uint64_t size = kLogOverhead + load_be32(bytes_of(tail).data());
  if (size > end) return std::nullopt;
  auto head = head_at(fd, end - size);
  if (!head || log_record_bytes(*head) != size) return std::nullopt;
  std::string data = read_at(fd, end - size + kLogHeadBytes, head->length);
  return LogPiece{.at = end - size, .end = end, .head = *head, .data = {data.begin(), data.end()}};
}

std::uint64_t end_of_log_file(int fd) {
  struct stat file{};
  if (::fstat(fd, &file) != 0) return 0;
  auto size = static_cast<std::uint64_t>(file.st_size);
  if (size == 0 || log_piece_before(fd, size)) return size;
  std::uint64_t at = 0;
  if (is_json(fd)) {
    // All before the last line's end.
    for (std::uint64_t end = size; end > 0 && at == 0;) {
      std::uint64_t from = end - std::min<std::uint64_t>(end, kMaxLogJsonLine);
      std::size_t found = read_at(fd, from, end - from).rfind('\n');
      if (found != std::string::npos) at = from + found + 1;
      end = from;
    }
    return at;
  }
  for (auto head = head_at(fd, 0); head && at + log_record_bytes(*head) <= size;
       head = head_at(fd, at)) {
    at += log_record_bytes(*head);
  }
  return at;
}

}  // namespace sluice::agent
