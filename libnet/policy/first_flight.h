#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/name.h>
#include <net/verdict.h>

#include "base/bytes.h"
#include "wire/http_request.h"
#include "wire/tls_hello_reader.h"

namespace sluice::policy {

/// What becomes of a flow whose name can't be read, where a name decides.
enum class Unidentified : std::uint8_t {
  deny,
  allow_if_bound,  ///< What DNS has bound to the address decides alone.
};

/// What becomes of a hello with encrypted_client_hello: the name that counts may be another than
/// the one that is readable, and nobody but the server can tell that from GREASE.
enum class EncryptedHello : std::uint8_t {
  deny,
  allow,  ///< The readable name is taken for the name.
};

/// How first flights are judged.
struct FirstFlightOptions {
  Unidentified unidentified = Unidentified::deny;
  EncryptedHello encrypted_hello = EncryptedHello::deny;
};

/// Why a first flight was refused.
struct FirstFlightDenial {
  std::optional<DomainName> name;  ///< That it is for, where it could be read.
  std::optional<Verdict> verdict;  ///< Of the rules on that name; none: it came to no name.
  std::string reason;              ///< One phrase.
};

/// The reason for a denial by EncryptedHello::deny.
inline constexpr std::string_view kHiddenName = "its TLS hello may be for a hidden name (ECH)";
/// The reason for a denial by the rules on a name.
constexpr std::string_view reason_of(const Verdict& verdict) {
  return verdict.rule < 0 ? "no rule allows this name at this address" : "a rule denies this name";
}

/// Judges one TCP connection by what the guest says first on it, on whatever port. Theory of
/// operation:
///
/// An address is shared by many names, so a name rule that opens an address says little. What the
/// server goes by is in the clear: the server name of a TLS hello, the Host of each HTTP/1 request.
/// So what the guest sends is held back until it is classified:
///
///     neither TLS nor HTTP    let go: what DNS has bound has decided already
///     TLS                     held until the hello is whole, then judged by its name; a second
///                             hello (after HelloRetryRequest) likewise
///     HTTP/1                  each head is held until whole, then judged by its Host; for as long
///                             as the connection lasts
///     HTTP/2 in the clear, CONNECT, no name, a name that can't be read for certain, too late
///                             unidentified
///
/// What the server sends is never held, so protocols in which the server speaks first don't wait.
///
/// Pure: the bytes are the caller's, who keeps what is held. All positions count from the
/// connection's first byte. After `denied` nothing more is fed.
class FirstFlight {
 public:
  /// How long the guest may take from the first byte held to a verdict.
  static constexpr int kPatienceSeconds = 5;

  enum class State : std::uint8_t {
    reading,  ///< What released() counts may pass.
    open,     ///< Everything may pass, and nothing need be fed any more.
    denied,   ///< denial() says why; reply() is for the guest, before the end.
  };

  /// What the rules say of the connection, given the name that it is for.
  using Judge = std::function<Verdict(const DomainName& name)>;

  FirstFlight(const FirstFlightOptions& options, Judge judge)
      : options_(options), judge_(std::move(judge)) {}

  /// The guest's next bytes. Returns how many were taken; where not all, the rest is to be fed
  /// again after server_spoke() or never.
  std::size_t feed(ConstBytes bytes);
  /// What the server sent first; only its beginning counts. Tells an answer to Upgrade.
  void server_spoke(ConstBytes bytes);
  /// The guest took too long, or will send nothing more: what is held stays unidentified.
  void give_up(std::string_view reason);

  State state() const { return state_; }
  std::uint64_t released() const { return released_; }
  std::uint64_t taken() const { return taken_; }
  /// Whether the guest is awaited to complete something, for kPatienceSeconds.
  bool is_waiting() const;

  /// The last name that was allowed.
  const std::optional<DomainName>& name() const { return name_; }
  const FirstFlightDenial& denial() const { return denial_; }
  /// A TLS alert, an HTTP answer, or nothing: a RST says it then.
  const std::vector<std::uint8_t>& reply() const { return reply_; }

 private:
  enum class Kind : std::uint8_t { unknown, tls, http };
  /// TLS is told from anything else by then.
  static constexpr std::size_t kStartBytes = 6;
  /// "HTTP/1.1 101"
  static constexpr std::size_t kStatusBytes = 12;

  std::size_t feed_start(ConstBytes bytes);
  std::size_t feed_tls(ConstBytes bytes);
  std::size_t feed_http(ConstBytes bytes);
  void judge_hello();
  void judge_request();
  void judge_name(const DomainName& name);
  void answer_upgrade();
  void unidentified(std::string reason);
  void deny(FirstFlightDenial denial);

  FirstFlightOptions options_;
  Judge judge_;
  State state_ = State::reading;
  Kind kind_ = Kind::unknown;
  std::uint64_t taken_ = 0;
  std::uint64_t released_ = 0;
  wire::TlsHelloReader tls_;
  wire::HttpRequestReader http_;
  std::vector<std::uint8_t> start_;  // While unknown: for the reader that is asked second.
  std::uint64_t requests_ = 0;
  std::string server_start_;
  std::optional<DomainName> name_;
  FirstFlightDenial denial_;
  std::vector<std::uint8_t> reply_;
};

}  // namespace sluice::policy
