#include "dns/cache.h"

#include <algorithm>

namespace sluice::dns {

namespace {

/// Pointers of a list node and of a hash node with its hash, and up to two buckets.
constexpr std::size_t kLinkBytes = 7 * sizeof(void*);
/// What std::string holds without a block of its own.
constexpr std::size_t kShortText = 15;

/// What the C library takes for a block of `bytes`: its size before it, in steps of 16.
std::size_t block(std::size_t bytes) {
  constexpr std::size_t kHead = 8, kStep = 16, kLeast = 32;
  return bytes == 0 ? 0 : std::max(kLeast, (bytes + kHead + kStep - 1) / kStep * kStep);
}

std::size_t text_block(std::size_t bytes) {
  return bytes <= kShortText ? 0 : block(bytes + 1);
}

/// Besides the record itself.
std::size_t record_bytes(const Record& record) {
  return text_block(record.owner.wire().size()) + block(record.rdata.capacity());
}

std::size_t answer_bytes(const Answer& answer) {
  constexpr std::size_t kCounters = 2 * sizeof(void*);
  std::size_t bytes = block(kCounters + sizeof answer);
  bytes += block(answer.records.capacity() * sizeof(Record));
  for (const auto& record : answer.records) bytes += record_bytes(record);
  if (answer.soa) bytes += record_bytes(*answer.soa);
  bytes += block(answer.names.capacity() * sizeof(DomainName));
  for (const auto& name : answer.names) bytes += text_block(name.text().capacity());
  return bytes;
}

}  // namespace

QuestionKey::QuestionKey(const DomainName& name, wire::DnsType type) {
  auto value = static_cast<std::uint16_t>(type);
  bytes_.reserve(name.text().size() + 2);
  bytes_ = name.text();
  bytes_.push_back(static_cast<char>(value >> 8));
  bytes_.push_back(static_cast<char>(value & 0xff));
}

std::size_t QuestionHash::operator()(const QuestionKey& question) const {
  const auto& bytes = question.bytes();
  return siphash(key, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

std::optional<Cache::Hit> Cache::find(const QuestionKey& question, TimePoint now) {
  auto found = by_question_.find(question);
  if (found == by_question_.end()) return std::nullopt;
  auto entry = found->second;
  auto age = now - entry->stored;
  if (!is_usable(*entry, now)) {
    erase(entry);
    return std::nullopt;
  }
  bool is_fresh = age < entry->answer->lifetime;
  if (!is_fresh && now >= entry->stale_until) return std::nullopt;
  by_use_.splice(by_use_.begin(), by_use_, entry);
  return Hit{entry->answer, std::chrono::duration_cast<std::chrono::seconds>(age),
             is_fresh ? Freshness::fresh : Freshness::stale};
}

std::optional<Cache::Hit> Cache::note_failure(const QuestionKey& question, TimePoint now) {
  auto found = by_question_.find(question);
  if (found == by_question_.end() || !is_usable(*found->second, now)) return std::nullopt;
  // A failure that is remembered has no records, and so is no use when its time is over.
  found->second->stale_until = now + kRetry;
  return find(question, now);
}

bool Cache::is_usable(const Entry& entry, TimePoint now) const {
  bool may_be_stale = !entry.answer->records.empty();
  auto kept = entry.answer->lifetime + (may_be_stale ? stale_ : std::chrono::seconds(0));
  return now - entry.stored < kept;
}

void Cache::insert(const QuestionKey& question, std::shared_ptr<const Answer> answer,
                   TimePoint now) {
  if (auto old = by_question_.find(question); old != by_question_.end()) erase(old->second);
  // The question is in the list and in the table.
  std::size_t bytes = answer_bytes(*answer) + 2 * text_block(question.bytes().size()) +
                      block(sizeof(Entry)) + block(sizeof(QuestionKey)) + kLinkBytes;
  if (answer->lifetime.count() <= 0 || bytes > limit_bytes_) return;
  while (bytes_ + bytes > limit_bytes_) erase(std::prev(by_use_.end()));
  by_use_.push_front({question, std::move(answer), now, bytes, TimePoint()});
  by_question_.emplace(question, by_use_.begin());
  bytes_ += bytes;
}

void Cache::clear() {
  by_question_.clear();
  by_use_.clear();
  bytes_ = 0;
}

void Cache::erase(Order::iterator entry) {
  bytes_ -= entry->bytes;
  by_question_.erase(entry->question);
  by_use_.erase(entry);
}

}  // namespace sluice::dns
