#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/answer.h"

namespace sluice::dns {

/// Numbers that nobody can predict.
using RandomSource = std::function<std::uint64_t()>;

/// One question that is put to one resolver, whatever the way. Keeps no time: its owner ends it by
/// destroying it.
class UpstreamQuery {
 public:
  enum class Outcome : std::uint8_t {
    answered,
    refused,  ///< The resolver answered that it can't or won't: SERVFAIL, REFUSED, no sense.
    failed,   ///< No way to the resolver.
  };
  /// `answer` is there when `answered`, and otherwise `why`, a phrase. The callee may destroy the
  /// query. Never called from start().
  using Done = std::function<void(Outcome, std::optional<Answer> answer, std::string_view why)>;

  struct Question {
    wire::DnsName name;
    wire::DnsType type;
  };

  virtual ~UpstreamQuery() = default;
  /// False where nothing could be sent; `done` is not called then.
  virtual bool start() = 0;
  /// Why there is no answer yet, in a phrase, for an owner who gives up.
  virtual std::string waits_for() const = 0;
};

/// Whether what is sent can be read on the way.
enum class Privacy : std::uint8_t {
  clear,
  encrypted,  ///< Padded, so that its length does not tell the name (RFC 8467 section 4.1).
};

/// The query message, with the length prefix of TCP (RFC 1035 section 4.2.2).
std::vector<std::uint8_t> encode_query(std::uint16_t id, const wire::DnsQuestion& question,
                                       Privacy privacy);

/// Whether a message answers the question as it was asked, but for the case of its letters.
bool is_reply_to(const wire::DnsMessage& message, std::uint16_t id,
                 const wire::DnsQuestion& question);

/// What a reply to the question comes to: what UpstreamQuery::Done is told.
struct UpstreamReply {
  UpstreamQuery::Outcome outcome;
  std::optional<Answer> answer;
  std::string_view why;
};
UpstreamReply read_reply(const wire::DnsMessage& message, const wire::DnsQuestion& question);

/// Of a reply that is none.
inline constexpr std::string_view kNonsense = "its answer makes no sense";

}  // namespace sluice::dns
