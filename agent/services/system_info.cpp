#include "agent/services/system_info.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <list>
#include <map>
#include <string>
#include <vector>

#include "agent/os/clock.h"
#include "agent/os/file.h"
#include "agent/os/mount_table.h"
#include "agent/os/text.h"
#include "agent/rpc/message.h"
#include "base/number.h"
#include "sluice/agent/v1/agent.pb.h"

namespace sluice::agent {

namespace {

using rpc::field;

/// The value of KEY=value, quotes taken off.
std::string os_release(const std::string& file, std::string_view key) {
  std::string_view rest = file;
  while (!rest.empty()) {
    std::string_view line = take_part(rest, '\n');
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    line.remove_prefix(key.size() + 1);
    if (line.size() >= 2 && (line.front() == '"' || line.front() == '\'')) {
      line = line.substr(1, line.size() - 2);
    }
    return std::string(line);
  }
  return "";
}

/// Of /proc/meminfo, in bytes.
std::uint64_t meminfo(const std::string& file, std::string_view key) {
  auto at = file.find(fmt::format("{}:", key));
  if (at == std::string::npos) return 0;
  at = file.find_first_of("0123456789", at);
  if (at == std::string::npos) return 0;
  std::string_view digits = std::string_view(file).substr(at);
  digits = digits.substr(0, digits.find_first_not_of("0123456789"));
  return parse_number<std::uint64_t>(digits).value_or(0) << 10;
}

int prefix_length(const sockaddr* mask) {
  int bits = 0;
  auto count = [&bits](const std::uint8_t* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) bits += __builtin_popcount(bytes[i]);
  };
  if (mask->sa_family == AF_INET) {
    count(reinterpret_cast<const std::uint8_t*>(
              &reinterpret_cast<const sockaddr_in*>(mask)->sin_addr),
          4);
  } else {
    count(reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr.s6_addr, 16);
  }
  return bits;
}

std::string address_text(const ifaddrs& entry) {
  char text[INET6_ADDRSTRLEN] = "";
  const void* address = entry.ifa_addr->sa_family == AF_INET
                            ? static_cast<const void*>(
                                  &reinterpret_cast<const sockaddr_in*>(entry.ifa_addr)->sin_addr)
                            : &reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr;
  ::inet_ntop(entry.ifa_addr->sa_family, address, text, sizeof text);
  return fmt::format("{}/{}", text, entry.ifa_netmask ? prefix_length(entry.ifa_netmask) : 0);
}

struct InterfaceInfo {
  std::string name;
  std::string mac;
  std::uint32_t mtu = 0;
  bool up = false;
  std::list<std::string> addresses;
};

std::map<std::string, InterfaceInfo> interfaces() {
  std::map<std::string, InterfaceInfo> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    InterfaceInfo& info = found[entry->ifa_name];
    info.name = rpc::valid_utf8(entry->ifa_name);
    info.up = (entry->ifa_flags & IFF_UP) != 0;
    if (!entry->ifa_addr) continue;
    int family = entry->ifa_addr->sa_family;
    if (family == AF_INET || family == AF_INET6) info.addresses.push_back(address_text(*entry));
  }
  ::freeifaddrs(list);
  for (auto& [name, info] : found) {
    info.mac = read_line(fmt::format("/sys/class/net/{}/address", name));
    info.mtu = parse_number<std::uint32_t>(read_line(fmt::format("/sys/class/net/{}/mtu", name)))
                   .value_or(0);
  }
  return found;
}

}  // namespace

void answer_system_info(rpc::Call& call) {
  utsname kernel{};
  ::uname(&kernel);
  std::string release = kernel.release;
  std::string machine = kernel.machine;
  std::string hostname = rpc::valid_utf8(kernel.nodename);
  std::string os = rpc::valid_utf8(read_file("/etc/os-release").value_or(""));
  std::string os_name = os_release(os, "ID");
  std::string os_version = os_release(os, "VERSION_ID");
  std::string memory = read_file("/proc/meminfo").value_or("");
  struct sysinfo info{};
  ::sysinfo(&info);
  std::vector<double> load;
  for (unsigned long one : info.loads)
    load.push_back(static_cast<double>(one) / (1 << SI_LOAD_SHIFT));

  auto network = interfaces();
  std::vector<sluice_agent_v1_Interface> interface_messages;
  std::list<std::vector<char*>> address_lists;
  for (const auto& [name, one] : network) {
    std::vector<char*>& addresses = address_lists.emplace_back();
    for (const std::string& address : one.addresses) addresses.push_back(field(address));
    interface_messages.push_back({.name = field(one.name),
                                  .mac = field(one.mac),
                                  .mtu = one.mtu,
                                  .up = one.up,
                                  .addresses_count = static_cast<pb_size_t>(addresses.size()),
                                  .addresses = addresses.data()});
  }
  std::vector<MountedAt> mounted = mount_table();
  std::vector<sluice_agent_v1_Mount> mount_messages;
  for (MountedAt& one : mounted) {
    for (std::string* text : {&one.source, &one.target, &one.type, &one.options}) {
      *text = rpc::valid_utf8(std::move(*text));
    }
    mount_messages.push_back({.source = field(one.source),
                              .target = field(one.target),
                              .type = field(one.type),
                              .options = field(one.options)});
  }

  sluice_agent_v1_SystemInfoResponse response{};
  response.kernel = field(release);
  response.os_name = field(os_name);
  response.os_version = field(os_version);
  response.arch = field(machine);
  response.hostname = field(hostname);
  response.total_memory = meminfo(memory, "MemTotal");
  response.available_memory = meminfo(memory, "MemAvailable");
  response.cpus = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN));
  response.load_count = static_cast<pb_size_t>(load.size());
  response.load = load.data();
  response.uptime_ns = clock_ns(CLOCK_BOOTTIME);
  response.interfaces_count = static_cast<pb_size_t>(interface_messages.size());
  response.interfaces = interface_messages.data();
  response.mounts_count = static_cast<pb_size_t>(mount_messages.size());
  response.mounts = mount_messages.data();
  call.reply_with(response);
}

}  // namespace sluice::agent
