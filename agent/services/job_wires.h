#pragma once

#include "agent/rpc/message.h"
#include "agent/services/job_call.h"

// Calls that carry bytes have them in messages of two shapes, whose fields have the same numbers in
// each: a client that sends has start = 1, data = 2, end = 3, and is answered by grant = 1, done =
// 2; one that receives has start = 1, grant = 2, and is answered by info = 1, data = 2, done = 3.

namespace sluice::agent {

inline constexpr std::uint32_t kStartField = 1;

inline Status second_start() {
  return Status(StatusCode::invalid_argument, "a call has one `start`");
}

/// The client sends bytes: `Request` and `Response` of the first shape.
template <typename Request, typename Response>
JobWire upload_wire() {
  constexpr pb_size_t kData = 2;
  constexpr pb_size_t kEnd = 3;
  return {.read = [](ConstBytes bytes, const JobWire::Take& take) -> Status {
            auto request = rpc::Message<Request>::parse(bytes);
            if (!request) return request.status();
            switch ((*request)->which_message) {
              case kStartField:
                return second_start();
              case kData:
                take({.bytes = rpc::bytes_of((*request)->message.data)});
                break;
              case kEnd:
                take({.bytes = {}, .end = (*request)->message.end});
                break;
              default:  // Of a later version.
                break;
            }
            return Status::ok();
          },
          .grant =
              [](std::uint32_t bytes) {
                Response response{};
                response.which_message = 1;
                response.message.grant = bytes;
                return rpc::encode(response);
              }};
}

/// The client receives bytes: `Request` of the second shape.
template <typename Request>
JobWire download_wire() {
  constexpr pb_size_t kGrant = 2;
  constexpr std::uint32_t kData = 2;
  return {.read = [](ConstBytes bytes, const JobWire::Take& take) -> Status {
            auto request = rpc::Message<Request>::parse(bytes);
            if (!request) return request.status();
            if ((*request)->which_message == kStartField) return second_start();
            if ((*request)->which_message == kGrant) {
              take({.bytes = {}, .end = false, .grant = (*request)->message.grant});
            }
            return Status::ok();
          },
          .grant = {},
          .bytes_field = kData};
}

/// The `start` that a stream begins with, as `begin` takes it to begin the call with; else it is
/// answered with what is wrong.
template <typename Request, typename Begin>
std::unique_ptr<rpc::Handler> with_start(rpc::Call& call, ConstBytes first, Begin begin) {
  auto request = rpc::Message<Request>::parse(first);
  if (!request) {
    call.fail(rpc::CallError::of(request.status()));
    return nullptr;
  }
  if ((*request)->which_message != kStartField) {
    call.fail(
        {.code = rpc::Code::invalid_argument, .message = "the first message is to be `start`"});
    return nullptr;
  }
  return begin((*request)->message.start);
}

/// The same of a call of one message.
template <typename Request, typename Begin>
std::unique_ptr<rpc::Handler> with_request(rpc::Call& call, ConstBytes bytes, Begin begin) {
  auto request = rpc::Message<Request>::parse(bytes);
  if (!request) {
    call.fail(rpc::CallError::of(request.status()));
    return nullptr;
  }
  return begin(**request);
}

}  // namespace sluice::agent
