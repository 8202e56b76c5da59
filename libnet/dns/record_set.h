#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <net/name.h>
#include <net/status.h>

#include "dns/answer.h"

namespace sluice::dns {

/// The owner's own records and zones. Immutable: a change is a new set.
///
/// A name of a zone is answered from here or does not exist. A name with records outside every zone
/// is answered from here too, whatever the type; the names below it are not ours.
class RecordSet {
 public:
  static constexpr std::size_t kMaxRecords = 65536;
  static constexpr std::size_t kMaxZones = 1024;
  /// Of one name and type, so that an answer always fits a message.
  static constexpr std::size_t kMaxSetBytes = 32768;
  /// Of a zone's negative answers.
  static constexpr std::uint32_t kNegativeTtlSeconds = 10;

  RecordSet() = default;
  /// A record that is there twice counts once. The error names the record and the fix: an alias
  /// beside other records or at a zone's apex (RFC 1034 section 3.6.2), aliases that lead back to
  /// themselves or are more than kMaxAliases, too many of anything.
  static Result<RecordSet> make(std::vector<Record> records, std::vector<DomainName> zones);

  /// What is known of one name, an alias not followed: its records of `type`, or its alias, or a
  /// negative answer with the SOA of the zone, or of the name where there is no zone. Nothing where
  /// the name is not ours.
  std::optional<Answer> find(const DomainName& name, wire::DnsType type) const;
  /// Whether records lie below the name: it exists then (RFC 8020).
  bool has_below(const DomainName& name) const { return above_.contains(name); }

  /// All of them, by name, and within a name as they were given.
  std::vector<Record> list() const;
  std::vector<DomainName> zone_list() const;
  std::size_t records() const { return count_; }
  std::size_t zones() const { return zones_.size(); }

 private:
  using Records = std::vector<Record>;

  Status add(Record record);
  Status check_aliases() const;
  /// The longest zone that `name` is in.
  std::optional<DomainName> zone_of(const DomainName& name) const;

  std::unordered_map<DomainName, Records> names_;
  std::unordered_set<DomainName> above_;
  std::unordered_set<DomainName> zones_;
  std::size_t count_ = 0;
};

/// A set from records as parse_record() reads them.
Result<RecordSet> parse_record_set(const std::vector<std::string>& records,
                                   const std::vector<DomainName>& zones);

/// The target of an alias record; nothing where no DomainName can hold it.
std::optional<DomainName> alias_target(const Record& record);

}  // namespace sluice::dns
