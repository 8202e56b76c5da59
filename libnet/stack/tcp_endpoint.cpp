#include <algorithm>
#include <cstring>
#include <memory>

#include "stack/guest_pbuf.h"
#include "stack/lwip_headers.h"
#include "stack/tcp_callbacks.h"
#include "stack/tcp_engine.h"
#include "stack/tcp_shared.h"
#include "wire/tcp.h"

namespace sluice::stack {

namespace {

/// Queued pbufs of one connection beyond which it takes no more data: bounds what a guest with a
/// window of a few bytes costs (a pbuf and a segment are about 120 bytes).
constexpr u16_t kMaxQueuedPbufs = 2048;
/// What is queued at least for a guest that takes nothing, if the host sends it.
constexpr std::size_t kLeastSendQueue = 256 << 10;
/// What is queued at most of what was read, for which caches are the limit.
constexpr std::size_t kMostSendQueue = 1 << 20;
/// lwIP makes no segment larger than half of the largest window that it saw. A guest that only ever
/// shows a tiny window gets segments of this size through the persist timer.
constexpr tcpwnd_size_t kLeastWindowSeen = 1024;
/// Pieces smaller than this are copied out of the attachment's buffers when they have to wait.
constexpr std::size_t kCopyWhenWaiting = 4096;
/// Ticks (250 ms) without any segment from the guest after which a connection that we closed is
/// given up. A guest that only reads slowly answers window probes and so keeps it.
constexpr std::uint16_t kLingerTicks = 120;
/// Retransmissions that a silent guest may cost: a paused VM must find its connections again, so
/// lwIP's limit (12) is never reached while nothing at all comes from it.
constexpr u8_t kSilentRetransmissions = 6;
/// Ticks for which a guest that says nothing at all is taken to be busy or paused, so that nothing
/// is sent again: 2 s. lwIP's own time-out is down to 1.5 s on a fast link.
constexpr std::uint32_t kPatienceTicks = 8;

// Idle connections are many: docs/performance.md.
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_DEBUG) && __SIZEOF_POINTER__ == 8
static_assert(sizeof(tcp_pcb) <= 256 && sizeof(TcpEndpoint) <= 120);
#endif

}  // namespace

void TcpEngine::Callbacks::happened(TcpEndpoint& endpoint, tcp_pcb* pcb, lwip_event event,
                                    pbuf* chain, u16_t bytes, err_t error) {
  switch (event) {
    case LWIP_EVENT_ACCEPT:
      if (error == ERR_OK) endpoint.on_established();
      break;
    case LWIP_EVENT_CONNECTED:
      endpoint.on_established();
      endpoint.narrow_window();
      break;
    case LWIP_EVENT_RECV:
      received(endpoint, pcb, chain);
      break;
    case LWIP_EVENT_SENT:
      endpoint.acknowledge(bytes);
      break;
    case LWIP_EVENT_ERR:
      gone(endpoint, error);
      break;
    case LWIP_EVENT_POLL:
      break;
  }
}

void TcpEngine::Callbacks::received(TcpEndpoint& endpoint, tcp_pcb* pcb, pbuf* chain) {
  endpoint.on_received(chain);
  // One ACK for a batch, sent by finish_batch().
  if (pcb->flags & TF_ACK_NOW) {
    tcp_clear_flags(pcb, TF_ACK_NOW);
    tcp_set_flags(pcb, TF_ACK_DELAY);
  }
}

void TcpEngine::Callbacks::gone(TcpEndpoint& endpoint, err_t error) {
  // The call that was to make it sees for itself that there is none.
  if (!endpoint.pcb_) return;
  if (error == ERR_CLSD) {
    endpoint.on_gone(CloseReason::finished);
  } else if (error == ERR_RST) {
    endpoint.on_gone(CloseReason::reset);
  } else {
    endpoint.on_gone(endpoint.aborting_ ? CloseReason::aborted : CloseReason::timed_out);
  }
}

TcpEndpoint::TcpEndpoint(TcpEngine& engine, EndpointOwner& owner)
    : engine_(engine), owner_(&owner) {
  ++engine_.endpoints_;
}

TcpEndpoint::~TcpEndpoint() {
  owner_ = nullptr;
  if (pcb_) abort();
  engine_.forget(*this);
  for (std::size_t i = rx_head_; i < rx_.size(); ++i) pbuf_free(rx_[i]);
  engine_.memory_used_ -= window_ + send_queued_;
  --engine_.endpoints_;
  if (shared_) shared_->orphan();
}

void TcpEndpoint::adopt_pcb() {
  tcp_arg(pcb_, this);
  tcp_nagle_disable(pcb_);
  // While we connect, lwIP insists on its own first window until the guest has agreed to scaling.
  if (pcb_->state != SYN_SENT) narrow_window();
}

void TcpEndpoint::narrow_window() {
  // lwIP gave the PCB its whole window. The SYN that went out could say 65535 at most.
  pcb_->rcv_wnd = pcb_->rcv_ann_wnd = static_cast<tcpwnd_size_t>(window_);
  pcb_->rcv_ann_right_edge = pcb_->rcv_nxt + window_;
}

void TcpEndpoint::on_established() {
  established_ = true;
  guest_mss_ = pcb_ ? pcb_->mss : 0;
  mark_changed();
}

void TcpEndpoint::on_gone(CloseReason reason) {
  pcb_ = nullptr;
  closed_ = reason;
  if (shared_) let_go_ += static_cast<std::uint32_t>(shared_->acknowledge_all());
  mark_changed();
}

void TcpEndpoint::on_received(pbuf* chain) {
  if (chain) {
    rx_.push_back(chain);
    received_ += chain->tot_len;
  } else {
    fin_received_ = true;
  }
  mark_changed();
}

void TcpEndpoint::acknowledge(std::size_t bytes) {
  if (shared_) {
    std::size_t unread = shared_->acknowledge(bytes);
    let_go_ += static_cast<std::uint32_t>(unread);
    bytes -= unread;
  }
  std::uint32_t freed = static_cast<std::uint32_t>(std::min<std::size_t>(bytes, send_queued_));
  send_queued_ -= freed;
  engine_.memory_used_ -= freed;
  mark_changed();
}

void TcpEndpoint::input(const InSegment& segment) {
  if (!pcb_) return;
  quiet_ticks_ = 0;
  Bytes header = segment.header;
  std::uint8_t flags = header[13];
  iovec head{header.data(), header.size()};
  // Options count in the one SYN that lwIP has not answered yet. In a repeated SYN a window scale
  // that the first one did not have would reach an assert.
  if ((flags & TCP_SYN) == 0 || pcb_->state != SYN_SENT) {
    header[12] = 5 << 4;
    head.iov_len = TCP_HLEN;
  }
  std::size_t left = acceptable(header, segment.payload_size);
  pbuf* packet;
  std::size_t first = 0;
  const bool adjoining = left > 0 && head.iov_len == header.size() &&
                         segment.payload[0].iov_base == header.data() + header.size();
  if (adjoining) {
    std::size_t here = std::min(left, segment.payload[0].iov_len);
    head.iov_len += here;
    left -= here;
    packet = make_guest_pbuf(head, segment.buffers[0]);
    first = 1;
  } else {
    packet = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(head.iov_len), PBUF_RAM);
    if (packet) std::memcpy(packet->payload, head.iov_base, head.iov_len);
  }
  for (std::size_t i = first; packet && left > 0; ++i) {
    iovec part = segment.payload[i];
    part.iov_len = std::min(left, part.iov_len);
    left -= part.iov_len;
    pbuf* piece = make_guest_pbuf(part, segment.buffers[i]);
    if (!piece) {
      pbuf_free(packet);
      packet = nullptr;
      break;
    }
    pbuf_cat(packet, piece);
  }
  // Without memory the segment is as if lost; the guest sends it again.
  if (packet) engine_.input(*this, packet);
  if (pcb_ && established_ && pcb_->snd_lbb == pcb_->lastack && pcb_->mss == guest_mss_) {
    // Before the first write: segments as large as a multiple of the guest's, cut at the edge, and
    // a congestion window that never binds on a link without loss.
    std::uint32_t unit = std::max<std::uint32_t>(guest_mss_, wire::kLeastTcpSegment);
    pcb_->mss = static_cast<u16_t>(std::max<std::uint32_t>(65400 / unit, 1) * unit);
    pcb_->cwnd = TCP_SND_BUF;
  }
}

std::size_t TcpEndpoint::acceptable(Bytes header, std::size_t size) {
  if (pcb_->state == SYN_SENT) return size;
  // lwIP queues segments out of order as long as they come, and finds them longer than its window
  // in an assert once they are in order. So it gets nothing from beyond the window or the end.
  std::uint8_t& flags = header[13];
  std::uint32_t sequence = load_be32(header.data() + 4);
  auto room = static_cast<std::int32_t>(pcb_->rcv_nxt + pcb_->rcv_wnd - sequence);
  if (room <= 0) return size;
  if (size >= static_cast<std::uint32_t>(room)) flags &= static_cast<std::uint8_t>(~TCP_FIN);
  size = std::min<std::size_t>(size, static_cast<std::uint32_t>(room));
  auto end = static_cast<std::uint32_t>(sequence + size);
  if ((flags & TCP_FIN) != 0 && !fin_at_) fin_at_ = end;
  if (!fin_at_ || end == *fin_at_) return size;
  flags &= static_cast<std::uint8_t>(~TCP_FIN);
  auto before = static_cast<std::int32_t>(*fin_at_ - sequence);
  return before <= 0 ? 0 : std::min<std::size_t>(size, static_cast<std::uint32_t>(before));
}

void TcpEndpoint::finish_batch() {
  if (!pcb_) return;
  if (pcb_->flags & TF_ACK_DELAY) tcp_ack_now(pcb_);
  output();
  engine_.after_call(*this);
}

void TcpEndpoint::output() {
  if (pcb_->state == TIME_WAIT) {
    if (pcb_->flags & TF_ACK_NOW) tcp_output(pcb_);
    return;
  }
  tcp_output(pcb_);
  // lwIP sends no part of a segment that exceeds the window, and with nothing in flight would wait
  // for its persist timer (1.5 s).
  if (!is_blocked_ && split_head()) tcp_output(pcb_);
}

bool TcpEndpoint::split_head() {
  tcp_seg* head = pcb_->unsent;
  if (!head || pcb_->unacked || pcb_->snd_wnd == 0 || head->len <= pcb_->snd_wnd) return false;
  if (!fetch_head(head->len)) return false;
  if (tcp_split_unsent_seg(pcb_, static_cast<u16_t>(pcb_->snd_wnd)) != ERR_OK) return false;
  // 2.2.1 gives the FIN to the second part and leaves it on the first: the guest would take what
  // follows for data after the end.
  head = pcb_->unsent;
  if (head->next && (TCPH_FLAGS(head->next->tcphdr) & TCP_FIN) != 0) {
    TCPH_FLAGS_SET(head->tcphdr, TCPH_FLAGS(head->tcphdr) & ~TCP_FIN);
  }
  return true;
}

std::size_t TcpEndpoint::peek(std::span<iovec> out, std::size_t skip) const {
  std::size_t count = 0;
  for (std::size_t i = rx_head_; i < rx_.size(); ++i) {
    if (skip >= rx_[i]->tot_len) {
      skip -= rx_[i]->tot_len;
      continue;
    }
    for (pbuf* p = rx_[i]; p != nullptr; p = p->next) {
      std::size_t passed = std::min<std::size_t>(skip, p->len);
      skip -= passed;
      if (passed == p->len) continue;
      if (count == out.size()) return count;
      out[count++] = {static_cast<std::uint8_t*>(p->payload) + passed, p->len - passed};
    }
  }
  return count;
}

void TcpEndpoint::consume(std::size_t bytes) {
  auto left = static_cast<std::uint32_t>(std::min<std::size_t>(bytes, received_));
  std::uint32_t taken = left;
  received_ -= left;
  while (left > 0) {
    pbuf* chain = rx_[rx_head_];
    if (chain->tot_len > left) {
      rx_[rx_head_] = pbuf_free_header(chain, static_cast<u16_t>(left));
      break;
    }
    left -= chain->tot_len;
    pbuf_free(chain);
    ++rx_head_;
  }
  if (rx_head_ == rx_.size()) {
    std::vector<pbuf*>().swap(rx_);
    rx_head_ = 0;
  }
  open_window(taken);
}

void TcpEndpoint::open_window(std::uint32_t bytes) {
  if (!pcb_ || fin_received_) return;
  since_growth_ = std::min(since_growth_ + bytes, window_);
  if (since_growth_ == window_ && window_ < TCP_WND &&
      engine_.memory_used_ + window_ <= engine_.config_.memory_budget) {
    std::uint32_t growth = std::min<std::uint32_t>(window_, TCP_WND - window_);
    engine_.memory_used_ += growth;
    window_ += growth;
    bytes += growth;
    since_growth_ = 0;
  }
  pcb_->rcv_wnd = std::min<tcpwnd_size_t>(pcb_->rcv_wnd + bytes, TCP_WND);
  // RFC 9293 3.8.6.2.2: no update for less than a segment or half of the window. lwIP's own rule
  // counts in its (large) segments, which would keep a small window shut.
  std::uint32_t edge = pcb_->rcv_nxt + pcb_->rcv_wnd;
  std::uint32_t gain = edge - pcb_->rcv_ann_right_edge;
  std::uint32_t step = std::min<std::uint32_t>(window_ / 2, 256 << 10);
  if (TCP_SEQ_GT(edge, pcb_->rcv_ann_right_edge) &&
      (gain >= step || (pcb_->rcv_ann_wnd < 2 * guest_mss_ && gain >= guest_mss_))) {
    pcb_->rcv_ann_wnd = pcb_->rcv_wnd;
    tcp_ack_now(pcb_);
  }
}

void TcpEndpoint::compact_received() {
  for (std::size_t i = rx_head_; i < rx_.size(); ++i) {
    pbuf* chain = rx_[i];
    if (pbuf_match_allocsrc(chain, PBUF_RAM) && chain->next == nullptr) continue;
    if (chain->tot_len / pbuf_clen(chain) >= kCopyWhenWaiting) continue;
    // Not pbuf_clone(): it asserts on the empty pbuf (a header's, removed) at which lwIP may have
    // ended a chain that it split at 64 KiB.
    if (pbuf* copy = pbuf_alloc(PBUF_RAW, chain->tot_len, PBUF_RAM)) {
      pbuf_copy_partial(chain, copy->payload, chain->tot_len, 0);
      pbuf_free(chain);
      rx_[i] = copy;
    }
  }
}

void TcpEndpoint::merge_received(std::size_t most) {
  if (rx_.size() - rx_head_ <= most) return;
  // Of what a pbuf can describe.
  constexpr std::size_t kPiece = 32 << 10;
  std::vector<pbuf*> merged;
  std::size_t left = received_, at = rx_head_, within = 0;
  while (left > 0) {
    auto size = static_cast<u16_t>(std::min(left, kPiece));
    pbuf* piece = pbuf_alloc(PBUF_RAW, size, PBUF_RAM);
    if (!piece) {
      for (pbuf* made : merged) pbuf_free(made);
      return;
    }
    merged.push_back(piece);
    auto* out = static_cast<std::uint8_t*>(piece->payload);
    for (u16_t filled = 0; filled < size;) {
      u16_t copied = pbuf_copy_partial(rx_[at], out + filled, static_cast<u16_t>(size - filled),
                                       static_cast<u16_t>(within));
      filled = static_cast<u16_t>(filled + copied);
      within += copied;
      if (within == rx_[at]->tot_len) ++at, within = 0;
    }
    left -= size;
  }
  for (std::size_t i = rx_head_; i < rx_.size(); ++i) pbuf_free(rx_[i]);
  rx_ = std::move(merged);
  rx_head_ = 0;
}

std::size_t TcpEndpoint::room(std::size_t most, std::size_t queued) const {
  if (!pcb_ || !established_ || send_shut_ || is_blocked_) return 0;
  if (pcb_->snd_queuelen >= kMaxQueuedPbufs) return 0;
  // What a hostile guest acknowledged early still lies in the port.
  if (shared_ && shared_->pieces() > kMaxQueuedPbufs) return 0;
  return queued < most ? std::min<std::size_t>(most - queued, pcb_->snd_buf) : 0;
}

std::size_t TcpEndpoint::useful_queue() const {
  return pcb_ ? std::max<std::size_t>(kLeastSendQueue, std::size_t{2} * pcb_->snd_wnd) : 0;
}

std::size_t TcpEndpoint::send_space() const {
  // Over budget every connection keeps a small queue, so that none starves.
  bool has_budget = engine_.memory_used_ < engine_.config_.memory_budget;
  std::size_t most = has_budget ? std::min(useful_queue(), kMostSendQueue) : kFirstWindow;
  return room(most, send_queued_);
}

std::size_t TcpEndpoint::unread() const {
  return shared_ ? shared_->unread() : 0;
}

std::size_t TcpEndpoint::unread_space() const {
  return room(useful_queue(), unread());
}

std::size_t TcpEndpoint::whole_segments(std::size_t bytes) const {
  if (!pcb_) return 0;
  // As tcp_write() has it.
  std::size_t segment = std::min<std::size_t>(pcb_->mss, widest_window() / 2);
  if (bytes >= segment) return bytes - bytes % segment;
  return send_queued_ + unread() < segment ? bytes : 0;
}

std::uint32_t TcpEndpoint::widest_window() const {
  return std::max(pcb_->snd_wnd_max, kLeastWindowSeen);
}

std::size_t TcpEndpoint::write(const BufferRef& buffer, ConstBytes data) {
  std::size_t written = 0;
  pcb_->snd_wnd_max = widest_window();
  while (written < data.size()) {
    // tcp_write takes 16-bit lengths.
    auto step = static_cast<u16_t>(std::min<std::size_t>(data.size() - written, 65535));
    u8_t flags = buffer ? 0 : TCP_WRITE_FLAG_COPY;
    if (tcp_write(pcb_, data.data() + written, step, flags) != ERR_OK) break;
    hold(buffer, step);
    written += step;
  }
  send_queued_ += static_cast<std::uint32_t>(written);
  engine_.memory_used_ += written;
  return written;
}

std::size_t TcpEndpoint::write_unread(UnreadSource& source, std::uint64_t position,
                                      std::size_t bytes) {
  std::size_t written = 0;
  pcb_->snd_wnd_max = widest_window();
  const UnreadSpace& space = engine_.unread_space_;
  while (written < bytes) {
    std::uint64_t at = position + written;
    std::size_t step = std::min({bytes - written, std::size_t{65535}, space.contiguous(at)});
    if (tcp_write(pcb_, space.address_of(at), static_cast<u16_t>(step), 0) != ERR_OK) break;
    written += step;
  }
  if (written > 0) {
    if (!shared_) shared_ = Shared::make(*this, send_queued_);
    shared_->push_unread(source, position, written, send_queued_);
  }
  return written;
}

bool TcpEndpoint::fetch_head(std::size_t most) {
  if (pcb_->unacked) return false;
  for (pbuf* before = pcb_->unsent->p; most > 0 && before->next; before = before->next) {
    pbuf* unread = before->next;
    if (!engine_.unread_space_.contains(unread->payload)) {
      most -= std::min<std::size_t>(most, unread->len);
      continue;
    }
    auto size = static_cast<u16_t>(std::min<std::size_t>(most, unread->len));
    pbuf* copy = pbuf_alloc(PBUF_RAW, size, PBUF_RAM);
    if (!copy) return false;
    iovec to{copy->payload, size};
    if (!shared_->copy(shared_->unread_from(), {&to, 1})) {
      pbuf_free(copy);
      return false;
    }
    before->next = copy;
    copy->tot_len = unread->tot_len;
    if (size == unread->len) {
      copy->next = std::exchange(unread->next, nullptr);
      pbuf_free(unread);
    } else {
      copy->next = unread;
      unread->payload = static_cast<std::uint8_t*>(unread->payload) + size;
      unread->len = static_cast<u16_t>(unread->len - size);
      unread->tot_len = static_cast<u16_t>(unread->tot_len - size);
      ++pcb_->snd_queuelen;
    }
    most -= size;
    shared_->now_read(size);
    let_go_ += size;
    send_queued_ += size;
    engine_.memory_used_ += size;
  }
  return true;
}

void TcpEndpoint::hold(const BufferRef& buffer, std::size_t bytes) {
  if (!shared_ && buffer) shared_ = Shared::make(*this, send_queued_);
  if (shared_) shared_->push(buffer, bytes);
}

bool TcpEndpoint::all_acknowledged() const {
  return !pcb_ || (pcb_->unsent == nullptr && pcb_->unacked == nullptr);
}

void TcpEndpoint::shutdown_send() {
  if (send_shut_) return;
  send_shut_ = true;
  if (pcb_) engine_.shutdown(*this);
}

void TcpEndpoint::abort() {
  if (!pcb_) return;
  aborting_ = true;
  engine_.abort(*this);
  // In TIME_WAIT lwIP frees it without a callback.
  if (pcb_) on_gone(CloseReason::aborted);
}

void TcpEndpoint::discard_time_wait() {
  if (pcb_ && in_time_wait_) abort();
}

bool TcpEndpoint::needs_timer() const {
  if (!pcb_) return false;
  if (pcb_->unsent || pcb_->unacked || pcb_->ooseq || pcb_->persist_backoff > 0) return true;
  if (pcb_->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR)) return true;
  // Waiting for a guest that may take as long as it likes needs no timer.
  return pcb_->state != ESTABLISHED && pcb_->state != CLOSE_WAIT && pcb_->state != FIN_WAIT_2;
}

void TcpEndpoint::before_tick(bool guest_silent) {
  // It may have ended since the last tick and still be owned, for what was received.
  if (!pcb_) return;
  retransmissions_ = pcb_->nrtx;
  if (pcb_->persist_backoff > 0) {
    // So that lwIP's persist timer finds nothing to split, and a byte to send.
    split_head();
    if (pcb_->unsent && !fetch_head(1)) pcb_->persist_cnt = 0;
  }
  if (guest_silent) {
    if (engine_.silent_ticks_ < kPatienceTicks && pcb_->rtime > 0) {
      pcb_->rtime = std::min<s16_t>(pcb_->rtime, std::max<s16_t>(pcb_->rto - 2, 0));
    }
    pcb_->nrtx = std::min(pcb_->nrtx, kSilentRetransmissions);
    pcb_->persist_probe = std::min(pcb_->persist_probe, kSilentRetransmissions);
  }
  // Both sides have closed and the guest has not taken all. lwIP drops such a connection in
  // LAST_ACK after 2 MSL, delivered or not, and in CLOSING after half an hour of retransmissions.
  // The limit is ours: as long as the guest acknowledges something, it has time.
  if (pcb_->state == LAST_ACK || pcb_->state == CLOSING) {
    pcb_->tmr = tcp_ticks;
    if (!guest_silent && ++quiet_ticks_ >= kLingerTicks) engine_.abort(*this);
  }
}

void TcpEndpoint::after_tick() {
  if (!pcb_) return;
  if (!active_ && !time_wait_) {
    // The end of TIME_WAIT has no callback.
    on_gone(CloseReason::finished);
    return;
  }
  if (pcb_->nrtx > retransmissions_) {
    engine_.counters_.retransmissions += pcb_->nrtx - retransmissions_;
  }
  if (established_ && pcb_->cwnd < TCP_SND_BUF) pcb_->cwnd = TCP_SND_BUF;
}

void TcpEndpoint::release_window() {
  // After the guest's FIN nothing more can come.
  if (!fin_received_ || received_ > 0 || window_ == 0) return;
  engine_.memory_used_ -= window_;
  window_ = 0;
}

}  // namespace sluice::stack

extern "C" err_t sluice_tcp_event(void* argument, tcp_pcb* pcb, lwip_event event, pbuf* chain,
                                  u16_t bytes, err_t error) {
  using namespace sluice::stack;
  if (argument) {
    auto& endpoint = *static_cast<TcpEndpoint*>(argument);
    TcpEngine::Callbacks::happened(endpoint, pcb, event, chain, bytes, error);
  }
  return ERR_OK;
}
