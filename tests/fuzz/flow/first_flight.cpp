// Any bytes of a guest, with any of a server between them: what comes of a first flight doesn't
// depend on how the guest's bytes are cut, nothing denied passes, and only allowed names are kept.
// Where names wait for their server, nothing passes meanwhile.

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "policy/first_flight.h"

using namespace sluice;
using policy::FirstFlight;
using State = FirstFlight::State;

namespace {

struct Outcome {
  State state = State::reading;
  std::uint64_t released = 0;
  std::vector<std::string> asked;
  std::vector<std::uint8_t> reply;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// One connection. Names that begin with 'g' are allowed, and those with "gn" have no server.
class Connection {
 public:
  Connection(std::size_t step, policy::AllowedName allowed_name)
      : step_(step), flight_({.allowed_name = allowed_name}, [this](const DomainName& name) {
          asked_.push_back(name.text());
          bool is_allowed = name.text().starts_with('g');
          return Verdict{is_allowed ? Action::allow : Action::deny, 1, Basis::name_rule};
        }) {}

  void guest_says(ConstBytes bytes) {
    said_.insert(said_.end(), bytes.begin(), bytes.end());
    feed();
  }
  void server_says(ConstBytes bytes) {
    flight_.server_spoke(bytes);
    check();
    feed();
  }
  void wait() {
    flight_.give_up("it took too long");
    check();
  }
  Outcome outcome() const { return {flight_.state(), flight_.released(), asked_, flight_.reply()}; }

 private:
  void feed() {
    while (flight_.state() == State::reading && flight_.taken() < said_.size()) {
      auto rest = ConstBytes(said_).subspan(flight_.taken());
      std::size_t taken = flight_.feed(rest.first(std::min(step_, rest.size())));
      check();
      if (flight_.unconfirmed()) {
        find_server();
      } else if (taken == 0) {
        break;
      }
    }
  }
  void find_server() {
    FUZZ_CHECK(flight_.feed(ConstBytes(said_).first(1)) == 0);
    flight_.give_up("it took too long");
    FUZZ_CHECK(flight_.state() == State::reading && flight_.released() == released_);
    if (flight_.unconfirmed()->text().starts_with("gn")) {
      flight_.refuse("it has no server", "nobody");
      FUZZ_CHECK(flight_.state() == State::denied);
      is_refused_ = true;
    } else {
      flight_.confirm();
    }
    check();
  }
  void check() {
    bool is_open = flight_.state() == State::open;
    FUZZ_CHECK(flight_.released() >= released_);
    FUZZ_CHECK(is_open || flight_.released() <= flight_.taken());
    FUZZ_CHECK(is_open || flight_.taken() <= said_.size());
    FUZZ_CHECK(!was_denied_ || flight_.released() == released_);
    FUZZ_CHECK(!flight_.is_waiting() || flight_.state() == State::reading);
    FUZZ_CHECK(!flight_.awaits_server() || flight_.state() == State::reading);
    FUZZ_CHECK(flight_.state() == State::denied || flight_.reply().empty());
    FUZZ_CHECK(flight_.names().size() <= 32);
    for (const auto& name : flight_.names()) FUZZ_CHECK(name.text().starts_with('g'));
    bool is_allowed = std::ranges::all_of(asked_, [](auto& name) { return name[0] == 'g'; });
    FUZZ_CHECK((is_allowed && !is_refused_) || flight_.state() == State::denied);
    released_ = flight_.released();
    was_denied_ = flight_.state() == State::denied;
  }

  std::size_t step_;
  std::vector<std::uint8_t> said_;
  std::vector<std::string> asked_;
  std::uint64_t released_ = 0;
  bool was_denied_ = false;
  bool is_refused_ = false;
  FirstFlight flight_;
};

/// In pieces, each with its speaker and size before it: both ends speak in turn as these say.
Outcome run(ConstBytes in, std::size_t step, policy::AllowedName allowed_name) {
  Connection connection(step, allowed_name);
  while (in.size() > 2) {
    std::size_t size = std::min<std::size_t>(in[1], in.size() - 2);
    ConstBytes piece = in.subspan(2, size);
    if (in[0] % 8 == 7) {
      connection.wait();
    } else if (in[0] % 2 == 1) {
      connection.server_says(piece);
    } else {
      connection.guest_says(piece);
    }
    in = in.subspan(2 + size);
  }
  return connection.outcome();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  for (auto names : {policy::AllowedName::passes, policy::AllowedName::awaits_server}) {
    Outcome whole = run(in, SIZE_MAX, names);
    FUZZ_CHECK(run(in, 1, names) == whole);
    FUZZ_CHECK(run(in, 7, names) == whole);
  }
  return 0;
}
