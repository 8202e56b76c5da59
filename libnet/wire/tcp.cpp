#include "wire/tcp.h"

#include <algorithm>

namespace sluice::wire {

namespace {

constexpr std::uint8_t kEndOfList = 0;
constexpr std::uint8_t kNoOperation = 1;
constexpr std::uint8_t kMss = 2;
constexpr std::uint8_t kWindowScale = 3;
constexpr std::uint8_t kSackPermitted = 4;
constexpr std::uint8_t kSack = 5;
constexpr std::uint8_t kTimestamps = 8;

bool length_fits_kind(std::uint8_t kind, std::uint8_t length) {
  switch (kind) {
    case kMss:
      return length == 4;
    case kWindowScale:
      return length == 3;
    case kSackPermitted:
      return length == 2;
    case kSack:
      return length >= 10 && (length - 2) % 8 == 0;  // RFC 2018 section 3
    case kTimestamps:
      return length == 10;
    default:
      return length >= 2;
  }
}

}  // namespace

bool TcpView::options_valid(ConstBytes options) {
  while (!options.empty()) {
    if (options[0] == kEndOfList) return true;
    std::size_t size = 1;
    if (options[0] != kNoOperation) {
      if (options.size() < 2 || !length_fits_kind(options[0], options[1])) return false;
      size = options[1];
      if (size > options.size()) return false;
    }
    options = options.subspan(size);
  }
  return true;
}

std::optional<TcpView> TcpView::parse(ConstBytes segment) {
  if (segment.size() < kTcpHeaderSize) return std::nullopt;
  std::size_t header = std::size_t{4} * (segment[12] >> 4);
  if (header < kTcpHeaderSize || header > segment.size()) return std::nullopt;
  TcpView view(segment);
  if (!options_valid(view.options())) return std::nullopt;
  return view;
}

std::uint32_t TcpView::sequence_length() const {
  return static_cast<std::uint32_t>(payload().size()) + (flags().syn() ? 1 : 0) +
         (flags().fin() ? 1 : 0);
}

ConstBytes TcpView::find_option(std::uint8_t kind) const {
  ConstBytes options = this->options();
  while (!options.empty() && options[0] != kEndOfList) {
    if (options[0] == kind) return options.first(options[1]);
    options = options.subspan(options[0] == kNoOperation ? 1 : options[1]);
  }
  return {};
}

std::optional<std::uint16_t> TcpView::mss() const {
  ConstBytes option = find_option(kMss);
  if (option.empty()) return std::nullopt;
  return load_be16(option.data() + 2);
}

std::optional<std::uint8_t> TcpView::window_scale() const {
  ConstBytes option = find_option(kWindowScale);
  if (option.empty()) return std::nullopt;
  return std::min(option[2], kMaxWindowScale);
}

bool TcpView::sack_permitted() const {
  return !find_option(kSackPermitted).empty();
}

bool TcpView::has_timestamps() const {
  return !find_option(kTimestamps).empty();
}

bool TcpView::checksum_ok(const IpAddress& source, const IpAddress& destination) const {
  Checksum sum = pseudo_header(source, destination, IpProtocol::tcp, segment_.size());
  sum.add(segment_);
  return sum.is_valid();
}

std::size_t TcpHeader::size() const {
  return kTcpHeaderSize + (mss ? 4 : 0) + (window_scale ? 4 : 0) + (sack_permitted ? 4 : 0);
}

std::size_t TcpHeader::emit(Bytes out, const Checksum& rest) const {
  if (out.size() < size()) return 0;
  std::uint8_t* p = out.data();
  store_be16(p, source_port.value());
  store_be16(p + 2, destination_port.value());
  store_be32(p + 4, sequence);
  store_be32(p + 8, acknowledgment);
  p[12] = static_cast<std::uint8_t>(size() / 4 << 4);
  p[13] = flags.bits;
  store_be16(p + 14, window);
  store_be32(p + 16, 0);
  std::uint8_t* option = p + kTcpHeaderSize;
  auto put = [&option](std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    *option++ = a;
    *option++ = b;
    *option++ = c;
    *option++ = d;
  };
  if (mss) {
    put(kMss, 4, static_cast<std::uint8_t>(*mss >> 8), static_cast<std::uint8_t>(*mss));
  }
  if (sack_permitted) put(kNoOperation, kNoOperation, kSackPermitted, 2);
  if (window_scale) put(kNoOperation, kWindowScale, 3, *window_scale);
  Checksum sum;
  sum.add(out.first(size()));
  sum.merge(rest);
  store_be16(p + 16, sum.value());
  return size();
}

std::optional<TcpHeader> reset_for(const TcpView& segment) {
  if (segment.flags().rst()) return std::nullopt;
  TcpHeader reset;
  reset.source_port = segment.destination_port();
  reset.destination_port = segment.source_port();
  if (segment.flags().ack()) {
    reset.sequence = segment.acknowledgment();
    reset.flags = {TcpFlags::kRst};
  } else {
    reset.acknowledgment = segment.sequence() + segment.sequence_length();
    reset.flags = {TcpFlags::kRst | TcpFlags::kAck};
  }
  return reset;
}

}  // namespace sluice::wire
