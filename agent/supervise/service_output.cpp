#include "agent/supervise/service_output.h"

#include <algorithm>

namespace sluice::agent {

void ServiceOutput::write(std::string_view bytes) {
  written_ += bytes.size();
  if (bytes.size() > kKeptOutputBytes) bytes.remove_prefix(bytes.size() - kKeptOutputBytes);
  std::size_t grown = std::min(bytes.size(), kKeptOutputBytes - ring_.size());
  ring_.append(bytes.substr(0, grown));
  bytes.remove_prefix(grown);
  while (!bytes.empty()) {
    std::size_t count = std::min(bytes.size(), kKeptOutputBytes - next_);
    bytes.copy(&ring_[next_], count);
    next_ = (next_ + count) % kKeptOutputBytes;
    bytes.remove_prefix(count);
  }
}

std::string ServiceOutput::text() const {
  return ring_.substr(next_) + ring_.substr(0, next_);
}

}  // namespace sluice::agent
