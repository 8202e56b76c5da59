#include "hostd/guest/channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <list>
#include <map>
#include <optional>
#include <unordered_map>

#include "agent/rpc/call.h"
#include "agent/rpc/frame_stream.h"
#include "agent/rpc/listener.h"
#include "agent/rpc/message.h"
#include "agent/rpc/status.h"
#include "base/log.h"
#include "hostd/guest/clock_keeper.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/container.pb.h"
#include "ttrpc.pb.h"

namespace sluice::hostd {

namespace {

using agent::client::AgentEndpoint;
using agent::rpc::CallError;
using agent::rpc::Code;
using agent::rpc::Frame;
using agent::rpc::FrameHeader;
using agent::rpc::FrameStream;
using agent::rpc::FrameType;

constexpr std::string_view kAgentService = "sluice.agent.v1.Agent";
constexpr std::string_view kContainerService = "sluice.agent.v1.Container";
constexpr Duration kFirstRetry = std::chrono::milliseconds(20);
constexpr Duration kLastRetry = std::chrono::seconds(1);
constexpr std::size_t kMaxClients = 64;
/// Then the connection is made anew, as numbers are not used again.
constexpr std::uint32_t kLastStream = 0xFFFFFF00;
/// A client that leaves as much unread is cut off: what it grants and doesn't read would fill the
/// memory.
constexpr std::size_t kMaxUnread = std::size_t{16} << 20;

bool is(const Frame& frame, FrameType type) {
  return frame.header.type == static_cast<std::uint8_t>(type);
}

/// A request of hostd's own.
std::vector<std::uint8_t> request_of(std::string_view service_name, std::string_view method_name,
                                     ConstBytes message) {
  std::string service(service_name);
  std::string method(method_name);
  agent::rpc::BytesField payload(message);
  sluice_ttrpc_Request request{};
  request.service = agent::rpc::field(service);
  request.method = agent::rpc::field(method);
  request.payload = payload.array();
  return agent::rpc::encode(request);
}

/// Running containers by address. The agent is the guest's: what it says is taken where it is about
/// addresses behind the guest, and its names where they can't be taken for anything else.
std::map<IpAddress, std::string> names_of(const sluice_agent_v1_ListContainersResponse& list,
                                          const std::vector<IpPrefix>& routed) {
  constexpr std::size_t kMostBytes = 128;
  constexpr std::size_t kMost = 65536;
  auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  std::map<IpAddress, std::string> names;
  for (pb_size_t i = 0; i < list.containers_count; ++i) {
    const auto& container = list.containers[i];
    std::string_view name = agent::rpc::text(container.name);
    bool fits = !name.empty() && name.size() <= kMostBytes && std::ranges::all_of(name, is_plain);
    for (pb_size_t j = 0; fits && j < container.addresses_count && names.size() < kMost; ++j) {
      std::string_view text = agent::rpc::text(container.addresses[j]);
      auto address = IpAddress::parse(text.substr(0, text.find('/')));
      if (!address) continue;
      bool is_behind =
          std::ranges::any_of(routed, [&](const IpPrefix& one) { return one.contains(*address); });
      if (is_behind) names.emplace(*address, name);
    }
  }
  return names;
}

/// The stream that a call of Agent.Cancel is about; nothing of any other call.
std::optional<std::uint32_t> cancelled_stream(ConstBytes payload) {
  // Beyond it there is more in the request than such a call has.
  constexpr std::size_t kMostBytes = 256;
  if (payload.size() > kMostBytes) return std::nullopt;
  auto request = agent::rpc::Message<sluice_ttrpc_Request>::parse(payload);
  if (!request || agent::rpc::text((*request)->service) != kAgentService ||
      agent::rpc::text((*request)->method) != "Cancel") {
    return std::nullopt;
  }
  auto cancel = agent::rpc::Message<sluice_agent_v1_CancelRequest>::parse(
      agent::rpc::bytes_of((*request)->payload));
  if (!cancel) return std::nullopt;
  return (*cancel)->stream_id;
}

}  // namespace

/// What lives on the channel's thread.
class AgentChannel::Hub {
 public:
  Hub(UvLoop& loop, AgentEndpoint endpoint, std::vector<IpPrefix> routed, bool keeps_clock,
      ContainerNames& containers)
      : loop_(loop),
        endpoint_(std::move(endpoint)),
        routed_(std::move(routed)),
        containers_(containers),
        keeps_clock_(keeps_clock),
        retry_(loop.make_timer([this] { connect(); })),
        clock_(loop, [this](std::string_view method, ConstBytes message, const auto& on_answer) {
          call(kAgentService, method, message, [on_answer](const Frame& frame) {
            auto response = agent::rpc::Message<sluice_ttrpc_Response>::parse(frame.payload);
            bool is_ok = response && (!(*response)->has_status || (*response)->status.code == 0);
            on_answer(is_ok ? std::optional(agent::rpc::bytes_of((*response)->payload))
                            : std::nullopt);
          });
        }) {}

  Status listen(const std::string& socket) {
    auto listener = agent::rpc::Listener::unix_socket(
        loop_, socket, [this](UniqueFd fd) { add_client(std::move(fd)); });
    if (!listener) return listener.status();
    listener_ = std::move(*listener);
    return Status::ok();
  }

  void set_guest(agent::client::GuestDialer guest) { guest_ = std::move(guest); }
  void connect();
  State state() const;

 private:
  struct Client {
    std::unique_ptr<FrameStream> stream;
    std::unordered_map<std::uint32_t, std::uint32_t> calls;  ///< Its streams to the agent's.
    std::uint32_t last = 0;
  };
  using ClientPlace = std::list<Client>::iterator;

  /// Whose a stream to the agent is.
  using OnFrame = std::function<void(const Frame&)>;
  struct Route {
    Client* client = nullptr;  ///< Null: has gone, or hostd itself.
    std::uint32_t stream = 0;
    OnFrame on_frame = nullptr;  ///< Of hostd itself.
  };

  void add_client(UniqueFd fd);
  void remove_client(ClientPlace client);
  void on_client_frame(ClientPlace client, const Frame& frame);
  void begin_call(Client& client, const Frame& frame);
  void refuse(Client& client, std::uint32_t stream, const CallError& error);
  void cancel(std::uint32_t agent_stream);
  void call(std::string_view service, std::string_view method, ConstBytes message,
            OnFrame on_frame);
  std::uint32_t send_request(ConstBytes payload, std::uint8_t flags, Route route);
  void pause_clients_if_busy();

  void on_agent_frame(const Frame& frame);
  void on_pong(const Frame& frame);
  void ask_for_containers();
  void on_containers(const Frame& frame);
  void on_event(const Frame& frame);
  std::string why_gone() const;
  void on_agent_gone(const std::string& why);
  void retry_later(const std::string& why);

  UvLoop& loop_;
  AgentEndpoint endpoint_;
  agent::client::GuestDialer guest_;
  std::vector<IpPrefix> routed_;
  ContainerNames& containers_;
  bool keeps_clock_;
  std::unique_ptr<Timer> retry_;
  Duration delay_ = kFirstRetry;
  std::unique_ptr<agent::rpc::Listener> listener_;
  std::list<Client> clients_;
  std::unordered_map<std::uint32_t, Route> routes_;
  std::unique_ptr<FrameStream> agent_;
  std::uint32_t next_stream_ = 1;
  ClockKeeper clock_;
  bool is_listing_ = false;        ///< A call of Container.List is under way.
  bool listing_is_stale_ = false;  ///< Something has changed since it began.
  bool answered_ = false;
  bool paused_ = false;
  State state_;
};

void AgentChannel::Hub::connect() {
  auto link = agent::client::dial(loop_, endpoint_, guest_);
  if (!link) return retry_later(link.status().message());
  answered_ = false;
  next_stream_ = 1;
  is_listing_ = false;
  agent_ = std::make_unique<FrameStream>(
      loop_, std::move(*link),
      FrameStream::Events{.on_frame = [this](const Frame& frame) { on_agent_frame(frame); },
                          .on_room =
                              [this] {
                                paused_ = false;
                                for (Client& client : clients_) client.stream->set_reading(true);
                              },
                          .on_end = [this] { on_agent_gone(why_gone()); }});
  call(kAgentService, "Ping", agent::rpc::encode(sluice_agent_v1_PingRequest{}),
       [this](const Frame& frame) { on_pong(frame); });
}

AgentChannel::State AgentChannel::Hub::state() const {
  State state = state_;
  state.connected = answered_;
  state.endpoint = endpoint_.to_string();
  state.clients = clients_.size();
  state.clock_offset_ns = clock_.offset_ns();
  return state;
}

void AgentChannel::Hub::add_client(UniqueFd fd) {
  if (clients_.size() >= kMaxClients) return;
  ClientPlace client = clients_.emplace(clients_.end());
  client->stream = std::make_unique<FrameStream>(
      loop_, std::make_unique<agent::rpc::FdLink>(loop_, std::move(fd)),
      FrameStream::Events{
          .on_frame = [this, client](const Frame& frame) { on_client_frame(client, frame); },
          .on_room = nullptr,
          .on_end = [this, client] { remove_client(client); }});
  client->stream->set_reading(!paused_);
}

void AgentChannel::Hub::remove_client(ClientPlace client) {
  for (const auto& [stream, agent_stream] : client->calls) {
    routes_[agent_stream] = Route{};
    cancel(agent_stream);
  }
  clients_.erase(client);
}

void AgentChannel::Hub::on_client_frame(ClientPlace client, const Frame& frame) {
  const FrameHeader& header = frame.header;
  if (frame.oversized) {
    return refuse(*client, header.stream,
                  {.code = Code::resource_exhausted,
                   .message = fmt::format("a message of {} bytes; {} are the most", header.length,
                                          agent::rpc::kMaxPayloadBytes)});
  }
  if (is(frame, FrameType::request)) {
    begin_call(*client, frame);
  } else if (is(frame, FrameType::data)) {
    auto call = client->calls.find(header.stream);
    if (call != client->calls.end()) {
      agent_->send({.stream = call->second, .type = header.type, .flags = header.flags},
                   frame.payload);
    } else if (header.stream > client->last) {
      refuse(*client, header.stream,
             {.code = Code::invalid_argument, .message = "there is no such stream"});
    }
  }
  pause_clients_if_busy();
}

void AgentChannel::Hub::begin_call(Client& client, const Frame& frame) {
  std::uint32_t stream = frame.header.stream;
  if (stream % 2 == 0 || stream <= client.last) {
    return refuse(client, stream,
                  {.code = Code::invalid_argument,
                   .message = "a client's streams have odd numbers that grow"});
  }
  client.last = stream;
  if (next_stream_ > kLastStream) on_agent_gone("the connection has no numbers for calls left");
  if (!answered_) {
    std::string why = agent_ ? "it has not answered yet" : state_.last_error;
    return refuse(client, stream,
                  {.code = Code::unavailable,
                   .message = fmt::format("the guest's agent can't be reached by {}: {}",
                                          endpoint_.to_string(), why)});
  }
  if (auto cancelled = cancelled_stream(frame.payload)) {
    auto call = client.calls.find(*cancelled);
    if (call != client.calls.end()) cancel(call->second);
    client.stream->send(
        {.stream = stream, .type = static_cast<std::uint8_t>(FrameType::response)},
        agent::rpc::response_of(agent::rpc::encode(sluice_agent_v1_CancelResponse{})));
    return;
  }
  client.calls[stream] =
      send_request(frame.payload, frame.header.flags, {.client = &client, .stream = stream});
}

void AgentChannel::Hub::refuse(Client& client, std::uint32_t stream, const CallError& error) {
  client.stream->send({.stream = stream, .type = static_cast<std::uint8_t>(FrameType::response)},
                      agent::rpc::response_of(error));
}

/// Ends a call at the agent. Its route stays until the agent has said so.
void AgentChannel::Hub::cancel(std::uint32_t agent_stream) {
  sluice_agent_v1_CancelRequest request{};
  request.stream_id = agent_stream;
  call(kAgentService, "Cancel", agent::rpc::encode(request), nullptr);
}

/// A call of hostd's own; `on_frame` has the response, and the messages of a stream before it.
void AgentChannel::Hub::call(std::string_view service, std::string_view method, ConstBytes message,
                             OnFrame on_frame) {
  send_request(request_of(service, method, message), 0, {.on_frame = std::move(on_frame)});
}

std::uint32_t AgentChannel::Hub::send_request(ConstBytes payload, std::uint8_t flags, Route route) {
  std::uint32_t stream = next_stream_;
  next_stream_ += 2;
  routes_[stream] = std::move(route);
  agent_->send(
      {.stream = stream, .type = static_cast<std::uint8_t>(FrameType::request), .flags = flags},
      payload);
  return stream;
}

void AgentChannel::Hub::pause_clients_if_busy() {
  if (paused_ || !agent_ || agent_->has_room()) return;
  paused_ = true;
  for (Client& client : clients_) client.stream->set_reading(false);
}

void AgentChannel::Hub::on_agent_frame(const Frame& frame) {
  auto found = routes_.find(frame.header.stream);
  if (found == routes_.end()) return;
  Route route = found->second;
  bool ends =
      is(frame, FrameType::response) || (frame.header.flags & agent::rpc::kRemoteClosed) != 0;
  if (ends) routes_.erase(found);
  if (route.on_frame) route.on_frame(frame);
  if (!route.client) return;
  if (ends) route.client->calls.erase(route.stream);
  route.client->stream->send(
      {.stream = route.stream, .type = frame.header.type, .flags = frame.header.flags},
      frame.payload);
  if (route.client->stream->queued() > kMaxUnread) {
    log(LogLevel::warn, "agent: a client left {} bytes unread and is cut off", kMaxUnread);
    auto place = std::find_if(clients_.begin(), clients_.end(),
                              [&](const Client& one) { return &one == route.client; });
    remove_client(place);
  }
}

void AgentChannel::Hub::on_pong(const Frame& frame) {
  auto response = agent::rpc::Message<sluice_ttrpc_Response>::parse(frame.payload);
  if (!response) return on_agent_gone("its answer can't be read");
  auto pong = agent::rpc::Message<sluice_agent_v1_PingResponse>::parse(
      agent::rpc::bytes_of((*response)->payload));
  if (!pong) return on_agent_gone("its answer can't be read");
  answered_ = true;
  delay_ = kFirstRetry;
  state_.version = agent::rpc::text((*pong)->version);
  state_.boot_id = agent::rpc::text((*pong)->boot_id);
  state_.last_error.clear();
  log(LogLevel::notice, "agent {} answers by {}", state_.version, endpoint_.to_string());
  if (keeps_clock_) clock_.begin();
  if (routed_.empty()) return;
  call(kAgentService, "Events", agent::rpc::encode(sluice_agent_v1_EventsRequest{}),
       [this](const Frame& frame) { on_event(frame); });
  ask_for_containers();
}

void AgentChannel::Hub::ask_for_containers() {
  listing_is_stale_ = is_listing_;
  if (listing_is_stale_) return;
  is_listing_ = true;
  call(kContainerService, "List", agent::rpc::encode(sluice_agent_v1_ListContainersRequest{}),
       [this](const Frame& frame) { on_containers(frame); });
}

void AgentChannel::Hub::on_containers(const Frame& frame) {
  is_listing_ = false;
  auto response = agent::rpc::Message<sluice_ttrpc_Response>::parse(frame.payload);
  if (!response) return;
  // Of a guest without a runtime, or with an older agent, it is an error: there are none.
  auto list = agent::rpc::Message<sluice_agent_v1_ListContainersResponse>::parse(
      agent::rpc::bytes_of((*response)->payload));
  containers_.replace(list ? names_of(**list, routed_) : std::map<IpAddress, std::string>());
  if (listing_is_stale_) ask_for_containers();
}

void AgentChannel::Hub::on_event(const Frame& frame) {
  if (!is(frame, FrameType::data)) return;
  auto event = agent::rpc::Message<sluice_agent_v1_EventsResponse>::parse(frame.payload);
  if (!event) return;
  bool is_container = (*event)->which_event == sluice_agent_v1_EventsResponse_container_tag;
  if (is_container || (*event)->lost > 0) ask_for_containers();
}

std::string AgentChannel::Hub::why_gone() const {
  std::string why = "the agent's end of the connection has gone";
  // It doesn't say which: the guest's console does.
  bool is_likely_refused = endpoint_.is_tcp() && !answered_;
  return is_likely_refused
             ? why + " (nobody listens, or the token or the address is not what the guest expects)"
             : why;
}

void AgentChannel::Hub::on_agent_gone(const std::string& why) {
  if (answered_) log(LogLevel::notice, "agent: {}", why);
  answered_ = false;
  clock_.stop();
  containers_.replace({});
  auto routes = std::move(routes_);
  routes_.clear();
  for (const auto& [stream, route] : routes) {
    if (!route.client) continue;
    route.client->calls.erase(route.stream);
    refuse(*route.client, route.stream, {.code = Code::aborted, .message = why});
  }
  // It may be what is calling.
  loop_.defer([gone = std::shared_ptr<FrameStream>(std::move(agent_))] {});
  paused_ = false;
  for (Client& client : clients_) client.stream->set_reading(true);
  retry_later(why);
}

void AgentChannel::Hub::retry_later(const std::string& why) {
  state_.last_error = why;
  retry_->start(delay_);
  delay_ = std::min(2 * delay_, kLastRetry);
}

Result<std::unique_ptr<AgentChannel>> AgentChannel::listen(AgentEndpoint endpoint,
                                                           const std::string& socket,
                                                           std::vector<IpPrefix> routed,
                                                           bool keeps_clock) {
  std::unique_ptr<AgentChannel> channel(new AgentChannel());
  channel->socket_ = socket;
  auto loop = UvLoop::create();
  if (!loop) return loop.status();
  channel->loop_ = std::move(*loop);
  channel->hub_ = std::make_unique<Hub>(*channel->loop_, std::move(endpoint), std::move(routed),
                                        keeps_clock, channel->containers_);
  if (Status status = channel->hub_->listen(socket); !status) return status;
  return channel;
}

AgentChannel::~AgentChannel() {
  stop();
}

void AgentChannel::stop() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void AgentChannel::serve(agent::client::GuestDialer guest) {
  hub_->set_guest(std::move(guest));
  thread_ = std::thread([this] {
    hub_->connect();
    loop_->run();
  });
}

AgentChannel::State AgentChannel::state() {
  std::promise<State> answer;
  loop_->post([this, &answer] { answer.set_value(hub_->state()); });
  return answer.get_future().get();
}

}  // namespace sluice::hostd
