#pragma once

#include <memory>

#include "agent/archive/stream.h"

namespace sluice::agent {

/// What `below` has, unpacked where its first bytes say that it is gzip (RFC 1952, of any number of
/// members) or zstd (RFC 8878, any number of frames, windows up to 128 MiB); else as it is. Memory
/// is bounded; how much comes out is not, so it goes through a MeteredSource. `below` must outlive
/// it. invalid_argument from read(): it is damaged, or cut off.
Result<std::unique_ptr<Source>> decompressed(Source& below);

}  // namespace sluice::agent
