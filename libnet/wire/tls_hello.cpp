#include "wire/tls_hello.h"

#include <bitset>
#include <string_view>

#include "wire/byte_cursor.h"
#include "wire/host_name.h"

namespace sluice::wire {

namespace {

constexpr std::size_t kRandomBytes = 32;
constexpr std::size_t kMaxSessionIdBytes = 32;
constexpr std::uint8_t kHostNameType = 0;

enum Extension : std::uint16_t {
  kServerName = 0,
  kAlpn = 16,
  kEarlyData = 42,
  kSupportedVersions = 43,
  kEncryptedClientHello = 0xfe0d,
  kEncryptedServerName = 0xffce,  // what it was in its first drafts
};

/// Vectors as TLS writes them: a length of one or two bytes, and that many (RFC 8446 section 3.4).
ConstBytes take_vector8(ByteCursor& from) {
  return from.take(from.take8());
}
ConstBytes take_vector16(ByteCursor& from) {
  return from.take(from.take16());
}

// Each reads one extension into the hello: null, or what is wrong with it.

const char* read_server_name(ConstBytes data, ClientHello& hello) {
  ByteCursor outer(data);
  ByteCursor list(take_vector16(outer));
  std::uint8_t type = list.take8();
  ConstBytes name = take_vector16(list);
  if (!outer.ok() || !outer.at_end() || !list.ok()) return "server_name's lengths don't add up";
  if (type != kHostNameType || !list.at_end()) return "server_name is not one host name";
  hello.server_name =
      host_name(std::string_view(reinterpret_cast<const char*>(name.data()), name.size()));
  if (!hello.server_name) return "server_name is not a DNS name";
  hello.has_server_name = true;
  return nullptr;
}

const char* read_alpn(ConstBytes data, ClientHello& hello) {
  ByteCursor outer(data);
  ByteCursor list(take_vector16(outer));
  if (!outer.ok() || !outer.at_end() || list.at_end()) return "ALPN's lengths don't add up";
  while (!list.at_end()) {
    ConstBytes protocol = take_vector8(list);
    if (!list.ok() || protocol.empty()) return "ALPN's lengths don't add up";
    if (hello.alpn.size() == ClientHello::kMaxAlpn) return "too many ALPN protocols";
    hello.alpn.emplace_back(protocol.begin(), protocol.end());
  }
  return nullptr;
}

const char* read_supported_versions(ConstBytes data, ClientHello& hello) {
  ByteCursor outer(data);
  ConstBytes list = take_vector8(outer);
  if (!outer.ok() || !outer.at_end() || list.empty() || list.size() % 2 != 0) {
    return "supported_versions' lengths don't add up";
  }
  for (std::size_t at = 0; at < list.size(); at += 2) {
    hello.supported_versions.push_back(load_be16(&list[at]));
  }
  return nullptr;
}

const char* read_extension(std::uint16_t type, ConstBytes data, ClientHello& hello) {
  switch (type) {
    case kServerName:
      return read_server_name(data, hello);
    case kAlpn:
      return read_alpn(data, hello);
    case kSupportedVersions:
      return read_supported_versions(data, hello);
    case kEarlyData:
      hello.has_early_data = true;
      return nullptr;
    case kEncryptedClientHello:
    case kEncryptedServerName:
      hello.has_ech = true;
      return nullptr;
    default:
      return nullptr;
  }
}

const char* read_extensions(ConstBytes block, ClientHello& hello) {
  std::bitset<65536> seen;
  ByteCursor cursor(block);
  while (!cursor.at_end()) {
    std::uint16_t type = cursor.take16();
    ConstBytes data = take_vector16(cursor);
    if (!cursor.ok()) return "the extensions' lengths don't add up";
    if (seen.test(type)) return "an extension comes twice";
    seen.set(type);
    if (const char* fault = read_extension(type, data, hello)) return fault;
  }
  return nullptr;
}

const char* read_hello(ConstBytes body, ClientHello& hello) {
  ByteCursor cursor(body);
  hello.legacy_version = cursor.take16();
  cursor.take(kRandomBytes);
  ConstBytes session = take_vector8(cursor);
  ConstBytes ciphers = take_vector16(cursor);
  ConstBytes compressions = take_vector8(cursor);
  if (!cursor.ok()) return "the hello is cut off";
  if (hello.legacy_version >> 8 != 3) return "an unknown version";
  if (session.size() > kMaxSessionIdBytes) return "the session id is too long";
  if (ciphers.empty() || ciphers.size() % 2 != 0) return "the cipher suites' length is odd";
  if (compressions.empty()) return "no compression method";
  // Before TLS 1.3 the extensions may be left out as a whole (RFC 5246 section 7.4.1.2).
  if (cursor.at_end()) return nullptr;
  ConstBytes extensions = take_vector16(cursor);
  if (!cursor.ok() || !cursor.at_end()) return "the extensions' lengths don't add up";
  return read_extensions(extensions, hello);
}

}  // namespace

Result<ClientHello> parse_client_hello(ConstBytes body) {
  ClientHello hello;
  if (const char* fault = read_hello(body, hello)) {
    return Status(StatusCode::invalid_argument, fault);
  }
  return hello;
}

}  // namespace sluice::wire
