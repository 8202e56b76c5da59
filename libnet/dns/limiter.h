#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <net/dns.h>
#include <net/name.h>

#include "base/hash.h"
#include "base/loop.h"
#include "dns/answer.h"
#include "dns/hooks.h"

namespace sluice::dns {

/// Bounds what guests can carry out and in by DNS, one guest apart from the other. Windows are of a
/// minute from the first query in them, so up to twice a limit can fall into any 60 s.
///
/// Memory is bounded whatever guests ask: the guest, the zone and the names unused for longest are
/// forgotten first, which costs somebody who wants that as many queries as it gives back.
class Limiter {
 public:
  static constexpr Duration kWindow = std::chrono::minutes(1);
  static constexpr int kBurstSeconds = 4;
  static constexpr std::size_t kMaxGuests = 1024;
  static constexpr std::size_t kMaxZones = 256;    ///< Of one guest.
  static constexpr std::size_t kMaxNames = 32768;  ///< Of one guest, in all its zones.

  explicit Limiter(const DnsLimits& limits) : limits_(limits) {}

  struct Excess {
    Limit limit;
    bool is_first = false;  ///< Of its window, so that one event tells of many.
  };
  /// Counts a query that is about to go to a resolver. `below_rule`: only a rule on a zone allows
  /// the name.
  std::optional<Excess> count_query(const Lookup& lookup, bool below_rule, TimePoint now);
  /// Counts an answer that a resolver gave; it is not for the guest where it passes the limit.
  std::optional<Excess> count_answer(const Lookup& lookup, const Answer& answer, TimePoint now);
  /// Counts nothing, but while the guest is over its limit of data it gets none from the cache
  /// either: the answer that passed the limit is there.
  std::optional<Excess> check_cached(const Lookup& lookup, const Answer& answer, TimePoint now);

  std::size_t guests() const { return guests_.size(); }
  /// Names remembered for a guest.
  std::size_t names(std::uint32_t guest) const;

 private:
  struct Window {
    TimePoint start;
    std::uint64_t used = 0;
    bool told = false;
    /// Begins anew where its time is over.
    bool renew(TimePoint now);
    Excess exceed(Limit limit);
  };
  struct Zone {
    DomainName name;
    Window window;
    Window encoded;
    std::unordered_set<std::uint64_t> names;
  };
  using Zones = std::list<Zone>;
  struct Guest {
    std::uint32_t number = 0;
    double tokens = 0;
    TimePoint filled;
    Window queries;
    Window data;
    Zones zones;  ///< The most recently used first, as everywhere here.
    std::unordered_map<DomainName, Zones::iterator> by_name;
    std::size_t names = 0;
  };
  using Guests = std::list<Guest>;

  Guest& guest_of(std::uint32_t number, TimePoint now);
  Zone& zone_of(Guest& guest, const DomainName& name, TimePoint now);
  bool take_token(Guest& guest, TimePoint now) const;
  static void forget_zone(Guest& guest, Zones::iterator zone);

  DnsLimits limits_;
  HashKey key_ = HashKey::random();
  Guests by_use_;
  std::unordered_map<std::uint32_t, Guests::iterator> guests_;
};

/// The zone that somebody registered and so controls: the last two labels of a name, or three where
/// they look like a country's second level ("co.uk", "com.au"). A guess that needs no list: where
/// it takes too few labels, neighbours share a limit.
DomainName registered_zone(const DomainName& name);

/// Whether what stands before `zone` in a name looks like data: longer than any name for people or
/// machines, or a long label with more information per letter than hex digits and words have.
bool looks_encoded(const DomainName& name, const DomainName& zone);

}  // namespace sluice::dns
