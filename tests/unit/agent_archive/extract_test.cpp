#include "agent/archive/extract.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "agent/archive/tar_writer.h"
#include "agent_process/temp_root.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

using Type = TarEntry::Type;

class Archive {
 public:
  Archive& add(Type type, const std::string& path, const std::string& link = "") {
    TarEntry entry;
    entry.type = type;
    entry.path = path;
    entry.link = link;
    entry.mode = type == Type::directory ? 0755 : 0644;
    entry.uid = ::getuid();
    entry.gid = ::getgid();
    entry.mtime = 1000;
    REQUIRE(writer_.add(entry));
    return *this;
  }

  Status extract_to(const std::string& directory, const ExtractOptions& options,
                    bool refuses_links = false) {
    REQUIRE(writer_.finish());
    auto root = Root::open(directory);
    REQUIRE(root);
    if (refuses_links) root->refuse_links();
    MemorySource source(
        {reinterpret_cast<const std::uint8_t*>(sink_.text.data()), sink_.text.size()});
    TarReader reader(source);
    return extract(reader, *root, options);
  }

 private:
  StringSink sink_;
  TarWriter writer_{sink_};
};

}  // namespace

TEST_CASE("of an archive that was asked for one thing nothing else is made") {
  TempRoot root;
  ExtractOptions only{.only = "copy"};
  CHECK(Archive()
            .add(Type::directory, "copy")
            .add(Type::file, "copy/a")
            .add(Type::hard_link, "copy/b", "copy/a")
            .extract_to(root.path(), only));
  for (const char* path : {"other", "../copy", "copyright", "other/copy", ".."}) {
    CAPTURE(path);
    CHECK_FALSE(Archive().add(Type::file, path).extract_to(root.path(), only));
  }
  root.write("mine", "m");
  CHECK_FALSE(Archive().add(Type::hard_link, "copy/mine", "mine").extract_to(root.path(), only));
  CHECK_FALSE(std::filesystem::exists(root.path() + "/other"));
}

TEST_CASE("a link of the archive leads nowhere where links are refused") {
  TempRoot root;
  std::filesystem::create_directory(root.path() + "/sibling");
  Status status = Archive()
                      .add(Type::directory, "copy")
                      .add(Type::symlink, "copy/out", "/sibling")
                      .add(Type::file, "copy/out/planted")
                      .extract_to(root.path(), {.only = "copy"}, true);
  CHECK_FALSE(status);
  CHECK(std::filesystem::is_empty(root.path() + "/sibling"));
}

TEST_CASE("a directory's time survives what comes into it later") {
  TempRoot root;
  REQUIRE(Archive()
              .add(Type::directory, "d")
              .add(Type::directory, "d/e")
              .add(Type::file, "d/e/f")
              .add(Type::file, "d/g")
              .add(Type::file, "h")
              .add(Type::file, "d/e/i")
              .extract_to(root.path(), {}));
  for (const char* path : {"/d", "/d/e"}) {
    struct stat found{};
    REQUIRE(::stat((root.path() + path).c_str(), &found) == 0);
    CHECK(found.st_mtim.tv_sec == 1000);
  }
}

TEST_CASE("devices are refused where they were not asked for") {
  TempRoot root;
  CHECK_FALSE(Archive().add(Type::character_device, "d").extract_to(root.path(), {}));
}
