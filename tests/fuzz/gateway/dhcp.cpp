// DHCPv4: every accessor of a message, and the server's reply, which must stay small and readable.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "gateway/dhcp_server.h"
#include "wire/dhcp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  auto message = wire::DhcpView::parse({data, size});
  if (!message) return 0;
  for (int code = 0; code < 256; ++code) {
    auto option = static_cast<wire::DhcpOption>(code);
    message->option(option);
    message->addresses(option);
    message->text(option);
  }
  message->search_list();
  message->routes();

  gateway::Config config;
  config.domain = *DomainName::parse("vm.internal");
  gateway::Counters counters;
  gateway::LeaseTable leases({.subnet = config.subnet4,
                              .first = config.first_guest4,
                              .reserved = {config.gateway4, config.host_alias4}});
  gateway::DhcpServer server(config, leases, counters);
  TimePoint now{std::chrono::hours(1)};
  for (int round = 0; round < 2; ++round) {
    auto reply = server.answer({data, size}, message->client_mac(), now);
    if (!reply) continue;
    FUZZ_CHECK(reply->payload.size() <= wire::kDhcpMaxReply);
    auto answer = wire::DhcpView::parse(reply->payload);
    FUZZ_CHECK(answer.has_value());
    FUZZ_CHECK(!answer->is_request());
    FUZZ_CHECK(answer->transaction() == message->transaction());
    FUZZ_CHECK(answer->your_address().is_unspecified() ||
               config.subnet4.contains(answer->your_address()));
    FUZZ_CHECK(answer->your_address() != config.gateway4);
  }
  return 0;
}
