#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "agent/client/caller.h"
#include "agent/client/credit.h"

namespace sluice::agent::client {

/// A call that sends the guest bytes as it grants them (File.Write, File.CopyIn, Image.Import,
/// whose messages have the same shape). One thread.
class Upload {
 public:
  struct Events {
    /// More may be written.
    std::function<void()> on_room;
    /// The end: the last message, where the call worked.
    std::function<void(const rpc::CallError& error, ConstBytes done)> on_end;
  };

  /// `start`: the encoded first message.
  Upload(Caller& caller, std::string_view service, std::string_view method, ConstBytes start,
         Events events);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  /// Bytes that write() takes now.
  std::size_t room() const { return credit_; }
  /// At most room() bytes.
  void write(ConstBytes bytes);
  /// There are no more. Without it nothing comes of the call.
  void finish();

 private:
  void on_message(ConstBytes bytes);

  Caller& caller_;
  Events events_;
  std::uint32_t stream_;
  std::size_t credit_;
  std::vector<std::uint8_t> done_;
};

/// A call that gets bytes of the guest (File.Read, File.CopyOut). It sends no more than consumed()
/// has made room for. One thread.
class Download {
 public:
  struct Events {
    std::function<void(ConstBytes bytes)> on_bytes;
    std::function<void(const rpc::CallError& error)> on_end;
  };

  Download(Caller& caller, std::string_view service, std::string_view method, ConstBytes start,
           Events events);
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  void consumed(std::size_t bytes);

 private:
  void on_message(ConstBytes bytes);

  Caller& caller_;
  Events events_;
  std::uint32_t stream_;
  Consumed consumed_;
};

}  // namespace sluice::agent::client
