"""A small world for a real VM: namespaces, servers, a gateway and QEMU. See ../README.md."""
