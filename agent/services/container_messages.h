#pragma once

#include <list>
#include <string>
#include <vector>

#include "agent/container/containers.h"
#include "sluice/agent/v1/container.pb.h"

namespace sluice::agent {

/// What fields of messages point to while those are encoded.
class MessageStore {
 public:
  char* text(const std::string& value);
  /// The array for a repeated string field.
  char** list(const std::vector<std::string>& values);
  template <typename Entry>
  Entry* map(const std::map<std::string, std::string>& values) {
    auto& bytes = blocks_.emplace_back(values.size() * sizeof(Entry));
    auto* entries = reinterpret_cast<Entry*>(bytes.data());
    for (const auto& [key, value] : values) *entries++ = {.key = text(key), .value = text(value)};
    return reinterpret_cast<Entry*>(bytes.data());
  }
  template <typename T>
  T* array(std::size_t count) {
    return reinterpret_cast<T*>(blocks_.emplace_back(count * sizeof(T)).data());
  }

 private:
  std::list<std::string> texts_;
  std::list<std::vector<char>> blocks_;  // operator new aligns them for any object.
};

/// The request with its image's configuration and the usual filled in.
Result<ContainerSpec> spec_of(const sluice_agent_v1_CreateContainerRequest& request,
                              const Containers& containers, std::int64_t now_ns);
Result<ContainerLimits> limits_of(const sluice_agent_v1_ContainerLimits& limits);
RestartPolicy restart_of(const sluice_agent_v1_RestartPolicy& restart);

/// Of a container that has an exit; valid while `store` is.
sluice_agent_v1_ContainerExit exit_message(const Container& container, MessageStore& store);
sluice_agent_v1_ContainerInfo info_message(const Container& container, MessageStore& store);
sluice_agent_v1_InspectContainerResponse inspect_message(const Container& container,
                                                         MessageStore& store);

}  // namespace sluice::agent
