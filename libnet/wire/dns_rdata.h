#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <net/address.h>

#include "wire/dns_message.h"

namespace sluice::wire {

/// Where names lie in the data of a record type that may carry them compressed (RFC 3597 section
/// 4): `prefix` bytes, `names` names, then bytes that are no name.
struct DnsRdataLayout {
  DnsType type;
  std::uint8_t prefix;
  std::uint8_t names;
  bool may_compress;  ///< When sending: only the types of RFC 1035.
};

/// Nothing for a type whose data holds no name that could be compressed.
const DnsRdataLayout* rdata_layout(DnsType type);

/// The record's data with its names uncompressed, so that it means the same in another message.
/// Nothing where it is malformed for its type: a cut-off name, an A record not of 4 bytes, an AAAA
/// record not of 16, trailing bytes after the name of a CNAME.
std::optional<std::vector<std::uint8_t>> expand_rdata(const DnsMessage& message,
                                                      const DnsRecordView& record);

/// The address of an A or AAAA record's data; nothing for other types and sizes.
std::optional<IpAddress> rdata_address(DnsType type, ConstBytes rdata);

}  // namespace sluice::wire
