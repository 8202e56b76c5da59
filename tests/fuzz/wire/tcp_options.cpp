// Any bytes as TCP options: what options_valid() accepts, a reader as careless as lwIP's stays
// inside.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "check.h"
#include "wire/tcp.h"

using namespace sluice;

namespace {

/// Trusts every length, as a parser does that was promised valid options.
std::size_t careless_walk(ConstBytes options) {
  std::size_t at = 0;
  while (at < options.size()) {
    std::uint8_t kind = options[at];
    if (kind == 0) break;
    if (kind == 1) {
      ++at;
      continue;
    }
    FUZZ_CHECK(at + 1 < options.size());
    std::size_t length = options[at + 1];
    FUZZ_CHECK(length >= 2);
    FUZZ_CHECK(kind != 2 || length == 4);
    FUZZ_CHECK(kind != 3 || length == 3);
    FUZZ_CHECK(kind != 8 || length == 10);
    at += length;
    FUZZ_CHECK(at <= options.size());
  }
  return at;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes options(data, size);
  if (wire::TcpView::options_valid(options)) careless_walk(options);

  // The same bytes inside a segment, cut to the 40 that fit.
  options = options.first(std::min<std::size_t>(size / 4 * 4, 40));
  std::vector<std::uint8_t> segment(wire::kTcpHeaderSize + options.size());
  segment[12] = static_cast<std::uint8_t>(segment.size() / 4 << 4);
  std::ranges::copy(options, segment.begin() + wire::kTcpHeaderSize);
  auto view = wire::TcpView::parse(segment);
  FUZZ_CHECK(view.has_value() == wire::TcpView::options_valid(options));
  if (view) {
    FUZZ_CHECK(view->window_scale().value_or(0) <= wire::kMaxWindowScale);
    FUZZ_CHECK(view->mss().value_or(0) <= 0xffff);
    FUZZ_CHECK(view->payload().empty());
    static_cast<void>(view->sack_permitted());
    static_cast<void>(view->has_timestamps());
  }
  return 0;
}
