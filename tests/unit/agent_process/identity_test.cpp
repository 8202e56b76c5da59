#include "agent/process/identity.h"

#include "agent_process/temp_root.h"

namespace sluice::agent {

namespace {

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "daemon:x:1:1::/usr/sbin:\n"
    "web:x:33:33:The web, all of it:/var/www:/usr/sbin/nologin\n"
    "bare:x:44:45:::\n";
constexpr const char* kGroup =
    "root:x:0:\n"
    "daemon:x:1:\n"
    "web:x:33:\n"
    "logs:x:4:web,syslog\n"
    "video:x:44:other,web\n"
    "webs:x:46:webby\n";

struct Root : TempRoot {
  Root(std::string_view passwd = kPasswd, std::string_view group = kGroup) {
    write("etc/passwd", passwd);
    write("etc/group", group);
  }
  Identity find(std::string_view user) {
    auto identity = find_identity(path(), user);
    INFO(user);
    REQUIRE(identity);
    return *identity;
  }
  Status refuse(std::string_view user) {
    auto identity = find_identity(path(), user);
    INFO(user);
    REQUIRE_FALSE(identity);
    return identity.status();
  }
};

}  // namespace

TEST_CASE("a user is found by name, with home, shell and supplementary groups") {
  Root root;
  Identity web = root.find("web");
  CHECK(web.uid == 33);
  CHECK(web.gid == 33);
  CHECK(web.name == "web");
  CHECK(web.home == "/var/www");
  CHECK(web.shell == "/usr/sbin/nologin");
  CHECK(web.groups == std::vector<gid_t>{4, 44});
}

TEST_CASE("a user is found by number as by name") {
  Root root;
  Identity web = root.find("33");
  CHECK(web.name == "web");
  CHECK(web.groups == std::vector<gid_t>{4, 44});
}

TEST_CASE("no user is root") {
  Root root;
  CHECK(root.find("").uid == 0);
  CHECK(root.find("").home == "/root");
  CHECK(TempRoot().path() != "");
  TempRoot empty;
  auto identity = find_identity(empty.path(), "");
  REQUIRE(identity);
  CHECK(identity->uid == 0);
}

TEST_CASE("a group replaces the user's own and its supplementary ones") {
  Root root;
  CHECK(root.find("web:logs").gid == 4);
  CHECK(root.find("web:logs").groups.empty());
  CHECK(root.find("web:1234").gid == 1234);
  CHECK(root.find("33:4").gid == 4);
  CHECK(root.find(":video").uid == 0);
  CHECK(root.find(":video").gid == 44);
  CHECK(root.find("web:").gid == 33);
}

TEST_CASE("a number that no line has is taken as it is") {
  Root root;
  Identity some = root.find("5000");
  CHECK(some.uid == 5000);
  CHECK(some.gid == 0);
  CHECK(some.home == "/");
  CHECK(some.groups.empty());
  CHECK(root.find("5000:6000").gid == 6000);
}

TEST_CASE("empty fields have their usual values") {
  Root root;
  Identity bare = root.find("bare");
  CHECK(bare.gid == 45);
  CHECK(bare.home == "/");
  CHECK(bare.shell == "/bin/sh");
}

TEST_CASE("who is not there is named") {
  Root root;
  CHECK(root.refuse("nobody").code() == StatusCode::not_found);
  CHECK(root.refuse("nobody").message().find("nobody") != std::string::npos);
  CHECK(root.refuse("web:nogroup").message().find("nogroup") != std::string::npos);
  for (const char* user : {"-1", "0x10", "1.5", " 33", "33 ", "web ", "+1", "web:+1", "web:4x"}) {
    CHECK(root.refuse(user).code() == StatusCode::not_found);
  }
}

TEST_CASE("the number that means 'unchanged' to the kernel is nobody's") {
  Root root("odd:x:4294967295:4294967295::/:/bin/sh\nroot:x:0:0::/root:/bin/sh\n",
            "odd:x:4294967295:\n");
  for (const char* user :
       {"4294967295", "4294967296", "odd", "root:4294967295", "root:odd", "99999999999999999999"}) {
    CHECK(root.refuse(user).code() == StatusCode::not_found);
  }
  CHECK(root.find("4294967294").uid == 4294967294U);
}

TEST_CASE("lines that are none are passed over") {
  Root root(std::string("\n:::::\nweb\nweb:x\nweb:x:33:33\nweb:x:nobody:33::/:/bin/sh\n"
                        "web:x::33::/:/bin/sh\n+::::::\n#web:x:1:1::/:/bin/sh\n") +
                std::string("\0\xFF\n", 3) + "web:x:5:6:comment:/home/web:/bin/sh:more:fields",
            "x\nlogs\nlogs:x\nlogs:x:4\n:::\nlogs:x:7:web");
  Identity web = root.find("web");
  CHECK(web.uid == 5);
  CHECK(web.home == "/home/web");
  CHECK(web.groups == std::vector<gid_t>{7});
}

TEST_CASE("of two lines for one user the first counts") {
  Root root("a:x:1:1::/first:/bin/sh\na:x:0:0::/second:/bin/sh\n", "");
  CHECK(root.find("a").home == "/first");
}

TEST_CASE("a member is a whole name") {
  Root root("we:x:7:7::/:/bin/sh\n", "a:x:1:web\nb:x:2:web,\nc:x:3:,we\nd:x:4:we,web\n");
  CHECK(root.find("we").groups == std::vector<gid_t>{3, 4});
}

TEST_CASE("a file of users beyond any size is none") {
  std::string large;
  while (large.size() <= std::size_t{5} << 20) large += "user:x:1:1::/:/bin/sh\n";
  Root root(large);
  CHECK(root.refuse("user").code() == StatusCode::not_found);
}

}  // namespace sluice::agent
