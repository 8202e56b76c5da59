#include <fmt/format.h>
#include <net/flow.h>
#include <net/verdict.h>

namespace sluice {

namespace {

// What one line shows of a list that the guest can make long.
constexpr std::size_t kNamesShown = 4;

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = c >= 0x20 && c < 0x7f;
    out += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string name_list(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kNamesShown; ++i) {
    if (i > 0) out += ", ";
    out += printable(names[i]);
  }
  if (names.size() > kNamesShown) out += fmt::format(" and {} more", names.size() - kNamesShown);
  return out;
}

}  // namespace

std::string_view to_string(Action action) {
  return action == Action::allow ? "allow" : "deny";
}

std::string_view to_string(Direction direction) {
  return direction == Direction::egress ? "egress" : "ingress";
}

std::string_view to_string(EventKind kind) {
  switch (kind) {
    case EventKind::denied:
      return "denied";
    case EventKind::allowed:
      return "allowed";
    case EventKind::closed:
      return "closed";
  }
  return "unknown";
}

std::string_view to_string(FlowState state) {
  switch (state) {
    case FlowState::connecting:
      return "connecting";
    case FlowState::unanswered:
      return "unanswered";
    case FlowState::inspecting:
      return "inspecting";
    case FlowState::open:
      return "open";
    case FlowState::closing:
      return "closing";
    case FlowState::time_wait:
      return "time-wait";
  }
  return "unknown";
}

std::string_view to_string(Layer layer) {
  switch (layer) {
    case Layer::dns:
      return "dns";
    case Layer::syn:
      return "syn";
    case Layer::first_flight:
      return "first-flight";
    case Layer::udp:
      return "udp";
    case Layer::icmp:
      return "icmp";
    case Layer::ingress:
      return "ingress";
  }
  return "unknown";
}

std::string Event::to_string() const {
  std::string line(sluice::to_string(kind));
  if (layer == Layer::dns) {
    line += fmt::format(" lookup of {} by {}", name_list(names), source.address.to_string());
  } else if (protocol == Protocol::icmp) {
    line +=
        fmt::format(" icmp {} -> {}", source.address.to_string(), destination.address.to_string());
  } else {
    line += fmt::format(" {}{} {} -> {}", layer == Layer::ingress ? "ingress " : "",
                        sluice::to_string(protocol), source.to_string(), destination.to_string());
  }
  if (layer != Layer::dns && !names.empty()) line += fmt::format(" ({})", name_list(names));
  if (!server_name.empty()) line += fmt::format(" for {}", printable(server_name));
  if (kind == EventKind::closed) {
    std::chrono::duration<double> seconds = duration;
    line +=
        fmt::format(": {:.3f} s, {} bytes sent, {} received", seconds.count(), tx_bytes, rx_bytes);
  } else if (!rule.empty()) {
    line += ": " + printable(rule);
  }
  if (!reason.empty()) line += ": " + printable(reason);
  if (is_fatal) line += " (fatal)";
  if (suppressed > 0) line += fmt::format(" (and {} like it, not shown)", suppressed);
  return line;
}

}  // namespace sluice
