#include "agent/container/rootfs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "agent_container/temp_directory.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("a file of a root is read inside the root, whatever its links say") {
  TempDirectory outside;
  outside.write("secret", "secret");
  TempDirectory root;
  root.write("etc/real", "inside");
  ::symlink("/etc/real", (root.path() + "/etc/passwd").c_str());
  CHECK(read_in_root(root.path(), "etc/passwd", 100) == "inside");
  ::symlink((outside.path() + "/secret").c_str(), (root.path() + "/leak").c_str());
  CHECK_FALSE(read_in_root(root.path(), "leak", 100));
  CHECK_FALSE(read_in_root(root.path(), "../" + outside.path() + "/secret", 100));
  ::symlink("loop", (root.path() + "/loop").c_str());
  CHECK_FALSE(read_in_root(root.path(), "loop", 100));
  ::mkfifo((root.path() + "/fifo").c_str(), 0600);
  CHECK_FALSE(read_in_root(root.path(), "fifo", 100));
  CHECK_FALSE(read_in_root(root.path(), "etc", 100));
  CHECK_FALSE(read_in_root(root.path(), "etc/real", 3));
}

TEST_CASE("who a user is says the root's own list") {
  TempDirectory root;
  root.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nworker:x:12:13::/w:/bin/sh\n");
  root.write("etc/group", "extra:x:14:worker\n");
  auto identity = identity_in_root(root.path(), "worker");
  REQUIRE(identity);
  CHECK(identity->uid == 12);
  CHECK(identity->groups == std::vector<gid_t>{14});
  CHECK(identity_in_root(root.path(), "other").status().code() == StatusCode::not_found);
  CHECK(identity_in_root(root.path() + "/none", "77")->uid == 77);
}

TEST_CASE("a tree is removed without following its links") {
  TempDirectory kept;
  kept.write("file", "kept");
  TempDirectory base;
  base.write("tree/a/b/c", "x");
  ::symlink(kept.path().c_str(), (base.path() + "/tree/a/link").c_str());
  remove_tree(base.path() + "/tree");
  CHECK_FALSE(std::filesystem::exists(base.path() + "/tree"));
  CHECK(kept.read("file") == "kept");
  remove_tree(base.path() + "/none");
}

TEST_CASE("an image without layers can't be mounted") {
  TempDirectory directory;
  std::string path = directory.path();
  CHECK(mount_layers({}, path, path + "/l", path + "/m").code() == StatusCode::invalid_argument);
}
