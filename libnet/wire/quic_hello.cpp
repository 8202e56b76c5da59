#include "wire/quic_hello.h"

#include <algorithm>

namespace sluice::wire {

QuicHelloAssembler::Datagram QuicHelloAssembler::add(ConstBytes datagram, TimePoint now) {
  forget_quiet(now);
  Datagram result;
  Connection* connection = nullptr;
  ConstBytes destination_id;
  std::size_t initials = 0;
  bool first = true;
  auto malformed = [&](std::string_view reason) {
    reason_ = reason;
    result.state = State::malformed;
    return result;
  };

  for (ConstBytes rest = datagram; !rest.empty(); first = false) {
    QuicFront front = read_quic_front(rest);
    // After others a short header is 1-RTT data, or padding.
    if (front.kind == QuicFront::Kind::not_long) break;
    if (first) result.version = front.version;
    if (front.kind == QuicFront::Kind::other_version) {
      result.version = front.version;
      result.state = State::other_version;
      return result;
    }
    if (front.kind == QuicFront::Kind::malformed) return malformed("a header's lengths");
    const QuicLongPacket& packet = front.packet;
    rest = rest.subspan(packet.bytes.size());
    if (packet.type != QuicLongPacket::Type::initial) continue;

    if (initials == 0) destination_id = packet.destination_id;
    // RFC 9000 section 12.2 has one destination in a datagram, and servers skip others, or not.
    if (!std::ranges::equal(destination_id, packet.destination_id) || ++initials > kMaxInitials) {
      return malformed("Initials of several connections in a datagram");
    }
    if (!take_initial(packet, connection, now)) return malformed("an Initial that doesn't open");
    result.connection = connection->id;
  }
  if (connection) {
    result.state = state_of(*connection);
  } else if (!first) {
    result.state = State::no_initial;
  }
  return result;
}

const ClientHello* QuicHelloAssembler::hello(std::uint32_t connection) const {
  auto found = std::ranges::find(connections_, connection, &Connection::id);
  return found != connections_.end() && state_of(*found) == State::complete ? &found->hello
                                                                            : nullptr;
}

void QuicHelloAssembler::approve(std::uint32_t connection) {
  auto found = std::ranges::find(connections_, connection, &Connection::id);
  if (found == connections_.end() || state_of(*found) != State::complete) return;
  found->approved = true;
  found->complete = false;
  found->start = found->end;
  found->end = 0;
}

std::size_t QuicHelloAssembler::bytes() const {
  std::size_t sum = 0;
  for (const Connection& connection : connections_) {
    sum += connection.stream.capacity() + connection.present.capacity() / 8;
  }
  return sum;
}

void QuicHelloAssembler::forget_quiet(TimePoint now) {
  std::erase_if(connections_,
                [&](const Connection& connection) { return now - connection.last_seen >= kQuiet; });
}

/// `connection`: that of the datagram's Initials before this one, if there were any; it must be the
/// same.
bool QuicHelloAssembler::take_initial(const QuicLongPacket& packet, Connection*& connection,
                                      TimePoint now) {
  QuicOpened opened;
  if (connection) {
    if (!try_keys(*connection, packet, opened)) return false;
  } else {
    connection = open(packet, opened);
    if (!connection) return false;
  }
  connection->last_seen = now;
  connection->largest_number =
      std::max(opened.number, connection->largest_number.value_or(opened.number));
  if (state_of(*connection) != State::malformed && state_of(*connection) != State::too_large) {
    take_frames(*connection, opened.payload);
  }
  return true;
}

/// The connection whose keys open the packet; null where there is none.
QuicHelloAssembler::Connection* QuicHelloAssembler::open(const QuicLongPacket& packet,
                                                         QuicOpened& opened) {
  auto is_own = [&](const Connection& connection) {
    return std::ranges::equal(connection.original_id, packet.destination_id);
  };
  auto own = std::ranges::find_if(connections_, is_own);
  if (own != connections_.end()) {
    if (try_keys(*own, packet, opened)) return &*own;
  } else if (Connection* fresh = open_as_new(packet, opened)) {
    return fresh;
  }
  for (Connection& other : connections_) {
    if (!is_own(other) && try_keys(other, packet, opened)) return &other;
  }
  return nullptr;
}

QuicHelloAssembler::Connection* QuicHelloAssembler::open_as_new(const QuicLongPacket& packet,
                                                                QuicOpened& opened) {
  if (connections_.size() == kMaxConnections) return nullptr;
  Connection fresh;
  fresh.original_id.assign(packet.destination_id.begin(), packet.destination_id.end());
  if (!try_keys(fresh, packet, opened)) return nullptr;
  fresh.id = ++last_id_;
  connections_.push_back(std::move(fresh));
  return &connections_.back();
}

bool QuicHelloAssembler::try_keys(Connection& connection, const QuicLongPacket& packet,
                                  QuicOpened& opened) {
  // A server may go on in the other version, with keys from the same id (RFC 9369 section 4).
  auto& keys = packet.version == QuicVersion::v1 ? connection.keys_v1 : connection.keys_v2;
  if (!keys) keys = QuicInitialKeys::of_client(packet.version, connection.original_id);
  if (!keys) return false;
  auto result = open_quic_initial(packet, *keys, connection.largest_number);
  if (!result) return false;
  opened = *std::move(result);
  return true;
}

void QuicHelloAssembler::take_frames(Connection& connection, ConstBytes payload) {
  auto frames = read_quic_initial_frames(payload);
  if (!frames) return fail(connection, "frames that an Initial can't have");
  for (const QuicCryptoFrame& frame : *frames) {
    take_crypto(connection, frame);
    if (connection.fault != State::judged) return;
  }
  advance(connection);
}

void QuicHelloAssembler::take_crypto(Connection& connection, const QuicCryptoFrame& frame) {
  std::size_t limit =
      std::min(connection.start + kTlsHandshakeHeaderBytes + kMaxClientHelloBytes, kMaxStreamBytes);
  if (frame.offset > limit || frame.data.size() > limit - frame.offset) {
    connection.fault = State::too_large;
    return;
  }
  auto offset = static_cast<std::size_t>(frame.offset);
  std::size_t end = offset + frame.data.size();
  if (!frame.data.empty() && end > connection.stream.size()) {
    connection.stream.resize(end);
    connection.present.resize(end);
  }
  for (std::size_t i = 0; i < frame.data.size(); ++i) {
    std::uint8_t& byte = connection.stream[offset + i];
    if (connection.present[offset + i] && byte != frame.data[i]) {
      return fail(connection, "CRYPTO frames that contradict each other");
    }
    byte = frame.data[i];
    connection.present[offset + i] = true;
  }
}

void QuicHelloAssembler::advance(Connection& connection) {
  const auto& stream = connection.stream;
  std::size_t& contiguous = connection.contiguous;
  while (contiguous < stream.size() && connection.present[contiguous]) ++contiguous;
  if (connection.end == 0) {
    if (contiguous < connection.start + kTlsHandshakeHeaderBytes) return;
    const std::uint8_t* header = &stream[connection.start];
    std::size_t body = static_cast<std::size_t>(header[1]) << 16 | load_be16(header + 2);
    if (header[0] != kTlsClientHello) return fail(connection, "the handshake is not a hello");
    if (body > kMaxClientHelloBytes) {
      connection.fault = State::too_large;
      return;
    }
    connection.end = connection.start + kTlsHandshakeHeaderBytes + body;
  }
  // The client has nothing to say after its hello before the server answers.
  if (stream.size() > connection.end) return fail(connection, "more than the hello");
  if (connection.complete || contiguous < connection.end) return;
  auto hello = parse_client_hello(ConstBytes(stream)
                                      .first(connection.end)
                                      .subspan(connection.start + kTlsHandshakeHeaderBytes));
  if (!hello) return fail(connection, "a hello that can't be read");
  connection.hello = std::move(hello).value();
  connection.complete = true;
}

QuicHelloAssembler::State QuicHelloAssembler::state_of(const Connection& connection) {
  if (connection.fault != State::judged) return connection.fault;
  if (connection.complete) return State::complete;
  bool under_way = connection.stream.size() > connection.start;
  return connection.approved && !under_way ? State::judged : State::need_more;
}

void QuicHelloAssembler::fail(Connection& connection, std::string_view reason) {
  connection.fault = State::malformed;
  reason_ = reason;
}

}  // namespace sluice::wire
