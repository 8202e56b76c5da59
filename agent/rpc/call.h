#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/rpc/message.h"
#include "base/bytes.h"

namespace sluice::agent::rpc {

/// google.rpc.Code.
enum class Code : std::int32_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
};

/// Why a call failed. Of what the kernel refused `error` is the errno and `step` what was tried;
/// then the status carries an ErrorDetail.
struct CallError {
  Code code = Code::internal;
  std::string message;
  int error = 0;
  std::string step;

  static CallError of(const Status& status);
  /// NOT_FOUND for ENOENT, PERMISSION_DENIED for EACCES, and so on.
  static CallError from_errno(int error, std::string step);
};

/// A call as its method sees it, from the request to the end. One of reply(), fail() and finish()
/// ends it; nothing is sent after that. Belongs to its connection; all calls on the loop's thread.
class Call {
 public:
  virtual ~Call() = default;
  /// The one answer, and the end.
  virtual void reply(ConstBytes message) = 0;
  virtual void fail(const CallError& error) = 0;
  /// A message of a stream. It is always taken: who sends much asks writable() first.
  virtual void send(ConstBytes message) = 0;
  /// The end of a stream that has said all.
  virtual void finish() = 0;
  /// The connection has room; when it has again, the handler's on_writable() is called.
  virtual bool writable() const = 0;
  /// Ends a call of the same connection with CANCELLED.
  virtual void cancel(std::uint32_t stream) = 0;

  template <typename T>
  void reply_with(const T& message) {
    reply(encode(message));
  }
  template <typename T>
  void send_one(const T& message) {
    send(encode(message));
  }
};

/// What a method does after the request, where it isn't done at once. Destroyed when the call has
/// ended, whatever ended it: an answer, a deadline, the client. It may not answer from its
/// destructor.
class Handler {
 public:
  virtual ~Handler() = default;
  /// A message of the client's stream.
  virtual void on_message(ConstBytes) {}
  /// The client sends no more.
  virtual void on_half_close() {}
  virtual void on_writable() {}
};

/// Begins a call. Null where it has been answered already.
using Method = std::function<std::unique_ptr<Handler>(Call& call, ConstBytes request)>;

struct MethodInfo {
  Method begin;
  bool streams_in = false;  ///< The request comes as the first message, more may follow.
};

/// All methods, by "service/method".
class Methods {
 public:
  void add(std::string_view service, std::string_view method, MethodInfo info);

  /// A method that is answered at once: from a message to a message, or an error.
  template <typename Request, typename Response, typename Answer>
  void add_unary(std::string_view service, std::string_view method, Answer answer) {
    add(service, method,
        {.begin = [answer = std::move(answer)](Call& call,
                                               ConstBytes bytes) -> std::unique_ptr<Handler> {
          auto request = Message<Request>::parse(bytes);
          if (!request) {
            call.fail(CallError::of(request.status()));
          } else {
            answer(call, **request);
          }
          return nullptr;
        }});
  }

  /// Null where there is none.
  const MethodInfo* find(std::string_view service, std::string_view method) const;
  bool has_service(std::string_view service) const;
  /// Calls of the service are UNAVAILABLE with this reason until it is held back no more (""),
  /// whether it is there already or not.
  void hold_back(std::string_view service, std::string why);
  /// "service/method" and how many calls of it were begun.
  std::vector<std::pair<std::string, std::uint64_t>> calls() const;

 private:
  std::shared_ptr<std::string> why_held_back(std::string_view service);

  std::unordered_map<std::string, std::unordered_map<std::string, MethodInfo>> services_;
  std::map<std::string, std::shared_ptr<std::uint64_t>> begun_;
  std::map<std::string, std::shared_ptr<std::string>, std::less<>> held_back_;
};

}  // namespace sluice::agent::rpc
