#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "agent/client/images.h"
#include "hostd/ctl/guest_commands.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/input_pump.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Caller;
using agent::client::ImageInfo;
using agent::client::ImportSpec;
using agent::client::RemovedImages;
using agent::rpc::CallError;
using nlohmann::json;

constexpr std::size_t kShortId = 12;

std::string short_id(const std::string& id) {
  return id.substr(id.find(':') + 1, kShortId);
}

json json_of(const ImageInfo& image) {
  return {{"id", image.id},
          {"names", image.names},
          {"size", image.size},
          {"layers", image.layers},
          {"architecture", image.architecture},
          {"created", image.created},
          {"imported_at_ns", image.imported_at_ns}};
}

json json_of(const std::vector<ImageInfo>& images) {
  json list = json::array();
  for (const ImageInfo& image : images) list.push_back(json_of(image));
  return list;
}

ImportSpec::Kind kind_of(const std::string& word) {
  if (word == "oci") return ImportSpec::Kind::oci;
  if (word == "docker") return ImportSpec::Kind::docker;
  if (word == "rootfs") return ImportSpec::Kind::rootfs;
  return ImportSpec::Kind::automatic;
}

void print_removed(Output output, const RemovedImages& removed) {
  if (output == Output::json) {
    fmt::print(
        "{}\n",
        json{{"names", removed.names}, {"ids", removed.ids}, {"bytes", removed.bytes}}.dump());
    return;
  }
  for (const std::string& name : removed.names) fmt::print("untagged {}\n", printable(name));
  for (const std::string& id : removed.ids) fmt::print("removed {}\n", short_id(printable(id)));
}

/// An archive on its way.
struct Import {
  Import(UvLoop& loop, UniqueFd archive, const std::string& name,
         const std::function<void(int)>& end)
      : file(std::move(archive)),
        pump(loop, file ? file.get() : STDIN_FILENO, [this, name, end](int error) {
          if (error == 0) return upload->finish();
          print_error(fmt::format("{}: {}", name, std::strerror(error)));
          end(kFailed);
        }) {}
  UniqueFd file;
  InputPump pump;
  std::unique_ptr<agent::client::Upload> upload;
};

}  // namespace

int GuestCommands::import_image(const ImportAsked& asked) {
  UniqueFd file;
  if (asked.file != "-") {
    file.reset(::open(asked.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
      print_error(fmt::format("{}: {}", asked.file, std::strerror(errno)));
      return kFailed;
    }
  }
  return run([&](UvLoop& loop, Caller& caller, const End& end) {
    auto import = std::make_shared<Import>(loop, std::move(file), asked.file, end);
    ImportSpec spec{.kind = kind_of(asked.kind),
                    .name = asked.name,
                    .platform = asked.platform,
                    .max_bytes = asked.max_bytes};
    import->upload = agent::client::import_image(
        caller, spec, [raw = import.get()] { raw->pump.pump(); },
        [this, end](const CallError& error, const std::vector<ImageInfo>& images) {
          if (!worked(error, end)) return;
          if (output_ == Output::json) {
            fmt::print("{}\n", json_of(images).dump());
          } else {
            for (const ImageInfo& image : images) {
              fmt::print("{} {}\n", short_id(printable(image.id)), joined(json(image.names)));
            }
          }
          end(0);
        });
    import->pump.begin(*import->upload);
    return import;
  });
}

int GuestCommands::images() {
  return run([this](UvLoop&, Caller& caller, const End& end) {
    agent::client::list_images(
        caller, [this, end](const CallError& error, const std::vector<ImageInfo>& images) {
          if (!worked(error, end)) return;
          if (output_ == Output::json) {
            fmt::print("{}\n", json_of(images).dump());
            return end(0);
          }
          Table table({"NAME", "ID", "SIZE", "LAYERS", "ARCH", "CREATED"}, {2, 3});
          for (const ImageInfo& image : images) {
            auto add = [&](const std::string& name) {
              table.add({printable(name), short_id(printable(image.id)), bytes(image.size),
                         fmt::format("{}", image.layers), printable(image.architecture),
                         printable(image.created)});
            };
            for (const std::string& name : image.names) add(name);
            if (image.names.empty()) add("-");
          }
          print(table.to_string("There is no image."));
          end(0);
        });
    return nullptr;
  });
}

int GuestCommands::remove_images(const std::vector<std::string>& images, bool force) {
  int status = 0;
  for (const std::string& image : images) {
    int one = run([this, &image, force](UvLoop&, Caller& caller, const End& end) {
      using agent::client::Force;
      agent::client::remove_image(caller, image, force ? Force::yes : Force::no,
                                  [this, end](const CallError& error, const RemovedImages& gone) {
                                    if (!worked(error, end)) return;
                                    print_removed(output_, gone);
                                    end(0);
                                  });
      return nullptr;
    });
    status = status == 0 ? one : status;
  }
  return status;
}

int GuestCommands::prune_images(bool all) {
  return run([this, all](UvLoop&, Caller& caller, const End& end) {
    using agent::client::PrunedImages;
    agent::client::prune_images(caller, all ? PrunedImages::unused : PrunedImages::unnamed,
                                [this, end](const CallError& error, const RemovedImages& removed) {
                                  if (!worked(error, end)) return;
                                  print_removed(output_, removed);
                                  if (output_ != Output::json)
                                    fmt::print("{} are free\n", bytes(removed.bytes));
                                  end(0);
                                });
    return nullptr;
  });
}

}  // namespace sluice::ctl
