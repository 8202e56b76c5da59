#pragma once

#include <cstdint>

namespace sluice::agent {

/// What the guest's resolver has done since it began; each only grows.
struct DnsCounters {
  std::uint64_t udp_queries = 0;
  std::uint64_t tcp_queries = 0;
  std::uint64_t local_answers = 0;   ///< Of names here, also that there is no such name.
  std::uint64_t local_negative = 0;  ///< Of those, without a record.
  std::uint64_t errors = 0;          ///< Answered here, as nobody could make sense of them.
  std::uint64_t ignored = 0;         ///< No query at all: too short, or an answer.
  std::uint64_t forwarded = 0;
  std::uint64_t coalesced = 0;       ///< Of those, asked already by somebody else.
  std::uint64_t passed_through = 0;  ///< Of those, what could not be read here.
  std::uint64_t upstream_timeouts = 0;
  std::uint64_t upstream_failures = 0;  ///< No way there, or SERVFAIL.
  std::uint64_t upstream_forged = 0;    ///< Answers that match nothing that was asked.
  std::uint64_t upstream_tcp = 0;       ///< Asked again over TCP.
  std::uint64_t unanswered = 0;         ///< SERVFAIL, as no server had answered.
  std::uint64_t over_limit = 0;         ///< SERVFAIL, as too many wait already.
  std::uint64_t sessions_refused = 0;   ///< TCP connections beyond the limits.
  std::uint64_t replies_lost = 0;       ///< The kernel would not take them.
  std::uint64_t rebinds = 0;            ///< A listener that had to be opened again.
};

}  // namespace sluice::agent
