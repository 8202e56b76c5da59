#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "base/bytes.h"

// DHCPv6 messages between client and server (RFC 8415), for both ends. A message is the payload of
// a UDP datagram. Relay messages are not spoken.

namespace sluice::wire {

inline constexpr Port kDhcpv6ClientPort{546};
inline constexpr Port kDhcpv6ServerPort{547};
/// ff02::1:2, where clients send to.
IpAddress all_dhcp_servers();

enum class Dhcpv6Type : std::uint8_t {
  solicit = 1,
  advertise = 2,
  request = 3,
  confirm = 4,
  renew = 5,
  rebind = 6,
  reply = 7,
  release = 8,
  decline = 9,
  information_request = 11,
};

/// The options that Sluice reads or writes; others occur.
enum class Dhcpv6OptionCode : std::uint16_t {
  client_id = 1,
  server_id = 2,
  ia_na = 3,
  ia_address = 5,
  option_request = 6,
  preference = 7,
  status = 13,
  rapid_commit = 14,
  dns_servers = 23,  // RFC 3646
  domain_list = 24,  // RFC 3646
  ia_pd = 25,
};

/// RFC 8415 section 21.13.
enum class Dhcpv6Status : std::uint16_t {
  success = 0,
  unspecified_failure = 1,
  no_addresses = 2,
  no_binding = 3,
  not_on_link = 4,
  use_multicast = 5,
  no_prefixes = 6,
};

/// A DUID with its type (RFC 8415 section 11.1).
inline constexpr std::size_t kMaxDuidBytes = 130;

struct Dhcpv6Option {
  Dhcpv6OptionCode code;
  ConstBytes body;
};

/// A walk over options that have been checked.
class Dhcpv6Options {
 public:
  explicit Dhcpv6Options(ConstBytes options) : rest_(options) {}
  /// Whether every option lies inside.
  static bool are_valid(ConstBytes options);
  /// Requires are_valid() of the bytes given. Nothing at the end.
  std::optional<Dhcpv6Option> next();
  /// The body of the first option of its kind among the rest.
  std::optional<ConstBytes> find(Dhcpv6OptionCode code) const;

 private:
  ConstBytes rest_;
};

/// An address in an identity association (RFC 8415 section 21.6).
struct Dhcpv6Address {
  IpAddress address;
  std::uint32_t preferred_seconds = 0;
  std::uint32_t valid_seconds = 0;

  /// Nothing unless `option` is one with valid nested options.
  static std::optional<Dhcpv6Address> parse(const Dhcpv6Option& option);
};

/// IA_NA or IA_PD (RFC 8415 sections 21.4 and 21.21), whose nested options are checked.
struct Dhcpv6Association {
  std::uint32_t id = 0;
  std::uint32_t t1_seconds = 0;
  std::uint32_t t2_seconds = 0;
  Dhcpv6Options options{ConstBytes()};

  static std::optional<Dhcpv6Association> parse(const Dhcpv6Option& option);
};

/// A checked view of a client or server message. Valid as long as the bytes it was made of.
class Dhcpv6View {
 public:
  /// Nothing where it is shorter than its header, of another type than Dhcpv6Type, has an option
  /// that runs over the end, or an identifier longer than a DUID can be.
  static std::optional<Dhcpv6View> parse(ConstBytes payload);

  Dhcpv6Type type() const { return static_cast<Dhcpv6Type>(message_[0]); }
  std::uint32_t transaction() const { return load_be32(message_.data()) & 0xffffff; }
  Dhcpv6Options options() const { return Dhcpv6Options(message_.subspan(4)); }
  bool has(Dhcpv6OptionCode code) const { return options().find(code).has_value(); }
  /// Empty where there is none.
  ConstBytes client_id() const;
  ConstBytes server_id() const;
  /// Whether the option request names `code`.
  bool asks_for(Dhcpv6OptionCode code) const;
  /// Of a reply; empty where absent or malformed.
  std::vector<IpAddress> dns_servers() const;
  std::vector<DomainName> domain_list() const;
  /// The top-level status; success where there is none (RFC 8415 section 21.13).
  Dhcpv6Status status() const;

 private:
  explicit Dhcpv6View(ConstBytes message) : message_(message) {}
  ConstBytes message_;
};

/// Builds a message option by option, up to what fits an unfragmented packet on any link.
class Dhcpv6Builder {
 public:
  /// The IPv6 minimum MTU without IPv6 and UDP header.
  static constexpr std::size_t kMaxMessage = 1280 - 48;

  Dhcpv6Builder(Dhcpv6Type type, std::uint32_t transaction);

  // Each returns whether the option fitted; one that did not leaves the message as it was.
  bool add(Dhcpv6OptionCode code, ConstBytes body);
  bool add_status(Dhcpv6Status status);
  bool add_addresses(Dhcpv6OptionCode code, const std::vector<IpAddress>& addresses);
  bool add_names(Dhcpv6OptionCode code, const std::vector<DomainName>& names);
  bool add_option_request(const std::vector<Dhcpv6OptionCode>& codes);

  /// An IA_NA with addresses, a status, or both.
  struct AddressGrant {
    std::uint32_t id = 0;
    std::uint32_t t1_seconds = 0;
    std::uint32_t t2_seconds = 0;
    std::vector<Dhcpv6Address> addresses;
    std::optional<Dhcpv6Status> status;
  };
  bool add_association(const AddressGrant& grant);
  /// An IA_PD that holds nothing but a status.
  bool add_prefix_refusal(std::uint32_t id, Dhcpv6Status status);

  /// The builder is empty afterwards.
  std::vector<std::uint8_t> finish() { return std::move(message_); }

 private:
  std::vector<std::uint8_t> message_;
};

/// DUID-LL (RFC 8415 section 11.4): the identity of a machine that only knows its MAC.
std::vector<std::uint8_t> duid_from(const MacAddress& mac);

}  // namespace sluice::wire
