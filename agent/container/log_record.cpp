#include "agent/container/log_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kNameDigits = 16;
constexpr std::size_t kCheckAt = 16;
constexpr std::uint8_t kStdout = 1;
constexpr std::uint8_t kStderr = 2;
constexpr std::uint8_t kPartial = 1;
constexpr std::uint8_t kGap = 2;

/// FNV-1a. It tells a head from what is none; nobody who can write here has to be kept from it.
std::uint32_t check_of(const std::uint8_t* head) {
  std::uint32_t sum = 2166136261U;
  for (std::size_t i = 0; i < kCheckAt; ++i) sum = (sum ^ head[i]) * 16777619U;
  return sum;
}

}  // namespace

void write_log_head(const LogHead& head, std::uint8_t* into) {
  store_be32(into, head.length);
  into[4] = head.is_stderr ? kStderr : kStdout;
  into[5] = head.gap ? kGap : head.partial ? kPartial : 0;
  store_be16(into + 6, 0);
  store_be64(into + 8, static_cast<std::uint64_t>(head.time_ns));
  store_be32(into + kCheckAt, check_of(into));
}

std::optional<LogHead> read_log_head(ConstBytes bytes) {
  if (bytes.size() < kLogHeadBytes) return std::nullopt;
  const std::uint8_t* head = bytes.data();
  std::uint32_t length = load_be32(head);
  bool good = length <= kMaxLogData && (head[4] == kStdout || head[4] == kStderr) &&
              head[5] <= kGap && (head[5] != kGap || length == kLogGapBytes) &&
              load_be32(head + kCheckAt) == check_of(head);
  if (!good) return std::nullopt;
  return LogHead{.length = length,
                 .is_stderr = head[4] == kStderr,
                 .partial = head[5] == kPartial,
                 .gap = head[5] == kGap,
                 .time_ns = static_cast<std::int64_t>(load_be64(head + 8))};
}

std::string log_file_name(std::uint64_t first) {
  return fmt::format("{:016x}", first);
}

std::optional<std::uint64_t> parse_log_file_name(std::string_view name) {
  bool digits = name.size() == kNameDigits && std::all_of(name.begin(), name.end(), [](char c) {
                  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                });
  if (!digits) return std::nullopt;
  return parse_number<std::uint64_t>(name, 16);
}

}  // namespace sluice::agent
