#include "agent/services/file_service.h"

#include <string>

#include "agent_process/temp_root.h"
#include "agent_services/call_kit.h"
#include "sluice/agent/v1/file.pb.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

std::vector<std::uint8_t> stat_request(const std::string& container, const std::string& root,
                                       const std::string& path) {
  sluice_agent_v1_StatFileRequest request{};
  request.has_place = true;
  request.place = {
      .path = rpc::field(path), .root = rpc::field(root), .container = rpc::field(container)};
  return rpc::encode(request);
}

}  // namespace

TEST_CASE("a container's files are those below its root") {
  TempRoot outer;
  outer.write("secret", "s");
  outer.write("box/etc/file", "12345");
  JobWorld world;
  FileService service(world.jobs, [&](std::string_view container) -> Result<std::string> {
    if (container == "box") return outer.path() + "/box";
    return Status(StatusCode::not_found, "there is no such container");
  });
  rpc::Methods methods;
  service.add_to(methods);
  const rpc::MethodInfo* stat = methods.find("sluice.agent.v1.File", "Stat");
  REQUIRE(stat);

  auto size_of = [&](const std::string& root, const std::string& path) -> std::int64_t {
    KeptCall call(*world.loop);
    auto handler = stat->begin(call, stat_request("box", root, path));
    world.run(call);
    if (call.error.code != rpc::Code::ok) return -static_cast<std::int64_t>(call.error.code);
    auto answer = rpc::Message<sluice_agent_v1_StatFileResponse>::parse(call.answer);
    REQUIRE(answer);
    return static_cast<std::int64_t>((*answer)->info.size);
  };
  CHECK(size_of("", "/etc/file") == 5);
  CHECK(size_of("/etc", "file") == 5);
  CHECK(size_of("/../../box/etc", "file") < 0);
  CHECK(size_of("", "../secret") == -static_cast<std::int64_t>(rpc::Code::not_found));

  KeptCall other(*world.loop);
  auto handler = stat->begin(other, stat_request("other", "", "/"));
  CHECK_FALSE(handler);
  CHECK(other.error.code == rpc::Code::not_found);
}
