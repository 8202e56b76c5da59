#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "wire/dns.h"

namespace sluice::dns {

/// Counts since the Service was made.
struct Counters {
  std::uint64_t queries_udp = 0;
  std::uint64_t queries_tcp = 0;
  std::uint64_t ignored = 0;  ///< Too short for an answer, or an answer themselves.
  /// Replies by response code; the last counts every code from 15 on.
  std::array<std::uint64_t, 16> replies_by_rcode{};
  std::uint64_t truncated = 0;
  std::uint64_t denied = 0;             ///< By may_query, or a name that no rule could match.
  std::uint64_t addresses_removed = 0;  ///< By on_answer.
  std::uint64_t limited = 0;            ///< SERVFAIL because a guest passed a limit.
  std::uint64_t local_answers = 0;
  std::uint64_t stale_answers = 0;  ///< Past their time, because every upstream failed.
  std::uint64_t cache_hits = 0;
  std::uint64_t coalesced = 0;   ///< Waited for the answer to someone else's same question.
  std::uint64_t overloaded = 0;  ///< SERVFAIL because too many questions were open.

  std::uint64_t upstream_queries = 0;
  std::uint64_t upstream_answers = 0;
  std::uint64_t upstream_tcp = 0;       ///< Asked again over TCP.
  std::uint64_t upstream_tls = 0;       ///< Asked over TLS.
  std::uint64_t tls_connections = 0;    ///< Made for those, the failed ones too.
  std::uint64_t upstream_timeouts = 0;  ///< An attempt's time passed without an answer.
  std::uint64_t upstream_errors = 0;    ///< SERVFAIL, REFUSED and the like, or no way to it.
  std::uint64_t upstream_forged = 0;    ///< Datagrams that answer no question of ours.
  /// Time from question to upstream answer: below 1, 2, 4, ... 4096 ms, and longer.
  std::array<std::uint64_t, 14> upstream_latency{};

  void count_reply(wire::DnsRcode rcode) {
    auto code = static_cast<std::size_t>(rcode);
    ++replies_by_rcode[code < replies_by_rcode.size() ? code : replies_by_rcode.size() - 1];
  }
  void count_latency(std::chrono::nanoseconds latency) {
    std::size_t bucket = 0;
    for (auto bound = std::chrono::milliseconds(1);
         bucket + 1 < upstream_latency.size() && latency >= bound; bound *= 2) {
      ++bucket;
    }
    ++upstream_latency[bucket];
  }
};

}  // namespace sluice::dns
