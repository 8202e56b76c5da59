#include "agent/process/sealed_program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "agent/process/spawn.h"
#include "agent_process/temp_root.h"

namespace sluice::agent {

namespace {

int code_of(const std::string& program) {
  SpawnPlan plan;
  plan.program = program;
  plan.args = {"program"};
  plan.identity = {
      .uid = ::geteuid(), .gid = ::getegid(), .groups = {}, .name = "", .home = "", .shell = ""};
  Spawned spawned = spawn(plan);
  REQUIRE(spawned.pid > 0);
  int status = 0;
  REQUIRE(::waitpid(spawned.pid, &status, 0) == spawned.pid);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

void install(const std::string& program, const std::string& at) {
  std::filesystem::copy_file(program, at, std::filesystem::copy_options::overwrite_existing);
}

}  // namespace

TEST_CASE("a program runs from a copy that nobody can write to") {
  TempRoot root;
  std::string path = root.path() + "/true";
  install("/bin/true", path);
  SealedProgram program(path);
  std::string executable = program.executable();
  REQUIRE(executable != path);
  CHECK(code_of(executable) == 0);
  CHECK(::write(program.descriptor(), "x", 1) == -1);
  CHECK(::ftruncate(program.descriptor(), 0) == -1);
  // No second copy of what is the same.
  int descriptor = program.descriptor();
  CHECK(program.executable() == executable);
  CHECK(program.descriptor() == descriptor);
}

TEST_CASE("a program that was replaced runs as it is now") {
  TempRoot root;
  std::string path = root.path() + "/program";
  install("/bin/true", path);
  SealedProgram program(path);
  CHECK(code_of(program.executable()) == 0);
  std::string beside = path + ".new";
  install("/bin/false", beside);
  std::filesystem::rename(beside, path);
  CHECK(code_of(program.executable()) == 1);
}

TEST_CASE("a script runs as it is, and what is missing is not there") {
  TempRoot root;
  SealedProgram script(root.write("script", "#!/bin/sh\nexit 3\n", true));
  CHECK(script.executable() == script.path());
  CHECK(code_of(script.executable()) == 3);
  SealedProgram missing(root.path() + "/missing");
  CHECK(missing.executable() == missing.path());
  CHECK(missing.descriptor() == -1);
}

TEST_CASE("another's copy is run in the place of the file, if it is sealed") {
  TempRoot root;
  std::string path = root.path() + "/true";
  install("/bin/true", path);
  SealedProgram first(path);
  first.executable();
  SealedProgram second("/bin/false", UniqueFd(::fcntl(first.descriptor(), F_DUPFD_CLOEXEC, 3)));
  CHECK(code_of(second.executable()) == 0);
  SealedProgram unsealed("/bin/false", UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  CHECK(code_of(unsealed.executable()) == 1);
}

}  // namespace sluice::agent
