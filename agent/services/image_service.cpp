#include "agent/services/image_service.h"

#include <list>
#include <map>
#include <vector>

#include "agent/rpc/message.h"
#include "agent/services/job_wires.h"
#include "sluice/agent/v1/image.pb.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::field;
using rpc::strings;
using rpc::text;

constexpr const char* kImageService = "sluice.agent.v1.Image";

/// Messages of images, with what they point to.
class ImageMessages {
 public:
  explicit ImageMessages(const std::vector<Image>& images) {
    for (const Image& image : images) add(image);
  }
  sluice_agent_v1_ImageInfo* data() { return infos_.data(); }
  pb_size_t size() const { return static_cast<pb_size_t>(infos_.size()); }

 private:
  char* keep(const std::string& text) { return field(texts_.emplace_back(rpc::valid_utf8(text))); }

  void fill(const std::vector<std::string>& from, char**& fields, pb_size_t& count) {
    std::vector<char*>& list = lists_.emplace_back();
    // An empty one of a list is not an absent one.
    for (const std::string& one : from) {
      list.push_back(texts_.emplace_back(rpc::valid_utf8(one)).data());
    }
    fields = list.data();
    count = static_cast<pb_size_t>(list.size());
  }

  void add(const Image& image) {
    sluice_agent_v1_ImageInfo info{};
    info.id = keep(image.id);
    fill(image.names, info.names, info.names_count);
    info.size = image.size;
    info.layers = static_cast<std::uint32_t>(image.layers.size());
    info.architecture = keep(image.architecture);
    info.created = keep(image.created);
    info.imported_at_ns = image.imported_at_ns;
    info.has_settings = true;
    sluice_agent_v1_ImageSettings& settings = info.settings;
    fill(image.config.entrypoint, settings.entrypoint, settings.entrypoint_count);
    fill(image.config.cmd, settings.cmd, settings.cmd_count);
    fill(image.config.env, settings.env, settings.env_count);
    settings.working_dir = keep(image.config.working_dir);
    settings.user = keep(image.config.user);
    settings.stop_signal = keep(image.config.stop_signal);
    auto& labels = labels_.emplace_back();
    for (const auto& [name, value] : image.config.labels) {
      labels.push_back({.key = keep(name), .value = keep(value)});
    }
    settings.labels = labels.data();
    settings.labels_count = static_cast<pb_size_t>(labels.size());
    infos_.push_back(info);
  }

  std::list<std::string> texts_;
  std::list<std::vector<char*>> lists_;
  std::list<std::vector<sluice_agent_v1_ImageSettings_LabelsEntry>> labels_;
  std::vector<sluice_agent_v1_ImageInfo> infos_;
};

ImportOrder order_of(const sluice_agent_v1_ImportImageStart& start) {
  ImportOrder order;
  switch (start.kind) {
    case sluice_agent_v1_ImportImageStart_Kind_OCI:
      order.kind = ImportOrder::Kind::oci;
      break;
    case sluice_agent_v1_ImportImageStart_Kind_DOCKER:
      order.kind = ImportOrder::Kind::docker;
      break;
    case sluice_agent_v1_ImportImageStart_Kind_ROOTFS:
      order.kind = ImportOrder::Kind::rootfs;
      break;
    default:
      break;
  }
  order.name = text(start.name);
  if (start.max_bytes != 0) order.max_bytes = start.max_bytes;
  order.platform = text(start.platform);
  if (!start.has_settings) return order;
  const sluice_agent_v1_ImageSettings& settings = start.settings;
  order.config = {.entrypoint = strings(settings.entrypoint, settings.entrypoint_count),
                  .cmd = strings(settings.cmd, settings.cmd_count),
                  .env = strings(settings.env, settings.env_count),
                  .working_dir = std::string(text(settings.working_dir)),
                  .user = std::string(text(settings.user)),
                  .stop_signal = std::string(text(settings.stop_signal)),
                  .labels = {}};
  for (pb_size_t i = 0; i < settings.labels_count; ++i) {
    order.config.labels[std::string(text(settings.labels[i].key))] = text(settings.labels[i].value);
  }
  return order;
}

/// RemoveImageResponse and PruneImagesResponse have the same fields.
template <typename Response>
void answer_removed(JobIo& io, const Result<ImageStore::Removed>& removed) {
  if (!removed && removed.status().code() == StatusCode::refused) {
    return io.fail({.code = rpc::Code::failed_precondition, .message = removed.status().message()});
  }
  if (!removed) return io.fail(removed.status());
  std::vector<char*> names;
  std::vector<char*> ids;
  for (const std::string& name : removed->untagged) names.push_back(field(name));
  for (const std::string& id : removed->ids) ids.push_back(field(id));
  Response response{};
  response.names = names.data();
  response.names_count = static_cast<pb_size_t>(names.size());
  response.ids = ids.data();
  response.ids_count = static_cast<pb_size_t>(ids.size());
  response.bytes = removed->bytes;
  io.done(response);
}

void import(const ImageStore& store, const ImportOrder& order, JobIo& io) {
  auto imported = store.import(io.in(), order, [&io] { return io.stopped(); });
  if (!imported) return io.fail(imported.status());
  ImageMessages infos(*imported);
  sluice_agent_v1_ImportImageResponse response{};
  response.which_message = sluice_agent_v1_ImportImageResponse_done_tag;
  response.message.done = {.images_count = infos.size(), .images = infos.data()};
  io.done(response);
}

}  // namespace

void ImageService::add_to(rpc::Methods& methods) {
  methods.add(kImageService, "Import",
              {.begin = [this](Call& call, ConstBytes first) -> std::unique_ptr<rpc::Handler> {
                 return with_start<sluice_agent_v1_ImportImageRequest>(
                     call, first, [&](const sluice_agent_v1_ImportImageStart& start) {
                       auto job = [store = store_, order = order_of(start)](JobIo& io) {
                         import(store, order, io);
                       };
                       // A worker that was killed can't clear up after itself.
                       auto after = [this](const Exit& exit) {
                         if (exit.signal != 0) sweep();
                       };
                       return runner_.begin(call, job,
                                            upload_wire<sluice_agent_v1_ImportImageRequest,
                                                        sluice_agent_v1_ImportImageResponse>(),
                                            after);
                     });
               },
               .streams_in = true});

  methods.add_unary<sluice_agent_v1_ListImagesRequest, sluice_agent_v1_ListImagesResponse>(
      kImageService, "List", [this](Call& call, const sluice_agent_v1_ListImagesRequest&) {
        auto images = store_.list();
        if (!images) return call.fail(rpc::CallError::of(images.status()));
        ImageMessages infos(*images);
        call.reply_with(sluice_agent_v1_ListImagesResponse{.images_count = infos.size(),
                                                           .images = infos.data()});
      });

  methods.add(
      kImageService, "Remove",
      {.begin = [this](Call& call, ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
        return with_request<sluice_agent_v1_RemoveImageRequest>(
            call, bytes, [&](const sluice_agent_v1_RemoveImageRequest& request) {
              auto force = request.force ? ImageStore::Force::yes : ImageStore::Force::no;
              return runner_.begin(call, [store = store_, name = std::string(text(request.image)),
                                          force](JobIo& io) {
                answer_removed<sluice_agent_v1_RemoveImageResponse>(io, store.remove(name, force));
              });
            });
      }});

  methods.add(kImageService, "Prune",
              {.begin = [this](Call& call, ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
                return with_request<sluice_agent_v1_PruneImagesRequest>(
                    call, bytes, [&](const sluice_agent_v1_PruneImagesRequest& request) {
                      auto what =
                          request.all ? ImageStore::Pruned::unused : ImageStore::Pruned::unnamed;
                      return runner_.begin(call, [store = store_, what](JobIo& io) {
                        auto removed = store.prune(what);
                        if (Status status = store.sweep(); removed && !status)
                          return io.fail(status);
                        answer_removed<sluice_agent_v1_PruneImagesResponse>(io, removed);
                      });
                    });
              }});
}

void ImageService::release(const std::string& container, const std::string& image) {
  store_.release(container);
  if (store_.is_removed(image)) sweep();
}

void ImageService::sweep() {
  if (!store_.exists()) return;
  runner_.run_aside([store = store_](JobIo&) { (void)store.sweep().is_ok(); });
}

}  // namespace sluice::agent
