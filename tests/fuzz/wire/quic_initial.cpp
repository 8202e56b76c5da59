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

/// Datagrams as they are, a length of two bytes before each.
void any_datagrams(ConstBytes in) {
  QuicHelloAssembler assembler;
  TimePoint now{};
  while (in.size() > 2) {
    std::size_t size = std::min<std::size_t>(load_be16(in.data()), in.size() - 2);
    check_answer(assembler, assembler.add(in.subspan(2, size), now));
    in = in.subspan(2 + size);
    now += std::chrono::seconds(1);
  }
}

/// Frames of one connection, a length of one byte before each Initial's. The CRYPTO bytes are also
/// kept in a plain buffer.
void any_frames(ConstBytes in) {
  QuicHelloAssembler assembler;
  std::vector<std::optional<std::uint8_t>> stream(70000);
  bool contradicted = false;
  testing::InitialPacket packet;
  for (; in.size() > 1; ++packet.number) {
    std::size_t size = std::min<std::size_t>(in[0], in.size() - 1);
    packet.payload.assign(in.begin() + 1, in.begin() + 1 + static_cast<std::ptrdiff_t>(size));
    in = in.subspan(1 + size);
    auto answer = assembler.add(testing::seal(packet), TimePoint{});
    check_answer(assembler, answer);
    FUZZ_CHECK(answer.connection == 1);
    packet.payload.resize(std::max<std::size_t>(packet.payload.size(), 4));
    auto frames = wire::read_quic_initial_frames(packet.payload);
    if (!frames) {
      FUZZ_CHECK(answer.state == State::malformed || answer.state == State::too_large);
      return;
    }
    for (const auto& frame : *frames) {
      if (frame.offset > 60000) continue;
      for (std::size_t i = 0; i < frame.data.size(); ++i) {
        auto& byte = stream[frame.offset + i];
        contradicted |= byte && *byte != frame.data[i];
        byte = frame.data[i];
      }
    }
    FUZZ_CHECK(!contradicted || answer.state == State::malformed ||
               answer.state == State::too_large);
    if (answer.state != State::complete) continue;
    std::vector<std::uint8_t> body;
    std::size_t length = std::size_t{*stream[2]} << 8 | *stream[3];
    for (std::size_t i = 4; i < 4 + length; ++i) body.push_back(stream[i].value());
    auto hello = wire::parse_client_hello(body);
    FUZZ_CHECK(hello && hello->server_name == assembler.hello(1)->server_name);
  }
}

/// The same with every hello approved, so that a second one is looked for.
void any_frames_approved(ConstBytes in) {
  QuicHelloAssembler assembler;
  testing::InitialPacket packet;
  State last = State::need_more;
  for (; in.size() > 1; ++packet.number) {
    std::size_t size = std::min<std::size_t>(in[0], in.size() - 1);
    packet.payload.assign(in.begin() + 1, in.begin() + 1 + static_cast<std::ptrdiff_t>(size));
    in = in.subspan(1 + size);
    auto answer = assembler.add(testing::seal(packet), TimePoint{});
    check_answer(assembler, answer);
    FUZZ_CHECK(answer.connection == 1);
    // There is no way back from these.
    FUZZ_CHECK(last != State::malformed || answer.state == State::malformed);
    FUZZ_CHECK(last != State::too_large || answer.state == State::too_large);
    last = answer.state;
    assembler.approve(1);
    FUZZ_CHECK(!assembler.hello(1));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  any_datagrams(in);
  any_frames(in);
  any_frames_approved(in);
  return 0;
}
