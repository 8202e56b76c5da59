#include "agent/dns/name_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "agent_dns/guest_dns_world.h"

namespace sluice::agent {

namespace {

DomainName name(std::string_view text) {
  return *DomainName::parse(text);
}

std::set<std::string> found(const NameRegistry& registry, std::string_view text,
                            const NameView& view = {}) {
  std::set<std::string> addresses;
  for (const auto& one : registry.find(name(text), Family::v4, view).addresses) {
    addresses.insert(one.to_string());
  }
  return addresses;
}

using Set = std::set<std::string>;

}  // namespace

TEST_CASE("a container called github.com does not hijack github.com") {
  NameRegistry registry(name("guest.internal"));
  REQUIRE(registry.add(registration("c1", {"github.com", "web"}, {"10.0.0.2"})));
  CHECK_FALSE(registry.exists(name("github.com"), {}));
  CHECK(found(registry, "github.com.guest.internal") == Set{"10.0.0.2"});
  CHECK(found(registry, "web") == Set{"10.0.0.2"});
  REQUIRE(registry.add(registration("c2", {"github.com"}, {"10.0.0.3"}, NamedBy::host)));
  CHECK(found(registry, "github.com") == Set{"10.0.0.3"});
}

TEST_CASE("a name with the suffix is the same as without") {
  NameRegistry registry(name("guest.internal"));
  REQUIRE(registry.add(registration("c1", {"db.guest.internal", "db"}, {"10.0.0.2"})));
  CHECK(registry.names() == 1);
  CHECK(found(registry, "db") == Set{"10.0.0.2"});
  CHECK(found(registry, "db.guest.internal") == Set{"10.0.0.2"});
}

TEST_CASE("names that are nobody's to take are refused") {
  NameRegistry registry(name("guest.internal"));
  for (const char* bad :
       {"localhost", "x.localhost", "vm.internal", "gateway.vm.internal", "guest.internal", ""}) {
    INFO(bad);
    auto status = registry.add(registration("c1", {bad}, {"10.0.0.2"}, NamedBy::host));
    CHECK(status.code() == StatusCode::invalid_argument);
  }
  CHECK_FALSE(registry.add(registration("", {"a"}, {"10.0.0.2"})));
  CHECK_FALSE(registry.add(registration("c1", {}, {"10.0.0.2"})));
  CHECK_FALSE(registry.add(registration("c1", {"a"}, {})));
  CHECK_FALSE(registry.add(registration("c1", {"a"}, {"0.0.0.0"})));
  CHECK_FALSE(registry.add(registration("c1", {"a"}, {"224.0.0.1"})));
  CHECK(registry.size() == 0);
  CHECK(registry.index_size() == 0);
  CHECK_FALSE(NameRegistry::check_suffix(name("vm.internal")));
  CHECK_FALSE(NameRegistry::check_suffix(name("")));
  CHECK(NameRegistry::check_suffix(name("internal")));
}

TEST_CASE("the end of an owner ends what the host registered for it too") {
  NameRegistry registry(name("guest.internal"));
  REQUIRE(registry.add(registration("c1", {"web"}, {"10.0.0.2"}, NamedBy::itself, "red")));
  REQUIRE(registry.add(registration("c1", {"web"}, {"10.1.0.2"}, NamedBy::itself, "blue")));
  REQUIRE(registry.add(registration("c1", {"api.example.com"}, {"10.0.0.2"}, NamedBy::host)));
  REQUIRE(registry.add(registration("c10", {"other"}, {"10.0.0.10"})));
  CHECK(registry.remove("c1"));
  CHECK_FALSE(registry.remove("c1"));
  CHECK_FALSE(registry.exists(name("web"), {}));
  CHECK_FALSE(registry.exists(name("api.example.com"), {}));
  CHECK(registry.exists(name("other"), {}));
}

TEST_CASE("what the host takes back is what the host registered") {
  NameRegistry registry(name("guest.internal"));
  REQUIRE(registry.add(registration("c1", {"web"}, {"10.0.0.2"})));
  CHECK_FALSE(registry.remove("c1", "", NamedBy::host));
  CHECK(registry.exists(name("web"), {}));
}

TEST_CASE("each limit holds, at it and past it, and what is refused changes nothing") {
  NameRegistry registry(name("guest.internal"));
  std::vector<std::string> names;
  std::vector<std::string> addresses;
  for (std::size_t i = 0; i < NameRegistry::kMaxNamesEach; ++i)
    names.push_back(fmt::format("n{}", i));
  for (std::size_t i = 1; i <= NameRegistry::kMaxAddressesEach; ++i) {
    addresses.push_back(fmt::format("10.0.0.{}", i));
  }
  CHECK(registry.add(registration("c", names, addresses)));
  auto more_names = names;
  more_names.emplace_back("more");
  CHECK(registry.add(registration("c", more_names, addresses)).code() == StatusCode::exhausted);
  auto more_addresses = addresses;
  more_addresses.emplace_back("10.0.0.99");
  CHECK(registry.add(registration("c", names, more_addresses)).code() == StatusCode::exhausted);
  CHECK(registry.names() == names.size());

  std::size_t owners = NameRegistry::kMaxNames / NameRegistry::kMaxNamesEach;
  for (std::size_t i = 1; i < owners; ++i) {
    REQUIRE(registry.add(registration(fmt::format("o{}", i), names, {"10.0.0.1"})));
  }
  CHECK(registry.names() == NameRegistry::kMaxNames);
  CHECK(registry.add(registration("last", {"x"}, {"10.0.0.1"})).code() == StatusCode::exhausted);
  CHECK(registry.add(registration("c", names, {"10.0.0.9"})));
  // A name of so many owners is answered with a bounded number of addresses.
  CHECK(registry.find(name("n0"), Family::v4, {}).addresses.size() <=
        NameRegistry::kMaxAddressesOfName);
}

TEST_CASE("there are no more registrations than the limit") {
  NameRegistry registry(name("guest.internal"));
  for (std::size_t i = 0; i < NameRegistry::kMaxRegistrations; ++i) {
    REQUIRE(registry.add(registration(fmt::format("o{}", i), {"same"}, {"10.0.0.1"})));
  }
  CHECK(registry.add(registration("more", {"a"}, {"10.0.0.1"})).code() == StatusCode::exhausted);
  CHECK(registry.add(registration("o7", {"a"}, {"10.0.0.1"})));
}

TEST_CASE(
    "whatever is registered and removed, names are those of a plain list, and nothing is left") {
  std::mt19937 random(7);  // NOLINT: the same each time
  auto pick = [&](int bound) { return static_cast<int>(random() % static_cast<unsigned>(bound)); };
  NameRegistry registry(name("guest.internal"));
  std::map<std::tuple<std::string, std::string, bool>, Registration> model;
  const std::vector<std::string> networks{"", "red", "blue"};
  const std::vector<std::string> words{"a", "b", "c", "a.b", "x.a.b", "b.example"};
  for (int step = 0; step < 4000; ++step) {
    std::string owner = fmt::format("o{}", pick(6));
    std::string network = networks[static_cast<std::size_t>(pick(3))];
    NamedBy by = pick(2) == 0 ? NamedBy::itself : NamedBy::host;
    if (pick(3) == 0) {
      bool there = std::any_of(model.begin(), model.end(),
                               [&](const auto& one) { return std::get<0>(one.first) == owner; });
      CHECK(registry.remove(owner) == there);
      std::erase_if(model, [&](const auto& one) { return std::get<0>(one.first) == owner; });
    } else {
      std::vector<std::string> names{words[static_cast<std::size_t>(pick(6))],
                                     words[static_cast<std::size_t>(pick(6))]};
      auto added = registration(owner, names, {fmt::format("10.0.0.{}", 1 + pick(9))}, by, network);
      REQUIRE(registry.add(added));
      model[{owner, network, by == NamedBy::host}] = added;
    }
    if (step == 2000) REQUIRE(registry.set_suffix(name("box.test")));
    std::string suffix = step >= 2000 ? ".box.test" : ".guest.internal";
    for (const std::string& view_network : networks) {
      NameView view{.all = view_network.empty(), .networks = {view_network}};
      for (const std::string& word : words) {
        Set with_suffix;
        Set without;
        for (const auto& [key, one] : model) {
          bool has = std::find(one.names.begin(), one.names.end(), name(word)) != one.names.end();
          if (!has || !view.sees(one)) continue;
          with_suffix.insert(one.addresses[0].to_string());
          bool bare = name(word).labels() == 1 || one.named_by == NamedBy::host;
          if (bare) without.insert(one.addresses[0].to_string());
        }
        REQUIRE(found(registry, word + suffix, view) == with_suffix);
        REQUIRE(found(registry, word, view) == without);
      }
    }
  }
  for (int owner = 0; owner < 6; ++owner) registry.remove(fmt::format("o{}", owner));
  CHECK(registry.size() == 0);
  CHECK(registry.names() == 0);
  CHECK(registry.index_size() == 0);
}

}  // namespace sluice::agent
