#include "gateway/lease_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "guest_kit.h"

using namespace sluice;
using namespace sluice::test;
using namespace sluice::gateway;
using namespace std::chrono_literals;

namespace {

/// A directory that goes with the test.
class Directory {
 public:
  Directory() { REQUIRE(::mkdtemp(path_) != nullptr); }
  ~Directory() {
    for (const char* file : {"/leases", "/leases.new"})
      ::unlink((path_ + std::string(file)).c_str());
    ::rmdir(path_);
  }
  std::string file() const { return std::string(path_) + "/leases"; }

 private:
  char path_[32] = "/tmp/sluice-leases-XXXXXX";
};

void write(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("leases come back with the time that they have left") {
  Directory directory;
  std::int64_t wall = 1'700'000'000;
  FileLeaseStore store(directory.file(), [&] { return wall; });
  REQUIRE(store.save({{kGuestMac, ip("192.168.127.2"), 1h, "web"},
                      {kOtherMac, ip("fd53:4c55:4943::2"), -5s, ""}}));
  wall += 600;
  auto leases = store.load();
  REQUIRE(leases.size() == 2);
  CHECK(leases[0].mac == kGuestMac);
  CHECK(leases[0].address == ip("192.168.127.2"));
  CHECK(leases[0].remaining == 50min);
  CHECK(leases[0].name == "web");
  CHECK(leases[1].address == ip("fd53:4c55:4943::2"));
  CHECK(leases[1].remaining == -605s);
  CHECK(leases[1].name.empty());
}

TEST_CASE("no file, an empty one, another format, a directory: no leases, and saving works") {
  Directory directory;
  FileLeaseStore store(directory.file(), [] { return std::int64_t{1000}; });
  CHECK(store.load().empty());
  write(directory.file(), "");
  CHECK(store.load().empty());
  write(directory.file(), "something else\n52:54:00:00:00:01 192.168.127.2 2000 -\n");
  CHECK(store.load().empty());
  REQUIRE(store.save({{kGuestMac, ip("192.168.127.2"), 1h, ""}}));
  CHECK(store.load().size() == 1);
  CHECK(FileLeaseStore("/tmp", [] { return std::int64_t{0}; }).load().empty());
}

TEST_CASE("damaged lines are skipped and the rest is read") {
  Directory directory;
  FileLeaseStore store(directory.file(), [] { return std::int64_t{1000}; });
  write(directory.file(),
        "sluice-leases 1\n"
        "52:54:00:00:00:01 192.168.127.2 2000 -\n"
        "52:54:00:00:00 192.168.127.3 2000 -\n"
        "52:54:00:00:00:03 192.168.127 2000 -\n"
        "52:54:00:00:00:04 192.168.127.4 soon -\n"
        "52:54:00:00:00:05 192.168.127.5 99999999999999999999 -\n"
        "52:54:00:00:00:06 192.168.127.6 9223372036854775807 -\n"
        "52:54:00:00:00:07 192.168.127.7 2000 a.b\n"
        "52:54:00:00:00:08 192.168.127.8 2000 bad!name\n"
        "ff:ff:ff:ff:ff:ff 192.168.127.9 2000 -\n"
        "\n"
        "\x01\x02\xff\n"
        "52:54:00:00:00:0a 192.168.127.10 2000 ok\n"
        "52:54:00:00:00:0b 192.168.127.11 20");
  auto leases = store.load();
  REQUIRE(leases.size() == 2);
  CHECK(leases[0].address == ip("192.168.127.2"));
  CHECK(leases[1].name == "ok");
}

TEST_CASE("a save replaces the file as a whole, past what a killed run left behind") {
  Directory directory;
  FileLeaseStore store(directory.file(), [] { return std::int64_t{1000}; });
  REQUIRE(store.save({{kGuestMac, ip("192.168.127.2"), 1h, ""}}));
  write(directory.file() + ".new", "half a fi");
  REQUIRE(store.save({{kOtherMac, ip("192.168.127.3"), 1h, ""}}));
  auto leases = store.load();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].mac == kOtherMac);
  CHECK(::access((directory.file() + ".new").c_str(), F_OK) != 0);
  struct stat info{};
  REQUIRE(::stat(directory.file().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a save to where nothing can be written says what failed") {
  FileLeaseStore store("/nonexistent/directory/leases", [] { return std::int64_t{0}; });
  auto status = store.save({});
  CHECK_FALSE(status.is_ok());
  CHECK(status.message().find("/nonexistent/directory/leases") != std::string::npos);
}
