#pragma once

#include <cstddef>
#include <cstdint>

#include <net/address.h>

#include "wire/dns_name.h"

namespace sluice::wire {

inline constexpr Port kDnsPort{53};
/// Of each message over TCP (RFC 1035 section 4.2.2).
inline constexpr std::size_t kDnsLengthPrefixBytes = 2;

/// Record and query types that something here treats by name; every other value is legal too.
enum class DnsType : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  ptr = 12,
  hinfo = 13,
  mx = 15,
  txt = 16,
  aaaa = 28,
  srv = 33,
  opt = 41,
  svcb = 64,
  https = 65,
  any = 255,
  caa = 257,
};

enum class DnsClass : std::uint16_t { internet = 1, chaos = 3 };

enum class DnsOpcode : std::uint8_t { query = 0 };

/// RFC 1035 section 4.1.1; values above 15 need EDNS (RFC 6891 section 6.1.3).
enum class DnsRcode : std::uint16_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,  ///< NXDOMAIN
  not_implemented = 4,
  refused = 5,
  bad_version = 16,
};

/// Extended DNS errors, RFC 8914.
enum class DnsExtendedError : std::uint16_t {
  stale_answer = 3,
  blocked = 15,
  prohibited = 18,
  no_reachable_authority = 22,
};

inline constexpr std::size_t kDnsHeaderBytes = 12;
/// What a client without EDNS can take over UDP (RFC 1035 section 2.3.4).
inline constexpr std::size_t kDnsMinUdpBytes = 512;
/// What crosses any Internet path unfragmented; used where we name a size.
inline constexpr std::size_t kDnsEdnsUdpBytes = 1232;
inline constexpr std::size_t kDnsMaxMessageBytes = 65535;

/// The fixed header without its counts. `rcode` holds the low four bits only.
struct DnsHeader {
  std::uint16_t id = 0;
  bool response = false;
  DnsOpcode opcode = DnsOpcode::query;
  bool authoritative = false;
  bool truncated = false;
  bool recursion_desired = false;
  bool recursion_available = false;
  bool authentic_data = false;
  bool checking_disabled = false;
  std::uint8_t rcode = 0;
};

struct DnsQuestion {
  DnsName name;
  DnsType type = DnsType::a;
  DnsClass klass = DnsClass::internet;
};

/// What an OPT record says (RFC 6891 section 6.1).
struct DnsEdns {
  std::uint16_t udp_bytes = kDnsMinUdpBytes;
  std::uint8_t extended_rcode = 0;
  std::uint8_t version = 0;
};

enum class DnsSection : std::uint8_t { answer, authority, additional };

}  // namespace sluice::wire
