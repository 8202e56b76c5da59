#include "agent/client/byte_stream.h"

#include <algorithm>

#include "agent/rpc/credit.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/file.pb.h"

namespace sluice::agent::client {

namespace {

// All calls of a direction have messages of the same shape; these stand for them.
using UploadRequest = sluice_agent_v1_CopyInRequest;
using UploadResponse = sluice_agent_v1_CopyInResponse;
using DownloadRequest = sluice_agent_v1_CopyOutRequest;
using DownloadResponse = sluice_agent_v1_CopyOutResponse;

constexpr std::uint8_t kDoneKey = sluice_agent_v1_CopyInResponse_done_tag << 3 | 2;

}  // namespace

Upload::Upload(Caller& caller, std::string_view service, std::string_view method, ConstBytes start,
               Events events)
    : caller_(caller),
      events_(std::move(events)),
      stream_(caller.begin(service, method, start,
                           {.on_message = [this](ConstBytes bytes) { on_message(bytes); },
                            .on_end = [this](const rpc::CallError& error,
                                             ConstBytes) { events_.on_end(error, done_); }},
                           true)),
      credit_(rpc::kInitialCredit) {}

void Upload::on_message(ConstBytes bytes) {
  // Which `done` it is only the caller of this knows.
  if (!bytes.empty() && bytes[0] == kDoneKey) {
    done_.assign(bytes.begin(), bytes.end());
    return;
  }
  auto response = rpc::Message<UploadResponse>::parse(bytes);
  if (!response || (*response)->which_message != sluice_agent_v1_CopyInResponse_grant_tag) return;
  credit_ += (*response)->message.grant;
  if (events_.on_room) events_.on_room();
}

void Upload::write(ConstBytes bytes) {
  credit_ -= bytes.size();
  send_bytes(caller_, stream_, sluice_agent_v1_CopyInRequest_data_tag, bytes);
}

void Upload::finish() {
  UploadRequest request{};
  request.which_message = sluice_agent_v1_CopyInRequest_end_tag;
  request.message.end = true;
  caller_.send(stream_, rpc::encode(request));
}

Download::Download(Caller& caller, std::string_view service, std::string_view method,
                   ConstBytes start, Events events)
    : caller_(caller),
      events_(std::move(events)),
      stream_(caller.begin(
          service, method, start,
          {.on_message = [this](ConstBytes bytes) { on_message(bytes); },
           .on_end = [this](const rpc::CallError& error, ConstBytes) { events_.on_end(error); }},
          true)) {}

void Download::on_message(ConstBytes bytes) {
  auto response = rpc::Message<DownloadResponse>::parse(bytes);
  if (!response || (*response)->which_message != sluice_agent_v1_CopyOutResponse_data_tag) return;
  events_.on_bytes(rpc::bytes_of((*response)->message.data));
}

void Download::consumed(std::size_t bytes) {
  std::uint32_t grant = consumed_.add(bytes);
  if (grant == 0) return;
  DownloadRequest request{};
  request.which_message = sluice_agent_v1_CopyOutRequest_grant_tag;
  request.message.grant = grant;
  caller_.send(stream_, rpc::encode(request));
}

}  // namespace sluice::agent::client
