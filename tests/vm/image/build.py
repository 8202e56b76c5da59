#!/usr/bin/python3
"""Builds the kernel and initramfs of a VM without the agent; prints where they are as a JSON line.

The initramfs holds busybox, the virtio modules in load order, and the two scripts beside this file.
The kernel, busybox and the cache are those of examples/rootfs, which builds the VM with the agent.
The initramfs is built again whenever one of its inputs changes.

Exit: 0, 1 (could not build; the reason is on stderr).
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "examples/rootfs"))

import debian  # noqa: E402  (found by the line above)

APPLETS = ["sh", "cat", "hostname", "ip", "md5sum", "nslookup", "sleep", "uname", "wget"]
MODULES = ["virtio_pci", "virtio_console", "virtio_net"]


def build():
    """Returns {"kernel": path, "initramfs": path, "version": kernel version}."""
    cache = debian.cache_dir()
    with debian.locked(cache):
        kernel = debian.kernel(cache)
        files = {"init": HERE / "init", "etc/dhcp-event": HERE / "dhcp-event",
                 "bin/busybox": debian.busybox(cache)}
        for index, path in enumerate(kernel.module_files(MODULES)):
            files[f"lib/modules/{index:02}-{path.name}"] = path
        initramfs = debian.kept(
            cache, "initramfs", "cpio", files,
            lambda target: debian.initramfs(target, files, debian.busybox_links(APPLETS)))
        return {"kernel": str(kernel.image), "initramfs": str(initramfs), "version": kernel.version}


if __name__ == "__main__":
    try:
        print(json.dumps(build()))
    except (debian.BuildError, OSError) as error:
        sys.exit(f"VM image: {error}")
