#include "policy/name_index.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "micro/scattered.h"
#include "policy/world.h"

namespace sluice::policy {
namespace {

constexpr TimePoint kNow{std::chrono::hours(1000)};
constexpr Duration kTtl = std::chrono::minutes(5);
constexpr std::size_t kManyNames = 10'000;

/// Each with an address of its own.
class Answers {
 public:
  explicit Answers(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      names_.push_back(policy::name(fmt::format("host{}.example.com", i)));
  }

  std::size_t size() const { return names_.size(); }
  const DomainName& name(std::size_t i) const { return names_[i]; }
  static IpAddress address(std::size_t i) {
    return IpAddress::v4(0x01010000U + static_cast<std::uint32_t>(i));
  }
  void bind(NameIndex& index, std::size_t i) const {
    index.bind(names_[i], address(i), kTtl, kNow);
  }
  void bind_all(NameIndex& index) const {
    for (std::size_t i = 0; i < size(); ++i) bind(index, i);
  }

 private:
  std::vector<DomainName> names_;
};

TEST_CASE("names are looked up in the index", "[name_index]") {
  for (std::size_t count : {std::size_t{10}, kManyNames}) {
    Answers answers(count);
    NameIndex index;
    answers.bind_all(index);
    REQUIRE(index.size() == count);
    bench::Scattered order(count);
    BENCHMARK(fmt::format("is a name bound, of {} names", count)) {
      std::size_t i = order.next();
      return index.is_bound(answers.name(i), Answers::address(i), kNow);
    };
    BENCHMARK(fmt::format("names of an address, of {} names", count)) {
      std::size_t bytes = 0;
      index.each_name(Answers::address(order.next()), kNow, [&](std::string_view name) {
        bytes += name.size();
        return true;
      });
      return bytes;
    };
    BENCHMARK(fmt::format("renew a binding, of {} names", count)) {
      answers.bind(index, order.next());
    };
  }
}

TEST_CASE("names come into the index", "[name_index]") {
  Answers answers(kManyNames);
  BENCHMARK_ADVANCED("bind 10000 names, from none")(Catch::Benchmark::Chronometer meter) {
    std::deque<NameIndex> indexes(static_cast<std::size_t>(meter.runs()));
    meter.measure([&](int run) { answers.bind_all(indexes[static_cast<std::size_t>(run)]); });
  };

  NameIndex full;
  NameIndex::Limits limits;
  Answers more(2 * limits.bindings);
  more.bind_all(full);
  REQUIRE(full.counters().evicted > 0);
  std::size_t next = 0;
  BENCHMARK("bind a name, the oldest goes") {
    more.bind(full, next++ % more.size());
  };
}

}  // namespace
}  // namespace sluice::policy
