#include "agent/container/oci_config.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace sluice;
using namespace sluice::agent;
using nlohmann::json;

namespace {

ContainerSpec spec_of_sleep() {
  ContainerSpec spec{.id = "0123", .name = "web", .rootfs = "/r"};
  spec.args = {"sleep", "60"};
  spec.hostname = "inner";
  spec.capabilities = {"CAP_CHOWN"};
  return spec;
}

json config_of(const ContainerSpec& spec, Identity identity = {}) {
  return json::parse(oci_config(spec, {.rootfs = "/r",
                                       .cgroup = "/sluice/0123",
                                       .identity = std::move(identity),
                                       .files = {{"/s/hosts", "/etc/hosts"}}}));
}

bool has_namespace(const json& config, const char* kind) {
  for (const json& one : config["linux"]["namespaces"]) {
    if (one["type"] == kind) return true;
  }
  return false;
}

json mount_at(const json& config, const std::string& target) {
  json found;
  for (const json& one : config["mounts"]) {
    if (one["destination"] == target) found = one;
  }
  return found;
}

}  // namespace

TEST_CASE("the program is whose and where it was asked to be") {
  ContainerSpec spec = spec_of_sleep();
  spec.cwd = "/w";
  spec.env = {"PATH=/own", "X=\xff"};
  json config = config_of(spec, {.uid = 5, .gid = 6, .groups = {7, 8}, .home = "/h"});
  json process = config["process"];
  CHECK(process["args"] == json({"sleep", "60"}));
  CHECK(process["cwd"] == "/w");
  CHECK(process["user"] == json({{"uid", 5}, {"gid", 6}, {"additionalGids", {7, 8}}}));
  CHECK(process["env"] == json({"PATH=/own", "X=?", "HOME=/h", "HOSTNAME=inner"}));
  CHECK(process["terminal"] == false);
  CHECK(process["noNewPrivileges"] == false);
  for (const char* set : {"bounding", "effective", "permitted"}) {
    CHECK(process["capabilities"][set] == json({"CAP_CHOWN"}));
  }
  CHECK_FALSE(process["capabilities"].contains("ambient"));
  CHECK(config["hostname"] == "inner");
  CHECK(config["root"] == json({{"path", "/r"}, {"readonly", false}}));
  CHECK(config["linux"]["cgroupsPath"] == "/sluice/0123");
}

TEST_CASE("a terminal has its size and a TERM") {
  ContainerSpec spec = spec_of_sleep();
  spec.terminal = TerminalSize{.rows = 11, .columns = 22};
  json process = config_of(spec)["process"];
  CHECK(process["terminal"] == true);
  CHECK(process["consoleSize"] == json({{"height", 11}, {"width", 22}}));
  CHECK(process["env"].back() == "TERM=xterm");
}

TEST_CASE("every namespace is its own, but the host's network where that is asked for") {
  ContainerSpec spec = spec_of_sleep();
  for (auto network : {ContainerNetwork::bridge, ContainerNetwork::none, ContainerNetwork::host}) {
    spec.network = network;
    json config = config_of(spec);
    for (const char* kind : {"pid", "ipc", "uts", "mount", "cgroup"}) {
      CHECK(has_namespace(config, kind));
    }
    CHECK(has_namespace(config, "network") == (network != ContainerNetwork::host));
  }
}

TEST_CASE("mounts are in the order in which they were given, behind the usual ones") {
  ContainerSpec spec = spec_of_sleep();
  spec.mounts = {
      {.kind = ContainerMount::Kind::bind, .source = "/a", .target = "/in", .read_only = true},
      {.kind = ContainerMount::Kind::tmpfs, .target = "/t", .size = 4096},
      {.kind = ContainerMount::Kind::virtiofs, .source = "tag", .target = "/v"},
      {.kind = ContainerMount::Kind::bind, .source = "/h", .target = "/etc/hosts"}};
  json config = config_of(spec);
  CHECK(mount_at(config, "/in")["options"] == json({"ro", "rbind", "rprivate"}));
  CHECK(mount_at(config, "/t")["options"].back() == "size=4096");
  CHECK(mount_at(config, "/v")["type"] == "virtiofs");
  // Who brings a file of their own gets that one, and it alone.
  CHECK(mount_at(config, "/etc/hosts")["source"] == "/h");
  CHECK(config["mounts"].size() == 7 + 4);
  CHECK(mount_at(config, "/sys")["options"].back() == "ro");
}

TEST_CASE("limits are those that were set, and no others") {
  ContainerSpec spec = spec_of_sleep();
  json resources = config_of(spec)["linux"]["resources"];
  CHECK(resources.size() == 1);
  CHECK(resources["devices"][0] == json({{"allow", false}, {"type", "a"}, {"access", "rwm"}}));
  spec.all_devices = true;
  spec.limits = {.memory = 1 << 20, .cpu_millis = 1500, .cpu_weight = 7, .pids = 9};
  CHECK(config_of(spec)["linux"]["resources"] ==
        json({{"memory", {{"limit", 1 << 20}, {"swap", 1 << 20}}},
              {"cpu", {{"period", 100000}, {"quota", 150000}}},
              {"pids", {{"limit", 9}}},
              {"unified", {{"cpu.weight", "7"}}}}));
}

TEST_CASE("a filter that was compiled before is told beside its rules") {
  ContainerSpec spec = spec_of_sleep();
  CHECK(!config_of(spec).contains("annotations"));
  json config = json::parse(oci_config(
      spec, {.rootfs = "/r", .cgroup = "/c", .identity = {}, .compiled_filter = "AAAA"}));
  CHECK(config["annotations"]["run.oci.seccomp_bpf_data"] == "AAAA");
  CHECK(config["linux"].contains("seccomp"));
  json unfiltered = json::parse(oci_config(spec, {.rootfs = "/r",
                                                  .cgroup = "/c",
                                                  .identity = {},
                                                  .filter = false,
                                                  .compiled_filter = "AAAA"}));
  CHECK(!unfiltered.contains("annotations"));
}
