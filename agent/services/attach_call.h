#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "agent/container/containers.h"
#include "agent/container/log_follower.h"
#include "agent/container/shim_link.h"
#include "agent/rpc/call.h"
#include "agent/rpc/credit.h"
#include "sluice/agent/v1/container.pb.h"

namespace sluice::agent {

/// One call of Container.Attach. Output comes from the log, from which nothing is missed as the
/// shim waits for whoever tells it where they are; input goes to the shim.
///
///   shim --log files--> LogFollower --> client
///   shim <--hold-- hold_                            how far the client is
///   shim <--input_-- pending_ <-- client            on a connection of its own, which waits
class AttachCall final : public rpc::Handler {
 public:
  static std::unique_ptr<rpc::Handler> begin(Loop& loop, const Containers& containers,
                                             rpc::Call& call, ConstBytes first);
  ~AttachCall() override;

  void on_message(ConstBytes bytes) override;
  void on_half_close() override { close_input(); }
  void on_writable() override { pump(); }

 private:
  /// Bytes, or where there are none the input's end.
  using Input = std::vector<std::uint8_t>;

  AttachCall(Loop& loop, rpc::Call& call, std::shared_ptr<Container> container,
             const sluice_agent_v1_AttachStart& start);
  void connect();
  void disconnect();
  bool on_state();
  bool pump();
  bool send_piece();
  void tell_lost(std::uint64_t bytes);
  void tell_position();
  bool take_input(ConstBytes bytes);
  void close_input();
  void pump_input();
  void give_credit();
  bool finish();

  Loop& loop_;
  rpc::Call& call_;
  std::shared_ptr<Container> container_;
  bool takes_input_;
  bool holds_;
  LogFollower follower_;
  std::optional<LogReader::Record> record_;
  std::size_t sent_ = 0;    ///< Of the record's data.
  std::uint64_t told_ = 0;  ///< The position that the shim knows of.
  std::uint64_t credit_ = rpc::kInitialCredit;
  std::unique_ptr<ShimLink> hold_;
  std::unique_ptr<ShimLink> input_;
  std::deque<Input> pending_;
  std::uint32_t input_credit_ = rpc::kInitialCredit;
  std::uint32_t written_ = 0;  ///< Since the last grant.
  bool input_closed_ = false;
  std::optional<TerminalSize> size_;
  bool was_alive_ = false;
  std::uint64_t state_watch_ = 0;
  std::uint64_t creation_watch_ = 0;
  std::unique_ptr<Timer> again_;
};

}  // namespace sluice::agent
