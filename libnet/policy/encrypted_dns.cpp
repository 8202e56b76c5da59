#include "policy/encrypted_dns.h"

#include <algorithm>
#include <array>

namespace sluice::policy {

namespace {

// In order, so that they can be searched; a name stands for what is below it as well.
constexpr auto kHosts = std::to_array<std::string_view>({
    "1dot1dot1dot1.com",
    "8888.google",
    "adguard-dns.com",
    "adult-filter-dns.cleanbrowsing.org",
    "anycast.dns.nextdns.io",
    "anycast.uncensoreddns.org",
    "cloudflare-dns.com",
    "cloudflare-gateway.com",
    "dns-family.adguard.com",
    "dns-unfiltered.adguard.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.controld.com",
    "dns.digitale-gesellschaft.ch",
    "dns.google",
    "dns.google.com",
    "dns.mullvad.net",
    "dns.nextdns.io",
    "dns.njal.la",
    "dns.opendns.com",
    "dns.quad9.net",
    "dns.sb",
    "dns.switch.ch",
    "dns.twnic.tw",
    "dns.umbrella.com",
    "dns0.eu",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns12.quad9.net",
    "dns9.quad9.net",
    "doh.360.cn",
    "doh.applied-privacy.net",
    "doh.cleanbrowsing.org",
    "doh.cox.net",
    "doh.dns.sb",
    "doh.familyshield.opendns.com",
    "doh.ffmuc.net",
    "doh.libredns.gr",
    "doh.mullvad.net",
    "doh.opendns.com",
    "doh.pub",
    "doh.tiar.app",
    "doh.umbrella.com",
    "doh.xfinity.com",
    "dot.ffmuc.net",
    "dot.pub",
    "dot.tiar.app",
    "dot.xfinity.com",
    "dot1.applied-privacy.net",
    "family-filter-dns.cleanbrowsing.org",
    "freedns.controld.com",
    "mask-h2.icloud.com",
    "mask.icloud.com",
    "one.one.one.one",
    "public.dns.iij.jp",
    "security-filter-dns.cleanbrowsing.org",
    "use-application-dns.net",
    "wikimedia-dns.org",
});
static_assert(std::is_sorted(kHosts.begin(), kHosts.end()));

}  // namespace

std::span<const std::string_view> encrypted_dns_hosts() {
  return kHosts;
}

bool is_encrypted_dns_host(const DomainName& name) {
  std::string_view text = name.text();
  while (!text.empty()) {
    if (std::binary_search(kHosts.begin(), kHosts.end(), text)) return true;
    auto dot = text.find('.');
    if (dot == std::string_view::npos) return false;
    text.remove_prefix(dot + 1);
  }
  return false;
}

}  // namespace sluice::policy
