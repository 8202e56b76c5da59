#include "agent/client/images.h"

#include "agent/client/unary.h"
#include "sluice/agent/v1/image.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::CallError;
using rpc::field;
using rpc::strings;
using rpc::text;

constexpr std::string_view kImage = "sluice.agent.v1.Image";

std::vector<ImageInfo> images_of(const sluice_agent_v1_ImageInfo* infos, pb_size_t count) {
  std::vector<ImageInfo> images;
  for (pb_size_t i = 0; i < count; ++i) {
    const sluice_agent_v1_ImageInfo& one = infos[i];
    images.push_back({.id = std::string(text(one.id)),
                      .names = strings(one.names, one.names_count),
                      .size = one.size,
                      .layers = one.layers,
                      .architecture = std::string(text(one.architecture)),
                      .created = std::string(text(one.created)),
                      .imported_at_ns = one.imported_at_ns});
  }
  return images;
}

sluice_agent_v1_ImportImageStart_Kind kind_of(ImportSpec::Kind kind) {
  switch (kind) {
    case ImportSpec::Kind::oci:
      return sluice_agent_v1_ImportImageStart_Kind_OCI;
    case ImportSpec::Kind::docker:
      return sluice_agent_v1_ImportImageStart_Kind_DOCKER;
    case ImportSpec::Kind::rootfs:
      return sluice_agent_v1_ImportImageStart_Kind_ROOTFS;
    case ImportSpec::Kind::automatic:
      break;
  }
  return sluice_agent_v1_ImportImageStart_Kind_AUTO;
}

template <typename Response>
RemovedImages removed_of(const Response& response) {
  return {.names = strings(response.names, response.names_count),
          .ids = strings(response.ids, response.ids_count),
          .bytes = response.bytes};
}

}  // namespace

std::unique_ptr<Upload> import_image(Caller& caller, const ImportSpec& spec,
                                     std::function<void()> on_room,
                                     OnAnswer<std::vector<ImageInfo>> on_answer) {
  sluice_agent_v1_ImportImageRequest request{};
  request.which_message = sluice_agent_v1_ImportImageRequest_start_tag;
  sluice_agent_v1_ImportImageStart& start = request.message.start;
  start.kind = kind_of(spec.kind);
  start.name = field(spec.name);
  start.platform = field(spec.platform);
  start.max_bytes = spec.max_bytes;
  auto on_end = [on_answer = std::move(on_answer)](const CallError& error, ConstBytes done) {
    if (error.code != rpc::Code::ok) return on_answer(error, {});
    auto response = rpc::Message<sluice_agent_v1_ImportImageResponse>::parse(done);
    if (!response) return on_answer(CallError::of(response.status()), {});
    const auto& images = (*response)->message.done;
    on_answer({.code = rpc::Code::ok}, images_of(images.images, images.images_count));
  };
  return std::make_unique<Upload>(
      caller, kImage, "Import", rpc::encode(request),
      Upload::Events{.on_room = std::move(on_room), .on_end = std::move(on_end)});
}

void list_images(Caller& caller, OnAnswer<std::vector<ImageInfo>> on_answer) {
  call<sluice_agent_v1_ListImagesResponse>(
      caller, kImage, "List", sluice_agent_v1_ListImagesRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_ListImagesResponse& response) {
        return images_of(response.images, response.images_count);
      });
}

void remove_image(Caller& caller, const std::string& image, Force force,
                  OnAnswer<RemovedImages> on_answer) {
  sluice_agent_v1_RemoveImageRequest request{};
  request.image = field(image);
  request.force = force == Force::yes;
  call<sluice_agent_v1_RemoveImageResponse>(caller, kImage, "Remove", request, std::move(on_answer),
                                            removed_of<sluice_agent_v1_RemoveImageResponse>);
}

void prune_images(Caller& caller, PrunedImages what, OnAnswer<RemovedImages> on_answer) {
  sluice_agent_v1_PruneImagesRequest request{};
  request.all = what == PrunedImages::unused;
  call<sluice_agent_v1_PruneImagesResponse>(caller, kImage, "Prune", request, std::move(on_answer),
                                            removed_of<sluice_agent_v1_PruneImagesResponse>);
}

}  // namespace sluice::agent::client
