#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/status.h>

#include "agent/net/dhcp_client.h"
#include "agent/net/dhcp_socket.h"
#include "agent/net/interface_setup.h"
#include "agent/net/netlink.h"
#include "agent/net/netlink_monitor.h"
#include "agent/net/network_config.h"
#include "agent/net/network_state.h"
#include "agent/net/nic_choice.h"
#include "agent/net/router_dns_list.h"
#include "agent/net/sysctl.h"
#include "base/loop.h"

// Theory of operation
//
//   the kernel --changes--> refresh() --> choose the NIC --> bring it up --> carrier?
//        ^                      |                                             |
//        |                      v                                             v
//        +------- apply(old setup, wanted setup) <--- static settings, lease of the DHCP client
//        |
//        +--- router advertisements: addresses and routes by the kernel itself
//
// After each change the kernel is asked what it has now, and the NetworkState is made of that: what
// is reported is what is there, not what was meant to be. Changes come in bursts, so they are
// gathered for kSettle.

namespace sluice::agent {

/// The network of the guest, from nothing to ready and through every change after. In the network
/// namespace of the thread that made it; needs CAP_NET_ADMIN and CAP_NET_RAW there. Loop thread
/// only. Destroying it leaves the network as it is; a lease's address goes when the lease ends.
class GuestNetwork final : private DhcpClientEvents {
 public:
  /// Where the kernel shows settings and devices; others in tests.
  struct Roots {
    std::string proc_sys = "/proc/sys";
    std::string sys_class_net = kSysClassNet;
  };
  /// Called on the loop's thread, never from inside configure(), for each state that differs from
  /// the one before. It may call configure(), but not destroy the object.
  using OnChange = std::function<void(const NetworkState&)>;

  static constexpr std::chrono::milliseconds kSettle{5};
  /// A NIC that was brought up and has no carrier for so long lets others have a try.
  static constexpr std::chrono::seconds kCarrierGrace{1};
  /// Where IPv4 is by DHCP, IPv6 alone is not ready until a carrier has been there for so long:
  /// most of what starts on a ready network wants both, and both mostly come at once.
  static constexpr std::chrono::seconds kIpv4Grace{1};
  /// What failed is tried again after this.
  static constexpr std::chrono::seconds kRetry{1};

  /// `loop` must outlive the object. Brings lo up; nothing else happens before configure(). Fails
  /// where there is no netlink.
  static Result<std::unique_ptr<GuestNetwork>> create(Loop& loop, Roots roots, OnChange on_change);
  GuestNetwork(const GuestNetwork&) = delete;
  GuestNetwork& operator=(const GuestNetwork&) = delete;
  ~GuestNetwork();

  /// Makes the network so, now and whenever a device or carrier comes later; may be called again
  /// with another config, which changes only what differs. invalid_argument, and nothing changes,
  /// where the config contradicts itself. What the kernel refuses is tried again, and told in
  /// NetworkState::problem.
  Status configure(const NetworkConfig& config);
  /// Switches forwarding between interfaces for both families, until the next config. Turned on,
  /// router advertisements are still listened to. The first failure is returned; the other family
  /// is switched anyhow.
  Status set_forwarding(Forwarding forwarding);
  /// The VM was resumed or moved: asks whether the lease still holds.
  void revalidate();

  const NetworkState& state() const { return state_; }
  /// nullptr unless IPv4 is by DHCP and there is a carrier.
  const DhcpClient* dhcp() const { return client_.get(); }

 private:
  GuestNetwork(Loop& loop, Roots roots, Netlink netlink, OnChange on_change);

  void on_dhcp_bound(const wire::DhcpLease& lease) override;
  void on_dhcp_lost(const wire::DhcpLease& lease) override;
  void on_kernel_change(const NetworkChange& change);

  bool concerns_us(const NetworkChange& change) const;
  void refresh_soon(Duration delay);
  void refresh();
  std::optional<Link> find_nic(const std::vector<Link>& links) const;
  void take_nic(const Link& link);
  void drop_nic(const std::vector<Link>& links);
  void prepare(const Link& link);
  void follow_carrier(const Link& link);
  void follow_dhcp(const Link& link);
  void set_up(const Link& link);
  InterfaceSetup wanted_setup(const Link& link) const;
  void report();
  void wait_for_ipv4(NetworkState& state);
  void add_learnt(NetworkState& state) const;
  void set_sysctl(const std::string& key, std::string_view value) const;
  void note(const Status& status);

  Loop& loop_;
  Roots roots_;
  Sysctl sysctl_;
  Netlink netlink_;
  OnChange on_change_;
  std::unique_ptr<NetlinkMonitor> monitor_;
  std::unique_ptr<Timer> refresh_timer_;
  TimePoint refresh_due_;

  std::optional<NetworkConfig> config_;
  bool prepare_due_ = false;     ///< The config has changed since prepare(),
  bool forwarding_due_ = false;  ///< or since set_forwarding().
  NetworkState state_;
  std::string problem_;  ///< Of the refresh that goes on, or was last.

  std::optional<Link> nic_;  ///< As it was at the last refresh.
  std::uint32_t original_mtu_ = 0;
  TimePoint waiting_since_;  ///< For a carrier.
  bool had_carrier_ = false;
  TimePoint carrier_since_;
  InterfaceSetup applied_;
  bool apply_due_ =
      false;  ///< Also where the setup is the same: times changed, or the link was down.
  RouterDnsList router_dns_;

  std::unique_ptr<DhcpSocket> dhcp_socket_;
  std::unique_ptr<DhcpClient> client_;
  std::optional<wire::DhcpLease> lease_;
  TimePoint lease_told_;
};

}  // namespace sluice::agent
