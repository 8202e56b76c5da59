#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/client/caller.h"
#include "agent/rpc/message.h"

namespace sluice::agent::client {

inline constexpr std::string_view kAgentService = "sluice.agent.v1.Agent";

template <typename T>
using OnAnswer = std::function<void(const rpc::CallError& error, const T& answer)>;

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

/// Fields that point to `texts`, for a message that is encoded while these live.
inline std::vector<char*> fields_of(const std::vector<std::string>& texts) {
  std::vector<char*> fields;
  // An empty text in a list is one all the same.
  for (const std::string& text : texts) fields.push_back(const_cast<char*>(text.c_str()));
  return fields;
}

}  // namespace sluice::agent::client
