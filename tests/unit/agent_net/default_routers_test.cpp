#include "agent/net/default_routers.h"

#include <catch2/catch.hpp>

#include "support/virtual_loop.h"

using namespace sluice;
using namespace sluice::agent;
using namespace std::chrono_literals;

TEST_CASE("however many ask who the routers are, the kernel is asked once a second") {
  test::VirtualLoop loop;
  int asked = 0;
  std::vector<IpAddress> now{*IpAddress::parse("192.0.2.1")};
  DefaultRouters routers(loop, [&] {
    ++asked;
    return now;
  });
  for (int i = 0; i < 1000; ++i) {
    CHECK(routers.contains(*IpAddress::parse("192.0.2.1")));
    CHECK_FALSE(routers.contains(*IpAddress::parse("192.0.2.2")));
  }
  CHECK(asked == 1);

  now = {*IpAddress::parse("192.0.2.2")};
  loop.advance(DefaultRouters::kMaxAge);
  CHECK(routers.contains(*IpAddress::parse("192.0.2.2")));
  CHECK_FALSE(routers.contains(*IpAddress::parse("192.0.2.1")));
  CHECK(asked == 2);
}
