#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include <net/address.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/loop.h"
#include "wire/ip.h"

namespace sluice::stack {

/// What a Reassembler may hold. Where a limit is reached, the oldest set goes.
struct ReassemblyLimits {
  /// Of all buffers. 64 sets of the longest packet fit.
  std::size_t max_bytes = 4608 * 1024;
  std::size_t max_sets = 128;
  /// Of one set: 64 KiB in fragments of an MTU of 576, the least that is seen in practice, are 119.
  std::size_t max_fragments = 128;
  /// From a set's first fragment to its last. RFC 8200 section 4.5 has 60 s for the Internet's
  /// paths; here nothing is between sender and us.
  Duration timeout = std::chrono::seconds(15);
};

/// What became of fragments, by cause, since the Reassembler was made.
struct ReassemblyCounters {
  std::uint64_t fragments = 0;    ///< All that were given to add().
  std::uint64_t reassembled = 0;  ///< Packets.
  std::uint64_t duplicates = 0;   ///< Fragments like one that was there.
  // Fragments refused.
  std::uint64_t malformed = 0;   ///< Empty, not a multiple of 8, or too long a header.
  std::uint64_t too_long = 0;    ///< Would end beyond 65535 bytes.
  std::uint64_t tiny_first = 0;  ///< A first one without a whole transport header (RFC 1858).
  std::uint64_t of_dropped_set = 0;
  // Sets dropped.
  std::uint64_t overlapping = 0;  ///< RFC 5722; two ends count as overlap.
  std::uint64_t too_many_fragments = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t evicted = 0;     ///< For another's sake, at max_sets or max_bytes.
  std::uint64_t unreadable = 0;  ///< Complete, but not a packet that wire accepts.
};

/// A packet with the memory that it lies in.
struct Reassembled {
  std::vector<std::uint8_t> storage;
  /// Views `storage`; stays valid when the struct is moved.
  wire::Packet packet;
};

/// Puts fragmented IPv4 (RFC 791) and IPv6 (RFC 8200 section 4.5) packets together, in bounded
/// memory and time whatever a guest sends. Fragments that overlap drop their set and all that still
/// comes of it (RFC 5722; the same rule serves IPv4, as no honest sender overlaps on one link).
/// Not thread-safe; pure but for memory: time comes with each call.
class Reassembler {
 public:
  explicit Reassembler(const HashKey& key, const ReassemblyLimits& limits = {});

  /// Takes a fragment (`fragment.is_fragment()`; anything else is counted malformed) whose header
  /// checksum the caller has verified; the bytes are copied. Returns the packet if this was the
  /// last piece missing: without fragment header, with its lengths and checksum set.
  std::optional<Reassembled> add(const wire::Packet& fragment, TimePoint now);

  /// Is given the first fragment of a set that ran out of time, where it had come, to be quoted in
  /// an ICMP error (RFC 792, RFC 8200 section 4.5): from the IP header on, at most 1280 bytes.
  using TimeoutHandler = std::function<void(ConstBytes first_fragment)>;
  /// Drops what is older than the timeout; call it at next_expiry(). `on_timeout` may be empty; it
  /// must not call back.
  void expire(TimePoint now, const TimeoutHandler& on_timeout);
  /// When expire() has something to do next; nothing while there are no sets.
  std::optional<TimePoint> next_expiry() const;

  std::size_t sets() const { return sets_.size(); }
  std::size_t bytes() const { return bytes_; }
  const ReassemblyCounters& counters() const { return counters_; }

 private:
  struct Key {
    IpAddress source;
    IpAddress destination;
    std::uint32_t id;
    std::uint8_t protocol;  // RFC 791 counts it in, RFC 8200 does not: 0 in IPv6
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    HashKey secret;
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Range {
    std::uint32_t begin, end;
  };
  struct Set {
    Key key;
    TimePoint expiry;
    std::vector<std::uint8_t> buffer;  // kHeadroom, then the payload as far as it has come
    std::vector<std::uint8_t> header;  // the first fragment's, up to its payload; empty before
    std::vector<Range> ranges;         // sorted, disjoint
    std::uint32_t received = 0;        // bytes in ranges
    std::optional<std::uint32_t> end;  // known once the last fragment has come
    wire::FragmentInfo first;          // of the first fragment, once it has come
    std::uint8_t protocol = 0;         // likewise
    bool dropped = false;              // stays as a mark until its time is over
  };
  using Sets = std::list<Set>;  // oldest first, so also first to expire

  bool is_acceptable(const wire::Packet& fragment);
  Sets::iterator find_or_begin(const wire::Packet& fragment, TimePoint now);
  bool insert(Set& set, const wire::Packet& fragment);
  bool make_room(Set& set, std::size_t size);
  void drop(Set& set);
  void forget(Sets::iterator set);
  std::optional<Reassembled> complete(Set& set);

  ReassemblyLimits limits_;
  Sets sets_;
  std::unordered_map<Key, Sets::iterator, KeyHash> index_;
  std::size_t bytes_ = 0;
  ReassemblyCounters counters_;
};

}  // namespace sluice::stack
