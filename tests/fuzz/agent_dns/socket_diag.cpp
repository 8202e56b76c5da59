// What sock_diag says: nothing beyond the bytes, and no port that is none.

#include <cstddef>
#include <cstdint>

#include "agent/ports/socket_diag.h"
#include "check.h"

namespace {

using namespace sluice;
using namespace sluice::agent;

void check(const NetlinkMessage& message) {
  for (Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    auto port = parse_open_port(message, protocol);
    FUZZ_CHECK(!port || (port->at.port.value() != 0 && port->protocol == protocol));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  NetlinkReader reader({data, size});
  while (auto message = reader.next()) check(*message);
  check({20, 0, 1, {data, size}});
  return 0;
}
