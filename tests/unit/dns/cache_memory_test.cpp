// What the cache takes of the heap, as the C library counts it, whoever chooses names and answers.

#include <malloc.h>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsMessage;
using wire::DnsName;
using wire::DnsSection;
using wire::DnsType;

namespace {

constexpr std::size_t kLimit = std::size_t{4} << 20;
/// Rounding of the C library's, and the table's growth.
constexpr std::size_t kTolerance = kLimit / 8;

std::size_t heap_bytes() {
  auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// `first`, then labels of 'x' up to the longest name.
DomainName long_name(const std::string& first) {
  std::string name = first;
  while (name.size() + 64 <= 253) name += "." + std::string(63, 'x');
  if (name.size() + 2 <= 253) name += "." + std::string(253 - name.size() - 1, 'x');
  return domain(name);
}

/// A resolver's message that answers `name`, as the forwarder would keep it.
using Fill = std::function<void(wire::DnsWriter& writer, const DnsName& name)>;
std::shared_ptr<const dns::Answer> answer_to(const DomainName& name, DnsType type,
                                             const Fill& fill) {
  wire::DnsHeader header;
  header.response = true;
  wire::DnsWriter writer(header, wire::kDnsMaxMessageBytes);
  writer.question({DnsName(name), type});
  fill(writer, DnsName(name));
  auto bytes = std::move(writer).finish();
  auto message = DnsMessage::parse(bytes);
  auto answer = dns::keep_chain(message.value(), DnsName(name), type);
  return std::make_shared<const dns::Answer>(std::move(answer).value());
}

struct Usage {
  std::size_t heap = 0;     ///< At most, as the C library counts.
  std::size_t counted = 0;  ///< At most, as the cache does.
  std::size_t entries = 0;
};

Usage fill_cache(int count, DnsType type, const std::function<DomainName(int)>& name,
                 const Fill& fill) {
  std::size_t before = heap_bytes();
  dns::Cache cache(kLimit);
  Usage most;
  for (int i = 0; i < count; ++i) {
    auto asked = name(i);
    cache.insert({asked, type}, answer_to(asked, type, fill), TimePoint());
    most.counted = std::max(most.counted, cache.bytes());
    if (i % 64 == 0 || i + 1 == count) most.heap = std::max(most.heap, heap_bytes() - before);
  }
  most.entries = cache.entries();
  return most;
}

void record(wire::DnsWriter& writer, const DnsName& owner, DnsType type, ConstBytes rdata) {
  writer.record(DnsSection::answer, owner, type, 300, rdata);
}

const std::vector<std::uint8_t> kAddress{93, 184, 215, 14};

}  // namespace

TEST_CASE("a guest that looks up 100,000 names costs no more memory than the cache may have") {
  auto one_address = [](wire::DnsWriter& writer, const DnsName& name) {
    record(writer, name, DnsType::a, kAddress);
  };
  auto long_names = GENERATE(false, true);
  auto usage = fill_cache(
      100'000, DnsType::a,
      [&](int i) {
        auto first = fmt::format("n{}", i);
        return long_names ? long_name(first) : domain(first + ".example.com");
      },
      one_address);
  fmt::print("100,000 {} names: {} entries kept in {} KiB\n", long_names ? "long" : "short",
             usage.entries, usage.heap / 1024);
  CHECK(usage.counted <= kLimit);
  CHECK(usage.heap <= kLimit + kTolerance);
  CHECK(usage.entries > (long_names ? 2000u : 5000u));
}

TEST_CASE("answers made to be large cost no more memory than the cache may have") {
  struct Row {
    const char* what;
    DnsType type;
    Fill fill;
  };
  auto row = GENERATE(
      Row{"1024 addresses", DnsType::a,
          [](wire::DnsWriter& writer, const DnsName& name) {
            for (int i = 0; i < 1024; ++i) record(writer, name, DnsType::a, kAddress);
          }},
      Row{"1024 records without data", DnsType{65399},
          [](wire::DnsWriter& writer, const DnsName& name) {
            for (int i = 0; i < 1024; ++i) record(writer, name, DnsType{65399}, {});
          }},
      Row{"a text of 60,000 bytes", DnsType::txt,
          [](wire::DnsWriter& writer, const DnsName& name) {
            record(writer, name, DnsType::txt, std::vector<std::uint8_t>(60'000));
          }},
      Row{"16 aliases of long names", DnsType::a, [](wire::DnsWriter& writer, const DnsName& name) {
            DnsName current = name;
            for (int i = 0; i < dns::kMaxAliases; ++i) {
              DnsName next(long_name(fmt::format("alias{}", i)));
              auto target = next.wire();
              record(writer, current, DnsType::cname,
                     {reinterpret_cast<const std::uint8_t*>(target.data()), target.size()});
              current = next;
            }
            record(writer, current, DnsType::a, kAddress);
          }});
  auto usage =
      fill_cache(2000, row.type, [](int i) { return long_name(fmt::format("n{}", i)); }, row.fill);
  fmt::print("{}: {} entries kept in {} KiB\n", row.what, usage.entries, usage.heap / 1024);
  CHECK(usage.counted <= kLimit);
  CHECK(usage.heap <= kLimit + kTolerance);
  CHECK(usage.entries > 5);
}
