#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include <net/address.h>

#include "agent/dns/name_registry.h"
#include "dns/answer.h"
#include "dns/query.h"

namespace sluice::agent {

/// How long a client may keep what is answered here: an owner may be gone the next moment.
inline constexpr std::chrono::seconds kLocalTtl{5};

/// What the guest itself knows about a question: of registered names, of everything in its suffix,
/// and of the reverse names of `own_prefixes` and of registered addresses. Nothing where somebody
/// else is to be asked.
///
/// A and AAAA have addresses, PTR a name, and the suffix a SOA; ANY is refused, and every other
/// type of a name that exists is an empty answer. What there is not is NXDOMAIN, and all that is
/// negative carries a SOA (RFC 2308).
std::optional<dns::Answer> answer_locally(const NameRegistry& registry,
                                          const std::vector<IpPrefix>& own_prefixes,
                                          const wire::DnsQuestion& question, const NameView& view);

}  // namespace sluice::agent
