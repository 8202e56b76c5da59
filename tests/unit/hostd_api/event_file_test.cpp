#include "hostd/api/event_file.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

using namespace sluice;
using hostd::EventFile;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/sluice-unit-XXXXXX";
    REQUIRE(::mkdtemp(name));
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

template <typename Condition>
bool eventually(Condition condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("what was appended is in the file when it is closed, a line each") {
  Directory directory;
  std::string path = directory.path + "/made/events";
  {
    auto file = EventFile::open({.path = path});
    REQUIRE(file);
    CHECK((*file)->made_directory() == directory.path + "/made");
    for (int i = 0; i < 3; ++i) (*file)->append(std::to_string(i));
  }
  CHECK(contents(path) == "0\n1\n2\n");
  auto again = EventFile::open({.path = path});
  REQUIRE(again);
  (*again)->append("3");
  again->reset();
  CHECK(contents(path) == "0\n1\n2\n3\n");
}

TEST_CASE("a file never exceeds its size, and as many former ones stay as were asked for") {
  Directory directory;
  std::string path = directory.path + "/events";
  {
    auto file = EventFile::open({.path = path, .max_bytes = 10, .keep = 2});
    REQUIRE(file);
    for (int i = 0; i < 8; ++i) (*file)->append("line" + std::to_string(i));
  }
  CHECK(contents(path) == "line7\n");
  CHECK(contents(path + ".1") == "line6\n");
  CHECK(contents(path + ".2") == "line5\n");
  CHECK_FALSE(std::filesystem::exists(path + ".3"));
}

TEST_CASE("a line that is longer than the file may be is written all the same") {
  Directory directory;
  std::string path = directory.path + "/events";
  {
    auto file = EventFile::open({.path = path, .max_bytes = 4, .keep = 1});
    REQUIRE(file);
    (*file)->append("longer");
  }
  CHECK(contents(path) == "longer\n");
}

TEST_CASE("a full device loses lines and counts them") {
  auto file = EventFile::open({.path = "/dev/full"});
  REQUIRE(file);
  CHECK_FALSE((*file)->is_regular());
  for (int i = 0; i < 5; ++i) (*file)->append("{}");
  CHECK(eventually([&] { return (*file)->counters().lost == 5; }));
  CHECK((*file)->counters().written == 0);
}

TEST_CASE("a FIFO that nobody reads is an error, not a wait") {
  Directory directory;
  std::string path = directory.path + "/fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK_FALSE(EventFile::open({.path = path}));
}

TEST_CASE("a reopened file is another one, and the former keeps what came before") {
  Directory directory;
  std::string path = directory.path + "/events";
  auto file = EventFile::open({.path = path});
  REQUIRE(file);
  (*file)->append("before");
  REQUIRE(eventually([&] { return (*file)->counters().written == 1; }));
  std::filesystem::rename(path, path + ".moved");
  (*file)->reopen();
  REQUIRE(eventually([&] { return std::filesystem::exists(path); }));
  (*file)->append("after");
  file->reset();
  CHECK(contents(path) == "after\n");
  CHECK(contents(path + ".moved") == "before\n");
}
