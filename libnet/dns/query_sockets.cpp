#include "dns/query_sockets.h"

#include <utility>

namespace sluice::dns {

struct QuerySockets::Waiting final : SocketHandler {
  Waiting(QuerySockets& its_owner, Socket its_socket)
      : owner(its_owner), socket(std::move(its_socket)) {
    socket.socket->set_handler(this);
  }
  void on_socket_ready(SocketReady ready) override {
    if (ready.readable || ready.error) owner.close(*this);
  }

  QuerySockets& owner;
  Socket socket;
};

QuerySockets::QuerySockets(Loop& loop, HostNet& host, const RandomSource& random)
    : loop_(loop), host_(host), random_(random), timer_(loop.make_timer([this] { close_old(); })) {}

QuerySockets::~QuerySockets() = default;

std::optional<QuerySockets::Socket> QuerySockets::take(Family family) {
  WaitingSockets& waiting = idle(family);
  while (waiting.size() >= kLeastChoice) {
    if (auto taken = take_waiting(waiting)) return taken;
  }
  auto opened = host_.open_query(family);
  if (opened) return Socket{std::move(opened).value(), family, loop_.now(), 1};
  // Better few to choose from than none.
  while (!waiting.empty()) {
    if (auto taken = take_waiting(waiting)) return taken;
  }
  return std::nullopt;
}

std::optional<QuerySockets::Socket> QuerySockets::take_waiting(WaitingSockets& waiting) {
  std::swap(waiting[random_() % waiting.size()], waiting.back());
  Socket taken = std::move(waiting.back()->socket);
  waiting.pop_back();
  if (is_old(taken)) return std::nullopt;
  taken.socket->set_handler(nullptr);
  ++taken.questions;
  return taken;
}

void QuerySockets::give_back(Socket socket) {
  WaitingSockets& waiting = idle(socket.family);
  if (socket.questions >= kMostQuestions || is_old(socket) || waiting.size() >= kMostIdle) return;
  bool none_waits = idle_[0].empty() && idle_[1].empty();
  waiting.push_back(std::make_unique<Waiting>(*this, std::move(socket)));
  if (none_waits) timer_->start(kMostAge);
}

void QuerySockets::close(const Waiting& socket) {
  std::erase_if(idle(socket.socket.family),
                [&socket](const auto& waiting) { return waiting.get() == &socket; });
}

void QuerySockets::close_old() {
  bool any_waits = false;
  for (WaitingSockets& waiting : idle_) {
    std::erase_if(waiting, [this](const auto& one) { return is_old(one->socket); });
    any_waits |= !waiting.empty();
  }
  if (any_waits) timer_->start(kMostAge);
}

}  // namespace sluice::dns
