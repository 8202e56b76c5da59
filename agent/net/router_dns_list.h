#pragma once

#include <optional>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "agent/net/netlink_types.h"
#include "base/loop.h"

namespace sluice::agent {

/// The resolvers and search lists that routers have advertised, each as long as it was given
/// (RFC 8106 section 5.3.1). Bounded, whatever is advertised.
class RouterDnsList {
 public:
  static constexpr std::size_t kMaxEntries = 8;

  /// A new time for what is known; a lifetime of 0 removes. When full, news are not taken.
  void learn(const RouterDns& dns, TimePoint now);
  void clear();

  /// In the order in which they were learnt, without those whose time is up.
  std::vector<IpAddress> servers(TimePoint now) const { return alive(servers_, now); }
  std::vector<DomainName> search(TimePoint now) const { return alive(search_, now); }
  /// When the next of them is up; nothing where all are for ever, or there is none.
  std::optional<TimePoint> next_end(TimePoint now) const;

 private:
  template <typename T>
  struct Entry {
    T value;
    std::optional<TimePoint> end;  ///< Nothing: for ever.
  };
  template <typename T>
  static std::vector<T> alive(const std::vector<Entry<T>>& entries, TimePoint now) {
    std::vector<T> list;
    for (const auto& entry : entries) {
      if (!entry.end || *entry.end > now) list.push_back(entry.value);
    }
    return list;
  }
  template <typename T>
  static void learn(std::vector<Entry<T>>& entries, const std::vector<T>& values,
                    std::chrono::seconds lifetime, TimePoint now);

  std::vector<Entry<IpAddress>> servers_;
  std::vector<Entry<DomainName>> search_;
};

}  // namespace sluice::agent
