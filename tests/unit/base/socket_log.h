#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/host_net.h"

namespace sluice::test {

/// Remembers readiness; may run something at each.
class SocketLog final : public SocketHandler {
 public:
  void on_socket_ready(SocketReady ready) override {
    ++calls;
    readable |= ready.readable;
    writable |= ready.writable;
    error |= ready.error;
    if (on_ready) on_ready(ready);
  }
  void clear() { *this = SocketLog(); }

  int calls = 0;
  bool readable = false;
  bool writable = false;
  bool error = false;
  std::function<void(SocketReady)> on_ready;
};

inline IoResult send_text(StreamSocket& socket, std::string_view text) {
  iovec piece{const_cast<char*>(text.data()), text.size()};
  return socket.send({&piece, 1});
}

/// Everything there is now, appended to `out`; the last result.
inline IoResult receive_all(StreamSocket& socket, std::string& out, std::size_t room = 4096) {
  std::string buffer(room, '\0');
  while (true) {
    iovec piece{buffer.data(), buffer.size()};
    IoResult result = socket.receive({&piece, 1});
    out.append(buffer.data(), result.bytes);
    if (!result.ok() || result.bytes == 0 || result.drained) return result;
  }
}

}  // namespace sluice::test
