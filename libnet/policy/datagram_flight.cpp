#include "policy/datagram_flight.h"

#include <fmt/format.h>

#include <utility>

#include "policy/reason.h"

namespace sluice::policy {

DatagramFlight::Outcome DatagramFlight::judge(ConstBytes datagram, TimePoint now) {
  using State = wire::QuicHelloAssembler::State;
  auto seen = hellos_.add(datagram, now);
  auto step = [&] {
    switch (seen.state) {
      case State::not_quic:
      case State::judged:
        return Step::pass;
      case State::need_more:
        return Step::hold;
      case State::no_initial:
        return name_ ? Step::pass : Step::drop;
      case State::complete:
        return judge_hello(seen.connection);
      case State::other_version:
        return unidentified(fmt::format("its QUIC version {:#x} can't be read", seen.version));
      case State::too_large:
        return unidentified("its QUIC hello is too large");
      case State::malformed:
        break;
    }
    return unidentified(fmt::format("its QUIC hello can't be read: {}", hellos_.reason()));
  }();
  return {step, seen.connection};
}

DatagramFlight::Step DatagramFlight::judge_hello(std::uint32_t connection) {
  const wire::ClientHello& hello = *hellos_.hello(connection);
  if (hello.has_ech && options_.encrypted_hello == EncryptedHello::deny) {
    return deny({hello.server_name, std::nullopt, std::string(kHiddenName)});
  }
  if (!hello.server_name) {
    Step step = unidentified("its QUIC hello names no server");
    if (step == Step::pass) hellos_.approve(connection);
    return step;
  }
  Verdict verdict = judge_(*hello.server_name);
  if (!verdict.allowed()) {
    return deny({hello.server_name, verdict, std::string(reason_of(verdict, Judged::named_flow))});
  }
  if (options_.allowed_name == AllowedName::awaits_server && hello.server_name != name_) {
    if (unconfirmed_ && connection != waiting_) return Step::drop;
    unconfirmed_ = hello.server_name;
    waiting_ = connection;
    return Step::hold;
  }
  name_ = hello.server_name;
  hellos_.approve(connection);
  return Step::pass;
}

std::uint32_t DatagramFlight::confirm() {
  name_ = std::exchange(unconfirmed_, std::nullopt);
  hellos_.approve(waiting_);
  return waiting_;
}

std::uint32_t DatagramFlight::refuse(std::string reason, std::string_view decider) {
  deny({std::exchange(unconfirmed_, std::nullopt), std::nullopt, std::move(reason), decider});
  return waiting_;
}

DatagramFlight::Step DatagramFlight::give_up(std::string_view reason) {
  // A name that was read is not unidentified.
  if (unconfirmed_) {
    return deny({std::exchange(unconfirmed_, std::nullopt), std::nullopt, std::string(reason)});
  }
  return unidentified(std::string(reason));
}

DatagramFlight::Step DatagramFlight::unidentified(std::string reason) {
  if (options_.unidentified == Unidentified::allow_if_bound) return Step::pass;
  return deny({std::nullopt, std::nullopt, std::move(reason)});
}

DatagramFlight::Step DatagramFlight::deny(FirstFlightDenial denial) {
  denial_ = std::move(denial);
  return Step::deny;
}

}  // namespace sluice::policy
