#pragma once

#include <utility>

#include "agent/client/guest.h"
#include "agent/rpc/message.h"

namespace sluice::agent::client {

/// A unary call whose answer is told as `T`, made by `convert` of the wire's `Response`.
template <typename Response, typename T, typename Request, typename Convert>
void call(Caller& caller, std::string_view service, std::string_view method, const Request& request,
          OnAnswer<T> on_answer, Convert convert, Duration timeout = {}) {
  caller.begin(service, method, rpc::encode(request),
               {.on_message = nullptr,
                .on_end =
                    [on_answer = std::move(on_answer), convert](const rpc::CallError& error,
                                                                ConstBytes bytes) {
                      if (error.code != rpc::Code::ok) return on_answer(error, T{});
                      auto response = rpc::Message<Response>::parse(bytes);
                      if (!response) {
                        return on_answer(rpc::CallError::of(response.status()), T{});
                      }
                      on_answer({.code = rpc::Code::ok}, convert(**response));
                    }},
               false, timeout);
}

inline std::vector<std::string> strings(char* const* fields, pb_size_t count) {
  std::vector<std::string> list;
  for (pb_size_t i = 0; i < count; ++i) list.emplace_back(rpc::text(fields[i]));
  return list;
}

}  // namespace sluice::agent::client
