#include "agent/rpc/status.h"

#include <cstring>

#include "sluice/agent/v1/error.pb.h"
#include "ttrpc.pb.h"

namespace sluice::agent::rpc {

std::vector<std::uint8_t> response_of(ConstBytes message) {
  BytesField payload(message);
  sluice_ttrpc_Response response{};
  response.payload = payload.array();
  return encode(response);
}

std::vector<std::uint8_t> response_of(const CallError& error) {
  std::string name = error.error != 0 ? strerrorname_np(error.error) : "";
  sluice_agent_v1_ErrorDetail detail{};
  detail.error_number = error.error;
  detail.errno_name = field(name);
  detail.step = field(error.step);
  BytesField encoded(encode(detail));
  std::string type = kErrorDetailType;
  sluice_ttrpc_Any any{};
  any.type_url = field(type);
  any.value = encoded.array();

  sluice_ttrpc_Response response{};
  response.has_status = true;
  response.status.code = static_cast<std::int32_t>(error.code);
  response.status.message = field(error.message);
  if (error.error != 0) {
    response.status.details_count = 1;
    response.status.details = &any;
  }
  return encode(response);
}

}  // namespace sluice::agent::rpc
