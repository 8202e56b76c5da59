#include "policy/encrypted_dns.h"

#include "policy/support.h"

namespace sluice::policy {
namespace {

std::shared_ptr<const Policy> guarded(std::string_view text) {
  return policy(text, {.encrypted_dns = Action::deny});
}

bool allows_udp(const Policy& policy, std::string_view remote, std::uint16_t port) {
  return policy.judge(egress(Protocol::udp, remote, port)).allowed();
}

TEST_CASE("hosts of DNS over HTTPS are known with the names below them") {
  for (const char* text : {"dns.google", "cloudflare-dns.com", "mozilla.cloudflare-dns.com",
                           "abc123.dns.nextdns.io", "use-application-dns.net"}) {
    CHECK(is_encrypted_dns_host(name(text)));
  }
  for (const char* text : {"google", "notcloudflare-dns.com", "nextdns.io", "example.com", ""}) {
    CHECK_FALSE(is_encrypted_dns_host(name(text)));
  }
  for (auto host : encrypted_dns_hosts()) CHECK(DomainName::parse(host));
}

TEST_CASE("beside a rule on a name, known hosts of DNS over HTTPS do not resolve") {
  auto p = guarded("deny@bad.com,allow@public");
  CHECK(resolves(*p, "good.com"));
  CHECK_FALSE(resolves(*p, "dns.google"));
  CHECK_FALSE(resolves(*p, "chrome.cloudflare-dns.com"));
  auto verdict = p->judge_lookup(name("dns.google"));
  CHECK(verdict.basis == Basis::encrypted_dns);
  CHECK(p->describe(verdict) == "policy.encrypted-dns");
}

TEST_CASE("a rule that names such a host counts before the list, wherever it stands") {
  for (const char* text :
       {"deny@bad.com,allow@dns.google,allow@public", "deny@bad.com,allow@public,allow@dns.google",
        "allow@public,allow@*.google.com,allow@dns.google:tcp:443"}) {
    INFO(text);
    CHECK(resolves(*guarded(text), "dns.google"));
    CHECK_FALSE(resolves(*guarded(text), "dns.quad9.net"));
  }
}

TEST_CASE("beside a rule on a name, port 853 is shut but for what is named") {
  auto p = guarded("deny@bad.com,allow@1.1.1.1,allow@9.9.9.9:tcp:853,allow@public");
  CHECK(allows_tcp(*p, "8.8.8.8", 443));
  CHECK_FALSE(allows_tcp(*p, "8.8.8.8", 853));
  CHECK_FALSE(allows_udp(*p, "8.8.8.8", 853));
  CHECK(allows_tcp(*p, "1.1.1.1", 853));
  CHECK(allows_tcp(*p, "9.9.9.9", 853));
  CHECK_FALSE(allows_udp(*p, "9.9.9.9", 853));
  CHECK(allows_tcp(*guarded("deny@bad.com,allow@public:tcp:853"), "8.8.8.8", 853));
}

TEST_CASE("a policy without a rule on a name of egress guards nothing") {
  for (const char* text : {"allow@public", "allow@any", "deny:ingress@bad.com,allow@any"}) {
    auto p = guarded(text);
    CHECK(resolves(*p, "dns.google"));
    CHECK(allows_tcp(*p, "8.8.8.8", 853));
  }
  auto open = policy("deny@bad.com,allow@public", {.encrypted_dns = Action::allow});
  CHECK(resolves(*open, "dns.google"));
  CHECK(allows_tcp(*open, "8.8.8.8", 853));
}

TEST_CASE("the name in a first flight is judged by the list too") {
  auto p = guarded("deny@bad.com,allow@public");
  auto query = egress(Protocol::tcp, "8.8.8.8", 443);
  CHECK_FALSE(p->judge_named(query, name("dns.google")).allowed());
  CHECK(p->judge_named(query, name("good.com")).allowed());
}

}  // namespace
}  // namespace sluice::policy
