#include "agent_rpc/rpc_world.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ttrpc.pb.h"

namespace sluice::agent::rpc {

namespace {

class ScriptedLink final : public Link {
 public:
  explicit ScriptedLink(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {
    wire_->linked = true;
  }
  ~ScriptedLink() override {
    wire_->linked = false;
    wire_->on_ready = nullptr;
  }

  IoResult read(Bytes into) override {
    if (wire_->in.empty()) {
      return wire_->peer_gone ? IoResult{} : IoResult{.error = EAGAIN};
    }
    std::size_t size = std::min({into.size(), wire_->in.size(), wire_->piece});
    std::memcpy(into.data(), wire_->in.data(), size);
    wire_->in.erase(0, size);
    return {.bytes = size};
  }
  IoResult write(ConstBytes from) override {
    if (wire_->peer_gone) return {.error = EPIPE};
    std::size_t size = std::min(from.size(), wire_->room);
    if (size == 0) return {.error = EAGAIN};
    wire_->out.append(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(size));
    wire_->room -= size;
    return {.bytes = size};
  }
  void set_interest(FdReady interest) override { wire_->interest = interest; }
  void set_handler(std::function<void(FdReady)> on_ready) override {
    wire_->on_ready = std::move(on_ready);
  }

 private:
  std::shared_ptr<Wire> wire_;
};

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value > 0x7f; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

}  // namespace

std::string pb_number(unsigned field, std::uint64_t value) {
  return varint(field << 3) + varint(value);
}

std::string pb_text(unsigned field, std::string_view value) {
  return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
}

std::string frame(std::uint32_t stream, std::uint8_t type, std::uint8_t flags,
                  std::string_view payload) {
  std::string head(10, '\0');
  auto* at = reinterpret_cast<std::uint8_t*>(head.data());
  store_be32(at, static_cast<std::uint32_t>(payload.size()));
  store_be32(at + 4, stream);
  at[8] = type;
  at[9] = flags;
  return head + std::string(payload);
}

std::string request_bytes(std::string_view service, std::string_view method,
                          std::string_view payload, std::int64_t timeout_ns) {
  std::string request = pb_text(1, service) + pb_text(2, method);
  if (!payload.empty()) request += pb_text(3, payload);
  if (timeout_ns != 0) request += pb_number(4, static_cast<std::uint64_t>(timeout_ns));
  return request;
}

Answer answer_of(const Reply& reply) {
  REQUIRE(reply.type == kResponse);
  auto response = Message<sluice_ttrpc_Response>::parse(bytes(reply.payload));
  REQUIRE(response);
  Answer answer{.code = (*response)->status.code,
                .message = std::string(text((*response)->status.message)),
                .payload = text_of(bytes_of((*response)->payload)),
                .detail_type = {},
                .detail = {}};
  if ((*response)->status.details_count == 1) {
    answer.detail_type = text((*response)->status.details[0].type_url);
    answer.detail = text_of(bytes_of((*response)->status.details[0].value));
  }
  return answer;
}

Stream::Stream(std::vector<Stream*>& all, Call& made_for) : all(all), call(made_for) {
  all.push_back(this);
}

Stream::~Stream() {
  auto here = std::find(all.begin(), all.end(), this);
  CHECK(here != all.end());  // Else it is destroyed a second time.
  all.erase(here);
}

World::World() {
  constexpr const char* kService = "test.Echo";
  auto say = [](Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
    call.reply(request);
    return nullptr;
  };
  auto refuse = [](Call& call, ConstBytes) -> std::unique_ptr<Handler> {
    call.fail(CallError::from_errno(ENOENT, "open /x"));
    return nullptr;
  };
  auto stream = [this](Call& call, ConstBytes first) -> std::unique_ptr<Handler> {
    ++made;
    auto handler = std::make_unique<Stream>(streams, call);
    handler->messages.push_back(text_of(first));
    return handler;
  };
  auto cancel = [](Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
    call.cancel(request.empty() ? 0 : request[0]);
    call.reply({});
    return nullptr;
  };
  methods.add(kService, "Say", {.begin = say});
  methods.add(kService, "Refuse", {.begin = refuse});
  methods.add(kService, "Hold", {.begin = stream});
  methods.add(kService, "Talk", {.begin = stream, .streams_in = true});
  methods.add(kService, "Cancel", {.begin = cancel});
  connection =
      std::make_unique<Connection>(loop, methods, std::make_unique<ScriptedLink>(wire), [this] {
        ++ends;
        connection.reset();
      });
}

void World::settle() {
  for (int turns = 0; turns < 100'000; ++turns) {
    loop.run_ready();
    FdReady ready{.readable = wire->interest.readable && (!wire->in.empty() || wire->peer_gone),
                  .writable = wire->interest.writable && (wire->room > 0 || wire->peer_gone)};
    if (!wire->linked || (!ready.readable && !ready.writable)) return;
    wire->on_ready(ready);
  }
  FAIL("it never comes to rest");
}

void World::send(std::string_view bytes) {
  wire->in += bytes;
  settle();
}

void World::request(std::uint32_t stream, std::string_view method, std::string_view payload,
                    std::uint8_t flags, std::int64_t timeout_ns, std::string_view service) {
  send(frame(stream, kRequest, flags, request_bytes(service, method, payload, timeout_ns)));
}

void World::data(std::uint32_t stream, std::string_view payload, std::uint8_t flags) {
  send(frame(stream, kData, flags, payload));
}

void World::hang_up() {
  wire->peer_gone = true;
  settle();
}

void World::close() {
  connection.reset();
  loop.run_ready();
}

std::vector<Reply> World::replies() {
  std::vector<Reply> found;
  while (wire->out.size() - seen_ >= 10) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(wire->out.data()) + seen_;
    std::size_t length = load_be32(at);
    if (wire->out.size() - seen_ - 10 < length) break;
    found.push_back({load_be32(at + 4), at[8], at[9], wire->out.substr(seen_ + 10, length)});
    seen_ += 10 + length;
  }
  return found;
}

Reply World::reply() {
  auto all = replies();
  REQUIRE(all.size() == 1);
  return all.front();
}

}  // namespace sluice::agent::rpc
