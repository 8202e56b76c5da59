#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/hash.h"
#include "base/loop.h"
#include "dns/answer.h"

namespace sluice::dns {

/// A question without its case: equal for equal questions.
class QuestionKey {
 public:
  QuestionKey(const DomainName& name, wire::DnsType type);
  const std::string& bytes() const { return bytes_; }
  friend bool operator==(const QuestionKey&, const QuestionKey&) = default;

 private:
  std::string bytes_;
};

/// Hashes with a secret, because the guest chooses the names.
struct QuestionHash {
  HashKey key = HashKey::random();
  std::size_t operator()(const QuestionKey& question) const;
};

/// Answers by question, positive and negative (RFC 2308), bounded in bytes: the least recently used
/// goes first. Time is the caller's.
///
/// Where `stale` says so, an answer with records is kept that long past its lifetime, for when
/// nobody can be asked (RFC 8767).
class Cache {
 public:
  /// While stale answers are given, nobody is asked for so long (RFC 8767 section 5).
  static constexpr Duration kRetry = std::chrono::seconds(30);

  explicit Cache(std::size_t limit_bytes, std::chrono::seconds stale = std::chrono::seconds(0))
      : limit_bytes_(limit_bytes), stale_(stale) {}

  enum class Freshness : std::uint8_t { fresh, stale };
  struct Hit {
    std::shared_ptr<const Answer> answer;
    std::chrono::seconds age;
    Freshness freshness = Freshness::fresh;
  };
  /// Nobody answered the question: gives the stale answer, and from now on for kRetry so does
  /// find(). Nothing where there is none.
  std::optional<Hit> note_failure(const QuestionKey& question, TimePoint now);
  /// Nothing where there is no answer or its lifetime is over.
  std::optional<Hit> find(const QuestionKey& question, TimePoint now);
  /// Replaces what was there. An answer without a lifetime, or larger than the whole cache, is not
  /// kept.
  void insert(const QuestionKey& question, std::shared_ptr<const Answer> answer, TimePoint now);
  void clear();

  /// What the entries take of the heap, about: records, names and tables, each block as the C
  /// library rounds it.
  std::size_t bytes() const { return bytes_; }
  std::size_t entries() const { return by_use_.size(); }

 private:
  struct Entry {
    QuestionKey question;
    std::shared_ptr<const Answer> answer;
    TimePoint stored;
    std::size_t bytes;
    TimePoint stale_until{};  ///< Given though stale until then.
  };
  using Order = std::list<Entry>;
  /// Whether it can be given at all, if need be stale.
  bool is_usable(const Entry& entry, TimePoint now) const;
  void erase(Order::iterator entry);

  std::size_t limit_bytes_;
  std::chrono::seconds stale_;
  std::size_t bytes_ = 0;
  Order by_use_;  ///< The most recently used first.
  std::unordered_map<QuestionKey, Order::iterator, QuestionHash> by_question_;
};

}  // namespace sluice::dns
