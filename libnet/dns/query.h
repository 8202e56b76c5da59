#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dns/answer.h"
#include "dns/hooks.h"
#include "wire/dns_message.h"
#include "wire/dns_writer.h"

namespace sluice::dns {

/// A client's query that can be answered: opcode QUERY, one question of class IN.
struct Query {
  wire::DnsHeader header;
  wire::DnsQuestion question;
  bool has_edns = false;
  std::size_t reply_limit_bytes = 0;
};

/// What came of a client's message: a query, or the error that answers it at once.
struct CheckedQuery {
  std::optional<Query> query;
  /// Without a query: the error reply; empty where silence is the answer (below a header's 12
  /// bytes, or itself a response, so that two servers never answer each other).
  std::vector<std::uint8_t> error_reply;
  wire::DnsRcode rcode = wire::DnsRcode::no_error;
};

/// Checks a message of a client. FORMERR: malformed, not exactly one question, answers in a query,
/// bytes after the end, a bad OPT. NOTIMP: another opcode, a type that is a transfer or
/// meta-query. REFUSED: another class than IN. BADVERS: EDNS above version 0.
/// `max_udp_bytes` bounds what a client's EDNS size may ask for.
CheckedQuery check_query(ConstBytes message, Transport transport, std::size_t max_udp_bytes);

/// Appended to a reply's OPT, where the client sent one.
using ExtendedError = wire::DnsWriter::ExtendedError;

/// The reply, its records' TTLs lessened by `age`. Where it does not fit, an empty one with TC
/// set: the client asks again over TCP.
struct Reply {
  std::vector<std::uint8_t> message;
  bool truncated = false;
};
Reply build_reply(const Query& query, const Answer& answer, std::chrono::seconds age,
                  std::optional<ExtendedError> error);

}  // namespace sluice::dns
