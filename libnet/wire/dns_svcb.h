#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"

namespace sluice::wire {

/// The data of an SVCB or HTTPS record (RFC 9460 section 2.2) without its address hints, so that
/// who reads it has to ask for the target's addresses, and without the keys of Encrypted Client
/// Hello (parameter 5), so that the name in the hello can be read. Nothing where it is malformed:
/// no priority and uncompressed target name, or parameters that are cut off or not in ascending
/// order.
std::optional<std::vector<std::uint8_t>> without_hints_and_ech(ConstBytes rdata);

}  // namespace sluice::wire
