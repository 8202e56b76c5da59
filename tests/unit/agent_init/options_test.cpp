#include "agent/init/options.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

Options of_arguments(const std::vector<std::string>& arguments) {
  auto options = options_of_arguments(arguments);
  INFO((options ? "" : options.status().message()));
  REQUIRE(options);
  return *options;
}

std::string refusal(const std::vector<std::string>& arguments) {
  auto options = options_of_arguments(arguments);
  REQUIRE_FALSE(options);
  CHECK(options.status().code() == StatusCode::invalid_argument);
  return options.status().message();
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("a service that is told nothing serves nothing") {
  Options options = of_arguments({});
  CHECK(options.unix_sockets.empty());
  CHECK_FALSE(options.vsock_port);
  CHECK(options.serial.empty());
  CHECK_FALSE(options.stdio);
}

TEST_CASE("an init that is told nothing serves vsock and virtio-serial") {
  Options options = options_of_kernel("BOOT_IMAGE=/vmlinuz root=/dev/vda ro quiet");
  CHECK(options.vsock_port == 1024);
  CHECK(options.serial == "sluice.agent");
  CHECK(options.hostname.empty());
  CHECK(options.modules.empty());
  CHECK_FALSE(options.halt_on_failure);
  CHECK(options.problems.empty());
}

TEST_CASE("every option has one name in both places") {
  Options kernel = options_of_kernel(
      "sluice.unix=/a sluice.unix=/b sluice.vsock=99 sluice.serial=port sluice.hostname=box "
      "sluice.modules=x,y-z sluice.on-init-failure=halt\n");
  Options arguments = of_arguments({"--unix", "/a", "--unix=/b", "--vsock", "99", "--serial=port"});
  CHECK(kernel.problems.empty());
  for (const Options& options : {kernel, arguments}) {
    CHECK(options.unix_sockets == Words{"/a", "/b"});
    CHECK(options.vsock_port == 99);
    CHECK(options.serial == "port");
  }
  CHECK(kernel.hostname == "box");
  CHECK(kernel.modules == Words{"x", "y-z"});
  CHECK(kernel.halt_on_failure);
  CHECK(of_arguments({"--stdio"}).stdio);
}

TEST_CASE("off is off") {
  Options options = options_of_kernel("sluice.vsock=off sluice.serial=off");
  CHECK_FALSE(options.vsock_port);
  CHECK(options.serial.empty());
}

TEST_CASE("of an option said twice the last counts") {
  Options options = options_of_kernel(
      "sluice.vsock=off sluice.vsock=5 sluice.on-init-failure=halt "
      "sluice.on-init-failure=continue");
  CHECK(options.vsock_port == 5);
  CHECK_FALSE(options.halt_on_failure);
}

TEST_CASE("values are taken at their limits and not beyond") {
  CHECK(of_arguments({"--vsock", "1"}).vsock_port == 1);
  CHECK(of_arguments({"--vsock", "4294967295"}).vsock_port == 4294967295U);
  for (const char* port : {"0", "4294967296", "-1", "+1", " 1", "1 ", "0x10", "1e3", "", "on"}) {
    CHECK(refusal({"--vsock", port}).find("is not a port") != std::string::npos);
  }
  CHECK(options_of_kernel("sluice.hostname=" + std::string(64, 'a')).hostname.size() == 64);
  for (const std::string& name :
       {std::string(65, 'a'), std::string(), std::string("a b"), std::string("a/b"),
        std::string("a\nb"), std::string("Zürich"), std::string("a_b")}) {
    CHECK(refusal({"--hostname", name}).find("is not a host name") != std::string::npos);
  }
  CHECK(options_of_kernel("sluice.hostname=A-1.example").hostname == "A-1.example");
  CHECK(refusal({"--on-init-failure", "Halt"}).find("neither halt nor continue") !=
        std::string::npos);
  CHECK(refusal({"--unix", ""}).find("a path is needed") != std::string::npos);
}

TEST_CASE("empty names in a list of modules are none") {
  CHECK(options_of_kernel("sluice.modules=,a,,b,").modules == Words{"a", "b"});
  CHECK(options_of_kernel("sluice.modules=").modules.empty());
}

TEST_CASE("what only an init does is refused to a service, and told where it belongs") {
  for (const Words& arguments :
       {Words{"--hostname", "box"}, Words{"--modules=a"}, Words{"--on-init-failure", "halt"},
        Words{"--net", "dhcp"}, Words{"--ip", "192.0.2.2/24"}, Words{"--mtu", "1400"}}) {
    std::string said = refusal(arguments);
    CHECK(said.find(arguments[0].substr(0, arguments[0].find('='))) == 0);
    CHECK(said.find("only the guest's init uses it, as sluice.") != std::string::npos);
  }
}

TEST_CASE("an init's network is by DHCP and advertisements, fixed where it has addresses, or off") {
  auto network = [](const std::string& words) {
    Options options = options_of_kernel(words);
    CHECK(options.problems.empty());
    return options.network;
  };
  REQUIRE(network(""));
  CHECK(*network("") == NetworkConfig{});
  CHECK(*network("sluice.net=dhcp") == NetworkConfig{});
  CHECK_FALSE(network("sluice.net=off"));
  auto fixed = network(
      "sluice.ip=192.0.2.2/24,2001:db8::2/64 sluice.gateway=192.0.2.1,2001:db8::1 sluice.nic=eth1 "
      "sluice.dns=192.0.2.1,192.0.2.3 sluice.search=a.example,b.example sluice.mtu=1400");
  REQUIRE(fixed);
  CHECK(fixed->ipv4 == Ipv4Mode::fixed);
  CHECK(fixed->ipv6 == Ipv6Mode::fixed);
  REQUIRE(fixed->addresses.size() == 2);
  CHECK(fixed->addresses[0] == *AddressOnLink::parse("192.0.2.2/24"));
  CHECK(fixed->gateway4 == *IpAddress::parse("192.0.2.1"));
  CHECK(fixed->gateway6 == *IpAddress::parse("2001:db8::1"));
  CHECK(fixed->interface == "eth1");
  CHECK(fixed->dns_servers.size() == 2);
  CHECK(fixed->search.size() == 2);
  CHECK(fixed->mtu == 1400);
  CHECK(network("sluice.ip=192.0.2.2/24")->ipv6 == Ipv6Mode::adverts);
}

TEST_CASE("a network that contradicts itself, or can't be read, is told, and is by DHCP") {
  for (const char* words :
       {"sluice.net=static", "sluice.ip=192.0.2.2/33", "sluice.ip=", "sluice.gateway=x",
        "sluice.dns=192.0.2.1,,", "sluice.search=a..b", "sluice.mtu=big", "sluice.mtu=1279",
        "sluice.mtu=65536", "sluice.mtu=-1"}) {
    Options options = options_of_kernel(words);
    INFO(words);
    CHECK(options.problems.size() == 1);
    REQUIRE(options.network);
    CHECK(options.network->ipv4 == Ipv4Mode::dhcp);
    CHECK(options.network->mtu == 0);
  }
  CHECK(options_of_kernel("sluice.mtu=1280").network->mtu == 1280);
  CHECK(options_of_kernel("sluice.mtu=65535").network->mtu == 65535);
}

TEST_CASE("an unknown argument is named, with those that there are") {
  CHECK(refusal({"--bogus"}).find("--bogus") == 0);
  CHECK(refusal({"--bogus"}).find("on-init-failure") != std::string::npos);
  CHECK(refusal({"bogus"}).find("'bogus'") == 0);
  CHECK(refusal({"-v"}).find("'-v'") == 0);
  CHECK(refusal({"--"}).find("--") == 0);
  CHECK(refusal({"--=x"}).find("--") == 0);
  CHECK(refusal({"--unix"}) == "--unix needs PATH");
  CHECK(refusal({"--stdio", "--vsock"}) == "--vsock needs PORT|off");
}

TEST_CASE("what is wrong on a kernel's command line is told and changes nothing else") {
  Options options = options_of_kernel(
      "sluice.vsock=x sluice.hostname= sluice.bogus=1 sluice. sluice.unix sluice.hostname=box");
  CHECK(options.vsock_port == 1024);
  CHECK(options.hostname == "box");
  REQUIRE(options.problems.size() == 5);
  CHECK(options.problems[0].text.find("sluice.vsock=x: ") == 0);
  CHECK(options.problems[2].text.find("sluice.bogus=1: there is no such option") == 0);
  CHECK(options.problems[4].text.find("sluice.unix: a path is needed") == 0);
}

TEST_CASE("words of others on a kernel's command line are theirs") {
  Options options = options_of_kernel(
      "\tsluicex.vsock=1  xsluice.vsock=1 sluice=1 SLUICE.vsock=1 -- sluice.vsock=7\n");
  CHECK(options.problems.empty());
  CHECK(options.vsock_port == 7);
  CHECK(options_of_kernel("").problems.empty());
  CHECK(options_of_kernel("   \n").problems.empty());
}

TEST_CASE("a value may have '=' in it") {
  CHECK(options_of_kernel("sluice.unix=/run/a=b").unix_sockets == Words{"/run/a=b"});
  CHECK(of_arguments({"--unix=/run/a=b"}).unix_sockets == Words{"/run/a=b"});
}

TEST_CASE("the help has every option") {
  for (const char* name :
       {"--unix PATH", "--vsock PORT|off", "--serial NAME|off", "sluice.hostname=NAME",
        "sluice.modules=A,B", "sluice.on-init-failure=halt|continue", "sluice.ip=ADDR/LEN,...",
        "--stdio", "--version"}) {
    CHECK(usage().find(name) != std::string::npos);
  }
}

TEST_CASE("a root is a device or a share, read-only unless asked for otherwise") {
  Options options = options_of_kernel("root=/dev/sda sluice.root=/dev/vda");
  CHECK(options.problems.empty());
  CHECK(options.root.device == "/dev/vda");
  CHECK_FALSE(options.root.writable);
  CHECK(options.root.init == "/sbin/init");
  options = options_of_kernel("sluice.root=virtiofs:root,rw sluice.init=/sbin/agent");
  CHECK(options.root.device == "virtiofs:root");
  CHECK(options.root.writable);
  CHECK(options.root.init == "/sbin/agent");
}

TEST_CASE("a root that is no device or share, and a relative init, are problems") {
  for (const char* word : {"sluice.root=vda", "sluice.root=/dev/", "sluice.root=virtiofs:",
                           "sluice.root=/dev/vda,ro", "sluice.root=", "sluice.init=init"}) {
    Options options = options_of_kernel(word);
    INFO(word);
    REQUIRE(options.problems.size() == 1);
    CHECK(options.problems[0].text.find(word) == 0);
    CHECK(options.root.device.empty());
    CHECK(options.root.init == "/sbin/init");
  }
}

TEST_CASE("a device may have any file system that the kernel knows and that is on devices") {
  using Types = std::vector<std::string>;
  CHECK(device_file_systems("nodev\tsysfs\nnodev\ttmpfs\n\text4\n\terofs\n") ==
        Types{"erofs", "ext4"});
  CHECK(device_file_systems("").empty());
  CHECK(device_file_systems("\t\nnodev\n").empty());
}

TEST_CASE("dns= is the guest's own resolver on or off, and resolvers") {
  Options options = options_of_kernel(
      "sluice.dns=off sluice.dns=10.0.2.1 sluice.dns_suffix=box.test "
      "sluice.dns_listen=127.0.0.1,[::1]:5353");
  CHECK(options.problems.empty());
  CHECK(options.dns.on == false);
  CHECK(options.network->dns_servers.size() == 1);
  CHECK(options.dns.suffix.text() == "box.test");
  REQUIRE(options.dns.listen.size() == 2);
  CHECK(options.dns.listen[0].to_string() == "127.0.0.1:53");
  CHECK(options.dns.listen[1].to_string() == "[::1]:5353");
  CHECK_FALSE(options_of_kernel("").dns.on);
  CHECK(of_arguments({"--dns", "on"}).dns.on == true);
}

TEST_CASE("a suffix that is the gateway's, and an address that is none, are refused") {
  for (const char* word :
       {"sluice.dns_suffix=vm.internal", "sluice.dns_suffix=a.vm.internal",
        "sluice.dns_suffix=", "sluice.dns_suffix=a..b", "sluice.dns_listen=0.0.0.0",
        "sluice.dns_listen=[::]:53", "sluice.dns_listen=here", "sluice.dns=maybe"}) {
    INFO(word);
    Options options = options_of_kernel(word);
    CHECK(options.problems.size() == 1);
    CHECK(options.dns.suffix.is_root());
    CHECK(options.dns.listen.empty());
  }
}

TEST_CASE("tcp= is a port or an address with one, and needs a token") {
  const std::string token(64, 'a');
  Options options = options_of_kernel("sluice.tcp=1024 sluice.token=" + token +
                                      " sluice.tcp_from=10.0.0.1,fd00::/64");
  CHECK(options.problems.empty());
  CHECK(options.tcp.listen->to_string() == "[::]:1024");
  CHECK(options.tcp.token->digits() == token);
  CHECK(options.tcp.from.size() == 2);
  options = options_of_kernel("sluice.tcp=10.0.0.2:7 sluice.token-file=/run/token");
  CHECK(options.problems.empty());
  CHECK(options.tcp.listen->to_string() == "10.0.0.2:7");
  CHECK(options.tcp.token_file == "/run/token");
  CHECK_FALSE(options_of_kernel("").tcp.listen);

  options = options_of_kernel("sluice.tcp=1024");
  CHECK_FALSE(options.tcp.listen);
  CHECK(options.problems.size() == 1);
  CHECK_FALSE(options_of_arguments({"--tcp", "1024"}).is_ok());
  CHECK(options_of_arguments({"--tcp", "1024", "--token-file", "/x"}).is_ok());
}

TEST_CASE("a port, an address or a token that is none is a problem") {
  for (const char* word :
       {"sluice.tcp=", "sluice.tcp=0", "sluice.tcp=65536", "sluice.tcp=here:1",
        "sluice.tcp=1.2.3.4", "sluice.tcp=1.2.3.4:0", "sluice.tcp_from=router", "sluice.token="}) {
    INFO(word);
    Options options = options_of_kernel(word);
    CHECK(options.problems.size() == 1);
    CHECK_FALSE(options.tcp.listen);
  }
}

TEST_CASE("on vsock the host is served, or the CID that is said") {
  CHECK(options_of_kernel("").vsock_from == 2);
  Options options = options_of_kernel("sluice.vsock_from=1");
  CHECK(options.problems.empty());
  CHECK(options.vsock_from == 1);
  for (const char* word : {"sluice.vsock_from=", "sluice.vsock_from=host",
                           "sluice.vsock_from=4294967296", "sluice.vsock_from=-1"}) {
    INFO(word);
    options = options_of_kernel(word);
    CHECK(options.problems.size() == 1);
    CHECK(options.vsock_from == 2);
  }
}

TEST_CASE("no problem says a token") {
  const std::string token = "0123456789abcdef" + std::string(48, '7');
  for (const std::string& word : {"sluice.token=" + token + "0", "sluice.tokn=" + token}) {
    Options options = options_of_kernel(word);
    REQUIRE(options.problems.size() == 1);
    INFO(options.problems[0].text);
    CHECK(options.problems[0].text.find(token) == std::string::npos);
  }
}

}  // namespace sluice::agent
