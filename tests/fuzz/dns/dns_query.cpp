// Any bytes from a client. The first byte chooses transport and answer.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "dns/local_zone.h"
#include "dns/query.h"

namespace {

using namespace sluice;
using namespace sluice::dns;

constexpr std::size_t kMaxUdpBytes = 1232;

Answer many_records(const wire::DnsName& name, int count) {
  Answer answer;
  for (int i = 0; i < count; ++i) {
    answer.records.push_back({name, wire::DnsType::a, 60, {192, 0, 2, 1}});
  }
  return answer;
}

void check_reply(const std::vector<std::uint8_t>& reply, ConstBytes query) {
  auto message = wire::DnsMessage::parse(reply);
  FUZZ_CHECK(message && message->trailing_bytes() == 0);
  FUZZ_CHECK(message->header().response);
  FUZZ_CHECK(reply[0] == query[0] && reply[1] == query[1]);
  FUZZ_CHECK(message->edns_state() != wire::DnsMessage::EdnsState::malformed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  auto transport = data[0] & 1 ? Transport::tcp : Transport::udp;
  ConstBytes bytes(data + 1, size - 1);
  auto checked = check_query(bytes, transport, kMaxUdpBytes);
  if (!checked.query) {
    if (!checked.error_reply.empty()) check_reply(checked.error_reply, bytes);
    return 0;
  }
  const auto& query = *checked.query;
  auto answer = many_records(query.question.name, data[0]);
  if (auto name = query.question.name.domain()) {
    LocalZone zone(*DomainName::parse("vm.internal"));
    zone.set_addresses(*DomainName::parse("a.vm.internal"), {IpAddress::v4(10, 0, 0, 1)});
    zone.own_reverse(*IpPrefix::parse("10.0.0.0/8"));
    if (auto local = zone.find(*name, query.question.type)) answer = *local;
  }
  auto reply = build_reply(query, answer, std::chrono::seconds(data[0]),
                           ExtendedError{wire::DnsExtendedError::blocked, "denied by policy"});
  check_reply(reply.message, bytes);
  FUZZ_CHECK(reply.message.size() <= query.reply_limit_bytes);
  FUZZ_CHECK(transport == Transport::tcp || reply.message.size() <= kMaxUdpBytes);
  return 0;
}
