#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/rpc/connection.h"
#include "support/virtual_loop.h"

namespace sluice::agent::rpc {

inline constexpr std::uint8_t kRequest = 1;
inline constexpr std::uint8_t kResponse = 2;
inline constexpr std::uint8_t kData = 3;

inline ConstBytes bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string text_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Protobuf by hand, so that what is tested is not what makes its input.
std::string pb_number(unsigned field, std::uint64_t value);
std::string pb_text(unsigned field, std::string_view value);
/// A frame as a client writes it.
std::string frame(std::uint32_t stream, std::uint8_t type, std::uint8_t flags,
                  std::string_view payload);

/// What a test sees of a link's two ends. Outlives the link.
struct Wire {
  std::string in;                ///< Sent by the peer, not yet read.
  std::size_t piece = SIZE_MAX;  ///< The most that one read gives.
  bool peer_gone = false;        ///< After `in` has been read.
  std::string out;               ///< Written, all of it.
  std::size_t room = SIZE_MAX;   ///< Bytes that the peer still takes.
  FdReady interest;
  bool linked = false;
  std::function<void(FdReady)> on_ready;
};

/// What came back: one frame.
struct Reply {
  std::uint32_t stream = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::string payload;
};

/// The status of a response, or 0 and the message of a call that worked.
struct Answer {
  std::int32_t code = -1;
  std::string message;  ///< Of the status.
  std::string payload;
  std::string detail_type;
  std::string detail;  ///< Encoded.
};
Answer answer_of(const Reply& reply);

/// A handler that a test looks into. It is in `World::streams` as long as it lives.
struct Stream final : Handler {
  Stream(std::vector<Stream*>& all, Call& made_for);
  ~Stream() override;
  void on_message(ConstBytes message) override { messages.push_back(text_of(message)); }
  void on_half_close() override { ++half_closes; }
  void on_writable() override {
    ++offers;
    if (on_offer) on_offer();
  }

  std::vector<Stream*>& all;
  Call& call;
  std::vector<std::string> messages;
  int half_closes = 0;
  int offers = 0;
  std::function<void()> on_offer;
};

/// A connection with methods of its own, on a virtual clock and a scripted link:
///     test.Echo/Say      unary: the request's bytes, at once
///     test.Echo/Refuse   unary: ENOENT at step "open /x"
///     test.Echo/Hold     unary, answered when the test says so
///     test.Echo/Talk     a stream each way, driven by the test
///     test.Echo/Cancel   cancels the stream whose number is its request's first byte
struct World {
  World();
  ~World() { close(); }

  /// Sends bytes and lets everything happen that follows.
  void send(std::string_view bytes);
  void request(std::uint32_t stream, std::string_view method, std::string_view payload = "",
               std::uint8_t flags = 0, std::int64_t timeout_ns = 0,
               std::string_view service = "test.Echo");
  void data(std::uint32_t stream, std::string_view payload, std::uint8_t flags = 0);
  void hang_up();
  /// Until nothing happens any more.
  void settle();
  void close();

  /// What came back since the last look.
  std::vector<Reply> replies();
  /// The only one that came back.
  Reply reply();
  Answer answer() { return answer_of(reply()); }

  test::VirtualLoop loop;
  Methods methods;
  std::shared_ptr<Wire> wire = std::make_shared<Wire>();
  std::vector<Stream*> streams;
  int made = 0;  ///< Streams, ever.
  int ends = 0;  ///< How often the connection said that it had ended.
  std::unique_ptr<Connection> connection;

 private:
  std::size_t seen_ = 0;  ///< Of wire->out.
};

std::string request_bytes(std::string_view service, std::string_view method,
                          std::string_view payload, std::int64_t timeout_ns = 0);

}  // namespace sluice::agent::rpc
