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

}  // namespace sluice::policy
