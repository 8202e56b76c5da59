#include "stack/tcp_engine.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "stack/guest_pbuf.h"
#include "stack/lwip_headers.h"
#include "stack/tcp_callbacks.h"
#include "stack/tcp_shared.h"
#include "wire/tcp.h"

namespace sluice::stack {

namespace {

bool engine_exists = false;
const HashKey* isn_key = nullptr;

/// A frame in the guest's port that refers to a pbuf chain.
struct OutFrame {
  pbuf* packet;
  TcpEndpoint::Shared* shared;  ///< Or none: then lwIP's own memory is all that it refers to.
  std::unique_ptr<std::uint8_t[]> gathered;  ///< The payload, where it was copied.
};

/// Payloads up to this size are copied into the port: cheaper than keeping track of a reference.
constexpr std::size_t kCopyPayload = 512;
/// Pieces of one segment: lwIP chains a pbuf per write, and a port's writev is bounded. One with
/// more, of many small writes that waited for the guest's window, is copied into one.
constexpr std::size_t kMaxPieces = 256;

}  // namespace

/// Puts one connection's lists into lwIP's globals for the time of a call.
class TcpEngine::Entered {
 public:
  explicit Entered(TcpEndpoint& endpoint) : endpoint_(endpoint) {
    tcp_active_pcbs = endpoint.active_;
    tcp_tw_pcbs = endpoint.time_wait_;
  }
  ~Entered() {
    endpoint_.active_ = std::exchange(tcp_active_pcbs, nullptr);
    endpoint_.time_wait_ = std::exchange(tcp_tw_pcbs, nullptr);
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;

 private:
  TcpEndpoint& endpoint_;
};

err_t TcpEngine::Callbacks::output4(netif* interface, pbuf* packet, const ip4_addr_t*) {
  const auto* header = static_cast<const std::uint8_t*>(packet->payload);
  return output(interface, packet, IpAddress::from_bytes({header + 12, 4}),
                IpAddress::from_bytes({header + 16, 4}), IP_HLEN);
}

err_t TcpEngine::Callbacks::output6(netif* interface, pbuf* packet, const ip6_addr_t*) {
  const auto* header = static_cast<const std::uint8_t*>(packet->payload);
  return output(interface, packet, IpAddress::from_bytes({header + 8, 16}),
                IpAddress::from_bytes({header + 24, 16}), IP6_HLEN);
}

err_t TcpEngine::Callbacks::output(netif* interface, pbuf* packet, const IpAddress& source,
                                   const IpAddress& destination, std::size_t ip_header) {
  auto* engine = static_cast<TcpEngine*>(interface->state);
  TcpEndpoint* endpoint = nullptr;
  if (interface->hints != nullptr) {
    auto* pcb = reinterpret_cast<tcp_pcb*>(reinterpret_cast<char*>(interface->hints) -
                                           offsetof(tcp_pcb, netif_hints));
    endpoint = static_cast<TcpEndpoint*>(pcb->callback_arg);
  }
  return engine->send(endpoint, packet, source, destination, ip_header) ? ERR_OK : ERR_WOULDBLOCK;
}

void TcpEngine::Callbacks::release_frame(void* owner) {
  auto* frame = static_cast<OutFrame*>(owner);
  pbuf_free(frame->packet);
  if (frame->shared) frame->shared->remove_frame();
  delete frame;
}

Result<std::unique_ptr<TcpEngine>> TcpEngine::create(const TcpEngineConfig& config,
                                                     SegmentSink& sink) {
  if (engine_exists) {
    return Status(StatusCode::already_exists,
                  "this process already runs a Network; start another process for a second one");
  }
  engine_exists = true;
  std::unique_ptr<TcpEngine> engine(new TcpEngine(config, sink));  // NOLINT: private constructor
  if (Status status = engine->start(); !status) return status;
  return engine;
}

TcpEngine::TcpEngine(const TcpEngineConfig& config, SegmentSink& sink)
    : config_(config), sink_(sink), isn_key_(HashKey::random()) {
  isn_key = &isn_key_;
}

Status TcpEngine::start() {
  static bool initialized = false;
  if (!initialized) lwip_init();
  initialized = true;

  netif_ = std::make_unique<netif>();
  ip4_addr_t zero{};
  auto setup = [](netif* interface) -> err_t {
    interface->output = Callbacks::output4;
    interface->output_ip6 = Callbacks::output6;
    return ERR_OK;
  };
  if (!netif_add(netif_.get(), &zero, &zero, &zero, this, setup, nullptr)) {
    return Status(StatusCode::internal, "lwIP took no interface");
  }
  netif_->mtu = config_.mtu;
  netif_set_link_up(netif_.get());
  netif_set_up(netif_.get());

  tcp_pcb* pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
  if (!pcb) return Status(StatusCode::exhausted, "no memory for lwIP's listener");
  tcp_bind_netif(pcb, netif_.get());
  tcp_bind(pcb, IP_ANY_TYPE, 1);
  listener_ = reinterpret_cast<tcp_pcb_listen*>(tcp_listen(pcb));
  if (!listener_) return Status(StatusCode::exhausted, "no memory for lwIP's listener");
  // It takes part in accept() only: a client's port 1 is not in use.
  listener_->local_port = 0;
  return Status::ok();
}

TcpEngine::~TcpEngine() {
  if (listener_) tcp_close(reinterpret_cast<tcp_pcb*>(listener_));
  if (netif_) netif_remove(netif_.get());
  engine_exists = false;
  isn_key = nullptr;
}

std::unique_ptr<TcpEndpoint> TcpEngine::make_endpoint(EndpointOwner& owner) {
  std::unique_ptr<TcpEndpoint> endpoint(new TcpEndpoint(*this, owner));  // NOLINT: private
  // What is advertised is always backed, so the first window shrinks as the budget fills: at 512
  // MiB there is room for 4096 connections of 64 KiB, 12288 of 16 KiB and 16384 of 4 KiB.
  std::size_t budget = config_.memory_budget;
  std::uint32_t window = memory_used_ < budget / 2       ? TcpEndpoint::kFirstWindow
                         : memory_used_ < budget / 8 * 7 ? TcpEndpoint::kFirstWindow / 4
                                                         : TcpEndpoint::kFirstWindow / 16;
  if (memory_used_ + window <= budget) {
    endpoint->window_ = window;
    memory_used_ += window;
    return endpoint;
  }
  return nullptr;
}

std::unique_ptr<TcpEndpoint> TcpEngine::accept(const Endpoint& guest, const Endpoint& remote,
                                               ConstBytes syn, EndpointOwner& owner) {
  auto endpoint = make_endpoint(owner);
  pbuf* packet =
      endpoint ? pbuf_alloc(PBUF_RAW, static_cast<u16_t>(syn.size()), PBUF_RAM) : nullptr;
  if (!packet) return nullptr;
  std::memcpy(packet->payload, syn.data(), syn.size());

  set_current_addresses(guest.address, remote.address);
  listener_->local_port = remote.port.value();
  listener_->callback_arg = endpoint.get();
  {
    Entered entered(*endpoint);
    tcp_input(packet, netif_.get());
    endpoint->pcb_ = tcp_active_pcbs;
  }
  listener_->local_port = 0;
  listener_->callback_arg = nullptr;
  if (!endpoint->pcb_) return nullptr;
  endpoint->adopt_pcb();
  after_call(*endpoint);
  return endpoint;
}

std::unique_ptr<TcpEndpoint> TcpEngine::connect(const Endpoint& guest, const Endpoint& remote,
                                                EndpointOwner& owner) {
  auto endpoint = make_endpoint(owner);
  tcp_pcb* pcb = endpoint ? tcp_new_ip_type(IPADDR_TYPE_ANY) : nullptr;
  if (!pcb) return nullptr;
  ip_addr_t local = to_lwip(remote.address), to = to_lwip(guest.address);
  tcp_bind_netif(pcb, netif_.get());
  tcp_arg(pcb, endpoint.get());
  err_t error;
  {
    Entered entered(*endpoint);
    error = tcp_bind(pcb, &local, remote.port.value());
    if (error == ERR_OK) {
      error = tcp_connect(pcb, &to, guest.port.value(), nullptr);
    }
    if (error != ERR_OK) {
      tcp_arg(pcb, nullptr);
      tcp_abort(pcb);
    }
  }
  if (error != ERR_OK) return nullptr;
  endpoint->pcb_ = pcb;
  endpoint->adopt_pcb();
  after_call(*endpoint);
  return endpoint;
}

void TcpEngine::refuse(const Endpoint& guest, const Endpoint& remote, const InSegment& segment) {
  const std::uint8_t* header = segment.header.data();
  std::uint8_t flags = header[13];
  if (flags & TCP_RST) return;
  std::uint32_t length = static_cast<std::uint32_t>(segment.payload_size) +
                         ((flags & TCP_SYN) != 0 ? 1 : 0) + ((flags & TCP_FIN) != 0 ? 1 : 0);
  std::uint32_t sequence = (flags & TCP_ACK) != 0 ? load_be32(header + 8) : 0;
  ip_addr_t local = to_lwip(remote.address), to = to_lwip(guest.address);
  tcp_rst_netif(netif_.get(), sequence, load_be32(header + 4) + length, &local, &to,
                remote.port.value(), guest.port.value());
  ++counters_.resets_out;
}

bool TcpEngine::send(TcpEndpoint* endpoint, pbuf* packet, const IpAddress& source,
                     const IpAddress& destination, std::size_t ip_header) {
  const auto* tcp = static_cast<const std::uint8_t*>(packet->payload) + ip_header;
  std::size_t header = static_cast<std::size_t>(tcp[12] >> 4) * 4;
  iovec pieces[kMaxPieces];
  std::size_t count = 0, read = 0;
  UnreadBytes unread;
  std::size_t skip = ip_header + header;
  for (pbuf* p = packet; p != nullptr; p = p->next) {
    std::size_t here = p->len > skip ? p->len - skip : 0;
    if (here > 0 && unread_space_.contains(p->payload)) {
      TcpEndpoint::Shared* shared = endpoint->shared_;
      if (!unread) unread.position = unread_space_.position_of(p->payload, shared->unread_from());
      unread.source = shared;
      unread.size += here;
    } else if (here > 0) {
      if (count < kMaxPieces) pieces[count] = {static_cast<std::uint8_t*>(p->payload) + skip, here};
      ++count;
      read += here;
    }
    skip = 0;
  }
  const std::size_t size = read + unread.size;

  // It did take them when they were written, if another driver has the guest's NIC now.
  const bool fetches = unread && !sink_.takes_unread();
  std::unique_ptr<std::uint8_t[]> gathered;
  if (count > kMaxPieces || fetches) {
    gathered = std::make_unique_for_overwrite<std::uint8_t[]>(fetches ? size : read);
    pbuf_copy_partial(packet, gathered.get(), static_cast<u16_t>(read),
                      static_cast<u16_t>(ip_header + header));
    iovec rest{gathered.get() + read, unread.size};
    // As if it were lost on its way.
    if (fetches && !unread.copy_to({&rest, 1})) return true;
    if (fetches) unread = {};
    pieces[0] = {gathered.get(), size - unread.size};
    count = 1;
  }

  OutSegment segment{.source = source,
                     .destination = destination,
                     .header = {tcp, header},
                     .payload = {pieces, count},
                     .payload_size = size,
                     .unread = unread,
                     .unrepeatable = endpoint == nullptr};
  if (endpoint && endpoint->guest_mss_ != 0 && size > endpoint->guest_mss_) {
    segment.segment_size = std::max(endpoint->guest_mss_, wire::kLeastTcpSegment);
  }
  std::unique_ptr<OutFrame> frame;
  if (endpoint && (size > kCopyPayload || unread)) {
    frame = std::make_unique<OutFrame>(OutFrame{packet, endpoint->shared_, std::move(gathered)});
    segment.release = Callbacks::release_frame;
    segment.owner = frame.get();
    pbuf_ref(packet);
    if (frame->shared) frame->shared->add_frame();
  }
  if (sink_.send_segment(segment)) {
    static_cast<void>(frame.release());
    ++counters_.segments_out;
    return true;
  }
  if (frame) {
    pbuf_free(packet);
    if (frame->shared) frame->shared->remove_frame();
  }
  ++counters_.blocked;
  if (endpoint && !endpoint->is_blocked_) queue_blocked(*endpoint);
  return false;
}

void TcpEngine::queue_blocked(TcpEndpoint& endpoint) {
  endpoint.is_blocked_ = true;
  endpoint.blocked_place_ = static_cast<std::uint32_t>(blocked_.size());
  blocked_.push_back(&endpoint);
}

void TcpEngine::retry_blocked() {
  std::vector<TcpEndpoint*> waiting;
  waiting.swap(blocked_);
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    TcpEndpoint* endpoint = waiting[i];
    if (!endpoint) continue;
    endpoint->is_blocked_ = false;
    if (endpoint->pcb_) {
      endpoint->output();
      endpoint->mark_changed();
    }
    if (endpoint->is_blocked_) {
      for (TcpEndpoint* rest : std::span(waiting).subspan(i + 1)) {
        if (rest) queue_blocked(*rest);
      }
      return;
    }
  }
}

void TcpEngine::forget(TcpEndpoint& endpoint) {
  if (endpoint.in_timer_set_) {
    TcpEndpoint* last = timer_set_.back();
    last->timer_place_ = endpoint.timer_place_;
    timer_set_[endpoint.timer_place_] = last;
    timer_set_.pop_back();
  }
  if (endpoint.is_blocked_) blocked_[endpoint.blocked_place_] = nullptr;
}

void TcpEngine::after_call(TcpEndpoint& endpoint) {
  if (!endpoint.pcb_) return;
  if (!endpoint.active_ && endpoint.time_wait_ && !endpoint.in_time_wait_) {
    endpoint.in_time_wait_ = true;
    endpoint.mark_changed();
  }
  endpoint.release_window();
  if (!endpoint.in_timer_set_ && endpoint.needs_timer()) {
    endpoint.in_timer_set_ = true;
    endpoint.timer_place_ = static_cast<std::uint32_t>(timer_set_.size());
    timer_set_.push_back(&endpoint);
  }
}

bool TcpEngine::needs_tick() const {
  return !timer_set_.empty();
}

void TcpEngine::tick(bool guest_silent) {
  silent_ticks_ = guest_silent ? silent_ticks_ + 1 : 0;
  if (timer_set_.empty()) return;
  for (TcpEndpoint* endpoint : timer_set_) endpoint->before_tick(guest_silent);

  std::vector<TcpEndpoint*> ticking;
  ticking.swap(timer_set_);
  for (TcpEndpoint* endpoint : ticking) {
    endpoint->in_timer_set_ = false;
    for (auto [from, list] : {std::pair(&endpoint->active_, &tcp_active_pcbs),
                              std::pair(&endpoint->time_wait_, &tcp_tw_pcbs)}) {
      if (tcp_pcb* pcb = std::exchange(*from, nullptr)) {
        pcb->next = *list;
        *list = pcb;
      }
    }
  }
  tcp_fasttmr();
  slow_tick_ = !slow_tick_;
  if (slow_tick_) tcp_slowtmr();
  auto split = [](tcp_pcb*& list, tcp_pcb* TcpEndpoint::* head) {
    for (tcp_pcb* pcb = std::exchange(list, nullptr); pcb != nullptr;) {
      tcp_pcb* next = std::exchange(pcb->next, nullptr);
      static_cast<TcpEndpoint*>(pcb->callback_arg)->*head = pcb;
      pcb = next;
    }
  };
  split(tcp_active_pcbs, &TcpEndpoint::active_);
  split(tcp_tw_pcbs, &TcpEndpoint::time_wait_);

  for (TcpEndpoint* endpoint : ticking) {
    endpoint->after_tick();
    after_call(*endpoint);
  }
}

TcpEngineCounters TcpEngine::counters() const {
  TcpEngineCounters counters = counters_;
  // lwIP counts fast retransmissions; those of a time-out are counted by the endpoints.
  counters.retransmissions += lwip_stats.mib2.tcpretranssegs;
  counters.memory_bytes = memory_used_;
  counters.endpoints = endpoints_;
  return counters;
}

void TcpEngine::set_current_addresses(const IpAddress& guest, const IpAddress& remote) {
  ip_data.current_netif = netif_.get();
  ip_data.current_input_netif = netif_.get();
  ip_data.current_iphdr_src = to_lwip(guest);
  ip_data.current_iphdr_dest = to_lwip(remote);
}

void TcpEngine::input(TcpEndpoint& endpoint, pbuf* packet) {
  ++counters_.segments_in;
  ip_data.current_netif = netif_.get();
  ip_data.current_input_netif = netif_.get();
  // lwIP compares with the PCB's own, so they are copied from there.
  ip_data.current_iphdr_src = endpoint.pcb_->remote_ip;
  ip_data.current_iphdr_dest = endpoint.pcb_->local_ip;
  {
    Entered entered(endpoint);
    tcp_input(packet, netif_.get());
  }
  after_call(endpoint);
}

void TcpEngine::keep_lent() {
  keep_lent_pbufs();
}

void TcpEngine::shutdown(TcpEndpoint& endpoint) {
  {
    Entered entered(endpoint);
    tcp_shutdown(endpoint.pcb_, 0, 1);
  }
  after_call(endpoint);
}

void TcpEngine::abort(TcpEndpoint& endpoint) {
  Entered entered(endpoint);
  tcp_abort(endpoint.pcb_);
}

}  // namespace sluice::stack

extern "C" u32_t sluice_tcp_isn(const ip_addr_t* local_address, u16_t local_port,
                                const ip_addr_t* remote_address, u16_t remote_port) {
  using namespace sluice;
  // RFC 6528: a keyed hash of the addresses plus a clock of 4 us.
  std::uint8_t tuple[16 + 16 + 4] = {};
  IpAddress local = stack::from_lwip(*local_address), remote = stack::from_lwip(*remote_address);
  std::memcpy(tuple, local.bytes().data(), local.bytes().size());
  std::memcpy(tuple + 16, remote.bytes().data(), remote.bytes().size());
  store_be16(tuple + 32, local_port);
  store_be16(tuple + 34, remote_port);
  auto clock = std::chrono::duration_cast<std::chrono::microseconds>(
                   std::chrono::steady_clock::now().time_since_epoch())
                   .count() /
               4;
  HashKey zero;
  return static_cast<u32_t>(siphash(stack::isn_key ? *stack::isn_key : zero, tuple)) +
         static_cast<u32_t>(clock);
}
