#include "policy/datagram_flight.h"

#include "policy/support.h"
#include "wire/quic_seal.h"

namespace sluice::policy {
namespace {

using Step = DatagramFlight::Step;
using testing::Message;

/// Datagrams of a guest that may reach `good.test`.
struct Sender {
  explicit Sender(FirstFlightOptions options = {})
      : flight(options, [](const DomainName& asked) {
          return asked.text() == "good.test" ? Verdict{Action::allow, 1, Basis::name_rule}
                                             : Verdict{};
        }) {}

  Step say(const Message& datagram) { return flight.judge(datagram, {}).step; }

  DatagramFlight flight;
};

Message initial(const Message& payload, std::uint64_t number = 0) {
  testing::InitialPacket packet;
  packet.payload = payload;
  packet.payload.resize(std::max<std::size_t>(payload.size(), 1100));
  packet.number = number;
  return testing::seal(packet);
}

Message hello(std::string_view name, const Message& more = {}) {
  return testing::hello_message(name, more);
}

TEST_CASE("a QUIC hello passes by its name") {
  Sender good;
  CHECK(good.say(initial(testing::crypto_frame(0, hello("good.test")))) == Step::pass);
  CHECK(good.flight.name()->text() == "good.test");
  Sender other;
  CHECK(other.say(initial(testing::crypto_frame(0, hello("other.test")))) == Step::deny);
  CHECK(other.flight.denial().name->text() == "other.test");
}

TEST_CASE("a QUIC hello over two datagrams is held until it is whole, in either order") {
  Message whole = hello("good.test");
  Message first = initial(testing::crypto_part(whole, 0, 60));
  Message second = initial(testing::crypto_part(whole, 60, whole.size()), 1);
  for (bool swapped : {false, true}) {
    Sender sender;
    CHECK(sender.say(swapped ? second : first) == Step::hold);
    CHECK(sender.say(swapped ? first : second) == Step::pass);
    CHECK(sender.say(first) == Step::pass);
  }
}

TEST_CASE("what is no QUIC passes, and packets of no connection that was judged do not") {
  Sender sender;
  CHECK(sender.say(testing::message_of("\x01 any protocol")) == Step::pass);
  CHECK(sender.say(testing::message_of("")) == Step::pass);
  Message handshake{0xe0, 0, 0, 0, 1, 4, 1, 2, 3, 4, 0, 20};
  handshake.resize(64);
  CHECK(sender.say(handshake) == Step::drop);
  CHECK(sender.say(initial(testing::crypto_frame(0, hello("good.test")))) == Step::pass);
  CHECK(sender.say(handshake) == Step::pass);
}

TEST_CASE("QUIC that can't be read is unidentified") {
  Message odd{0xc0, 0xfa, 0xce, 0xb0, 0x02, 4, 1, 2, 3, 4, 0};
  Sender strict;
  CHECK(strict.say(odd) == Step::deny);
  CHECK_FALSE(strict.flight.denial().name);
  Sender lax({.unidentified = Unidentified::allow_if_bound});
  CHECK(lax.say(odd) == Step::pass);
}

TEST_CASE("a QUIC hello that may hide its name is denied unless the operator lets it") {
  Message ech = testing::extension(0xfe0d, Message(40, 1));
  Message datagram = initial(testing::crypto_frame(0, hello("good.test", ech)));
  CHECK(Sender().say(datagram) == Step::deny);
  CHECK(Sender({.encrypted_hello = EncryptedHello::allow}).say(datagram) == Step::pass);
}

}  // namespace
}  // namespace sluice::policy
