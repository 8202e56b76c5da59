#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/bytes.h"

struct nghttp2_hd_inflater;

namespace sluice::wire {

/// Reads the header blocks that one end of an HTTP/2 connection sends (HPACK, RFC 7541), all of
/// them and in order: each may refer to what earlier ones put into the dynamic table.
///
/// The table has at most the 4096 bytes that every encoder begins with. What its real reader keeps
/// need not be known: a table is the latest insertions, as many as fit, so an index that two
/// readers can resolve means the same to both, and one that only one can resolve is an error.
class HpackReader {
 public:
  /// Of the dynamic table, as RFC 7541 section 4.1 counts.
  static constexpr std::size_t kMaxTableBytes = 4096;

  /// Called for each field, in order; false ends the reading. The views are good for the call.
  using OnField = std::function<bool(std::string_view name, std::string_view value)>;

  HpackReader();
  HpackReader(HpackReader&&) noexcept;
  HpackReader& operator=(HpackReader&&) noexcept;
  ~HpackReader();

  /// One whole block. False where it is malformed, asks for a larger table, on_field() said so, or
  /// there was no memory: then this reader is of no use any more. What is decoded can be far more
  /// than the block's bytes, so on_field() should count.
  bool read(ConstBytes block, const OnField& on_field);

 private:
  struct Delete {
    void operator()(nghttp2_hd_inflater* inflater) const;
  };
  std::unique_ptr<nghttp2_hd_inflater, Delete> inflater_;
};

}  // namespace sluice::wire
