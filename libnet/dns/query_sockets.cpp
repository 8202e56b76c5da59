#include "dns/query_sockets.h"

#include <utility>

namespace sluice::dns {

QuerySockets::QuerySockets(Loop& loop, HostNet& host, const RandomSource& random)
    : loop_(loop), host_(host), random_(random), timer_(loop.make_timer([this] { close_old(); })) {}

std::optional<QuerySockets::Socket> QuerySockets::take(Family family) {
  std::vector<Socket>& waiting = idle(family);
  while (waiting.size() >= kLeastChoice) {
    std::swap(waiting[random_() % waiting.size()], waiting.back());
    Socket taken = std::move(waiting.back());
    waiting.pop_back();
    if (is_old(taken)) continue;
    ++taken.questions;
    return taken;
  }
  auto opened = host_.open_query(family);
  if (!opened) return std::nullopt;
  return Socket{std::move(opened).value(), family, loop_.now(), 1};
}

void QuerySockets::give_back(Socket socket) {
  std::vector<Socket>& waiting = idle(socket.family);
  if (socket.questions >= kMostQuestions || is_old(socket) || waiting.size() >= kMostIdle) return;
  socket.socket->set_handler(nullptr);
  bool none_waits = idle_[0].empty() && idle_[1].empty();
  waiting.push_back(std::move(socket));
  if (none_waits) timer_->start(kMostAge);
}

void QuerySockets::close_old() {
  bool any_waits = false;
  for (std::vector<Socket>& waiting : idle_) {
    std::erase_if(waiting, [this](const Socket& socket) { return is_old(socket); });
    any_waits |= !waiting.empty();
  }
  if (any_waits) timer_->start(kMostAge);
}

}  // namespace sluice::dns
