#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/service.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"
#include "wire/dns_message.h"
#include "wire/dns_writer.h"

namespace sluice::test {

using namespace std::chrono_literals;
using Message = std::vector<std::uint8_t>;

inline DomainName domain(std::string_view text) {
  return *DomainName::parse(text);
}
inline wire::DnsName wire_name(std::string_view text) {
  return wire::DnsName(domain(text));
}
inline Endpoint endpoint(std::string_view text) {
  return *Endpoint::parse(text);
}
inline std::string to_text(const Message& message) {
  return {message.begin(), message.end()};
}

struct AskOptions {
  dns::Transport transport = dns::Transport::udp;
  std::optional<std::uint16_t> edns_bytes;
  std::uint16_t id = 0x1234;
  std::string source = "10.0.0.2:40000";
  std::uint32_t guest = 0;
};

/// A client's query; `name` keeps its case.
Message make_query(std::string_view name, wire::DnsType type, const AskOptions& options = {});

/// What the client reads in a reply.
struct Seen {
  wire::DnsRcode rcode{};
  wire::DnsHeader header;
  std::string question;
  /// "owner TYPE-NUMBER data", data as an address or a name where it is one.
  std::vector<std::string> answers;
  std::vector<std::uint32_t> ttls;
  std::optional<std::string> soa_owner;
  std::optional<std::uint32_t> soa_ttl;
  std::optional<int> extended_error;
  bool has_edns = false;
  std::size_t bytes = 0;
};
Seen look_at(const Message& reply);

/// Builds a resolver's reply to a query it got.
class ReplyBuilder {
 public:
  explicit ReplyBuilder(const wire::DnsMessage& query);
  ReplyBuilder& id(std::uint16_t id);
  ReplyBuilder& rcode(wire::DnsRcode rcode);
  ReplyBuilder& truncated();
  ReplyBuilder& authentic();
  ReplyBuilder& question(wire::DnsQuestion question);
  ReplyBuilder& address(std::string_view owner, std::string_view address, std::uint32_t ttl = 300);
  ReplyBuilder& alias(std::string_view owner, std::string_view target, std::uint32_t ttl = 300);
  ReplyBuilder& text(std::string_view owner, std::string_view text, std::uint32_t ttl = 300);
  ReplyBuilder& soa(std::string_view owner, std::uint32_t ttl, std::uint32_t minimum);
  Message build() const;

 private:
  struct Item {
    wire::DnsSection section;
    wire::DnsName owner;
    wire::DnsType type;
    std::uint32_t ttl;
    Message rdata;
  };
  wire::DnsHeader header_;
  wire::DnsQuestion question_;
  std::vector<Item> items_;
};

/// A Service among scripted resolvers on a virtual clock.
class DnsWorld {
 public:
  explicit DnsWorld(dns::Options options = {}, dns::Hooks hooks = {});

  /// A resolver's answer to one query over one transport; nothing: it stays silent.
  using Resolver =
      std::function<std::optional<Message>(const wire::DnsMessage& query, dns::Transport)>;
  /// Scripts the resolver at `at` and makes it the next upstream.
  void add_upstream(std::string_view at, Resolver resolver);
  /// Scripts it, or scripts it anew, without making it an upstream.
  void add_resolver(std::string_view at, Resolver resolver);

  /// The reply, if one came without time passing.
  std::optional<Message> ask_raw(const Message& query, const AskOptions& options = {});
  /// Asks and fails the test if there is no reply within `patience`.
  Seen ask(std::string_view name, wire::DnsType type, const AskOptions& options = {},
           Duration patience = 0ns);
  /// Asks and leaves; replies are appended to `replies`.
  void send(std::string_view name, wire::DnsType type, const AskOptions& options = {});

  /// Names that reached resolvers, in order, in lower case.
  std::vector<std::string> asked;
  std::vector<Message> replies;

  VirtualLoop loop;
  ScriptedNet net{loop};
  std::unique_ptr<dns::Service> service;

 private:
  dns::Client client(const AskOptions& options) const;
  std::optional<Message> resolve(const Endpoint& at, std::string_view bytes,
                                 dns::Transport transport);

  std::map<Endpoint, Resolver> resolvers_;
  std::vector<DnsResolver> upstreams_;
};

/// Answers every A and AAAA question with one address, TTL 300.
DnsWorld::Resolver resolver_with(std::string_view v4, std::string_view v6 = "2001:db8::1");
/// Says nothing.
DnsWorld::Resolver silent_resolver();
DnsWorld::Resolver failing_resolver(wire::DnsRcode rcode);

}  // namespace sluice::test
