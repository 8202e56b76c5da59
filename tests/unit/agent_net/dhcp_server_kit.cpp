#include "dhcp_server_kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

namespace sluice::test {

using wire::DhcpOption;
using wire::DhcpType;

namespace {

const IpAddress kServerAddress = IpAddress::v4(10, 77, 0, 1);

}  // namespace

ScriptedServer::ScriptedServer(const Namespace& space, Loop& loop) {
  // A socket stays in the namespace in which it was made.
  space.run([&] {
    fd_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int on = 1;
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_port = htons(67);
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0);
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_BINDTODEVICE, "srv0", 4) == 0);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) == 0);
  });
  watch_ = loop.watch(fd_.get(), {.readable = true}, [this](FdReady) { on_readable(); });
}

void ScriptedServer::on_readable() {
  std::array<std::uint8_t, 2048> buffer;
  sockaddr_in from{};
  socklen_t size = sizeof from;
  while (true) {
    ssize_t n = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0,
                           reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) return;
    auto question = wire::DhcpView::parse(ConstBytes(buffer).first(static_cast<std::size_t>(n)));
    if (!question) continue;
    heard.push_back({question->type(), question->has(DhcpOption::requested_address),
                     question->client_address(), IpAddress::v4(ntohl(from.sin_addr.s_addr))});
    if (!is_silent) answer(*question);
  }
}

void ScriptedServer::answer(const wire::DhcpView& question) {
  bool asks = question.type() == DhcpType::discover;
  if (!asks && question.type() != DhcpType::request) return;
  DhcpType type = asks ? DhcpType::offer : refuses ? DhcpType::nak : DhcpType::ack;
  wire::DhcpBuilder builder({.transaction = question.transaction(),
                             .your_address = type == DhcpType::nak ? IpAddress() : address,
                             .client_mac = question.client_mac(),
                             .type = type});
  builder.add(DhcpOption::server_id, kServerAddress);
  if (type != DhcpType::nak) {
    builder.add(DhcpOption::subnet_mask, wire::subnet_mask(24));
    builder.add(DhcpOption::routers, kServerAddress);
    builder.add32(DhcpOption::lease_seconds, lease_seconds);
    builder.add32(DhcpOption::renewal_seconds, renewal_seconds);
    if (more) more(builder);
  }
  auto bytes = builder.finish();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(68);
  bool knows_address = !question.client_address().is_unspecified();
  to.sin_addr.s_addr =
      knows_address ? htonl(question.client_address().v4_value()) : htonl(INADDR_BROADCAST);
  ::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
}

Dnsmasq::Dnsmasq(const Namespace& space, Families families) {
  std::string pattern = "/tmp/sluice-dnsmasq-XXXXXX";
  directory_ = ::mkdtemp(pattern.data());
  std::vector<std::string> arguments{"dnsmasq",
                                     "--keep-in-foreground",
                                     "--log-facility=" + directory_ + "/log",
                                     "--conf-file=/dev/null",
                                     "--no-hosts",
                                     "--no-resolv",
                                     "--port=0",
                                     "--user=root",
                                     "--pid-file=",
                                     "--interface=srv0",
                                     "--bind-interfaces",
                                     "--enable-ra",
                                     "--dhcp-range=fd77::,ra-only,64",
                                     "--dhcp-option=option6:dns-server,[fd77::1]",
                                     "--dhcp-option=option6:domain-search,v6.example"};
  const std::vector<std::string> ipv4{
      "--no-ping",
      "--dhcp-leasefile=" + directory_ + "/leases",
      "--dhcp-authoritative",
      "--dhcp-rapid-commit",
      "--dhcp-range=10.77.0.10,10.77.0.10,255.255.255.0,120",
      "--dhcp-option=option:router,10.77.0.1",
      "--dhcp-option=option:mtu,1400",
      "--dhcp-option=option:dns-server,10.77.0.1,10.77.0.3",
      "--dhcp-option=option:T1,3",
      "--domain=vm.internal",
      "--dhcp-option=option:domain-search,a.example,b.example",
      "--dhcp-option=option:classless-static-route,0.0.0.0/0,10.77.0.1,10.99.0.0/16,10.77.0.7"};
  if (families == Families::both) arguments.insert(arguments.end(), ipv4.begin(), ipv4.end());
  space.run([&] { process_ = std::make_unique<Process>(arguments); });
  // Once it listens, it says so.
  TimePoint deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  std::string log = directory_ + "/log";
  while (output_of("grep -s router.advertisement " + log).empty()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    ::poll(nullptr, 0, 5);
  }
}

Dnsmasq::~Dnsmasq() {
  process_.reset();
  std::filesystem::remove_all(directory_);
}

}  // namespace sluice::test
