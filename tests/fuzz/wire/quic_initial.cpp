// Any datagrams, and any frames in well-sealed Initials: the assembler's answers fit together, and
// a hello that it calls complete is the one that the frames spell.

#include <algorithm>
#include <optional>
#include <vector>

#include "check.h"
#include "wire/quic_hello.h"
#include "wire/quic_seal.h"

using namespace sluice;
using wire::QuicHelloAssembler;
using State = wire::QuicHelloAssembler::State;

namespace {

void check_answer(const QuicHelloAssembler& assembler, const QuicHelloAssembler::Datagram& answer) {
  FUZZ_CHECK(assembler.connections() <= QuicHelloAssembler::kMaxConnections);
  FUZZ_CHECK(assembler.bytes() <= QuicHelloAssembler::kMaxConnections * 80 * 1024);
  bool complete = answer.state == State::complete;
  FUZZ_CHECK(complete == (assembler.hello(answer.connection) != nullptr) ||
             answer.state == State::malformed || answer.state == State::other_version);
}

/// Cuts `in` into pieces, each with its length before it in `length_bytes` bytes, and calls `each`
/// with them until it says false.
template <typename Each>
void for_each_piece(ConstBytes in, std::size_t length_bytes, Each each) {
  while (in.size() > length_bytes) {
    std::size_t length = length_bytes == 1 ? in[0] : load_be16(in.data());
    ConstBytes piece = in.subspan(length_bytes).first(std::min(length, in.size() - length_bytes));
    if (!each(piece)) return;
    in = in.subspan(length_bytes + piece.size());
  }
}

/// One connection whose Initials are well sealed and have any frames.
struct Sealed {
  QuicHelloAssembler::Datagram add(ConstBytes frames) {
    packet.payload.assign(frames.begin(), frames.end());
    auto answer = assembler.add(testing::seal(packet), TimePoint{});
    ++packet.number;
    check_answer(assembler, answer);
    FUZZ_CHECK(answer.connection == 1);
    return answer;
  }

  QuicHelloAssembler assembler;
  testing::InitialPacket packet;
};

/// The bytes that CRYPTO frames have spelt so far, in a plain buffer.
struct Spelt {
  void note(const wire::QuicCryptoFrame& frame) {
    if (frame.offset > 60000) return;
    for (std::size_t i = 0; i < frame.data.size(); ++i) {
      auto& byte = bytes[frame.offset + i];
      contradicted |= byte && *byte != frame.data[i];
      byte = frame.data[i];
    }
  }
  /// Of the hello that begins the stream, all of which is there.
  std::vector<std::uint8_t> body() const {
    std::size_t size = std::size_t{*bytes[2]} << 8 | *bytes[3];
    std::vector<std::uint8_t> body;
    for (std::size_t i = 4; i < 4 + size; ++i) body.push_back(bytes[i].value());
    return body;
  }

  std::vector<std::optional<std::uint8_t>> bytes = decltype(bytes)(70000);
  bool contradicted = false;
};

void any_datagrams(ConstBytes in) {
  QuicHelloAssembler assembler;
  TimePoint now{};
  for_each_piece(in, 2, [&](ConstBytes datagram) {
    check_answer(assembler, assembler.add(datagram, now));
    now += std::chrono::seconds(1);
    return true;
  });
}

void any_frames(ConstBytes in) {
  Sealed connection;
  Spelt spelt;
  for_each_piece(in, 1, [&](ConstBytes frames) {
    auto answer = connection.add(frames);
    bool is_bad = answer.state == State::malformed || answer.state == State::too_large;
    std::vector<std::uint8_t> payload(frames.begin(), frames.end());
    payload.resize(std::max<std::size_t>(payload.size(), 4));  // as it was sealed
    auto read = wire::read_quic_initial_frames(payload);
    FUZZ_CHECK(read || is_bad);
    if (!read) return false;
    for (const auto& frame : *read) spelt.note(frame);
    FUZZ_CHECK(!spelt.contradicted || is_bad);
    if (answer.state == State::complete) {
      auto hello = wire::parse_client_hello(spelt.body());
      FUZZ_CHECK(hello && hello->server_name == connection.assembler.hello(1)->server_name);
    }
    return true;
  });
}

/// With every hello approved, so that a second one is looked for.
void any_frames_approved(ConstBytes in) {
  Sealed connection;
  State last = State::need_more;
  for_each_piece(in, 1, [&](ConstBytes frames) {
    auto answer = connection.add(frames);
    // There is no way back from these.
    FUZZ_CHECK(last != State::malformed || answer.state == State::malformed);
    FUZZ_CHECK(last != State::too_large || answer.state == State::too_large);
    last = answer.state;
    connection.assembler.approve(1);
    FUZZ_CHECK(!connection.assembler.hello(1));
    return true;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  any_datagrams(in);
  any_frames(in);
  any_frames_approved(in);
  return 0;
}
