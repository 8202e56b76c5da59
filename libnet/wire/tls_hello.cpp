#include "wire/tls_hello.h"

#include <bitset>
#include <string_view>

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

/// Takes a message apart from its front. After a length that isn't there everything is empty and
/// ok() is false for good.
class Cursor {
 public:
  explicit Cursor(ConstBytes bytes) : rest_(bytes) {}

  ConstBytes take(std::size_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    ConstBytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  std::uint8_t take8() {
    ConstBytes byte = take(1);
    return byte.empty() ? std::uint8_t{0} : byte[0];
  }
  std::uint16_t take16() {
    ConstBytes bytes = take(2);
    return bytes.empty() ? std::uint16_t{0} : load_be16(bytes.data());
  }
  ConstBytes take_vector8() { return take(take8()); }
  ConstBytes take_vector16() { return take(take16()); }

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

 private:
  ConstBytes rest_;
  bool ok_ = true;
};

// Each reads one extension into the hello: null, or what is wrong with it.

const char* read_server_name(ConstBytes data, ClientHello& hello) {
  Cursor outer(data);
  Cursor list(outer.take_vector16());
  std::uint8_t type = list.take8();
  ConstBytes name = list.take_vector16();
  if (!outer.ok() || !outer.at_end() || !list.ok()) return "server_name's lengths don't add up";
  if (type != kHostNameType || !list.at_end()) return "server_name is not one host name";
  hello.server_name =
      host_name(std::string_view(reinterpret_cast<const char*>(name.data()), name.size()));
  if (!hello.server_name) return "server_name is not a DNS name";
  hello.has_server_name = true;
  return nullptr;
}

const char* read_alpn(ConstBytes data, ClientHello& hello) {
  Cursor outer(data);
  Cursor list(outer.take_vector16());
  if (!outer.ok() || !outer.at_end() || list.at_end()) return "ALPN's lengths don't add up";
  while (!list.at_end()) {
    ConstBytes protocol = list.take_vector8();
    if (!list.ok() || protocol.empty()) return "ALPN's lengths don't add up";
    if (hello.alpn.size() == ClientHello::kMaxAlpn) return "too many ALPN protocols";
    hello.alpn.emplace_back(protocol.begin(), protocol.end());
  }
  return nullptr;
}

const char* read_supported_versions(ConstBytes data, ClientHello& hello) {
  Cursor outer(data);
  ConstBytes list = outer.take_vector8();
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
  Cursor cursor(block);
  while (!cursor.at_end()) {
    std::uint16_t type = cursor.take16();
    ConstBytes data = cursor.take_vector16();
    if (!cursor.ok()) return "the extensions' lengths don't add up";
    if (seen.test(type)) return "an extension comes twice";
    seen.set(type);
    if (const char* fault = read_extension(type, data, hello)) return fault;
  }
  return nullptr;
}

const char* read_hello(ConstBytes body, ClientHello& hello) {
  Cursor cursor(body);
  hello.legacy_version = cursor.take16();
  cursor.take(kRandomBytes);
  ConstBytes session = cursor.take_vector8();
  ConstBytes ciphers = cursor.take_vector16();
  ConstBytes compressions = cursor.take_vector8();
  if (!cursor.ok()) return "the hello is cut off";
  if (hello.legacy_version >> 8 != 3) return "an unknown version";
  if (session.size() > kMaxSessionIdBytes) return "the session id is too long";
  if (ciphers.empty() || ciphers.size() % 2 != 0) return "the cipher suites' length is odd";
  if (compressions.empty()) return "no compression method";
  // Before TLS 1.3 the extensions may be left out as a whole (RFC 5246 section 7.4.1.2).
  if (cursor.at_end()) return nullptr;
  ConstBytes extensions = cursor.take_vector16();
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
