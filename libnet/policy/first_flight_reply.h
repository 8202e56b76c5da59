#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

// What a guest is told, in the words of its own protocol, when its first flight is refused. Each is
// all that it gets from "the server", and the connection ends after it.

namespace sluice::policy {

/// A fatal access_denied (RFC 8446 section 6) as a record of its own.
std::vector<std::uint8_t> tls_refusal();
/// 403 with `why` in a line of text.
std::vector<std::uint8_t> http_refusal(std::string_view why);

/// The SETTINGS that a server's side of HTTP/2 begins with (RFC 9113 section 3.4).
enum class ServerSettings : std::uint8_t { to_come, sent };
/// The same to the request on `stream`, after SETTINGS where they are to come, and a GOAWAY
/// (section 6.8). Stream 0, where none was read: a GOAWAY with `why` as its debug data.
std::vector<std::uint8_t> http2_refusal(ServerSettings settings, std::uint32_t stream,
                                        std::string_view why);

}  // namespace sluice::policy
