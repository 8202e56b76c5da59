#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/first_flight.h"
#include "policy/support.h"
#include "wire/hello_builder.h"

namespace sluice::policy {

using testing::Message;
using testing::message_of;
using testing::operator+;

/// A connection for which `good.test` is allowed and rule 3 denies `bad.test`.
struct Connection {
  explicit Connection(FirstFlightOptions options = {})
      : flight(options, [this](const DomainName& asked) {
          names.push_back(asked.text());
          if (asked.text() == "good.test") return Verdict{Action::allow, 1, Basis::name_rule};
          if (asked.text() == "bad.test") return Verdict{Action::deny, 3, Basis::name_rule};
          return Verdict{};
        }) {}

  std::size_t say(const Message& bytes) { return flight.feed(bytes); }
  std::size_t say(std::string_view text) { return flight.feed(message_of(text)); }
  std::string reply() const { return {flight.reply().begin(), flight.reply().end()}; }

  std::vector<std::string> names;
  FirstFlight flight;
};

inline std::string http_get(std::string_view host) {
  return "GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n";
}

/// Fails the test where it makes a difference that the bytes come in two parts.
inline void check_every_split(const Message& bytes) {
  Connection whole;
  whole.say(bytes);
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    Connection split;
    split.say(Message(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut)));
    split.say(Message(bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end()));
    INFO("cut at " << cut);
    REQUIRE(split.flight.state() == whole.flight.state());
    REQUIRE(split.flight.released() == whole.flight.released());
    REQUIRE(split.flight.reply() == whole.flight.reply());
    REQUIRE(split.names == whole.names);
  }
}

}  // namespace sluice::policy
