#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/dns.h>

#include "base/loop.h"

namespace sluice::dns {

/// A resolver as people write it: "1.1.1.1", "1.1.1.1:5353", "2606:4700::1111",
/// "[2606:4700::1111]:53", and over TLS "tls://1.1.1.1#one.one.one.one", the name being that of its
/// certificate, for which "1.1.1.1#one.one.one.one" will do. The port is 53, over TLS 853, where
/// none is given.
Result<DnsResolver> parse_resolver(std::string_view text);

/// A zone and its resolvers: "corp.example=10.0.0.53,10.0.1.53:5353". The root has none of its own.
Result<DnsSplit> parse_split(std::string_view text);

/// The nameservers of a resolv.conf(5) text, in order, at most 8. Lines that can't be used are
/// passed over: an address with a zone ("fe80::1%eth0") needs an interface of the host's.
std::vector<Endpoint> parse_resolv_conf(std::string_view text);

/// Follows the resolvers that the host itself uses. A loopback resolver such as systemd-resolved's
/// 127.0.0.53 is one like any other: the host dials it.
///
/// The file is looked at every kInterval: what it is a link to may change as well as what is in it,
/// and replacing it by rename is common. While there is none, the last one counts.
class HostResolvers {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(1);
  /// Longer files are cut here.
  static constexpr std::size_t kMaxFileBytes = 65536;

  using OnChange = std::function<void(std::vector<Endpoint> resolvers)>;
  /// Calls `on_change` from later turns of the loop with each list that differs from the one
  /// before; before the first there is none. `loop` outlives it.
  HostResolvers(Loop& loop, std::string path, OnChange on_change);

 private:
  void look();

  std::string path_;
  OnChange on_change_;
  std::string stamp_;
  bool absence_reported_ = false;
  std::vector<Endpoint> last_;
  std::unique_ptr<Timer> timer_;
};

}  // namespace sluice::dns
