// The reader of rtnetlink messages: nothing beyond the bytes, and nothing that no kernel would say.

#include <cstddef>
#include <cstdint>
#include <variant>

#include "agent/net/netlink_message.h"
#include "check.h"

namespace {

using namespace sluice;
using namespace sluice::agent;

void check_change(const NetworkChange& change) {
  if (const auto* link = std::get_if<LinkChange>(&change)) {
    FUZZ_CHECK(link->link.index > 0 && !link->link.name.empty());
  } else if (const auto* own = std::get_if<AddressChange>(&change)) {
    FUZZ_CHECK(own->address.prefix_length <= own->address.address.bits());
  } else if (const auto* way = std::get_if<RouteChange>(&change)) {
    FUZZ_CHECK(!way->route.gateway ||
               way->route.gateway->family() == way->route.destination.family());
  } else if (const auto* dns = std::get_if<RouterDns>(&change)) {
    FUZZ_CHECK(dns->servers.size() <= 16 && dns->search.size() <= 16);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  NetlinkReader reader({data, size});
  std::size_t messages = 0;
  while (auto message = reader.next()) {
    FUZZ_CHECK(++messages <= size / 16);
    parse_error(*message);
    if (auto change = parse_change(*message)) check_change(*change);
  }
  // As the body of each kind of message, whatever the header would have said.
  for (std::uint16_t type : {2, 3, 16, 17, 20, 21, 24, 25, 68}) {
    for (std::uint16_t flags : {0x000, 0x200, 0x300}) {
      NetlinkMessage message{type, flags, 1, {data, size}};
      parse_error(message);
      if (auto change = parse_change(message)) check_change(*change);
    }
  }
  return 0;
}
