#include "wire/hpack.h"

#include <nghttp2/nghttp2.h>

namespace sluice::wire {

namespace {

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

void HpackReader::Delete::operator()(nghttp2_hd_inflater* inflater) const {
  nghttp2_hd_inflate_del(inflater);
}

HpackReader::HpackReader() {
  nghttp2_hd_inflater* inflater = nullptr;
  // Its table's limit is kMaxTableBytes unless it is told another.
  if (nghttp2_hd_inflate_new(&inflater) == 0) inflater_.reset(inflater);
}
HpackReader::HpackReader(HpackReader&&) noexcept = default;
HpackReader& HpackReader::operator=(HpackReader&&) noexcept = default;
HpackReader::~HpackReader() = default;

bool HpackReader::read(ConstBytes block, const OnField& on_field) {
  if (!inflater_) return false;
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    auto taken =
        nghttp2_hd_inflate_hd2(inflater_.get(), &field, &flags, block.data(), block.size(), 1);
    if (taken < 0) return false;
    block = block.subspan(static_cast<std::size_t>(taken));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      if (!on_field(text_of(field.name, field.namelen), text_of(field.value, field.valuelen))) {
        return false;
      }
    } else if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      return nghttp2_hd_inflate_end_headers(inflater_.get()) == 0;
    } else if (block.empty()) {
      return false;
    }
  }
}

}  // namespace sluice::wire
