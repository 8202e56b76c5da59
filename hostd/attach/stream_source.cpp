#include "hostd/attach/stream_source.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/log.h"
#include "hostd/attach/unix_socket.h"

namespace sluice::hostd {

namespace {

/// How often a VMM that does not listen yet is tried: soon enough not to delay its boot.
constexpr Duration kRetry = std::chrono::milliseconds(100);

/// A StreamPort with something beside it that opens it. The calls go straight through.
class SourcedPort : public link::GuestPort {
 public:
  SourcedPort(Loop& loop, StreamPort::OnClosed on_closed) : loop_(loop), port_(loop) {
    port_.set_on_closed([this, on_closed = std::move(on_closed)] {
      closed();
      if (on_closed) on_closed();
    });
  }

  void set_handler(link::PortHandler* handler) override { port_.set_handler(handler); }
  link::SendResult send(const link::RxFrame& frame, link::FrameClass frame_class) override {
    return port_.send(frame, frame_class);
  }
  void flush() override { port_.flush(); }
  std::size_t max_mtu() const override { return port_.max_mtu(); }
  link::PortCounters counters() const override { return port_.counters(); }

 protected:
  virtual void closed() = 0;

  Loop& loop_;
  StreamPort port_;
};

class ListeningPort final : public SourcedPort {
 public:
  ListeningPort(Loop& loop, UniqueFd listener, StreamPort::OnClosed on_closed)
      : SourcedPort(loop, std::move(on_closed)), listener_(std::move(listener)) {
    watch_ = loop.watch(listener_.get(), {.readable = true, .writable = false},
                        [this](FdReady) { accept(); });
  }

 private:
  void closed() override {
    if (next_) open(std::move(next_));
    accept();
  }

  void accept() {
    while (true) {
      UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!socket) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        return;
      }
      if (port_.is_open() && !next_ && port_.peer_is_gone()) {
        // A VMM that came back so soon that what it sent before is not read yet.
        next_ = std::move(socket);
        continue;
      }
      if (port_.is_open()) {
        log(LogLevel::warn, "a second guest connected and was closed: this hostd serves one");
        continue;
      }
      open(std::move(socket));
    }
  }

  void open(UniqueFd socket) {
    log(LogLevel::info, "guest's end connected");
    port_.open(std::move(socket));
  }

  UniqueFd listener_;
  UniqueFd next_;  ///< Waits for the end of the connection before it.
  std::unique_ptr<FdWatch> watch_;
};

class ConnectingPort final : public SourcedPort {
 public:
  ConnectingPort(Loop& loop, const std::string& path, StreamPort::OnClosed on_closed)
      : SourcedPort(loop, std::move(on_closed)),
        path_(path),
        retry_(loop.make_timer([this] { connect(); })) {
    retry_->start(Duration::zero());
  }

 private:
  void closed() override { retry_->start(kRetry); }

  void connect() {
    auto socket = connect_unix_stream(path_);
    if (!socket) {
      if (!std::exchange(reported_, true)) {
        log(LogLevel::info, "{}; trying again until somebody listens", socket.status().message());
      }
      retry_->start(kRetry);
      return;
    }
    reported_ = false;
    log(LogLevel::info, "connected to {}", path_);
    port_.open(std::move(*socket));
  }

  std::string path_;
  std::unique_ptr<Timer> retry_;
  bool reported_ = false;
};

}  // namespace

std::unique_ptr<link::GuestPort> make_listening_port(Loop& loop, UniqueFd listener,
                                                     StreamPort::OnClosed on_closed) {
  return std::make_unique<ListeningPort>(loop, std::move(listener), std::move(on_closed));
}

std::unique_ptr<link::GuestPort> make_connecting_port(Loop& loop, const std::string& path,
                                                      StreamPort::OnClosed on_closed) {
  return std::make_unique<ConnectingPort>(loop, path, std::move(on_closed));
}

}  // namespace sluice::hostd
