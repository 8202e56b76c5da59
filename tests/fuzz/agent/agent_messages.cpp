// Any bytes as each message that a client sends: read within the limits of memory, or refused; what
// was read reads the same when it is written again.

#include "agent/rpc/message.h"

#include <string>

#include "check.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/file.pb.h"
#include "sluice/agent/v1/image.pb.h"
#include "sluice/agent/v1/process.pb.h"
#include "ttrpc.pb.h"

using namespace sluice;
using namespace sluice::agent::rpc;

namespace {

template <typename T>
void read(ConstBytes in) {
  auto first = Message<T>::parse(in);
  if (!first) {
    FUZZ_CHECK(first.status().code() == StatusCode::invalid_argument);
    return;
  }
  auto written = encode(**first);
  auto again = Message<T>::parse(written);
  FUZZ_CHECK(again);
  FUZZ_CHECK(encode(**again) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes in(data, size);
  read<sluice_ttrpc_Request>(in);
  read<sluice_ttrpc_Response>(in);
  read<sluice_agent_v1_PingRequest>(in);
  read<sluice_agent_v1_SystemInfoRequest>(in);
  read<sluice_agent_v1_BootReportRequest>(in);
  read<sluice_agent_v1_SetTimeRequest>(in);
  read<sluice_agent_v1_ShutdownRequest>(in);
  read<sluice_agent_v1_CancelRequest>(in);
  read<sluice_agent_v1_ExecRequest>(in);
  read<sluice_agent_v1_ExecResponse>(in);
  read<sluice_agent_v1_SignalRequest>(in);
  read<sluice_agent_v1_WaitRequest>(in);
  read<sluice_agent_v1_ListProcessesRequest>(in);
  read<sluice_agent_v1_StatFileRequest>(in);
  read<sluice_agent_v1_ListFilesRequest>(in);
  read<sluice_agent_v1_ReadFileRequest>(in);
  read<sluice_agent_v1_WriteFileRequest>(in);
  read<sluice_agent_v1_CopyInRequest>(in);
  read<sluice_agent_v1_CopyOutRequest>(in);
  read<sluice_agent_v1_RemoveFileRequest>(in);
  read<sluice_agent_v1_MakeDirectoryRequest>(in);
  read<sluice_agent_v1_ImportImageRequest>(in);
  read<sluice_agent_v1_ImportImageResponse>(in);
  read<sluice_agent_v1_ListImagesResponse>(in);
  read<sluice_agent_v1_RemoveImageRequest>(in);
  read<sluice_agent_v1_PruneImagesRequest>(in);

  std::string text = valid_utf8({reinterpret_cast<const char*>(data), size});
  FUZZ_CHECK(text.find('\0') == std::string::npos);
  FUZZ_CHECK(valid_utf8(text) == text);
  sluice_agent_v1_WaitRequest request{};
  request.id = field(text);
  FUZZ_CHECK(text.empty() || !encode(request).empty());
  return 0;
}
