#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <net/dns.h>

#include "base/host_net.h"
#include "base/loop.h"
#include "dns/counters.h"
#include "dns/tls_channel.h"
#include "dns/upstream_query.h"

namespace sluice::dns {

/// A resolver that is asked over TLS (RFC 7858): one connection, kept while it is used, on which
/// questions go out without waiting for the answers to those before (RFC 7766 section 6.2.1.1).
///
/// ```
///            ask()            TCP                TLS
///   closed --------> dialling -----> handshaking -----> open --idle, closed by peer--> closed
///     ^                 '-- refused, too slow --'         '-- broken, silent --.
///     '---------- back-off: 250 ms, doubled up to 8 s <------------------------'
/// ```
/// What was asked on a connection that ends is asked once more on a new one, since a resolver may
/// close a connection at any time. Nothing is ever sent in clear text.
class TlsUpstream final : public SocketHandler, public std::enable_shared_from_this<TlsUpstream> {
 public:
  using Question = UpstreamQuery::Question;
  using Done = UpstreamQuery::Done;
  using Ticket = std::uint64_t;

  /// For TCP and TLS handshakes together; shorter than the time that a question has.
  static constexpr Duration kSetUp = std::chrono::seconds(4);
  /// A connection that owes answers and says nothing for this long is taken for dead: early enough
  /// to ask anew in the time that a question has.
  static constexpr Duration kSilence = std::chrono::seconds(2);
  /// Without a question the connection is closed after this.
  static constexpr Duration kIdle = std::chrono::seconds(30);
  static constexpr Duration kFirstBackOff = std::chrono::milliseconds(250);
  static constexpr Duration kLongestBackOff = std::chrono::seconds(8);
  static constexpr std::size_t kMaxPending = 1024;

  /// `loop`, `host` and `counters` outlive it.
  TlsUpstream(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
              DnsResolver resolver, std::shared_ptr<const TlsTrust> trust);
  ~TlsUpstream();

  /// Nothing while it rests after a failure, or with too many questions open. `done` is called once
  /// and not from here, unless cancel() goes before.
  std::optional<Ticket> ask(const Question& question, Done done);
  void cancel(Ticket ticket);
  /// Why there is no answer, in a phrase.
  std::string waits_for() const;
  bool is_closed() const { return !socket_; }

  void on_socket_ready(SocketReady ready) override;

 private:
  struct Pending {
    Ticket ticket = 0;
    wire::DnsQuestion question;
    Done done;
    bool is_retried = false;
  };

  bool dial();
  void on_timer();
  void arm_timer();
  void begin_handshake();
  void read_socket();
  void take_plaintext();
  void take_message(ConstBytes message);
  void send_question(std::uint16_t id, const Pending& pending);
  void flush();
  /// The connection is over. Without a reason in it, `why` is what is told.
  void end(std::string_view why);
  void disconnect();
  void fail_pending(std::string_view why);
  void back_off(std::string_view why);

  Loop& loop_;
  HostNet& host_;
  Counters& counters_;
  RandomSource random_;
  DnsResolver resolver_;
  std::shared_ptr<const TlsTrust> trust_;

  std::unique_ptr<StreamSocket> socket_;
  bool connected_ = false;
  std::uint64_t connection_ = 0;  ///< Another number after each end of one.
  std::unique_ptr<TlsChannel> channel_;
  std::vector<std::uint8_t> outgoing_;
  std::size_t sent_bytes_ = 0;
  std::vector<std::uint8_t> incoming_;  ///< Plaintext: less than a message, or what just came.
  std::size_t owed_ = 0;                ///< Answers that this connection still has to give.
  std::unique_ptr<Timer> timer_;

  std::unordered_map<std::uint16_t, Pending> pending_;  ///< By id.
  Ticket last_ticket_ = 0;
  Duration rest_{0};
  TimePoint rests_until_{};
  std::string trouble_;
};

/// One question on a TlsUpstream.
class TlsQuery final : public UpstreamQuery {
 public:
  TlsQuery(std::shared_ptr<TlsUpstream> upstream, const Question& question, Done done)
      : upstream_(std::move(upstream)), question_(question), done_(std::move(done)) {}
  ~TlsQuery() override;
  TlsQuery(const TlsQuery&) = delete;
  TlsQuery& operator=(const TlsQuery&) = delete;

  bool start() override;
  std::string waits_for() const override { return upstream_->waits_for(); }

 private:
  std::shared_ptr<TlsUpstream> upstream_;
  Question question_;
  Done done_;
  std::optional<TlsUpstream::Ticket> ticket_;
};

}  // namespace sluice::dns
