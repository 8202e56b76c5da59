#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <net/status.h>

#include "agent/rpc/call.h"
#include "base/bytes.h"

namespace sluice::agent::legacy {

/// What the answers to one request are in the older framing: appends whole frames to `out`.
class Answers {
 public:
  virtual ~Answers() = default;
  /// A message of the call's stream. Returns how many bytes more the call may send for it.
  virtual std::size_t on_message(ConstBytes message, std::vector<std::uint8_t>& out);
  /// The one answer, and the end.
  virtual void on_reply(ConstBytes message, std::vector<std::uint8_t>& out);
  /// The end of a stream.
  virtual void on_finish(std::vector<std::uint8_t>& out);
  /// A message to the call that lets it send so many bytes more.
  virtual std::vector<std::uint8_t> grant(std::size_t bytes) const;
};

/// A request as a call of the agent's own methods.
struct Translation {
  std::string_view service;
  std::string_view method;
  std::vector<std::uint8_t> message;
  std::unique_ptr<Answers> answers;
};

/// invalid_argument: not such a message. unsupported: no such type, or one that has meant several
/// things.
Result<Translation> translate(std::uint32_t type, ConstBytes payload);

/// The code of an Error frame (400, 404, 500, 503) for a call that failed.
std::int32_t error_code(rpc::Code code);

}  // namespace sluice::agent::legacy
