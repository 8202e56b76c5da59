#include "agent/init/disk_content.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <map>
#include <optional>
#include <vector>

#include "agent/init/superblock.h"

namespace sluice::agent {

namespace {

using Kind = DiskContent::Kind;
using Image = std::vector<std::uint8_t>;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// A disk of any size of zeros but for what is put on it, and which fails as it is told.
class ScriptedDisk final : public DiskReader {
 public:
  explicit ScriptedDisk(std::uint64_t size) : size_(size) {}

  void put(std::uint64_t at, std::string_view text) { pieces_[at] = text; }
  void put(std::uint64_t at, const Image& image) { pieces_[at] = {image.begin(), image.end()}; }

  std::uint64_t size() const override { return size_; }

  Got read(std::uint64_t offset, std::span<std::uint8_t> into) override {
    std::size_t number = reads_.size();
    std::size_t count = std::min<std::uint64_t>(into.size(), size_ - std::min(offset, size_));
    reads_.push_back({offset, count});
    if (number == fails_at) return {.error = EIO};
    if (number == ends_at) return {};
    if (number == interrupted_at) return {.error = EINTR};
    count = std::min(count, most_at_once);
    std::fill_n(into.begin(), count, std::uint8_t{0});
    for (const auto& [at, text] : pieces_) {
      for (std::size_t i = 0; i < text.size(); ++i) {
        if (at + i < offset || at + i >= offset + count) continue;
        into[at + i - offset] = static_cast<std::uint8_t>(text[i]);
      }
    }
    return {.bytes = count};
  }

  bool has_read(std::uint64_t at) const {
    return std::any_of(reads_.begin(), reads_.end(), [at](const auto& read) {
      return at >= read.first && at < read.first + read.second;
    });
  }
  std::size_t reads() const { return reads_.size(); }

  std::optional<std::size_t> fails_at;
  std::optional<std::size_t> ends_at;
  std::optional<std::size_t> interrupted_at;
  std::size_t most_at_once = SIZE_MAX;

 private:
  std::uint64_t size_;
  std::map<std::uint64_t, std::string> pieces_;
  std::vector<std::pair<std::uint64_t, std::size_t>> reads_;
};

void put_number(Image& image, std::size_t at, std::size_t width, std::uint64_t value) {
  for (std::size_t i = 0; i < width; ++i) {
    image[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

Image ext4() {
  Image image(kSuperblockBytes);
  put_number(image, 1024 + 0, 4, 65536);
  put_number(image, 1024 + 24, 4, 2);
  put_number(image, 1024 + 32, 4, 32768);
  put_number(image, 1024 + 40, 4, 8192);
  put_number(image, 1024 + 56, 2, 0xef53);
  return image;
}

Image xfs() {
  Image image(kSuperblockBytes);
  std::copy_n("XFSB", 4, image.begin());
  image[6] = 0x10;    // 4096, big-endian
  image[13] = 1;      // blocks
  image[86] = 1;      // blocks of a group
  image[102] = 0x02;  // 512
  return image;
}

Image btrfs() {
  Image image(kSuperblockBytes);
  std::copy_n("_BHRfS_M", 8, image.begin() + 65536 + 64);
  put_number(image, 65536 + 48, 8, 65536);
  put_number(image, 65536 + 112, 8, kGiB);
  put_number(image, 65536 + 144, 4, 4096);
  put_number(image, 65536 + 148, 4, 16384);
  return image;
}

DiskContent content_of(const Image& image) {
  ScriptedDisk disk(kGiB);
  disk.put(0, image);
  return look_at(disk);
}

}  // namespace

TEST_CASE("a file system is known by its superblock") {
  for (const auto& [image, name] :
       {std::pair{ext4(), "ext4"}, std::pair{xfs(), "xfs"}, std::pair{btrfs(), "btrfs"}}) {
    DiskContent content = content_of(image);
    INFO(name << " " << content.what);
    CHECK(content.kind == Kind::file_system);
    CHECK(content.what == name);
  }
}

TEST_CASE("a magic number alone is no file system, and no blank disk") {
  for (const auto& [at, magic] : {std::pair{1024 + 56, "\x53\xef"}, std::pair{0, "XFSB"},
                                  std::pair{65536 + 64, "_BHRfS_M"}}) {
    ScriptedDisk disk(kGiB);
    disk.put(static_cast<std::uint64_t>(at), magic);
    CHECK(look_at(disk).kind == Kind::other);
  }
}

TEST_CASE("an external journal of ext4 is not mounted") {
  Image image = ext4();
  put_number(image, 1024 + 96, 4, 0x8);
  CHECK(content_of(image).kind == Kind::other);
}

TEST_CASE("two file systems at once are not mounted") {
  Image image = btrfs();
  Image other = ext4();
  std::copy_n(other.begin() + 1024, 1024, image.begin() + 1024);
  CHECK(content_of(image).kind == Kind::other);
}

TEST_CASE("a file system within a RAID, or beside a GPT, is not mounted by itself") {
  for (std::uint64_t back : {std::uint64_t{512}, std::uint64_t{8192}, std::uint64_t{65536}}) {
    ScriptedDisk disk(kGiB);
    disk.put(0, ext4());
    disk.put(kGiB - back, std::string_view("\xfc\x4e\x2b\xa9\x01\0\0\0", 8));
    DiskContent content = look_at(disk);
    CHECK(content.kind == Kind::other);
    CHECK(content.what.find("RAID") != std::string::npos);
  }
  ScriptedDisk disk(kGiB);
  disk.put(0, ext4());
  disk.put(kGiB - 512, "EFI PART");
  CHECK(look_at(disk).kind == Kind::other);
}

TEST_CASE("what is known by its signature is named") {
  struct Case {
    std::uint64_t at;
    std::string_view magic;
    std::string_view name;
  };
  for (const Case& one : std::initializer_list<Case>{{0, "LUKS\xba\xbe", "LUKS"},
                                                     {512, "LABELONE", "LVM"},
                                                     {512, "EFI PART", "GPT"},
                                                     {4096, "\xfc\x4e\x2b\xa9", "RAID"},
                                                     {3, "NTFS    ", "NTFS"},
                                                     {510, "\x55\xaa", "MBR"}}) {
    ScriptedDisk disk(kGiB);
    disk.put(one.at, one.magic);
    DiskContent content = look_at(disk);
    CHECK(content.kind == Kind::other);
    CHECK(content.what.find(one.name) != std::string::npos);
  }
}

TEST_CASE("swap is known for every size of pages") {
  for (std::uint64_t page : {4096, 16384, 65536}) {
    ScriptedDisk disk(kGiB);
    disk.put(page - 10, "SWAPSPACE2");
    CHECK(look_at(disk).kind == Kind::swap);
  }
}

TEST_CASE("zeros are blank, whatever the size") {
  for (std::uint64_t size : {std::uint64_t{1}, std::uint64_t{511}, std::uint64_t{4096}, kWholeBytes,
                             kWholeBytes + 1, kGiB, 8192 * kGiB}) {
    ScriptedDisk disk(size);
    INFO(size);
    CHECK(look_at(disk).kind == Kind::blank);
    CHECK(disk.has_read(0));
    CHECK(disk.has_read(size - 1));
  }
}

TEST_CASE("of a small disk every byte counts") {
  for (std::uint64_t at = 0; at < kWholeBytes; at += 7 * 1024 * 1024 + 13) {
    ScriptedDisk disk(kWholeBytes);
    disk.put(at, "x");
    INFO(at);
    CHECK(look_at(disk).kind == Kind::other);
  }
}

TEST_CASE("of a large disk the edges, the copies of superblocks and a sample count") {
  constexpr std::uint64_t kSize = 600 * kGiB;
  for (std::uint64_t at :
       {std::uint64_t{0}, kEdgeBytes - 1, kSize - kEdgeBytes, kSize - 1, kGiB / 16, 256 * kGiB,
        kGiB / 8, 3 * kGiB / 8, kSize / kSamples * 100 / kSampleBytes * kSampleBytes}) {
    ScriptedDisk disk(kSize);
    disk.put(at, "x");
    INFO(at);
    CHECK(look_at(disk).kind == Kind::other);
  }
}

TEST_CASE("no read that fails makes a disk blank") {
  for (std::uint64_t size : {std::uint64_t{4096}, 4 * kGiB}) {
    ScriptedDisk whole(size);
    REQUIRE(look_at(whole).kind == Kind::blank);
    for (std::size_t number = 0; number < whole.reads(); ++number) {
      ScriptedDisk disk(size);
      disk.fails_at = number;
      DiskContent content = look_at(disk);
      REQUIRE(content.kind == Kind::unreadable);
      REQUIRE(content.error == EIO);
      // It isn't tried again either.
      REQUIRE(disk.reads() == number + 1);
    }
  }
}

TEST_CASE("no disk that ends early is blank") {
  ScriptedDisk whole(4 * kGiB);
  REQUIRE(look_at(whole).kind == Kind::blank);
  for (std::size_t number = 0; number < whole.reads(); ++number) {
    ScriptedDisk disk(4 * kGiB);
    disk.ends_at = number;
    DiskContent content = look_at(disk);
    REQUIRE(content.kind == Kind::unreadable);
    REQUIRE(content.error == EIO);
  }
}

TEST_CASE("a read that gives less, or is interrupted, is gone on with") {
  ScriptedDisk disk(kGiB);
  disk.most_at_once = 100'000;
  disk.interrupted_at = 3;
  disk.put(kGiB - 1, "x");
  CHECK(look_at(disk).kind == Kind::other);
  ScriptedDisk blank(kGiB);
  blank.most_at_once = 100'000;
  blank.interrupted_at = 0;
  CHECK(look_at(blank).kind == Kind::blank);
}

TEST_CASE("a file system whose disk can't be read further is not mounted") {
  ScriptedDisk disk(kGiB);
  disk.put(0, ext4());
  disk.fails_at = 1;  // Its end, where a RAID would be told.
  CHECK(look_at(disk).kind == Kind::unreadable);
}

TEST_CASE("a disk without bytes is unreadable") {
  ScriptedDisk disk(0);
  DiskContent content = look_at(disk);
  CHECK(content.kind == Kind::unreadable);
  CHECK(content.error == ENOMEDIUM);
  CHECK(disk.reads() == 0);
}

}  // namespace sluice::agent
