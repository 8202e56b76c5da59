#include "agent/client/files.h"

#include "agent/client/unary.h"
#include "sluice/agent/v1/file.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::field;

constexpr std::string_view kFile = "sluice.agent.v1.File";

sluice_agent_v1_FilePlace message_of(const FilePlace& place) {
  return {
      .path = field(place.path), .root = field(place.root), .container = field(place.container)};
}

}  // namespace

void stat_file(Caller& caller, const FilePlace& place, LinkAtEnd link,
               OnAnswer<FileInfo> on_answer) {
  sluice_agent_v1_StatFileRequest request{};
  request.has_place = true;
  request.place = message_of(place);
  request.follow = link == LinkAtEnd::followed;
  call<sluice_agent_v1_StatFileResponse>(caller, kFile, "Stat", request, std::move(on_answer),
                                         [](const sluice_agent_v1_StatFileResponse& response) {
                                           return FileInfo{
                                               .mode = response.info.mode,
                                               .size = response.info.size,
                                               .link = std::string(rpc::text(response.info.link))};
                                         });
}

std::unique_ptr<Upload> copy_in(Caller& caller, const FilePlace& place, Owners owners,
                                Upload::Events events) {
  sluice_agent_v1_CopyInRequest request{};
  request.which_message = sluice_agent_v1_CopyInRequest_start_tag;
  sluice_agent_v1_CopyInStart& start = request.message.start;
  start.has_place = true;
  start.place = message_of(place);
  start.keep_owners = owners == Owners::as_they_are;
  start.devices = owners == Owners::as_they_are;
  return std::make_unique<Upload>(caller, kFile, "CopyIn", rpc::encode(request), std::move(events));
}

std::unique_ptr<Download> copy_out(Caller& caller, const FilePlace& place, const std::string& name,
                                   Download::Events events) {
  sluice_agent_v1_CopyOutRequest request{};
  request.which_message = sluice_agent_v1_CopyOutRequest_start_tag;
  sluice_agent_v1_CopyOutStart& start = request.message.start;
  start.has_place = true;
  start.place = message_of(place);
  start.name = field(name);
  return std::make_unique<Download>(caller, kFile, "CopyOut", rpc::encode(request),
                                    std::move(events));
}

}  // namespace sluice::agent::client
