#include "agent/container/seccomp.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <set>

#include "agent/container/json.h"
#include "agent/container/spec.h"

using namespace sluice::agent;
using nlohmann::json;

namespace {

json filter_of(const std::vector<std::string>& capabilities) {
  Json filter(seccomp_json(capabilities), json_decref);
  return filter ? json::parse(json_text(filter.get())) : json();
}

/// The calls that fail whatever their arguments.
std::set<std::string> refused(const json& filter) {
  std::set<std::string> names;
  for (const json& rule : filter["syscalls"]) {
    if (rule.contains("args")) continue;
    for (const json& name : rule["names"]) names.insert(name);
  }
  return names;
}

std::vector<std::string> usual() {
  return capabilities_of({}, {}).value();
}

}  // namespace

TEST_CASE("what reaches the kernel is refused, and all else allowed") {
  json filter = filter_of(usual());
  CHECK(filter["defaultAction"] == "SCMP_ACT_ALLOW");
  auto names = refused(filter);
  for (const char* name : {"keyctl", "bpf", "unshare", "mount", "init_module", "io_uring_setup"}) {
    CHECK(names.contains(name));
  }
  for (const char* name : {"open", "execve", "clone", "ptrace", "futex"}) {
    CHECK_FALSE(names.contains(name));
  }
  CHECK_FALSE(names.contains(""));
}

TEST_CASE("no call is named twice, as the runtime would refuse the filter") {
  json filter = filter_of({});
  std::size_t named = 0;
  for (const json& rule : filter["syscalls"]) {
    if (!rule.contains("args")) named += rule["names"].size();
  }
  CHECK(named == refused(filter).size());
}

TEST_CASE("clone() makes no namespaces, and clone3() is not there") {
  json filter = filter_of(usual());
  std::uint64_t flags = 0;
  for (const json& rule : filter["syscalls"]) {
    if (rule["names"] == json({"clone3"})) CHECK(rule["errnoRet"] == ENOSYS);
    if (!rule.contains("args")) continue;
    CHECK(rule["names"] == json({"clone"}));
    CHECK(rule["errnoRet"] == EPERM);
    CHECK(rule["args"][0]["value"] == rule["args"][0]["valueTwo"]);
    flags |= rule["args"][0]["value"].get<std::uint64_t>();
  }
  CHECK(flags == 0x7E020000);
  CHECK(refused(filter).contains("clone3"));
}

TEST_CASE("a capability allows the calls that it is there for") {
  auto names = refused(filter_of({"CAP_SYS_TIME", "CAP_SYS_ADMIN"}));
  CHECK_FALSE(names.contains("clock_settime"));
  CHECK_FALSE(names.contains("mount"));
  CHECK_FALSE(names.contains("clone3"));
  CHECK(names.contains("reboot"));
}

TEST_CASE("with all capabilities there is no filter") {
  CHECK(filter_of(capabilities_of({"ALL"}, {}).value()).is_null());
}
