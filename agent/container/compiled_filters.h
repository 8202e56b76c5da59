#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::agent {

/// Filters of system calls as the runtime has compiled them, by the capabilities that they follow
/// from (seccomp_json). To compile one takes crun a millisecond of each start; told what came of it
/// before (its annotation run.oci.seccomp_bpf_data) it doesn't.
class CompiledFilters {
 public:
  using Capabilities = std::vector<std::string>;

  /// In base64, or "" where none is known.
  std::string find(const Capabilities& capabilities) const;
  /// `program` is a seccomp filter: instructions of 8 bytes. What is none is not kept, nor is a
  /// seventeenth. find() has none of these capabilities.
  void keep(const Capabilities& capabilities, std::string_view program);

 private:
  struct Filter {
    Capabilities capabilities;
    std::string program;
  };
  std::vector<Filter> filters_;
};

}  // namespace sluice::agent
