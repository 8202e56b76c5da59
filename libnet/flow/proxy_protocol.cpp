#include "flow/proxy_protocol.h"

#include "base/bytes.h"

namespace sluice::flow {

std::vector<std::uint8_t> make_proxy_header(const Endpoint& client, const Endpoint& server) {
  constexpr std::uint8_t kSignature[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                         0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
  constexpr std::uint8_t kLocal = 0x20, kProxy = 0x21;
  constexpr std::uint8_t kTcp4 = 0x11, kTcp6 = 0x21;
  std::vector<std::uint8_t> out(std::begin(kSignature), std::end(kSignature));
  if (client.address.family() != server.address.family()) {
    out.insert(out.end(), {kLocal, 0, 0, 0});
    return out;
  }
  std::vector<std::uint8_t> addresses;
  for (const Endpoint* end : {&client, &server}) {
    auto bytes = end->address.bytes();
    addresses.insert(addresses.end(), bytes.begin(), bytes.end());
  }
  for (const Endpoint* end : {&client, &server}) {
    std::uint8_t port[2];
    store_be16(port, end->port.value());
    addresses.insert(addresses.end(), {port[0], port[1]});
  }
  out.insert(out.end(), {kProxy, client.address.is_v4() ? kTcp4 : kTcp6, 0,
                         static_cast<std::uint8_t>(addresses.size())});
  out.insert(out.end(), addresses.begin(), addresses.end());
  return out;
}

}  // namespace sluice::flow
