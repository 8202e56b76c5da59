// Any bytes as the beginning and the end of a disk, of any size: it is told what it is, and is
// blank only where all of its bytes are zero.

#include <algorithm>
#include <vector>

#include "agent/init/disk_content.h"
#include "agent/init/superblock.h"
#include "check.h"

using namespace sluice::agent;

namespace {

class Disk final : public DiskReader {
 public:
  explicit Disk(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Got read(std::uint64_t offset, std::span<std::uint8_t> into) override {
    FUZZ_CHECK(offset <= bytes_.size());
    std::size_t count = std::min<std::size_t>(into.size(), bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, into.begin());
    return {.bytes = count};
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::uint8_t> bytes(data, size);
  // As it is; and with its second half where btrfs has its superblock.
  std::vector<std::uint8_t> spread(kSuperblockBytes);
  std::copy_n(data, size / 2, spread.begin());
  std::copy_n(data + size / 2, size - size / 2, spread.begin() + 65536);
  for (std::span<const std::uint8_t> one : {bytes, std::span<const std::uint8_t>(spread)}) {
    Disk disk(one);
    DiskContent content = look_at(disk);
    bool zeros = std::all_of(one.begin(), one.end(), [](std::uint8_t byte) { return byte == 0; });
    FUZZ_CHECK((content.kind == DiskContent::Kind::blank) == (zeros && !one.empty()));
    FUZZ_CHECK((content.kind == DiskContent::Kind::unreadable) == one.empty());
    FUZZ_CHECK(!content.what.empty());
    if (content.kind == DiskContent::Kind::file_system) FUZZ_CHECK(file_system_of(one));
  }
  return 0;
}
