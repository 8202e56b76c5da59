// The guest's resolver: any bytes from a client, over UDP and TCP, and any bytes from the server
// outside. Whatever they are, each query has one reply at most, with its id and within its client's
// room; what can be read as a question for a name of the suffix never goes out.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "agent/dns/guest_dns.h"
#include "check.h"
#include "dns/query.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"

namespace {

using namespace sluice;
using namespace sluice::agent;

const Endpoint kClient{IpAddress::v4(127, 0, 0, 1), Port(4000)};
const Endpoint kServer{IpAddress::v4(10, 0, 2, 1), Port(53)};

std::string text_of(ConstBytes bytes) {
  return {bytes.begin(), bytes.end()};
}

ConstBytes bytes_of_text(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void check_reply(ConstBytes query, ConstBytes reply, bool from_outside) {
  FUZZ_CHECK(query.size() >= wire::kDnsHeaderBytes && reply.size() >= wire::kDnsHeaderBytes);
  FUZZ_CHECK(load_be16(query.data()) == load_be16(reply.data()));
  auto header = wire::DnsMessage::parse_header(reply);
  FUZZ_CHECK(header && header->response);
  if (!from_outside) FUZZ_CHECK(wire::DnsMessage::parse(reply));
  auto checked = dns::check_query(query, dns::Transport::udp, wire::kDnsMaxMessageBytes);
  std::size_t room = checked.query ? checked.query->reply_limit_bytes : wire::kDnsMinUdpBytes;
  FUZZ_CHECK(reply.size() <= room);
}

void check_leaves(const std::string& sent) {
  auto question = readable_question(bytes_of_text(sent));
  static const wire::DnsName suffix(*DomainName::parse("guest.internal"));
  FUZZ_CHECK(!question || !question->name.is_in(suffix));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  // The first byte parts the client's message from the server's.
  std::size_t own = std::min<std::size_t>(size - 1, data[0] * 4u);
  ConstBytes query(data + 1, own);
  ConstBytes answer(data + 1 + own, size - 1 - own);

  test::VirtualLoop loop;
  test::ScriptedNet net(loop);
  GuestDns dns(loop, net, *DomainName::parse("guest.internal"), {}, [] { return 7; });
  dns.listen({{IpAddress::v4(127, 0, 0, 1), Port(53)}});
  dns.forwarder().set_servers({kServer});
  [[maybe_unused]] Status added = dns.registry().add({.owner = "c",
                                                      .names = {*DomainName::parse("db")},
                                                      .addresses = {IpAddress::v4(10, 1, 0, 2)}});
  loop.run_ready();

  auto listener = net.datagrams[0];
  listener->feed(kClient, text_of(query));
  loop.run_ready();
  FUZZ_CHECK(listener->sent.size() <= 1);
  bool at_once = !listener->sent.empty();
  if (at_once) check_reply(query, bytes_of_text(listener->sent[0].data), false);
  if (net.datagrams.size() > 1) {
    auto outside = net.datagrams[1];
    FUZZ_CHECK(!at_once && outside->sent.size() == 1);
    check_leaves(outside->sent[0].data);
    // With the right id half of the time, else nothing would come of it.
    std::string said = text_of(answer);
    if (said.size() >= 4 && (said[0] & 1) != 0) {
      said[0] = 0;
      said[1] = 7;
      said[2] = static_cast<char>(said[2] | 0x80);
    }
    outside->feed(kServer, said);
    loop.run_ready();
    loop.advance(std::chrono::seconds(3));
    if (net.dials.empty() || net.dials[0]->closed()) {
      FUZZ_CHECK(listener->sent.size() == 1);
      check_reply(query, bytes_of_text(listener->sent[0].data), true);
    }
  }

  auto stream = net.listeners[0]->connect(kClient);
  stream->feed(text_of({data, size}));
  stream->feed_end();
  loop.run_ready();
  loop.advance(std::chrono::seconds(30));
  FUZZ_CHECK(stream->closed());
  FUZZ_CHECK(dns.forwarder().waiting() == 0 && dns.sessions() == 0);
  return 0;
}
