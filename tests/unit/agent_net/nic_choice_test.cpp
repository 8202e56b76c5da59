#include "agent/net/nic_choice.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

using namespace sluice;
using agent::Link;
using agent::nic_candidates;

namespace {

/// A tree that looks like /sys/class/net.
class FakeSys {
 public:
  FakeSys() {
    std::string pattern = "/tmp/sluice-sys-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
  }
  ~FakeSys() { std::filesystem::remove_all(root_); }
  FakeSys(const FakeSys&) = delete;
  FakeSys& operator=(const FakeSys&) = delete;

  void add_device(const std::string& name, const std::string& driver) {
    std::filesystem::create_directories(root_ + "/" + name + "/device");
    if (driver.empty()) return;
    std::filesystem::create_symlink("../../bus/drivers/" + driver,
                                    root_ + "/" + name + "/device/driver");
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

Link nic(int index, const std::string& name) {
  Link link;
  link.index = index;
  link.name = name;
  link.mac = MacAddress({2, 0, 0, 0, 0, static_cast<std::uint8_t>(index)});
  link.ethernet = true;
  return link;
}

std::vector<std::string> names(const std::vector<Link>& links) {
  std::vector<std::string> list;
  for (const Link& link : links) list.push_back(link.name);
  return list;
}

}  // namespace

TEST_CASE("virtio_net comes first, whatever the names and the order") {
  FakeSys sys;
  sys.add_device("aaa0", "e1000");
  sys.add_device("zzz0", "virtio_net");
  sys.add_device("usb0", "");
  std::vector links{nic(2, "aaa0"), nic(3, "usb0"), nic(4, "zzz0")};
  CHECK(names(nic_candidates(links, sys.root())) ==
        std::vector<std::string>{"zzz0", "aaa0", "usb0"});
}

TEST_CASE("what is made of software is never the NIC") {
  FakeSys sys;
  sys.add_device("br0", "virtio_net");
  Link loopback = nic(1, "lo");
  loopback.loopback = true;
  Link bridge = nic(2, "br0");
  bridge.kind = "bridge";
  Link tunnel = nic(4, "sit0");
  tunnel.ethernet = false;
  CHECK(nic_candidates({loopback, bridge, nic(3, "no-device"), tunnel}, sys.root()).empty());
}

TEST_CASE("a port of a bridge is not the NIC") {
  FakeSys sys;
  sys.add_device("eth0", "virtio_net");
  sys.add_device("eth1", "virtio_net");
  Link port = nic(2, "eth0");
  port.bridge = 9;
  CHECK(names(nic_candidates({port, nic(3, "eth1")}, sys.root())) ==
        std::vector<std::string>{"eth1"});
}

TEST_CASE("a NIC that is up without a carrier comes after one that may have one") {
  FakeSys sys;
  sys.add_device("eth0", "virtio_net");
  sys.add_device("eth1", "e1000");
  Link unplugged = nic(2, "eth0");
  unplugged.up = true;
  CHECK(names(nic_candidates({unplugged, nic(3, "eth1")}, sys.root())) ==
        std::vector<std::string>{"eth1", "eth0"});
  unplugged.carrier = true;
  CHECK(names(nic_candidates({unplugged, nic(3, "eth1")}, sys.root())) ==
        std::vector<std::string>{"eth0", "eth1"});
}

TEST_CASE("of two of a kind the one found first by the kernel is taken") {
  FakeSys sys;
  sys.add_device("enp9s0", "virtio_net");
  sys.add_device("enp1s0", "virtio_net");
  CHECK(names(nic_candidates({nic(5, "enp1s0"), nic(2, "enp9s0")}, sys.root())) ==
        std::vector<std::string>{"enp9s0", "enp1s0"});
}
