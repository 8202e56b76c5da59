#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "flow/scripted_guest.h"
#include "support/scripted_net.h"

namespace sluice::test {

/// What the guest's stream holds at a sequence number: any byte shows where it belongs.
inline char guest_byte(std::uint32_t sequence) {
  return static_cast<char>(sequence * 0x9e3779b1u >> 24);
}

/// What a host's stream holds at an offset. Every host has another one.
inline char host_byte(std::size_t host, std::size_t offset) {
  return static_cast<char>(static_cast<std::uint32_t>(offset * 0x85ebca6bu) >> 24 ^ host * 41);
}

/// The host's end of a connection, and what it may be given.
struct FarEnd {
  std::shared_ptr<StreamPeer> peer;
  std::size_t id = 0;
  std::string preface;      ///< Reaches the guest before what is fed.
  std::size_t fed = 0;      ///< Bytes, with the preface.
  bool ended = false;       ///< Its end of stream was fed.
  std::size_t checked = 0;  ///< Of what was sent to it.
  bool end_checked = false;
  std::vector<std::uint32_t> bases;  ///< Sequence numbers that its first byte can have had.

  char expected(std::size_t offset) const {
    return offset < preface.size() ? preface[offset] : host_byte(id, offset);
  }
  void feed(std::size_t bytes) {
    std::string data;
    for (std::size_t i = 0; i < bytes; ++i) data += host_byte(id, fed + i);
    fed += bytes;
    peer->feed(data);
  }
};

/// One connection as an honest observer at the guest's port knows it. What reaches the guest has to
/// be what the host was fed, and the other way round, in order and without gaps.
struct Connection {
  Endpoint guest;
  Endpoint remote;
  std::shared_ptr<FarEnd> far;

  // Guest to host.
  std::uint32_t sequence = 0;              ///< Next to be sent.
  std::uint32_t acknowledged = 0;          ///< By the other end, the last that it said.
  std::vector<std::uint32_t> first_bytes;  ///< Of every SYN that was sent.
  std::vector<std::uint32_t> fins;         ///< Sequence numbers of every FIN that was sent.
  bool fin_sent = false;                   ///< In order.

  // Host to guest.
  std::optional<std::uint32_t> first;  ///< Sequence number of the first byte.
  std::size_t received = 0;            ///< Bytes without a gap.
  bool fin_received = false;
  bool reset = false;  ///< By either side.

  /// Has said nothing yet that a real guest would not say.
  bool honest = true;

  std::uint32_t next() const {
    return first.value_or(0) + static_cast<std::uint32_t>(received) + (fin_received ? 1 : 0);
  }

  void on_syn_sent(std::uint32_t at) {
    if (std::find(first_bytes.begin(), first_bytes.end(), at + 1) == first_bytes.end()) {
      first_bytes.push_back(at + 1);
    }
  }

  void on_segment(const SeenSegment& segment) {
    if (segment.flags.rst()) {
      reset = true;
      return;
    }
    if (segment.flags.syn() && first != segment.sequence + 1) {
      first = segment.sequence + 1;
      received = 0;
      fin_received = reset = false;
    }
    if (segment.flags.ack()) acknowledged = segment.acknowledgment;
    FUZZ_CHECK(first && far);
    std::size_t offset = segment.flags.syn() ? 0 : segment.sequence - *first;
    std::size_t size = segment.payload.size();
    bool probe = segment.payload.empty() && !segment.flags.fin();
    FUZZ_CHECK(probe || offset + size <= far->fed);
    for (std::size_t i = 0; i < size; ++i) {
      FUZZ_CHECK(segment.payload[i] == far->expected(offset + i));
    }
    if (size > 0 && offset <= received) received = std::max(received, offset + size);
    if (segment.flags.fin()) {
      FUZZ_CHECK(far->ended && offset + size == far->fed);
      fin_received |= offset + size == received;
    }
  }

  /// Looks at what the host was sent since the last call.
  void check_host() {
    if (!far) return;
    const std::string& sent = far->peer->sent();
    if (sent.size() > far->checked) {
      if (far->checked == 0) far->bases = first_bytes;
      std::erase_if(far->bases, [&](std::uint32_t base) {
        for (std::size_t i = far->checked; i < sent.size(); ++i) {
          if (sent[i] != guest_byte(base + static_cast<std::uint32_t>(i))) return true;
        }
        return false;
      });
      FUZZ_CHECK(!far->bases.empty());
      far->checked = sent.size();
    }
    if (far->peer->saw_end() && !std::exchange(far->end_checked, true)) {
      const auto& bases = far->checked == 0 ? first_bytes : far->bases;
      FUZZ_CHECK(std::any_of(bases.begin(), bases.end(), [&](std::uint32_t base) {
        auto end = base + static_cast<std::uint32_t>(sent.size());
        return std::find(fins.begin(), fins.end(), end) != fins.end();
      }));
    }
  }
};

}  // namespace sluice::test
