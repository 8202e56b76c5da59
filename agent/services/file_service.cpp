#include "agent/services/file_service.h"

#include <fmt/format.h>

#include <optional>

#include "agent/rpc/message.h"
#include "agent/services/file_jobs.h"
#include "agent/services/job_wires.h"
#include "sluice/agent/v1/file.pb.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::text;
using HandlerPtr = std::unique_ptr<rpc::Handler>;

constexpr const char* kFileService = "sluice.agent.v1.File";

/// Where a message's place is; nothing where the call was answered with why it is nowhere.
std::optional<FileAt> file_at(Call& call, const FileService::RootOf& root_of, bool has_place,
                              const sluice_agent_v1_FilePlace& place) {
  FileAt at;
  if (has_place) {
    at.path = text(place.path);
    at.root = text(place.root);
  }
  if (at.path.empty()) {
    call.fail({.code = rpc::Code::invalid_argument, .message = "a path is needed"});
    return std::nullopt;
  }
  std::string_view container = has_place ? text(place.container) : std::string_view();
  if (container.empty()) return at;
  if (!root_of) {
    call.fail({.code = rpc::Code::not_found,
               .message = fmt::format("there is no container {}", container)});
    return std::nullopt;
  }
  auto base = root_of(container);
  if (!base) {
    call.fail(rpc::CallError::of(base.status()));
    return std::nullopt;
  }
  at.base = std::move(*base);
  return at;
}

WriteOrder order_of(const sluice_agent_v1_WriteFileStart& start) {
  WriteOrder order{.way = WriteOrder::Way::replace, .mode = start.mode};
  switch (start.way) {
    case sluice_agent_v1_WriteFileStart_Way_CREATE:
      order.way = WriteOrder::Way::create;
      break;
    case sluice_agent_v1_WriteFileStart_Way_APPEND:
      order.way = WriteOrder::Way::append;
      break;
    case sluice_agent_v1_WriteFileStart_Way_IN_PLACE:
      order.way = WriteOrder::Way::in_place;
      break;
    default:
      break;
  }
  return order;
}

}  // namespace

void FileService::add_to(rpc::Methods& methods) {
  // `make` makes a job of a place and the message that it is in.
  auto add_call = [&]<typename Request>(const char* name, auto make) {
    methods.add(kFileService, name, {.begin = [this, make](Call& call, ConstBytes bytes) {
                  return with_request<Request>(
                      call, bytes, [&](const Request& request) -> HandlerPtr {
                        auto at = file_at(call, root_of_, request.has_place, request.place);
                        if (!at) return nullptr;
                        return runner_.begin(call, make(*at, request));
                      });
                }});
  };
  auto add_stream = [&]<typename Request>(const char* name, const JobWire& wire, auto make) {
    methods.add(kFileService, name,
                {.begin =
                     [this, wire, make](Call& call, ConstBytes first) {
                       return with_start<Request>(
                           call, first, [&](const auto& start) -> HandlerPtr {
                             auto at = file_at(call, root_of_, start.has_place, start.place);
                             if (!at) return nullptr;
                             return runner_.begin(call, make(*at, start), wire);
                           });
                     },
                 .streams_in = true});
  };

  add_call.operator()<sluice_agent_v1_StatFileRequest>(
      "Stat", [](const FileAt& at, const sluice_agent_v1_StatFileRequest& request) {
        return [at, follow = request.follow](JobIo& io) { stat_file(at, follow, io); };
      });
  add_call.operator()<sluice_agent_v1_ListFilesRequest>(
      "List", [](const FileAt& at, const sluice_agent_v1_ListFilesRequest& request) {
        return [at, after = request.after](JobIo& io) { list_files(at, after, io); };
      });
  add_call.operator()<sluice_agent_v1_RemoveFileRequest>(
      "Remove", [](const FileAt& at, const sluice_agent_v1_RemoveFileRequest& request) {
        return [at, recursive = request.recursive, missing_ok = request.missing_ok](JobIo& io) {
          remove_file(at, recursive, missing_ok, io);
        };
      });
  add_call.operator()<sluice_agent_v1_MakeDirectoryRequest>(
      "Mkdir", [](const FileAt& at, const sluice_agent_v1_MakeDirectoryRequest& request) {
        return [at, parents = request.parents, mode = request.mode](JobIo& io) {
          make_directory(at, parents, mode, io);
        };
      });

  add_stream.operator()<sluice_agent_v1_ReadFileRequest>(
      "Read", download_wire<sluice_agent_v1_ReadFileRequest>(),
      [](const FileAt& at, const sluice_agent_v1_ReadFileStart& start) {
        return [at, offset = start.offset, limit = start.limit](JobIo& io) {
          read_from_file(at, offset, limit, io);
        };
      });
  add_stream.operator()<sluice_agent_v1_CopyOutRequest>(
      "CopyOut", download_wire<sluice_agent_v1_CopyOutRequest>(),
      [](const FileAt& at, const sluice_agent_v1_CopyOutStart& start) {
        return [at, name = std::string(text(start.name)), follow = start.follow](JobIo& io) {
          copy_out(at, name, follow, io);
        };
      });
  add_stream.operator()<sluice_agent_v1_WriteFileRequest>(
      "Write", upload_wire<sluice_agent_v1_WriteFileRequest, sluice_agent_v1_WriteFileResponse>(),
      [](const FileAt& at, const sluice_agent_v1_WriteFileStart& start) {
        return [at, order = order_of(start)](JobIo& io) { write_to_file(at, order, io); };
      });
  add_stream.operator()<sluice_agent_v1_CopyInRequest>(
      "CopyIn", upload_wire<sluice_agent_v1_CopyInRequest, sluice_agent_v1_CopyInResponse>(),
      [](const FileAt& at, const sluice_agent_v1_CopyInStart& start) {
        CopyInOrder order{.keep_owners = start.keep_owners, .devices = start.devices};
        if (start.max_bytes != 0) order.max_bytes = start.max_bytes;
        return [at, order](JobIo& io) { copy_in(at, order, io); };
      });
}

}  // namespace sluice::agent
