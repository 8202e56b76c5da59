#include "hostd/attach/virt_queue.h"

#include <catch2/catch.hpp>
#include <string>

#include "hostd/vhost_kit.h"

using namespace sluice;
using namespace sluice::test;
using hostd::GuestMemory;
using hostd::VirtQueue;

namespace {

constexpr std::uint16_t kSize = 8;
constexpr std::size_t kMemory = 1 << 20, kBuffers = 1 << 16;

/// A queue and the driver on its other side.
struct Pair {
  explicit Pair(VirtQueue::Direction direction, VirtQueue::Options options = {true, true},
                std::uint16_t base = 0)
      : memory(std::move(*pages.map())), queue(direction) {
    queue.start(driver.rings(memory), kSize, base, options);
  }

  /// The next buffer's size, or the fault.
  std::string pop() {
    pieces.clear();
    auto chain = queue.pop(memory, pieces);
    if (!chain) return chain.status().message();
    if (!*chain) return "none";
    last = **chain;
    return std::to_string(last.bytes);
  }

  GuestPages pages{kMemory};
  DriverRing driver{pages, 0, kSize};
  GuestMemory memory;
  VirtQueue queue;
  std::vector<iovec> pieces;
  VirtQueue::Chain last;
};

std::uint64_t buffer(std::size_t n) {
  return kGuestBase + kBuffers + n * 4096;
}

}  // namespace

TEST_CASE("a buffer's pieces are those that the driver described, in order") {
  Pair pair(VirtQueue::Direction::from_guest);
  CHECK(pair.pop() == "none");
  pair.driver.add(2, {{buffer(0), 10}, {buffer(1), 0}, {buffer(2), 300}});
  REQUIRE(pair.pop() == "310");
  REQUIRE(pair.pieces.size() == 2);
  CHECK(pair.pieces[0].iov_base == pair.memory.at(buffer(0), 10));
  CHECK(pair.pieces[1].iov_len == 300);
  CHECK(pair.last.head == 2);
  CHECK(pair.pop() == "none");
  pair.queue.give_back(pair.last, 7);
  CHECK(pair.driver.used_index() == 0);
  pair.queue.publish();
  CHECK(pair.driver.used_index() == 1);
  CHECK(pair.driver.used_entry(0) == std::pair<std::uint32_t, std::uint32_t>(2, 7));
}

TEST_CASE("an indirect table is followed once, within its size") {
  Pair pair(VirtQueue::Direction::from_guest);
  DriverRing table(pair.pages, 32768, kSize);
  table.describe(0, {buffer(0), 100, kNext, 2});
  table.describe(2, {buffer(1), 50, 0, 0});
  pair.driver.add(0, {{kGuestBase + 32768, 48, kIndirect}});
  CHECK(pair.pop() == "150");
  SECTION("a chain beyond the table") {
    pair.driver.add(1, {{kGuestBase + 32768, 32, kIndirect}});
    CHECK(pair.pop() == "transmit queue: a chain goes on beyond its table");
  }
  SECTION("a size that is none of a table") {
    std::uint32_t size = GENERATE(0, 1, 15, 17);
    pair.driver.add(1, {{kGuestBase + 32768, size, kIndirect}});
    CHECK(pair.pop() == "transmit queue: an indirect table of an impossible size");
  }
  SECTION("a table within a table") {
    table.describe(0, {kGuestBase + 32768, 32, kIndirect});
    pair.driver.add(1, {{kGuestBase + 32768, 32, kIndirect}});
    CHECK(pair.pop() == "transmit queue: an indirect descriptor in an indirect table");
  }
  SECTION("a table that goes on in the ring") {
    pair.driver.add(1, {{kGuestBase + 32768, 32, kIndirect}, {buffer(0), 1}});
    CHECK(pair.pop() == "transmit queue: an indirect descriptor that goes on");
  }
  SECTION("a table at the end of the memory") {
    pair.driver.add(1, {{kGuestBase + kMemory - 16, 32, kIndirect}});
    CHECK(pair.pop() == "transmit queue: an indirect table outside of the guest's memory");
  }
}

TEST_CASE("an indirect table that was not agreed on is a fault") {
  Pair pair(VirtQueue::Direction::from_guest, {true, false});
  pair.driver.add(0, {{kGuestBase + 32768, 16, kIndirect}});
  CHECK(pair.pop() == "transmit queue: an indirect descriptor, which was not agreed on");
}

TEST_CASE("a buffer that is not wholly in the guest's memory is a fault") {
  Pair pair(VirtQueue::Direction::to_guest);
  auto [address, size] =
      GENERATE(std::pair<std::uint64_t, std::uint32_t>(0, 1),
               std::pair<std::uint64_t, std::uint32_t>(kGuestBase - 1, 2),
               std::pair<std::uint64_t, std::uint32_t>(kGuestBase + kMemory, 1),
               std::pair<std::uint64_t, std::uint32_t>(kGuestBase + kMemory - 1, 2),
               std::pair<std::uint64_t, std::uint32_t>(kGuestBase, 0xffffffff),
               std::pair<std::uint64_t, std::uint32_t>(~std::uint64_t{0}, 1),
               std::pair<std::uint64_t, std::uint32_t>(~std::uint64_t{0} - 10, 0xffffffff),
               std::pair<std::uint64_t, std::uint32_t>(kUserBase, 1));
  pair.driver.add(0, {{buffer(0), 10, kWrite}, {address, size, kWrite}});
  CHECK(pair.pop() == "receive queue: a buffer outside of the guest's memory");
}

TEST_CASE("a chain that never ends is a fault, whichever way it goes round") {
  Pair pair(VirtQueue::Direction::from_guest);
  SECTION("in the ring") {
    pair.driver.describe(0, {buffer(0), 1, kNext, 1});
    pair.driver.describe(1, {buffer(0), 1, kNext, 0});
  }
  SECTION("at itself") {
    pair.driver.describe(0, {buffer(0), 0, kNext, 0});
  }
  SECTION("in an indirect table longer than the queue") {
    DriverRing table(pair.pages, 32768, kSize);
    for (std::uint16_t i = 0; i < 64; ++i) {
      table.describe(i, {buffer(0), 1, kNext, static_cast<std::uint16_t>(i + 1)});
    }
    pair.driver.describe(0, {kGuestBase + 32768, 16 * 64, kIndirect});
  }
  pair.driver.make_available(0);
  CHECK(pair.pop() == "transmit queue: a chain is longer than the queue");
}

TEST_CASE("numbers beyond the queue are faults") {
  Pair pair(VirtQueue::Direction::from_guest);
  SECTION("of a chain") {
    pair.driver.make_available(kSize);
    CHECK(pair.pop() == "transmit queue: a descriptor's number is beyond the queue");
  }
  SECTION("of the next descriptor") {
    pair.driver.describe(0, {buffer(0), 1, kNext, kSize});
    pair.driver.make_available(0);
    CHECK(pair.pop() == "transmit queue: a chain goes on beyond its table");
  }
  SECTION("of available buffers") {
    std::uint16_t index = GENERATE(kSize + 1, 0x8000, 0xffff);
    pair.driver.set_available_index(index);
    CHECK(pair.pop() ==
          "transmit queue: the available index is further ahead than the queue is long");
  }
}

TEST_CASE("a buffer of the other direction is a fault") {
  Pair out(VirtQueue::Direction::from_guest), in(VirtQueue::Direction::to_guest);
  out.driver.add(0, {{buffer(0), 1}, {buffer(0), 1, kWrite}});
  CHECK(out.pop() == "transmit queue: a buffer of the other direction");
  in.driver.add(0, {{buffer(0), 1, kWrite}, {buffer(0), 1}});
  CHECK(in.pop() == "receive queue: a buffer of the other direction");
}

TEST_CASE("a queue goes round, and its indices with it") {
  Pair pair(VirtQueue::Direction::from_guest, {true, true}, 0);
  for (int i = 0; i < 70'000; ++i) {
    pair.driver.add(static_cast<std::uint16_t>(i % kSize), {{buffer(0), 1}});
    auto chain = pair.queue.pop(pair.memory, pair.pieces);
    pair.pieces.clear();
    if (!chain || !*chain) FAIL("buffer " << i);
    pair.queue.give_back(**chain, 1);
    pair.queue.publish();
  }
  CHECK(pair.driver.used_index() == static_cast<std::uint16_t>(70'000));
  CHECK(pair.queue.base() == static_cast<std::uint16_t>(70'000));
}

TEST_CASE("buffers that were not used are there again") {
  Pair pair(VirtQueue::Direction::to_guest);
  pair.driver.add(0, {{buffer(0), 1, kWrite}});
  pair.driver.add(1, {{buffer(1), 2, kWrite}});
  CHECK(pair.pop() == "1");
  CHECK(pair.pop() == "2");
  pair.queue.unpop(2);
  CHECK(pair.pop() == "1");
}

TEST_CASE("the guest is called when it asked to be, by its flag or its event index") {
  SECTION("by the event index") {
    Pair pair(VirtQueue::Direction::from_guest);
    for (std::uint16_t i = 0; i < 3; ++i) pair.driver.add(i, {{buffer(0), 1}});
    auto give_back_one = [&] {
      REQUIRE(pair.pop() == "1");
      pair.queue.give_back(pair.last, 0);
      pair.queue.publish();
    };
    SECTION("the first time, as nobody knows what it was called for before") {
      CHECK(pair.queue.wants_call());
      CHECK_FALSE(pair.queue.wants_call());
      return;
    }
    CHECK(pair.queue.wants_call());
    pair.driver.set_used_event(1);
    SECTION("for each buffer") {
      give_back_one();
      CHECK_FALSE(pair.queue.wants_call());
      give_back_one();
      CHECK(pair.queue.wants_call());
      give_back_one();
      CHECK_FALSE(pair.queue.wants_call());
    }
    SECTION("once for all of them") {
      for (int i = 0; i < 3; ++i) give_back_one();
      CHECK(pair.driver.used_index() == 3);
      CHECK(pair.queue.wants_call());
    }
    pair.queue.publish();
    CHECK_FALSE(pair.queue.wants_call());
  }
  SECTION("by the flag") {
    Pair pair(VirtQueue::Direction::from_guest, {false, false});
    for (std::uint16_t i = 0; i < 2; ++i) pair.driver.add(i, {{buffer(0), 1}});
    REQUIRE(pair.pop() == "1");
    pair.queue.give_back(pair.last, 0);
    pair.queue.publish();
    CHECK(pair.queue.wants_call());
    pair.driver.set_flags(1);
    REQUIRE(pair.pop() == "1");
    pair.queue.give_back(pair.last, 0);
    pair.queue.publish();
    CHECK_FALSE(pair.queue.wants_call());
  }
}

TEST_CASE("the guest is asked for a kick only where nothing is there") {
  SECTION("by the event index") {
    Pair pair(VirtQueue::Direction::from_guest);
    CHECK_FALSE(pair.queue.ask_for_kick());
    CHECK(pair.driver.available_event() == 0);
    pair.driver.add(0, {{buffer(0), 1}});
    CHECK(pair.queue.ask_for_kick());
    CHECK(pair.pop() == "1");
    CHECK_FALSE(pair.queue.ask_for_kick());
    CHECK(pair.driver.available_event() == 1);
  }
  SECTION("by the flag") {
    Pair pair(VirtQueue::Direction::from_guest, {false, false});
    pair.queue.refuse_kicks();
    CHECK(pair.driver.used_flags() == 1);
    CHECK_FALSE(pair.queue.ask_for_kick());
    CHECK(pair.driver.used_flags() == 0);
  }
}

TEST_CASE("a buffer across regions that adjoin is in pieces, and over a hole a fault") {
  GuestPages low(1 << 16), high(1 << 16);
  std::vector<UniqueFd> fds;
  fds.push_back(low.fd());
  fds.push_back(high.fd());
  std::uint64_t second =
      GENERATE(std::uint64_t{kGuestBase + (1 << 16)}, std::uint64_t{kGuestBase + (1 << 16) + 4096});
  std::vector<hostd::MemoryRegion> regions{{kGuestBase, 1 << 16, kUserBase, 0},
                                           {second, 1 << 16, kUserBase + (1 << 20), 0}};
  auto memory = GuestMemory::map(regions, fds);
  REQUIRE(memory);
  std::vector<iovec> pieces;
  bool adjoin = second == kGuestBase + (1 << 16);
  CHECK(memory->append(kGuestBase + 0xff00, 0x300, pieces) == adjoin);
  if (!adjoin) return;
  REQUIRE(pieces.size() == 2);
  CHECK(pieces[0].iov_len == 0x100);
  CHECK(pieces[1].iov_base == memory->at(second, 0x200));
  // Rings and tables do not lie in two.
  CHECK(memory->at(kGuestBase + 0xff00, 0x300) == nullptr);
}

TEST_CASE("a memory table that does not fit its files is refused") {
  GuestPages pages(1 << 16);
  auto map = [&](const hostd::MemoryRegion& region, UniqueFd fd) {
    std::vector<UniqueFd> fds;
    if (fd) fds.push_back(std::move(fd));
    return GuestMemory::map({&region, 1}, fds).status().message();
  };
  CHECK(map({kGuestBase, 1 << 16, kUserBase, 0}, pages.fd()).empty());
  CHECK(map({kGuestBase, (1 << 16) + 1, kUserBase, 0}, pages.fd()) ==
        "memory region 0: its file is shorter");
  CHECK(map({kGuestBase, 1 << 16, kUserBase, 1}, pages.fd()) ==
        "memory region 0: its file is shorter");
  CHECK(map({kGuestBase, 0, kUserBase, 0}, pages.fd()) == "memory region 0: it is empty");
  CHECK(map({~std::uint64_t{0} - 5, 4096, kUserBase, 0}, pages.fd()) ==
        "memory region 0: its end is beyond the last address");
  CHECK(map({kGuestBase, 4096, kUserBase, ~std::uint64_t{0}}, pages.fd()) ==
        "memory region 0: its end is beyond the last address");
  CHECK(map({kGuestBase, 4096, kUserBase, 0}, make_eventfd()) ==
        "memory region 0: its descriptor is of no file");
  CHECK(map({kGuestBase, 4096, kUserBase, 0}, UniqueFd()) == "1 memory regions with 0 descriptors");
}
