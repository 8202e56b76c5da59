#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/archive/tar_reader.h"
#include "agent/archive/tar_writer.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

ConstBytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

struct File {
  TarEntry entry;
  std::string content;
};

std::string archive_of(const std::vector<File>& files) {
  StringSink sink;
  TarWriter writer(sink);
  for (const File& file : files) {
    TarEntry entry = file.entry;
    entry.size = file.content.size();
    REQUIRE(writer.add(entry));
    REQUIRE(writer.write(bytes_of(file.content)));
  }
  REQUIRE(writer.finish());
  return std::move(sink.text);
}

/// What is in it, read in pieces of that size; the error's text where there is one.
std::vector<File> read_all(const std::string& archive, std::string& error,
                           std::size_t piece = SIZE_MAX) {
  MemorySource source(bytes_of(archive), piece);
  TarReader reader(source);
  std::vector<File> files;
  for (;;) {
    auto entry = reader.next();
    if (!entry) {
      error = entry.status().message();
      return files;
    }
    if (!*entry) return files;
    File file{.entry = **entry, .content = {}};
    std::uint8_t buffer[700];
    for (;;) {
      auto got = reader.read(buffer);
      REQUIRE(got);
      if (*got == 0) break;
      file.content.append(buffer, buffer + *got);
    }
    files.push_back(std::move(file));
  }
}

TarEntry entry_called(const std::string& path) {
  TarEntry entry;
  entry.path = path;
  entry.mode = 0644;
  return entry;
}

}  // namespace

TEST_CASE("what is written is read again, whatever its names and numbers") {
  std::vector<File> files;
  TarEntry plain = entry_called("a");
  plain.uid = 7;
  plain.mtime = 12;
  files.push_back({plain, std::string(1000, 'x')});
  TarEntry far = entry_called(std::string(300, 'p') + "/" + std::string(200, 'q'));
  far.uid = 0xFFFFFFFE;
  far.gid = 1 << 21;
  far.mtime = -5;
  far.mtime_nsec = 250'000'000;
  far.xattrs = {{"user.k", std::string("v\0\n=", 4)}, {"security.capability", "c"}};
  files.push_back({far, ""});
  TarEntry link = entry_called("l");
  link.type = TarEntry::Type::symlink;
  link.link = std::string(500, 't');
  files.push_back({link, ""});
  TarEntry device = entry_called("d");
  device.type = TarEntry::Type::block_device;
  device.major = 8;
  device.minor = 17;
  files.push_back({device, ""});
  TarEntry exact = entry_called(std::string(100, 'e'));
  files.push_back({exact, std::string(512, 'y')});

  std::string archive = archive_of(files);
  CHECK(archive.size() % 512 == 0);
  for (std::size_t piece : {std::size_t{1}, std::size_t{511}, SIZE_MAX}) {
    std::string error;
    std::vector<File> read = read_all(archive, error, piece);
    REQUIRE(error.empty());
    REQUIRE(read.size() == files.size());
    for (std::size_t i = 0; i < files.size(); ++i) {
      const TarEntry& wrote = files[i].entry;
      const TarEntry& got = read[i].entry;
      CHECK(got.path == wrote.path);
      CHECK(got.link == wrote.link);
      CHECK(got.type == wrote.type);
      CHECK(got.mode == wrote.mode);
      CHECK(got.uid == wrote.uid);
      CHECK(got.gid == wrote.gid);
      CHECK(got.mtime == wrote.mtime);
      CHECK(got.mtime_nsec == wrote.mtime_nsec);
      CHECK(got.major == wrote.major);
      CHECK(got.minor == wrote.minor);
      CHECK(got.xattrs == wrote.xattrs);
      CHECK(read[i].content == files[i].content);
    }
  }
}

TEST_CASE("an archive that is cut off anywhere is an error, and says so") {
  std::string whole = archive_of(
      {{entry_called("a"), std::string(700, 'x')}, {entry_called(std::string(150, 'n')), "long"}});
  for (std::size_t size = 0; size + 1024 <= whole.size(); ++size) {
    MemorySource source(bytes_of(whole).first(size));
    TarReader reader(source);
    Status status;
    while (status) {
      auto entry = reader.next();
      status = entry.status();
      if (entry && !*entry) break;
    }
    REQUIRE_FALSE(status);
    REQUIRE(status.code() == StatusCode::invalid_argument);
  }
}

TEST_CASE("an archive whose digest is known may lack its end mark") {
  std::string whole = archive_of({{entry_called("a"), ""}});
  MemorySource source(bytes_of(whole).first(512));
  TarReader reader(source, TarReader::EndMark::optional);
  REQUIRE(reader.next());
  auto end = reader.next();
  REQUIRE(end);
  CHECK_FALSE(*end);
}

TEST_CASE("damaged extended headers are refused") {
  for (std::string record : {"", "9", "99 path=x\n", "9 path=xy\n", "x path=x\n", "-1 path=x\n",
                             "10 path:x\n", "12 uid=12x4\n", "12 mtime=1x\n", "14 mtime=1.y\n",
                             "22 GNU.sparse.major=1\n", "18446744073709551616 a=b\n"}) {
    TarEntry extension = entry_called("pax");
    std::string archive = archive_of({{extension, record}, {entry_called("a"), ""}});
    if (record.empty()) continue;
    archive[156] = 'x';
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) {
      sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(archive[i]);
    }
    std::snprintf(&archive[148], 7, "%06o", sum);
    std::string error;
    read_all(archive, error);
    CAPTURE(record);
    CHECK_FALSE(error.empty());
  }
}
