#pragma once

#include "agent/container/containers.h"
#include "agent/rpc/call.h"
#include "agent/services/process_service.h"

namespace sluice::agent {

/// The service Container (container.proto). One thread; must outlive the connections whose calls it
/// serves.
class ContainerService {
 public:
  /// All must outlive this. What Exec starts is among `processes`.
  ContainerService(Loop& loop, Containers& containers, ProcessService& processes)
      : loop_(loop), containers_(containers), processes_(processes) {}
  ContainerService(const ContainerService&) = delete;
  ContainerService& operator=(const ContainerService&) = delete;

  void add_to(rpc::Methods& methods);

 private:
  void add_life_cycle(rpc::Methods& methods);
  void add_questions(rpc::Methods& methods);
  void add_streams(rpc::Methods& methods);

  Loop& loop_;
  Containers& containers_;
  ProcessService& processes_;
};

}  // namespace sluice::agent
