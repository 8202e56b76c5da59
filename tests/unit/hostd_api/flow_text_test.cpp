#include "hostd/ctl/flow_text.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <string>

#include "hostd/ctl/text.h"

using namespace sluice::ctl;
using nlohmann::json;

namespace {

json flow(int id, const std::string& remote, std::vector<std::string> names = {}) {
  return {{"id", id},
          {"proto", "tcp"},
          {"direction", "egress"},
          {"state", "open"},
          {"guest", "192.168.127.2:40000"},
          {"remote", remote},
          {"names", std::move(names)},
          {"server_name", ""},
          {"age_s", 75.5},
          {"idle_s", 0.2},
          {"tx_bytes", 1536},
          {"rx_bytes", 12},
          {"rule", "rule \"allow@public\" (profile public)"},
          {"decided_by", {{"text", "allow@public"}, {"source", "profile public"}}},
          {"generation", 1}};
}

std::size_t widest(const std::string& text) {
  std::istringstream lines(text);
  std::size_t most = 0;
  for (std::string line; std::getline(lines, line);) most = std::max(most, line.size());
  return most;
}

}  // namespace

TEST_CASE("a wide table of flows has guest, name, address and rule") {
  std::string table =
      flow_table({{"flows", {flow(7, "192.0.2.1:443", {"a.test"})}}, {"rest", 0}}, kNoWidth);
  CHECK(table.find("192.168.127.2:40000  -> 192.0.2.1:443 (a.test)  open    1m    0s  1.5K    12  "
                   "allow@public (profile public)\n") != std::string::npos);
}

TEST_CASE("a table of flows is as narrow as the terminal, and keeps the ends of names") {
  json page{{"flows",
             {flow(1, "192.0.2.1:443", {std::string(120, 'a') + ".example.test"}),
              flow(16384, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535")}},
            {"rest", 3}};
  for (std::size_t width : {80u, 100u, 120u}) {
    std::string table = flow_table(page, width);
    INFO(table);
    CHECK(widest(table) <= width);
    CHECK(table.find("aa.example.test:443") != std::string::npos);
    CHECK(table.find("and 3 more: --after 16384") != std::string::npos);
  }
}

TEST_CASE("a name from the guest can't move the cursor") {
  json one = flow(1, "192.0.2.1:443");
  one["server_name"] = "evil\x1b[2Jtest";
  CHECK(flow_table({{"flows", {one}}, {"rest", 0}}, kNoWidth).find('\x1b') == std::string::npos);
  CHECK(flow_details(one).find("evil\\x1b[2Jtest") != std::string::npos);
}

TEST_CASE("numbers of bytes and times stay short") {
  CHECK(short_bytes(0) == "0");
  CHECK(short_bytes(1023) == "1023");
  CHECK(short_bytes(1024) == "1.0K");
  CHECK(short_bytes(1048575) == "1.0M");
  CHECK(short_bytes(~std::uint64_t{0}) == "16E");
  CHECK(short_time(0.9) == "0s");
  CHECK(short_time(59.9) == "59s");
  CHECK(short_time(3599) == "59m");
  CHECK(short_time(86399) == "23h");
  CHECK(short_time(8640000) == "100d");
}
