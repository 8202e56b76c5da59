#include "wire/ipv4.h"

#include "wire/checksum.h"

namespace sluice::wire {

namespace {

constexpr std::uint8_t kEndOfOptions = 0;
constexpr std::uint8_t kNoOperation = 1;
constexpr std::uint8_t kLooseSourceRoute = 131;
constexpr std::uint8_t kStrictSourceRoute = 137;

bool options_acceptable(ConstBytes options) {
  while (!options.empty()) {
    std::uint8_t kind = options[0];
    if (kind == kEndOfOptions) return true;
    if (kind == kNoOperation) {
      options = options.subspan(1);
      continue;
    }
    if (kind == kLooseSourceRoute || kind == kStrictSourceRoute) return false;
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return false;
    options = options.subspan(options[1]);
  }
  return true;
}

}  // namespace

std::optional<Ipv4View> Ipv4View::parse(ConstBytes packet) {
  if (packet.size() < kIpv4HeaderSize || packet[0] >> 4 != 4) return std::nullopt;
  std::size_t header = std::size_t{4} * (packet[0] & 0x0f);
  std::size_t total = load_be16(packet.data() + 2);
  if (header < kIpv4HeaderSize || header > total || total > packet.size()) return std::nullopt;
  Ipv4View view(packet.first(total));
  if (!options_acceptable(view.options())) return std::nullopt;
  return view;
}

bool Ipv4View::checksum_ok() const {
  Checksum checksum;
  checksum.add(header());
  return checksum.is_valid();
}

}  // namespace sluice::wire
