#include "hostd/api/event_query.h"

#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace sluice;
using hostd::EventLog;

namespace {

Event event(EventKind kind, Layer layer, const char* source, const char* destination,
            std::vector<std::string> names = {}, std::string server_name = {}) {
  Event out;
  out.kind = kind;
  out.layer = layer;
  out.source = *Endpoint::parse(source);
  out.destination = *Endpoint::parse(destination);
  out.names = std::move(names);
  out.server_name = std::move(server_name);
  return out;
}

/// A guest that looked a name up, reached it, was refused another, and has a client.
struct Log {
  Log() {
    const char *guest = "192.168.127.2:40000", *server = "203.0.113.5:443";
    add(event(EventKind::allowed, Layer::dns, guest, "192.168.127.1:53", {"a.example.com"}));
    add(event(EventKind::allowed, Layer::syn, guest, server, {"a.example.com"}));
    add(event(EventKind::denied, Layer::first_flight, guest, server, {"a.example.com"},
              "other.test"));
    add(event(EventKind::denied, Layer::udp, guest, "[2001:db8::1]:53"));
    add(event(EventKind::denied, Layer::ingress, "198.51.100.7:99", "192.168.127.2:80"));
    add(event(EventKind::closed, Layer::syn, guest, server, {"a.example.com"}));
  }
  void add(const Event& one) { log.append("{\"x\":1}", hostd::facts_of(one)); }

  hostd::HttpResponse ask(const std::map<std::string, std::string>& query) {
    hostd::HttpRequest request;
    for (const auto& [name, value] : query) request.query[name] = value;
    return hostd::answer_events(log, request);
  }
  std::vector<int> found(const std::map<std::string, std::string>& query) {
    auto response = ask(query);
    REQUIRE(response.status == 200);
    std::vector<int> out;
    auto page = nlohmann::json::parse(response.body);
    for (const auto& one : page["events"]) out.push_back(one["seq"].get<int>());
    return out;
  }

  EventLog log;
};

using Found = std::vector<int>;

}  // namespace

TEST_CASE("events are found by kind and layer") {
  Log log;
  CHECK(log.found({}) == Found{1, 2, 3, 4, 5, 6});
  CHECK(log.found({{"event", "denied"}}) == Found{3, 4, 5});
  CHECK(log.found({{"event", "closed"}}) == Found{6});
  CHECK(log.found({{"layer", "syn"}}) == Found{2, 6});
  CHECK(log.found({{"layer", "first-flight"}, {"event", "denied"}}) == Found{3});
  CHECK(log.found({{"layer", "dns"}, {"event", "denied"}}).empty());
}

TEST_CASE("events are found by where they lead: address, block, name and suffix") {
  Log log;
  CHECK(log.found({{"to", "203.0.113.5"}}) == Found{2, 3, 6});
  CHECK(log.found({{"to", "203.0.113.0/24"}, {"event", "denied"}}) == Found{3});
  CHECK(log.found({{"to", "2001:db8::/32"}}) == Found{4});
  CHECK(log.found({{"to", "A.Example.com."}}) == Found{1, 2, 3, 6});
  CHECK(log.found({{"to", "*.example.com"}}) == Found{1, 2, 3, 6});
  CHECK(log.found({{"to", "example.com"}}).empty());
  CHECK(log.found({{"to", "other.test"}}) == Found{3});
  // Of a published port the client is the far end.
  CHECK(log.found({{"to", "198.51.100.7"}}) == Found{5});
  CHECK(log.found({{"to", "192.168.127.2"}}).empty());
}

TEST_CASE("a limit gives the latest events, or the first after a number") {
  Log log;
  CHECK(log.found({{"limit", "2"}}) == Found{5, 6});
  CHECK(log.found({{"limit", "2"}, {"after", "1"}}) == Found{2, 3});
  CHECK(log.found({{"limit", "1"}, {"event", "denied"}, {"after", "3"}}) == Found{4});
  CHECK(log.found({{"after", "6"}}).empty());
  CHECK(nlohmann::json::parse(log.ask({{"limit", "2"}}).body)["rest"] == 4);
}

TEST_CASE("a stream has what was asked for alone, and goes on so") {
  Log log;
  auto response = log.ask({{"follow", "1"}, {"event", "denied"}, {"limit", "1"}});
  REQUIRE(response.stream);
  std::string first = response.stream->pull();
  CHECK(first.find("id: 5\n") != std::string::npos);
  CHECK(first.find("id: 4\n") == std::string::npos);
  log.add(event(EventKind::closed, Layer::udp, "192.168.127.2:1", "203.0.113.5:1"));
  CHECK(response.stream->pull().empty());
  log.add(event(EventKind::denied, Layer::udp, "192.168.127.2:1", "203.0.113.5:1"));
  CHECK(response.stream->pull().find("id: 8\n") == 0);
}

TEST_CASE("what makes no sense is refused with what would") {
  Log log;
  for (const auto& [name, value] : std::map<std::string, std::string>{{"event", "refused"},
                                                                      {"layer", "tcp"},
                                                                      {"to", "a b"},
                                                                      {"limit", "0"},
                                                                      {"after", "-1"}}) {
    INFO(name);
    for (bool follows : {false, true}) {
      std::map<std::string, std::string> query{{name, value}};
      if (follows) query["follow"] = "1";
      CHECK(log.ask(query).status == 400);
    }
  }
  CHECK(log.ask({{"layer", "tcp"}}).body.find("first-flight") != std::string::npos);
  CHECK(log.ask({{"limit", "4097"}}).body.find("1 to 4096") != std::string::npos);
}
