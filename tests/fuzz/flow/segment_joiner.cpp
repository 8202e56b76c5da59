// Frames of one flow of which any byte may be changed: one joins only if the ordinary way takes it
// as the next segment of that flow too, and what is joined are its bytes.

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "check.h"
#include "flow/segment_joiner.h"
#include "support/tcp_frames.h"
#include "wire/ethernet.h"
#include "wire/ip.h"
#include "wire/tcp.h"

using namespace sluice;

namespace {

struct Read {
  std::vector<std::uint8_t> link;
  wire::Packet packet;
  wire::TcpView segment;
};

/// A frame as the dispatcher reads it; nothing where it refuses it.
std::optional<Read> read(ConstBytes frame, bool trusted) {
  auto ethernet = wire::EthernetView::parse(frame);
  if (!ethernet) return std::nullopt;
  auto packet = wire::Packet::parse(frame.subspan(wire::kEthernetHeaderSize));
  if (!packet || packet->is_fragment() || !packet->header_checksum_ok()) return std::nullopt;
  if (packet->protocol() != wire::IpProtocol::tcp) return std::nullopt;
  auto segment = wire::TcpView::parse(packet->payload());
  if (!segment || !segment->flags().are_sane()) return std::nullopt;
  if (!trusted && !segment->checksum_ok(packet->source(), packet->destination())) {
    return std::nullopt;
  }
  return Read{{frame.begin(), frame.begin() + wire::kEthernetHeaderSize}, *packet, *segment};
}

std::string joined(const stack::InSegment& segment) {
  std::string out;
  for (const iovec& piece : segment.payload) {
    out.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes input(data, size);
  auto take = [&input] {
    std::uint8_t out = input.empty() ? 0 : input[0];
    if (!input.empty()) input = input.subspan(1);
    return out;
  };
  std::uint8_t kind = take();
  test::TcpFrameSpec spec{.family = (kind & 1) != 0 ? Family::v6 : Family::v4,
                          .timestamps = (kind & 2) != 0,
                          .payload = "the first"};
  const bool trusted = (kind & 4) != 0;
  std::vector<std::uint8_t> first_frame = test::make_tcp_frame(spec);
  auto first = read(first_frame, true);
  FUZZ_CHECK(first);

  test::FrameSlab slab(64 << 10);
  flow::SegmentJoiner joiner;
  Bytes frame = slab.add(first_frame);
  std::size_t tcp_at = first_frame.size() - first->segment.bytes().size();
  joiner.begin({.frame = frame,
                .header = frame.subspan(tcp_at, first->segment.header_size()),
                .payload = frame.subspan(tcp_at + first->segment.header_size()),
                .buffer = slab.buffer()});
  std::string expected = spec.payload;
  spec.sequence += static_cast<std::uint32_t>(spec.payload.size());

  std::deque<std::vector<std::uint8_t>> elsewhere;
  std::deque<iovec> pieces;
  for (int frames = 0; frames < 64 && !input.empty(); ++frames) {
    spec.payload.assign(1 + take() % 200, static_cast<char>('a' + frames % 26));
    auto next = test::make_tcp_frame(spec);
    std::uint8_t changes = take();
    for (int i = 0; i < (changes & 3); ++i) next[take() % next.size()] ^= take();
    // Too short or too long for what its header says, sometimes.
    if ((changes & 4) != 0) next.resize(next.size() - std::min<std::size_t>(take(), next.size()));
    if ((changes & 8) != 0) next.resize(next.size() + take() % 32);
    // Checksums that fit what was changed.
    bool whole = next.size() >= tcp_at + wire::kTcpHeaderSize && next[14] == first_frame[14];
    if ((changes & 16) != 0 && whole) test::sign_tcp_frame(next);

    Bytes placed = slab.add(next);
    // Some of it may not be there, and lie elsewhere.
    LentBytes lent;
    if (trusted && (changes & 32) != 0) {
      elsewhere.emplace_back(next.end() - std::min<std::ptrdiff_t>(take(), std::ssize(next)),
                             next.end());
      std::vector<std::uint8_t>& end = elsewhere.back();
      std::ranges::fill(placed.last(end.size()), std::uint8_t{'?'});
      pieces.push_back({end.data(), end.size()});
      lent = {.pieces = {&pieces.back(), 1}, .size = end.size()};
    }
    if (!joiner.add_frame(placed, slab.buffer(), trusted, lent)) continue;
    auto seen = read(next, trusted);
    FUZZ_CHECK(seen && seen->link == first->link);
    FUZZ_CHECK(seen->packet.source() == first->packet.source());
    FUZZ_CHECK(seen->packet.destination() == first->packet.destination());
    FUZZ_CHECK(seen->packet.ttl() == first->packet.ttl());
    FUZZ_CHECK(seen->packet.traffic_class() == first->packet.traffic_class());
    FUZZ_CHECK(seen->segment.source_port() == first->segment.source_port());
    FUZZ_CHECK(seen->segment.destination_port() == first->segment.destination_port());
    FUZZ_CHECK(seen->segment.sequence() == 1000 + expected.size());
    FUZZ_CHECK(seen->segment.flags().ack() && !seen->segment.flags().fin());
    ConstBytes payload = seen->segment.payload();
    expected.append(payload.begin(), payload.end());
    spec.sequence = static_cast<std::uint32_t>(1000 + expected.size());
    FUZZ_CHECK(load_be32(joiner.segment().header.data() + 8) == seen->segment.acknowledgment());
  }
  FUZZ_CHECK(joined(joiner.segment()) == expected);
  return 0;
}
