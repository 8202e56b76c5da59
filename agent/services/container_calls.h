#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "agent/container/containers.h"
#include "agent/rpc/call.h"
#include "agent/rpc/message.h"

namespace sluice::agent {

/// Fails the call where there is no runtime or no such container.
std::shared_ptr<Container> container_of(const Containers& containers, rpc::Call& call,
                                        std::string_view text);

/// Of an error that says that a program can't be run: makes it say which.
void name_program(rpc::CallError& error, const std::string& program);

/// A call that waits for what becomes of a container.
class ContainerWait final : public rpc::Handler {
 public:
  /// Whether the call has been answered.
  using Look = std::function<bool(Container& container)>;

  ContainerWait(std::shared_ptr<Container> container, Look look)
      : container_(std::move(container)), look_(std::move(look)) {}
  ~ContainerWait() override { container_->unwatch(number_); }

  /// Null where it was answered at once.
  static std::unique_ptr<rpc::Handler> begin(std::shared_ptr<Container> container, Look look);

 private:
  std::shared_ptr<Container> container_;
  Look look_;
  std::uint64_t number_ = 0;
};

/// A method of which the answer comes at once or later.
template <typename Request, typename Answer>
void add_method(rpc::Methods& methods, std::string_view service, std::string_view method,
                Answer answer) {
  methods.add(service, method,
              {.begin = [answer = std::move(answer)](
                            rpc::Call& call, ConstBytes bytes) -> std::unique_ptr<rpc::Handler> {
                auto request = rpc::Message<Request>::parse(bytes);
                if (!request) {
                  call.fail(rpc::CallError::of(request.status()));
                  return nullptr;
                }
                return answer(call, **request);
              }});
}

}  // namespace sluice::agent
