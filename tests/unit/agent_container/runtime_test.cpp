#include "agent/container/runtime.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "agent_container/temp_directory.h"
#include "base/unique_fd.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

/// A runtime's directory of a container "c1".
class Kept {
 public:
  Kept() { std::filesystem::create_directories(runtime_.directory("c1")); }
  std::string fifo() const { return runtime_.directory("c1") + "/exec.fifo"; }
  bool release() const { return runtime_.release("c1"); }

 private:
  TempDirectory directory_;
  Runtime runtime_{"/bin/false", directory_.path()};
};

}  // namespace

TEST_CASE("a container that waits for its start gets a byte, and its FIFO is gone") {
  Kept kept;
  REQUIRE(::mkfifo(kept.fifo().c_str(), 0600) == 0);
  UniqueFd waiting(::open(kept.fifo().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  CHECK(kept.release());
  char byte = 'x';
  CHECK(::read(waiting.get(), &byte, 1) == 1);
  CHECK(!std::filesystem::exists(kept.fifo()));
}

TEST_CASE("what doesn't wait as crun's containers do is left to the runtime's start") {
  Kept kept;
  CHECK_FALSE(kept.release());
  // Nobody reads.
  REQUIRE(::mkfifo(kept.fifo().c_str(), 0600) == 0);
  CHECK_FALSE(kept.release());
  CHECK(std::filesystem::exists(kept.fifo()));
  std::filesystem::remove(kept.fifo());
  std::ofstream(kept.fifo()) << "kept";
  CHECK_FALSE(kept.release());
  CHECK(std::filesystem::file_size(kept.fifo()) == 4);
}
