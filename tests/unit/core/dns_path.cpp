#include "core/dns_path.h"

#include <catch2/catch.hpp>

#include "wire/dns_message.h"
#include "wire/dns_writer.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace sluice::test {

namespace {

std::string_view text_of(const std::vector<std::uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::uint8_t> answer_to(std::string_view query) {
  auto message =
      wire::DnsMessage::parse({reinterpret_cast<const std::uint8_t*>(query.data()), query.size()});
  REQUIRE(message);
  auto header = message->header();
  header.response = true;
  wire::DnsWriter writer(header, wire::kDnsMaxMessageBytes);
  const auto& question = message->questions()[0];
  writer.question(question);
  writer.record(wire::DnsSection::answer, question.name, wire::DnsType::a, 300,
                std::vector<std::uint8_t>{93, 184, 215, 14});
  return std::move(writer).finish();
}

}  // namespace

DnsPath::DnsPath(EngineWorld& world) : world_(world) {
  world_.net.on_datagram_socket = [](DatagramPeer& socket) {
    socket.on_send = [&socket](const SentDatagram& sent) {
      socket.feed(sent.to, text_of(answer_to(sent.data)));
    };
  };
}

std::vector<std::uint8_t> DnsPath::query(std::string_view name, std::uint16_t id) const {
  wire::DnsHeader header;
  header.id = id;
  header.recursion_desired = true;
  wire::DnsWriter writer(header, wire::kDnsMinUdpBytes);
  writer.question({wire::DnsName(domain(name)), wire::DnsType::a});
  auto message = std::move(writer).finish();
  return world_.udp_frame({world_.guest, Port(40000)}, {world_.engine->config().gateway4, Port(53)},
                          text_of(message));
}

std::vector<std::uint8_t> DnsPath::cached_query(std::string_view name) {
  auto frame = query(name);
  world_.nic->give(frame);
  world_.settle();
  REQUIRE(answered().size() == 1);
  return frame;
}

std::vector<std::uint16_t> DnsPath::answered() {
  std::vector<std::uint16_t> ids;
  for (const auto& bytes : world_.packets()) {
    auto packet = wire::Packet::parse(bytes);
    auto datagram = wire::UdpView::parse(packet->payload());
    REQUIRE(datagram);
    CHECK(datagram->checksum_ok(packet->source(), packet->destination()));
    auto message = wire::DnsMessage::parse(datagram->payload());
    REQUIRE(message);
    if (!message->records().empty()) ids.push_back(message->header().id);
  }
  return ids;
}

}  // namespace sluice::test
