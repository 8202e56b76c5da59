#include "agent/os/clock.h"

#include <fmt/format.h>
#include <sys/timex.h>

#include <cerrno>
#include <chrono>

#include "base/number.h"

namespace sluice::agent {

namespace {

using Time = std::chrono::sys_time<std::chrono::nanoseconds>;

}  // namespace

std::string utc_text(std::int64_t time_ns) {
  const Time time{std::chrono::nanoseconds(time_ns)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

std::optional<std::int64_t> parse_utc(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
  // 64 bits of nanoseconds begin in 1677 and end in 2262.
  constexpr int kFirstYear = 1678;
  constexpr int kLastYear = 2261;
  if (text.size() != kForm.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == 'd' ? !is_digit : text[i] != kForm[i]) return std::nullopt;
  }
  auto number = [text](std::size_t at, std::size_t digits) {
    return parse_number<unsigned>(text.substr(at, digits)).value_or(0);
  };
  int year = static_cast<int>(number(0, 4));
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(number(5, 2)),
                                         std::chrono::day(number(8, 2))};
  unsigned hour = number(11, 2);
  unsigned minute = number(14, 2);
  unsigned second = number(17, 2);
  bool is_time = hour < 24 && minute < 60 && second < 60;
  if (!date.ok() || !is_time || year < kFirstYear || year > kLastYear) return std::nullopt;
  const Time time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                    std::chrono::minutes(minute) + std::chrono::seconds(second) +
                    std::chrono::nanoseconds(number(20, 9));
  return time.time_since_epoch().count();
}

int move_clock(std::int64_t offset_ns, bool step) {
  timex adjustment{};
  if (step) {
    adjustment.modes = ADJ_SETOFFSET | ADJ_NANO;
    adjustment.time.tv_sec = offset_ns / kNsPerSecond;
    adjustment.time.tv_usec = offset_ns % kNsPerSecond;
    if (adjustment.time.tv_usec < 0) {
      adjustment.time.tv_usec += kNsPerSecond;
      --adjustment.time.tv_sec;
    }
  } else {
    adjustment.modes = ADJ_OFFSET_SINGLESHOT;
    adjustment.offset = offset_ns / 1000;
  }
  return ::adjtimex(&adjustment) < 0 ? errno : 0;
}

}  // namespace sluice::agent
