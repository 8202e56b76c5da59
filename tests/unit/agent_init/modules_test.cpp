#include "agent/init/modules.h"

#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

constexpr const char* kDep =
    "kernel/net/vmw_vsock/vsock.ko:\n"
    "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko: "
    "kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko kernel/net/vmw_vsock/vsock.ko\n"
    "kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz\n"
    "kernel/drivers/net/net-failover.ko.zst: kernel/net/core/failover.ko.zst\n";

using Files = std::vector<std::string>;

}  // namespace

TEST_CASE("a module comes after all that it needs") {
  CHECK(module_files(kDep, "vsock") == Files{"kernel/net/vmw_vsock/vsock.ko"});
  CHECK(module_files(kDep, "vmw_vsock_virtio_transport") ==
        Files{"kernel/net/vmw_vsock/vsock.ko",
              "kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
              "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko"});
}

TEST_CASE("a compressed module is found by its name") {
  CHECK(module_files(kDep, "erofs") ==
        Files{"kernel/lib/libcrc32c.ko.xz", "kernel/fs/erofs/erofs.ko.xz"});
}

TEST_CASE("- and _ are the same in a module's name") {
  Files expected{"kernel/net/core/failover.ko.zst", "kernel/drivers/net/net-failover.ko.zst"};
  CHECK(module_files(kDep, "net-failover") == expected);
  CHECK(module_files(kDep, "net_failover") == expected);
}

TEST_CASE("a name is a whole name") {
  CHECK(module_files(kDep, "vso").empty());
  CHECK(module_files(kDep, "sock").empty());
  CHECK(module_files(kDep, "vmw_vsock").empty());
  CHECK(module_files(kDep, "").empty());
  CHECK(module_files(kDep, "libcrc32c").empty());
}

TEST_CASE("a table that is none gives nothing, or what can be read of it") {
  CHECK(module_files("", "vsock").empty());
  CHECK(module_files("\n\n", "vsock").empty());
  CHECK(module_files("no colon here\nvsock.ko", "vsock").empty());
  CHECK(module_files(":\n: a.ko\n", "a").empty());
  CHECK(module_files("a.ko:   b.ko  c.ko \n", "a") == Files{"c.ko", "b.ko", "a.ko"});
  CHECK(module_files("a.ko: b.ko", "a") == Files{"b.ko", "a.ko"});
}

}  // namespace sluice::agent
