#include "agent/services/image_service.h"

#include <unistd.h>

#include "agent/archive/tar_writer.h"
#include "agent/os/file.h"
#include "agent_process/temp_root.h"
#include "agent_services/call_kit.h"
#include "sluice/agent/v1/image.pb.h"

using namespace sluice;
using namespace sluice::agent;

TEST_CASE("an image that a container has stays, or its layers do when it is removed by force") {
  TempRoot root;
  JobWorld world;
  ImageService service(world.jobs, root.path() + "/images");
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

  auto remove = [&](bool force) {
    KeptCall call(*world.loop);
    std::string name = "app";
    sluice_agent_v1_RemoveImageRequest request{};
    request.image = rpc::field(name);
    request.force = force;
    auto handler =
        methods.find("sluice.agent.v1.Image", "Remove")->begin(call, rpc::encode(request));
    world.run(call);
    return call.error;
  };
  const ImageStore& store = service.store();
  std::string layer = store.find(id)->layers[0];
  std::string journal = root.path() + "/spec.json";
  REQUIRE(write_file(journal, "{}"));
  REQUIRE(store.hold({.container = "c1", .name = "web", .image = id, .journal = journal}));
  REQUIRE(store.hold({.container = "c2", .name = "db", .image = id, .journal = journal}));
  rpc::CallError refused = remove(false);
  CHECK(refused.code == rpc::Code::failed_precondition);
  CHECK(refused.message == "image app is used by db, web");
  CHECK(store.prune(ImageStore::Pruned::unused)->ids.empty());
  CHECK(store.find("app"));

  CHECK(remove(true).code == rpc::Code::ok);
  CHECK(store.find("app").status().code() == StatusCode::not_found);
  CHECK(store.find(id).status().code() == StatusCode::not_found);
  CHECK(store.list()->empty());
  CHECK(::access(layer.c_str(), F_OK) == 0);
  ImageUser late{.container = "c3", .name = "late", .image = id, .journal = journal};
  CHECK(store.hold(late).code() == StatusCode::not_found);

  store.release("c1");
  REQUIRE(store.sweep());
  CHECK(::access(layer.c_str(), F_OK) == 0);
  SECTION("and goes with the last container") {
    CHECK(store.is_removed(id));
    store.release("c2");
    REQUIRE(store.sweep());
    CHECK_FALSE(store.is_removed(id));
    CHECK(::access(layer.c_str(), F_OK) != 0);
  }
  SECTION("and goes with containers of which nothing is left") {
    ::unlink(journal.c_str());
    REQUIRE(store.sweep());
    CHECK(::access(layer.c_str(), F_OK) != 0);
  }
  SECTION("and is there again by an import") {
    MemorySource again(
        {reinterpret_cast<const std::uint8_t*>(archive.text.data()), archive.text.size()});
    REQUIRE(store.import(again, {.name = "other"}, [] { return false; }));
    CHECK(store.find("other")->id == id);
    store.release("c2");
    CHECK(store.find("other"));
  }
}
