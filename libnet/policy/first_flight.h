#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <net/name.h>
#include <net/verdict.h>

#include "base/bytes.h"
#include "wire/http2_edge.h"
#include "wire/http2_request.h"
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

/// What the rules' allow does for what carries a name.
enum class AllowedName : std::uint8_t {
  passes,
  awaits_server,  ///< It is held until the caller has found the name's server: unconfirmed().
};

/// How first flights are judged.
struct FirstFlightOptions {
  Unidentified unidentified = Unidentified::deny;
  EncryptedHello encrypted_hello = EncryptedHello::deny;
  AllowedName allowed_name = AllowedName::passes;
};

/// Why a first flight was refused.
struct FirstFlightDenial {
  std::optional<DomainName> name;  ///< That it is for, where it could be read.
  std::optional<Verdict> verdict;  ///< Of the rules on that name; none: it came to no name.
  std::string reason;              ///< One phrase.
  /// What stands for the rule where there is no verdict.
  std::string_view decider = "unidentified";
};

/// The reason for a denial by EncryptedHello::deny.
inline constexpr std::string_view kHiddenName = "its TLS hello may be for a hidden name (ECH)";

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
///     HTTP/2 in the clear     each header block likewise, judged by its :authority
///     CONNECT, no name, a name that can't be read for certain, too late
///                             unidentified
///
/// What the server sends is never held, so protocols in which the server speaks first don't wait.
/// Its first bytes are looked at, though: they tell whether it took an Upgrade, and of HTTP/2 no
/// frame passes before the server's own SETTINGS have come. A server of HTTP/1 would answer the
/// preface with an error, and could go on to find requests in the frames.
///
/// A refused request is answered only where that is not in the midst of the server's words: the
/// first one, over HTTP/1 before the server said anything, over HTTP/2 (whose servers begin with
/// SETTINGS) between two of its frames. Else a RST says it.
///
/// With AllowedName::awaits_server a name that the rules allow waits for confirm(), each once while
/// it is in names(). Of HTTP/2 not even the preface passes before the first name is confirmed, so
/// that the caller may choose the server that gets all of it.
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
  /// What the server sent next, but for `unseen` bytes at its end. Only what it begins with counts,
  /// a few hundred bytes.
  void server_spoke(ConstBytes bytes, std::size_t unseen = 0);
  /// The guest took too long, or will send nothing more: what is held stays unidentified.
  void give_up(std::string_view reason);

  /// The name that the rules allow and that waits for the caller; feed() takes nothing until then.
  const std::optional<DomainName>& unconfirmed() const { return unconfirmed_; }
  /// What carried it may pass. Requires unconfirmed().
  void confirm();
  /// Its server can't be had: `reason` is a phrase, `decider` outlives this. Requires
  /// unconfirmed().
  void refuse(std::string reason, std::string_view decider);

  State state() const { return state_; }
  std::uint64_t released() const { return released_; }
  std::uint64_t taken() const { return taken_; }
  /// Whether the guest is awaited to complete something, for kPatienceSeconds.
  bool is_waiting() const;

  /// Whether nothing can pass until the server says something certain.
  bool awaits_server() const;

  /// The names that were allowed and may be in use: of HTTP/2 all, as its requests run beside each
  /// other, else the last.
  std::span<const DomainName> names() const { return names_; }
  const FirstFlightDenial& denial() const { return denial_; }
  /// A TLS alert, an HTTP answer, or nothing: a RST says it then.
  const std::vector<std::uint8_t>& reply() const { return reply_; }

 private:
  enum class Kind : std::uint8_t { unknown, tls, http, http2 };
  /// TLS is told from anything else by then.
  static constexpr std::size_t kStartBytes = 6;
  /// "HTTP/1.1 101", or an HTTP/2 frame's header.
  static constexpr std::size_t kServerStartBytes = 12;
  /// On one HTTP/2 connection. A client needs more only where a certificate is shared, by TLS.
  static constexpr std::size_t kMaxNames = 32;

  std::size_t feed_start(ConstBytes bytes);
  std::size_t feed_tls(ConstBytes bytes);
  std::size_t feed_http(ConstBytes bytes);
  std::size_t feed_http2(ConstBytes bytes);
  void begin_http2(wire::Http2RequestReader::Start start);
  void look_at_server();
  bool can_reply_http2() const;
  void release();
  void judge_hello();
  void judge_request();
  void judge_http2_request();
  void judge_name(const DomainName& name);
  void approve();
  bool withholds_preface() const;
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
  std::unique_ptr<wire::Http2RequestReader> http2_;
  std::uint64_t http2_at_ = 0;  // where its preface begins
  bool server_has_http2_ = false;
  wire::Http2FrameEdge server_frames_;
  std::string server_start_;
  std::vector<DomainName> names_;
  std::optional<DomainName> unconfirmed_;
  FirstFlightDenial denial_;
  std::vector<std::uint8_t> reply_;
};

}  // namespace sluice::policy
