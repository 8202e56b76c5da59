#include "agent/archive/root.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>

#include "agent/archive/stream.h"
#include "agent_process/temp_root.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("a path is cut into what is above and its name") {
  auto split = [](const char* path) {
    SplitPath cut = split_path(path);
    return cut.above + "|" + cut.name;
  };
  CHECK(split("a") == "|a");
  CHECK(split("/a/b/") == "a|b");
  CHECK(split("./a//./b/c") == "a/b|c");
  CHECK(split("/") == "|");
  CHECK(split("") == "|");
  CHECK(split("a/..") == "a|..");
}

TEST_CASE("a root is left by no path") {
  TempRoot outer;
  outer.write("secret", "s");
  outer.write("root/in/file", "x");
  std::filesystem::create_symlink("../../../../../../secret", outer.path() + "/root/up");
  std::filesystem::create_symlink(outer.path() + "/secret", outer.path() + "/root/abs");
  std::filesystem::create_symlink("/in", outer.path() + "/root/to-in");
  auto root = Root::open(outer.path() + "/root");
  REQUIRE(root);
  CHECK(root->open_at("in/file", O_RDONLY));
  CHECK(root->open_at("/to-in/file", O_RDONLY));
  CHECK(root->open_at("../../in/../in/file", O_RDONLY));
  for (const char* path : {"../secret", "up", "abs", "in/../../secret"}) {
    CHECK_FALSE(root->open_at(path, O_RDONLY));
    CHECK(errno == ENOENT);
  }
  auto place = root->find("to-in", Root::LastLink::followed);
  REQUIRE(place);
  CHECK(place->name == "in");
  CHECK(root->find("to-in", Root::LastLink::kept)->name == "to-in");
  CHECK(root->find("in/..", Root::LastLink::kept)->name == ".");
  root->refuse_links();
  CHECK_FALSE(root->open_at("to-in/file", O_RDONLY));
  CHECK(errno == ELOOP);
}

TEST_CASE("links that lead round and round are an error") {
  TempRoot outer;
  std::filesystem::create_symlink("b", outer.path() + "/a");
  std::filesystem::create_symlink("a", outer.path() + "/b");
  auto root = Root::open(outer.path());
  REQUIRE(root);
  CHECK_FALSE(root->find("a", Root::LastLink::followed));
  CHECK(root->find("a", Root::LastLink::kept));
}

TEST_CASE("a tree is removed without following its links") {
  TempRoot outer;
  outer.write("kept", "k");
  outer.write("tree/a/b/c", "x");
  outer.write("tree/a/d", "x");
  std::filesystem::create_symlink("..", outer.path() + "/tree/a/up");
  std::filesystem::create_symlink(outer.path(), outer.path() + "/tree/out");
  UniqueFd parent(::open(outer.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(remove_tree(parent.get(), "tree"));
  REQUIRE(remove_tree(parent.get(), "tree"));
  CHECK(std::filesystem::exists(outer.path() + "/kept"));
  CHECK_FALSE(std::filesystem::exists(outer.path() + "/tree"));
}
