#include "agent/services/image_service.h"

#include "agent/archive/tar_writer.h"
#include "agent_process/temp_root.h"
#include "agent_services/call_kit.h"
#include "sluice/agent/v1/image.pb.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("an image that a container has stays") {
  TempRoot root;
  JobWorld world;
  std::set<std::string> used;
  ImageService service(world.jobs, root.path() + "/images", [&] { return used; });
  rpc::Methods methods;
  service.add_to(methods);

  StringSink archive;
  TarWriter writer(archive);
  TarEntry entry;
  entry.path = "f";
  REQUIRE(writer.add(entry));
  REQUIRE(writer.finish());
  MemorySource source(
      {reinterpret_cast<const std::uint8_t*>(archive.text.data()), archive.text.size()});
  auto imported = service.store().import(source, {.name = "app"}, [] { return false; });
  REQUIRE(imported);
  std::string id = imported->front().id;
  CHECK(service.store().find("app")->id == id);
  CHECK(service.store().find(id)->layers.size() == 1);
  CHECK(service.store().find(id.substr(7, 8))->id == id);
  CHECK(service.store().find(id.substr(7, 3)).status().code() == StatusCode::not_found);

  auto remove = [&] {
    KeptCall call(*world.loop);
    std::string name = "app";
    sluice_agent_v1_RemoveImageRequest request{};
    request.image = rpc::field(name);
    request.force = true;
    auto handler =
        methods.find("sluice.agent.v1.Image", "Remove")->begin(call, rpc::encode(request));
    world.run(call);
    return call.error.code;
  };
  used = {id};
  CHECK(remove() == rpc::Code::failed_precondition);
  CHECK(service.store().find("app"));
  used.clear();
  CHECK(remove() == rpc::Code::ok);
  CHECK(service.store().find("app").status().code() == StatusCode::not_found);
}
