// DHCPv6: every accessor of a message, and the server's reply, which must stay small and readable.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "gateway/dhcpv6_server.h"
#include "wire/dhcpv6.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  auto message = wire::Dhcpv6View::parse({data, size});
  if (!message) return 0;
  message->dns_servers();
  message->domain_list();
  message->status();
  message->asks_for(wire::Dhcpv6OptionCode::dns_servers);

  gateway::Config config;
  gateway::Counters counters;
  gateway::LeaseTable leases(
      {.subnet = config.prefix6, .first = config.first_guest6, .reserved = {config.gateway6}});
  gateway::Dhcpv6Server server(config, leases, counters);
  MacAddress sender({2, 0, 0, 0, 0, 1});
  TimePoint now{std::chrono::hours(1)};
  for (int round = 0; round < 2; ++round) {
    auto reply = server.answer({data, size}, sender, now);
    if (!reply) continue;
    FUZZ_CHECK(reply->size() <= wire::Dhcpv6Builder::kMaxMessage);
    auto answer = wire::Dhcpv6View::parse(*reply);
    FUZZ_CHECK(answer.has_value());
    FUZZ_CHECK(answer->transaction() == message->transaction());
    FUZZ_CHECK(std::ranges::equal(answer->client_id(), message->client_id()));
    FUZZ_CHECK(leases.leases().size() <= 1);
  }
  return 0;
}
