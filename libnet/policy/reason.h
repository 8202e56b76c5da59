#pragma once

#include <cstdint>
#include <string_view>

#include <net/verdict.h>

namespace sluice::policy {

/// What a verdict is about.
enum class Judged : std::uint8_t {
  flow,
  lookup,
  named_flow,  ///< A flow, by the name in its first flight.
};

/// Why it is so, as a phrase for people. The same verdict has the same reason in events, logs and
/// answers.
std::string_view reason_of(const Verdict& verdict, Judged judged);

}  // namespace sluice::policy
