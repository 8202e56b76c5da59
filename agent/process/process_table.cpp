#include "agent/process/process_table.h"

#include <algorithm>

namespace sluice::agent {

namespace {

/// The first arguments, the last of them cut where a character begins.
std::vector<std::string> cut(const std::vector<std::string>& args) {
  std::vector<std::string> kept;
  std::size_t room = kRememberedArgBytes;
  for (const std::string& arg : args) {
    std::size_t size = std::min(arg.size(), room);
    while (size < arg.size() && size > 0 && (arg[size] & 0xC0) == 0x80) --size;
    kept.push_back(arg.substr(0, size));
    // Each costs something, the empty ones too.
    if (size < arg.size() || room <= size + 1) break;
    room -= size + 1;
  }
  return kept;
}

}  // namespace

void ProcessTable::add(Process started) {
  std::string id = started.id;
  started.args = cut(started.args);
  processes_[id] = {.process = std::move(started), .order = next_number_++, .waiters = {}};
}

void ProcessTable::ended(const std::string& id, const Exit& exit, bool timed_out) {
  auto found = processes_.find(id);
  if (found == processes_.end()) return;
  found->second.process.exit = exit;
  found->second.process.timed_out = timed_out;
  ends_.push_back(id);
  auto waiters = std::move(found->second.waiters);
  found->second.waiters.clear();
  for (auto& [number, waiter] : waiters) {
    waiting_.erase(number);
    waiter(found->second.process);
  }
  if (ends_.size() > kRememberedEnds) {
    processes_.erase(ends_.front());
    ends_.pop_front();
  }
}

const ProcessTable::Process* ProcessTable::find(const std::string& id) const {
  auto found = processes_.find(id);
  return found == processes_.end() ? nullptr : &found->second.process;
}

std::vector<const ProcessTable::Process*> ProcessTable::list() const {
  std::vector<const Entry*> entries;
  for (const auto& [id, entry] : processes_) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(),
            [](const Entry* a, const Entry* b) { return a->order < b->order; });
  std::vector<const Process*> list;
  for (const Entry* entry : entries) list.push_back(&entry->process);
  return list;
}

std::uint64_t ProcessTable::wait(const std::string& id, Waiter waiter) {
  auto found = processes_.find(id);
  if (found == processes_.end()) return 0;
  if (found->second.process.exit) {
    waiter(found->second.process);
    return 0;
  }
  std::uint64_t number = next_number_++;
  found->second.waiters.emplace(number, std::move(waiter));
  waiting_[number] = id;
  return number;
}

void ProcessTable::unwait(std::uint64_t number) {
  auto found = waiting_.find(number);
  if (found == waiting_.end()) return;
  if (auto process = processes_.find(found->second); process != processes_.end()) {
    process->second.waiters.erase(number);
  }
  waiting_.erase(found);
}

}  // namespace sluice::agent
