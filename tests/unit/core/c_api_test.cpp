#include <net/sluice.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>

#include "core/engine_world.h"

using Catch::Matchers::Contains;

namespace {

struct Free {
  void operator()(sluice_config* config) const { sluice_config_free(config); }
  void operator()(sluice_network* network) const { sluice_network_free(network); }
  void operator()(sluice_ring* ring) const { sluice_ring_free(ring); }
};
using Config = std::unique_ptr<sluice_config, Free>;
using Network = std::unique_ptr<sluice_network, Free>;
using Ring = std::unique_ptr<sluice_ring, Free>;

struct Error {
  char text[200] = "";
};

Config make_config() {
  Config config(sluice_config_new());
  REQUIRE(config);
  REQUIRE(sluice_config_set(config.get(), "dns", "127.0.0.1:1", nullptr, 0) == SLUICE_OK);
  return config;
}

Network make_network(const Config& config = make_config()) {
  sluice_network* network = nullptr;
  Error error;
  auto status = sluice_network_create(config.get(), &network, error.text, sizeof error.text);
  INFO(error.text);
  REQUIRE(status == SLUICE_OK);
  return Network(network);
}

Ring make_ring(const Network& network, std::size_t frames = 0) {
  sluice_ring* ring = nullptr;
  REQUIRE(sluice_ring_attach(network.get(), frames, &ring, nullptr, 0) == SLUICE_OK);
  return Ring(ring);
}

bool wait_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 5000) == 1;
}

/// The guest sends an empty datagram from its port 9 to an address and port; without a checksum.
void send_datagram(const Ring& ring, const std::array<std::uint8_t, 4>& to, std::uint16_t port) {
  std::vector<std::uint8_t> frame{0x02, 0x53, 0x4c, 0x55, 0x49, 0x43, 0x52, 0x54, 0,   0,
                                  0,    1,    8,    0,    0x45, 0,    0,    28,   0,   0,
                                  0,    0,    64,   17,   0,    0,    192,  168,  127, 2};
  frame.insert(frame.end(), to.begin(), to.end());
  std::uint32_t sum = 0;
  for (std::size_t i = 14; i < 34; i += 2)
    sum += static_cast<unsigned>(frame[i] << 8 | frame[i + 1]);
  sum = ~((sum & 0xffff) + (sum >> 16));
  frame[24] = static_cast<std::uint8_t>(sum >> 8);
  frame[25] = static_cast<std::uint8_t>(sum);
  for (unsigned part : {0, 9, port >> 8, port & 0xff, 0, 8, 0, 0}) {
    frame.push_back(static_cast<std::uint8_t>(part));
  }
  iovec one{frame.data(), frame.size()};
  REQUIRE(sluice_ring_send(ring.get(), &one, 1) == SLUICE_OK);
  sluice_ring_flush(ring.get());
}

/// The flows that a filter lets through, one line each.
std::vector<std::string> list_flows(const Network& network, const sluice_flow_filter& filter = {},
                                    std::size_t* rest = nullptr) {
  std::vector<std::string> lines;
  auto visit = [](void* context, const sluice_flow* flow) {
    static_cast<std::vector<std::string>*>(context)->push_back(
        std::to_string(flow->id) + " " + flow->protocol + " " + flow->direction + " " +
        flow->state + " " + flow->guest + " " + flow->remote + " " + flow->rule);
  };
  REQUIRE(sluice_network_flows(network.get(), &filter, visit, &lines, rest, nullptr, 0) ==
          SLUICE_OK);
  return lines;
}

/// The guest's ARP request for the gateway.
std::vector<std::uint8_t> arp_request() {
  std::vector<std::uint8_t> frame{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,   0, 0,
                                  1,    8,    6,    0,    1,    8,    0,    6,    4,   0, 1,
                                  0x52, 0x54, 0,    0,    0,    1,    192,  168,  127, 2, 0,
                                  0,    0,    0,    0,    0,    192,  168,  127,  1};
  frame.resize(60);
  return frame;
}

}  // namespace

TEST_CASE("C: a NULL where none is allowed is an invalid argument, never a crash") {
  Config config = make_config();
  sluice_network* network = nullptr;
  sluice_ring* ring = nullptr;
  char text[64];
  iovec piece{text, sizeof text};
  sluice_counters counters;
  auto visit = [](void*, const char*) {};
  auto visit_flow = [](void*, const sluice_flow*) {};
  constexpr auto kBad = SLUICE_INVALID_ARGUMENT;

  CHECK(sluice_config_set(nullptr, "mtu", "1500", nullptr, 0) == kBad);
  CHECK(sluice_config_set(config.get(), nullptr, "1500", nullptr, 0) == kBad);
  CHECK(sluice_config_set(config.get(), "mtu", nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_create(nullptr, &network, nullptr, 0) == kBad);
  CHECK(sluice_network_create(config.get(), nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_publish(nullptr, "8080:80", nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_unpublish(nullptr, "8080:80", 0, nullptr, 0) == kBad);
  CHECK(sluice_network_forget(nullptr, "example.com", nullptr, 0) == kBad);
  CHECK(sluice_network_names_of(nullptr, "192.0.2.1", visit, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_gateway(nullptr, 4, text, sizeof text) == kBad);
  CHECK(sluice_network_flows(nullptr, nullptr, visit_flow, nullptr, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_flow(nullptr, 1, visit_flow, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_reset_flow(nullptr, 1, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_counters(nullptr, &counters) == kBad);
  CHECK(sluice_ring_attach(nullptr, 0, &ring, nullptr, 0) == kBad);
  CHECK(sluice_ring_attach_virtio(nullptr, 0, &ring, nullptr, 0) == kBad);
  CHECK(sluice_ring_send(nullptr, &piece, 1) == kBad);

  Network made = make_network(config);
  CHECK(sluice_network_publish(made.get(), nullptr, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_unpublish(made.get(), nullptr, 0, nullptr, 0) == kBad);
  CHECK(sluice_network_forget(made.get(), nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_names_of(made.get(), nullptr, visit, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_names_of(made.get(), "192.0.2.1", nullptr, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_gateway(made.get(), 4, nullptr, sizeof text) == kBad);
  CHECK(sluice_network_flows(made.get(), nullptr, nullptr, nullptr, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_flow(made.get(), 1, nullptr, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_network_counters(made.get(), nullptr) == kBad);
  CHECK(sluice_ring_attach(made.get(), 0, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_ring_attach_virtio(made.get(), 0, nullptr, nullptr, 0) == kBad);
  CHECK(sluice_ring_send(make_ring(made).get(), nullptr, 1) == kBad);
}

TEST_CASE("C: functions without a status take NULL for something that is not there") {
  sluice_config_free(nullptr);
  sluice_network_free(nullptr);
  sluice_ring_free(nullptr);
  sluice_config_on_denied(nullptr, nullptr, nullptr);
  sluice_ring_flush(nullptr);
  sluice_ring_clear_space_wake(nullptr);
  sluice_ring_clear_frames_wake(nullptr);
  sluice_ring_pop(nullptr);
  sluice_ring_pop_many(nullptr, 1);
  sluice_ring_set_guest_offloads(nullptr, SLUICE_GUEST_CHECKSUM);
  iovec frame;
  CHECK(sluice_ring_peek_many(nullptr, &frame, 1) == 0);
  CHECK(sluice_ring_space_fd(nullptr) == -1);
  CHECK(sluice_ring_frames_fd(nullptr) == -1);
  std::size_t size = 1;
  CHECK(sluice_ring_peek(nullptr, &size) == nullptr);
  CHECK(size == 0);
  CHECK(sluice_ring_peek(nullptr, nullptr) == nullptr);
  CHECK(sluice_ring_arm_receive(nullptr) == 1);
  CHECK(sluice_ring_closed(nullptr) == 1);
}

TEST_CASE("C: errors say what is wrong, cut to the room that there is") {
  Config config = make_config();
  Error error;
  CHECK(sluice_config_set(config.get(), "mtu", "12", error.text, sizeof error.text) ==
        SLUICE_INVALID_ARGUMENT);
  std::string whole = error.text;
  CHECK_THAT(whole, Contains("mtu") && Contains("1280"));
  char cut[8] = "#######";
  CHECK(sluice_config_set(config.get(), "mtu", "12", cut, sizeof cut) == SLUICE_INVALID_ARGUMENT);
  CHECK(cut == whole.substr(0, sizeof cut - 1));
  char untouched = '#';
  CHECK(sluice_config_set(config.get(), "mtu", "12", &untouched, 0) == SLUICE_INVALID_ARGUMENT);
  CHECK(untouched == '#');
  CHECK(sluice_config_set(config.get(), "no-such", "1", error.text, sizeof error.text) ==
        SLUICE_NOT_FOUND);
  CHECK(sluice_config_set(config.get(), "mtu", "1500", error.text, sizeof error.text) == SLUICE_OK);
  CHECK(std::string(error.text).empty());
}

TEST_CASE("C: a second Network is refused, and possible once the first is freed") {
  Network first = make_network();
  sluice_network* second = nullptr;
  Error error;
  CHECK(sluice_network_create(make_config().get(), &second, error.text, sizeof error.text) ==
        SLUICE_ALREADY_EXISTS);
  CHECK(second == nullptr);
  CHECK_FALSE(std::string(error.text).empty());
  first.reset();
  CHECK(make_network());
}

TEST_CASE("C: a configuration that can't be is refused by create, which leaves nothing behind") {
  Config config = make_config();
  REQUIRE(sluice_config_set(config.get(), "guest", "10.0.0.1", nullptr, 0) == SLUICE_OK);
  sluice_network* network = nullptr;
  Error error;
  CHECK(sluice_network_create(config.get(), &network, error.text, sizeof error.text) ==
        SLUICE_INVALID_ARGUMENT);
  CHECK_THAT(std::string(error.text), Contains("guest 10.0.0.1"));
  CHECK(network == nullptr);
  CHECK(make_network());
}

TEST_CASE("C: a configuration may go once the Network is made, and make another") {
  Config config = make_config();
  make_network(config).reset();
  Network network = make_network(config);
  config.reset();
  sluice_counters counters;
  CHECK(sluice_network_counters(network.get(), &counters) == SLUICE_OK);
  CHECK(counters.tcp_flows == 0);
}

TEST_CASE("C: ports are published and withdrawn, with the host's port told") {
  Network network = make_network();
  std::uint16_t port = 0;
  Error error;
  CHECK(sluice_network_publish(network.get(), "0:80", &port, nullptr, 0) == SLUICE_OK);
  CHECK(port != 0);
  std::string taken = std::to_string(port) + ":81";
  CHECK(sluice_network_publish(network.get(), taken.c_str(), nullptr, error.text,
                               sizeof error.text) != SLUICE_OK);
  CHECK_THAT(std::string(error.text), Contains(std::to_string(port)));
  CHECK(sluice_network_publish(network.get(), "eighty", nullptr, nullptr, 0) ==
        SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_unpublish(network.get(), "eighty", 0, nullptr, 0) ==
        SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_unpublish(network.get(), "1:80", 1, error.text, sizeof error.text) ==
        SLUICE_NOT_FOUND);
  CHECK(sluice_network_unpublish(network.get(), "0:80", 1, nullptr, 0) == SLUICE_OK);
  CHECK(sluice_network_unpublish(network.get(), "0:80", 1, nullptr, 0) == SLUICE_NOT_FOUND);
  CHECK(sluice_network_publish(network.get(), taken.c_str(), nullptr, nullptr, 0) == SLUICE_OK);
}

TEST_CASE("C: names and addresses that are none are refused") {
  Network network = make_network();
  int visited = 0;
  auto visit = [](void* context, const char*) { ++*static_cast<int*>(context); };
  CHECK(sluice_network_names_of(network.get(), "1.2.3", visit, &visited, nullptr, 0) ==
        SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_names_of(network.get(), "192.0.2.1", visit, &visited, nullptr, 0) ==
        SLUICE_OK);
  CHECK(visited == 0);
  CHECK(sluice_network_forget(network.get(), "not a name", nullptr, 0) == SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_forget(network.get(), "example.com", nullptr, 0) == SLUICE_OK);
}

TEST_CASE("C: the gateway's address needs room for all of it and a family that there is") {
  Network network = make_network();
  char text[64] = "#";
  CHECK(sluice_network_gateway(network.get(), 4, text, sizeof text) == SLUICE_OK);
  CHECK(std::string(text) == "192.168.127.1");
  CHECK(sluice_network_gateway(network.get(), 4, text, 14) == SLUICE_OK);
  CHECK(sluice_network_gateway(network.get(), 4, text, 13) == SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_gateway(network.get(), 4, text, 0) == SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_network_gateway(network.get(), 6, text, sizeof text) == SLUICE_OK);
  CHECK(std::string(text) == "fd53:4c55:4943::1");
  CHECK(sluice_network_gateway(network.get(), 5, text, sizeof text) == SLUICE_INVALID_ARGUMENT);
}

TEST_CASE("C: rings have 16 to 65536 places, and one guest has one") {
  Network network = make_network();
  sluice_ring* ring = nullptr;
  Error error;
  for (std::size_t frames : {std::size_t{1}, std::size_t{15}, std::size_t{65537}, SIZE_MAX}) {
    CHECK(sluice_ring_attach(network.get(), frames, &ring, error.text, sizeof error.text) ==
          SLUICE_INVALID_ARGUMENT);
    CHECK(ring == nullptr);
    CHECK_FALSE(std::string(error.text).empty());
  }
  Ring first = make_ring(network, 16);
  CHECK(sluice_ring_attach(network.get(), 16, &ring, nullptr, 0) == SLUICE_ALREADY_EXISTS);
  CHECK(ring == nullptr);
}

TEST_CASE("C: a frame goes in and the gateway's answer comes out") {
  Network network = make_network();
  Ring ring = make_ring(network);
  std::vector<std::uint8_t> frame = arp_request();
  iovec pieces[] = {{frame.data(), 14}, {frame.data() + 14, frame.size() - 14}};
  REQUIRE(sluice_ring_send(ring.get(), pieces, 2) == SLUICE_OK);
  sluice_ring_flush(ring.get());
  bool answered = false;
  while (!answered) {
    std::size_t size = 0;
    if (const std::uint8_t* next = sluice_ring_peek(ring.get(), &size)) {
      answered = size >= 42 && next[12] == 8 && next[13] == 6 && next[21] == 2;
      sluice_ring_pop(ring.get());
    } else if (sluice_ring_arm_receive(ring.get())) {
      REQUIRE(wait_readable(sluice_ring_frames_fd(ring.get())));
      sluice_ring_clear_frames_wake(ring.get());
    }
  }
  sluice_counters counters;
  REQUIRE(sluice_network_counters(network.get(), &counters) == SLUICE_OK);
  CHECK(counters.tx_frames == 1);
  CHECK(counters.rx_frames >= 1);
}

TEST_CASE("C: frames behind virtio headers go both ways, many at a time") {
  Network network = make_network();
  sluice_ring* made = nullptr;
  REQUIRE(sluice_ring_attach_virtio(network.get(), 0, &made, nullptr, 0) == SLUICE_OK);
  Ring ring(made);
  sluice_ring_set_guest_offloads(ring.get(), SLUICE_GUEST_CHECKSUM | SLUICE_GUEST_TCP4);
  std::vector<std::uint8_t> frame = arp_request();
  std::array<std::uint8_t, 12> header{};
  std::array<iovec, 2> pieces{iovec{header.data(), header.size()},
                              iovec{frame.data(), frame.size()}};
  for (int i = 0; i < 2; ++i) REQUIRE(sluice_ring_send(ring.get(), pieces.data(), 2) == SLUICE_OK);
  sluice_ring_flush(ring.get());
  int answers = 0;
  while (answers < 2) {
    std::array<iovec, 8> frames;
    std::size_t count = sluice_ring_peek_many(ring.get(), frames.data(), frames.size());
    for (std::size_t i = 0; i < count; ++i) {
      const auto* bytes = static_cast<const std::uint8_t*>(frames[i].iov_base);
      CHECK(bytes[10] == 1);  // num_buffers
      answers += frames[i].iov_len >= 12 + 42 && bytes[12 + 12] == 8 && bytes[12 + 13] == 6 &&
                 bytes[12 + 21] == 2;
    }
    sluice_ring_pop_many(ring.get(), count);
    if (count == 0 && sluice_ring_arm_receive(ring.get())) {
      REQUIRE(wait_readable(sluice_ring_frames_fd(ring.get())));
      sluice_ring_clear_frames_wake(ring.get());
    }
  }
}

TEST_CASE("C: what no NIC could send is refused, and taking from an empty ring is nothing") {
  Network network = make_network();
  Ring ring = make_ring(network);
  std::vector<std::uint8_t> bytes(65551);
  iovec one{bytes.data(), 13};
  CHECK(sluice_ring_send(ring.get(), &one, 1) == SLUICE_INVALID_ARGUMENT);
  one.iov_len = 65551;
  CHECK(sluice_ring_send(ring.get(), &one, 1) == SLUICE_INVALID_ARGUMENT);
  one.iov_len = 14;
  CHECK(sluice_ring_send(ring.get(), &one, 0) == SLUICE_INVALID_ARGUMENT);
  CHECK(sluice_ring_send(ring.get(), &one, 1) == SLUICE_OK);
  while (sluice_ring_peek(ring.get(), nullptr)) sluice_ring_pop(ring.get());
  sluice_ring_pop(ring.get());
  sluice_ring_clear_frames_wake(ring.get());
  sluice_ring_clear_space_wake(ring.get());
}

TEST_CASE("C: a ring outlives its Network, closed, and its sleeper is woken") {
  Network network = make_network();
  Ring ring = make_ring(network);
  CHECK(sluice_ring_closed(ring.get()) == 0);
  std::vector<std::uint8_t> bytes(60);
  iovec one{bytes.data(), bytes.size()};
  while (sluice_ring_peek(ring.get(), nullptr)) sluice_ring_pop(ring.get());
  std::thread sleeper([&] {
    while (!sluice_ring_closed(ring.get())) {
      if (sluice_ring_arm_receive(ring.get())) {
        if (!wait_readable(sluice_ring_frames_fd(ring.get()))) return;
        sluice_ring_clear_frames_wake(ring.get());
      }
      while (sluice_ring_peek(ring.get(), nullptr)) sluice_ring_pop(ring.get());
    }
  });
  network.reset();
  sleeper.join();
  CHECK(sluice_ring_closed(ring.get()) == 1);
  CHECK(sluice_ring_send(ring.get(), &one, 1) == SLUICE_CLOSED);
  sluice_ring_flush(ring.get());
  ring.reset();
  CHECK(make_ring(make_network()));
}

TEST_CASE("C: a ring that is freed makes room for another guest") {
  Network network = make_network();
  make_ring(network).reset();
  sluice_ring* ring = nullptr;
  // The Network's thread learns of it when it is woken.
  for (int i = 0; i < 500 && !ring; ++i) {
    if (sluice_ring_attach(network.get(), 0, &ring, nullptr, 0) == SLUICE_OK) break;
    ::poll(nullptr, 0, 10);
  }
  CHECK(Ring(ring));
}

TEST_CASE("C: refusals are told to the callback, one line each") {
  Config config = make_config();
  REQUIRE(sluice_config_set(config.get(), "profile", "none", nullptr, 0) == SLUICE_OK);
  struct Seen {
    std::string line;
    int fd[2];
  } seen;
  REQUIRE(::pipe(seen.fd) == 0);
  sluice_config_on_denied(
      config.get(),
      [](void* context, const char* line) {
        auto& told = *static_cast<Seen*>(context);
        told.line = line;
        static_cast<void>(!::write(told.fd[1], "x", 1));
      },
      &seen);
  Network network = make_network(config);
  Ring ring = make_ring(network);
  send_datagram(ring, {203, 0, 113, 5}, 9);
  CHECK(wait_readable(seen.fd[0]));
  network.reset();
  CHECK_THAT(seen.line, Contains("denied udp 192.168.127.2:9 -> 203.0.113.5:9"));
  ::close(seen.fd[0]);
  ::close(seen.fd[1]);
}

TEST_CASE("C: open flows are listed, looked at and reset") {
  Config config = make_config();
  REQUIRE(sluice_config_set(config.get(), "rule", "allow@host:udp", nullptr, 0) == SLUICE_OK);
  Network network = make_network(config);
  Ring ring = make_ring(network);
  CHECK(list_flows(network).empty());
  // The gateway's ports are those of this host's loopback.
  send_datagram(ring, {192, 168, 127, 1}, 40001);
  send_datagram(ring, {192, 168, 127, 1}, 40002);
  for (int i = 0; i < 500 && list_flows(network).size() < 2; ++i) ::poll(nullptr, 0, 10);

  const std::string first =
      "1 udp egress unanswered 192.168.127.2:9 192.168.127.1:40001 rule \"allow@host:udp\"";
  auto all = list_flows(network);
  REQUIRE(all.size() == 2);
  CHECK(all[0].starts_with(first));
  std::size_t rest = 0;
  CHECK(list_flows(network, {.limit = 1}, &rest).size() == 1);
  CHECK(rest == 1);
  CHECK(list_flows(network, {.after = 1}, &rest) == std::vector{all[1]});
  CHECK(rest == 0);
  CHECK(list_flows(network, {.protocol = "tcp"}).empty());
  CHECK(list_flows(network, {.protocol = "udp", .direction = "egress"}).size() == 2);
  CHECK(list_flows(network, {.to = "203.0.113.0/24"}).empty());

  std::uint64_t seen = 0;
  auto visit = [](void* context, const sluice_flow* flow) {
    *static_cast<std::uint64_t*>(context) = flow->id;
    CHECK(flow->name_count == 0);
    CHECK(std::string(flow->server_name).empty());
  };
  CHECK(sluice_network_flow(network.get(), 1, visit, &seen, nullptr, 0) == SLUICE_OK);
  CHECK(seen == 1);
  int was_open = -1;
  CHECK(sluice_network_reset_flow(network.get(), 1, &was_open, nullptr, 0) == SLUICE_OK);
  CHECK(was_open == 1);
  CHECK(sluice_network_reset_flow(network.get(), 1, &was_open, nullptr, 0) == SLUICE_OK);
  CHECK(was_open == 0);
  CHECK(list_flows(network) == std::vector{all[1]});
  Error error;
  CHECK(sluice_network_flow(network.get(), 1, visit, &seen, error.text, sizeof error.text) ==
        SLUICE_NOT_FOUND);
  CHECK_THAT(std::string(error.text), Contains("flow 1"));
  CHECK(sluice_network_reset_flow(network.get(), 99, nullptr, nullptr, 0) == SLUICE_NOT_FOUND);
}

TEST_CASE("C: a filter of flows that can't be is refused, and nothing is shown") {
  Network network = make_network();
  auto visit = [](void*, const sluice_flow*) { FAIL("shown"); };
  for (sluice_flow_filter filter :
       {sluice_flow_filter{.to = "not a name"}, sluice_flow_filter{.protocol = "sctp"},
        sluice_flow_filter{.direction = "any"}}) {
    Error error;
    CHECK(sluice_network_flows(network.get(), &filter, visit, nullptr, nullptr, error.text,
                               sizeof error.text) == SLUICE_INVALID_ARGUMENT);
    CHECK_FALSE(std::string(error.text).empty());
  }
}
