#include "dns_world.h"

#include <catch2/catch.hpp>

#include "wire/dns_rdata.h"

namespace sluice::test {

using dns::Transport;
using wire::DnsMessage;
using wire::DnsName;
using wire::DnsRcode;
using wire::DnsSection;
using wire::DnsType;

namespace {

ConstBytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string data_text(const DnsMessage& message, const wire::DnsRecordView& record) {
  if (auto address = wire::rdata_address(record.type, record.rdata)) return address->to_string();
  if (record.type == DnsType::cname || record.type == DnsType::ptr) {
    auto name = DnsName::read(message.bytes(), record.rdata_offset);
    REQUIRE(name);
    return name->name.to_string();
  }
  return fmt::format("({} bytes)", record.rdata.size());
}

/// The code of the first option of an OPT record, if it is an extended error.
std::optional<int> extended_error(ConstBytes rdata) {
  if (rdata.size() < 6 || load_be16(&rdata[0]) != 15) return std::nullopt;
  return load_be16(&rdata[4]);
}

/// A deterministic stand-in for the kernel's generator.
std::uint64_t next_number(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state ^ state >> 29;
}

}  // namespace

Message make_query(std::string_view name, DnsType type, const AskOptions& options) {
  wire::DnsHeader header;
  header.id = options.id;
  header.recursion_desired = true;
  wire::DnsWriter writer(header, 512);
  writer.question({wire_name(name), type, wire::DnsClass::internet});
  if (options.edns_bytes) writer.edns({.udp_bytes = *options.edns_bytes}, std::nullopt);
  auto message = std::move(writer).finish();
  // The labels' lengths stand where the dots are.
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '.') continue;
    message[wire::kDnsHeaderBytes + 1 + i] = static_cast<std::uint8_t>(name[i]);
  }
  return message;
}

Seen look_at(const Message& reply) {
  auto message = DnsMessage::parse(reply);
  REQUIRE(message);
  CHECK(message->trailing_bytes() == 0);
  Seen seen;
  seen.rcode = message->rcode();
  seen.header = message->header();
  seen.bytes = reply.size();
  if (!message->questions().empty()) seen.question = message->questions()[0].name.to_string();
  for (const auto& record : message->records()) {
    if (record.type == DnsType::opt) {
      seen.has_edns = true;
      seen.extended_error = extended_error(record.rdata);
    } else if (record.section == DnsSection::answer) {
      seen.answers.push_back(fmt::format("{} {} {}", record.owner.to_string(),
                                         static_cast<int>(record.type),
                                         data_text(*message, record)));
      seen.ttls.push_back(record.ttl_seconds);
    } else {
      CHECK(record.type == DnsType::soa);
      seen.soa_owner = record.owner.to_string();
      seen.soa_ttl = record.ttl_seconds;
    }
  }
  return seen;
}

ReplyBuilder::ReplyBuilder(const DnsMessage& query)
    : header_(query.header()), question_(query.questions()[0]) {
  header_.response = true;
  header_.recursion_available = true;
}

ReplyBuilder& ReplyBuilder::id(std::uint16_t id) {
  header_.id = id;
  return *this;
}

ReplyBuilder& ReplyBuilder::rcode(DnsRcode rcode) {
  header_.rcode = static_cast<std::uint8_t>(rcode);
  return *this;
}

ReplyBuilder& ReplyBuilder::truncated() {
  header_.truncated = true;
  return *this;
}

ReplyBuilder& ReplyBuilder::authentic() {
  header_.authentic_data = true;
  return *this;
}

ReplyBuilder& ReplyBuilder::question(wire::DnsQuestion question) {
  question_ = std::move(question);
  return *this;
}

ReplyBuilder& ReplyBuilder::address(std::string_view owner, std::string_view text,
                                    std::uint32_t ttl) {
  auto address = *IpAddress::parse(text);
  items_.push_back({DnsSection::answer,
                    wire_name(owner),
                    address.is_v4() ? DnsType::a : DnsType::aaaa,
                    ttl,
                    {address.bytes().begin(), address.bytes().end()}});
  return *this;
}

ReplyBuilder& ReplyBuilder::alias(std::string_view owner, std::string_view target,
                                  std::uint32_t ttl) {
  auto name = wire_name(target);
  items_.push_back({DnsSection::answer,
                    wire_name(owner),
                    DnsType::cname,
                    ttl,
                    {name.wire().begin(), name.wire().end()}});
  return *this;
}

ReplyBuilder& ReplyBuilder::text(std::string_view owner, std::string_view text, std::uint32_t ttl) {
  Message rdata{static_cast<std::uint8_t>(text.size())};
  rdata.insert(rdata.end(), text.begin(), text.end());
  items_.push_back({DnsSection::answer, wire_name(owner), DnsType::txt, ttl, rdata});
  return *this;
}

ReplyBuilder& ReplyBuilder::soa(std::string_view owner, std::uint32_t ttl, std::uint32_t minimum) {
  auto record = dns::make_soa(wire_name(owner), wire_name("ns.example"), minimum);
  items_.push_back({DnsSection::authority, record.owner, record.type, ttl, record.rdata});
  return *this;
}

Message ReplyBuilder::build() const {
  wire::DnsWriter writer(header_, wire::kDnsMaxMessageBytes);
  writer.question(question_);
  for (const auto& item : items_) {
    REQUIRE(writer.record(item.section, item.owner, item.type, item.ttl, item.rdata));
  }
  return std::move(writer).finish();
}

DnsWorld::DnsWorld(dns::Options options, dns::Hooks hooks) {
  options.random = [state = std::uint64_t{1}]() mutable { return next_number(state); };
  net.on_datagram_socket = [this](DatagramPeer& peer) {
    peer.on_send = [this, &peer](const SentDatagram& datagram) {
      auto reply = resolve(datagram.to, datagram.data, Transport::udp);
      if (reply) peer.feed(datagram.to, to_text(*reply));
    };
  };
  net.on_dial = [this](StreamPeer& peer) {
    peer.connect();
    peer.on_send = [this](StreamPeer& stream) {
      auto request = bytes_of(stream.sent());
      if (request.size() < 2 || request.size() - 2 < load_be16(&request[0])) return;
      auto reply =
          resolve(*stream.remote, std::string_view(stream.sent()).substr(2), Transport::tcp);
      if (!reply) return;
      std::string prefix{static_cast<char>(reply->size() >> 8),
                         static_cast<char>(reply->size() & 0xff)};
      stream.feed(prefix + to_text(*reply));
    };
  };
  service = std::make_unique<dns::Service>(loop, net, std::move(options), std::move(hooks));
}

void DnsWorld::add_upstream(std::string_view at, Resolver resolver) {
  add_resolver(at, std::move(resolver));
  upstreams_.push_back(endpoint(at));
  service->set_upstreams(upstreams_);
}

void DnsWorld::add_resolver(std::string_view at, Resolver resolver) {
  resolvers_[endpoint(at)] = std::move(resolver);
}

std::optional<Message> DnsWorld::resolve(const Endpoint& at, std::string_view bytes,
                                         Transport transport) {
  auto query = DnsMessage::parse(bytes_of(bytes));
  REQUIRE(query);
  REQUIRE(query->questions().size() == 1);
  asked.push_back(query->questions()[0].name.lowered().to_string());
  auto found = resolvers_.find(at);
  return found == resolvers_.end() ? std::nullopt : found->second(*query, transport);
}

dns::Client DnsWorld::client(const AskOptions& options) const {
  return {options.guest, endpoint(options.source), endpoint("10.0.0.1:53")};
}

std::optional<Message> DnsWorld::ask_raw(const Message& query, const AskOptions& options) {
  auto reply = std::make_shared<std::optional<Message>>();
  service->query(query, options.transport, client(options),
                 [reply](Message message) { *reply = std::move(message); });
  loop.run_ready();
  return *reply;
}

Seen DnsWorld::ask(std::string_view name, DnsType type, const AskOptions& options,
                   Duration patience) {
  auto reply = std::make_shared<std::optional<Message>>();
  service->query(make_query(name, type, options), options.transport, client(options),
                 [reply](Message message) { *reply = std::move(message); });
  loop.run_ready();
  loop.advance(patience);
  REQUIRE(reply->has_value());
  return look_at(**reply);
}

void DnsWorld::send(std::string_view name, DnsType type, const AskOptions& options) {
  service->query(make_query(name, type, options), options.transport, client(options),
                 [this](Message message) { replies.push_back(std::move(message)); });
  loop.run_ready();
}

DnsWorld::Resolver resolver_with(std::string_view v4, std::string_view v6) {
  return [v4 = std::string(v4), v6 = std::string(v6)](const DnsMessage& query, Transport) {
    const auto& question = query.questions()[0];
    auto name = question.name.lowered().to_string();
    ReplyBuilder reply(query);
    if (question.type == DnsType::a) reply.address(name, v4);
    if (question.type == DnsType::aaaa) reply.address(name, v6);
    return std::optional(reply.build());
  };
}

DnsWorld::Resolver silent_resolver() {
  return [](const DnsMessage&, Transport) { return std::nullopt; };
}

DnsWorld::Resolver failing_resolver(DnsRcode rcode) {
  return [rcode](const DnsMessage& query, Transport) {
    return std::optional(ReplyBuilder(query).rcode(rcode).build());
  };
}

}  // namespace sluice::test
