#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "namespace_kit.h"
#include "wire/dhcp.h"

namespace sluice::test {

/// A DHCP server on the server's side of a Cable that says what a test tells it to.
class ScriptedServer {
 public:
  /// Watched by `loop`, which must outlive it.
  ScriptedServer(const Namespace& space, Loop& loop);

  IpAddress address = IpAddress::v4(10, 77, 0, 20);
  bool refuses = false;  ///< NAKs what it is asked.
  bool is_silent = false;
  std::uint32_t lease_seconds = 3600;
  std::uint32_t renewal_seconds = 1800;
  std::function<void(wire::DhcpBuilder&)> more;

  struct Heard {
    wire::DhcpType type;
    bool names_address = false;  ///< Option 50.
    IpAddress client_address;    ///< ciaddr
    IpAddress from;
  };
  std::vector<Heard> heard;

 private:
  void on_readable();
  void answer(const wire::DhcpView& question);

  UniqueFd fd_;
  std::unique_ptr<FdWatch> watch_;
};

/// dnsmasq on the server's side of a Cable: 10.77.0.10 alone, a lease of two minutes that is to be
/// renewed after 3 s (the least that it takes), MTU 1400, domain, search list and resolvers; router
/// advertisements for fd77::/64 with a resolver and a search list.
class Dnsmasq {
 public:
  enum class Families { both, only_ipv6 };
  explicit Dnsmasq(const Namespace& space, Families families = Families::both);
  ~Dnsmasq();
  Dnsmasq(const Dnsmasq&) = delete;
  Dnsmasq& operator=(const Dnsmasq&) = delete;

 private:
  std::string directory_;
  std::unique_ptr<Process> process_;
};

}  // namespace sluice::test
