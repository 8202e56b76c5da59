#!/usr/bin/python3
"""Builds a VM that boots into Sluice's agent, and prints what it is made of as one JSON line.

    examples/rootfs/build.py --agent build/bin/agent -o DIRECTORY

kernel     Debian's cloud kernel
initramfs  the agent, and the modules by which it finds its disk, mounts it, and can be called
root       an EROFS image: the agent as /sbin/init, crun with the libraries that this machine's asks
           for, busybox, the modules that containers need, and empty places to mount on; with --disks
           mkfs.ext4 with its libraries and the modules of other file systems and of zram, for
           sluice.disk and sluice.swap
append     what the kernel has to be told besides its console

The kernel and busybox come from Debian's archive by apt, once (see debian.py), and nothing is
installed; crun and mkfs.erofs have to be here (scripts/setup installs them). Equal inputs make equal
bytes. Without -o the files are in the cache, and built again only when an input changes.

Exit: 0, 1 (could not build; the reason is on stderr).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import debian

APPLETS = ["sh", "awk", "base64", "basename", "cat", "chmod", "chown", "clear", "cp", "cut", "date",
           "dd", "df", "dirname", "dmesg", "du", "echo", "env", "false", "find", "free", "grep",
           "gunzip", "gzip", "head", "hostname", "httpd", "id", "ip", "kill", "less", "ln", "ls",
           "md5sum", "mkdir", "mount", "mv", "nc", "netstat", "nslookup", "ping", "ps", "pwd",
           "readlink", "rm", "rmdir", "sed", "seq", "sha256sum", "sleep", "sort", "stat", "stty",
           "tail", "tar", "tee", "test", "top", "touch", "tr", "true", "tty", "umount", "uname",
           "uniq", "vi", "wc", "wget", "which", "whoami", "xargs", "yes"]
# The last one for a root that does not come: the agent can be asked why.
FIRST_MODULES = ["virtio_pci", "virtio_blk", "erofs", "virtio_console"]
ROOT_MODULES = ["virtio_console", "virtio_net", "overlay", "bridge", "veth",
                "vmw_vsock_virtio_transport", "vsock_loopback"]
# With mkfs.ext4, for disks that are to be formatted; ext4 itself is in the kernel.
DISK_MODULES = ["xfs", "btrfs", "zram", "lzo-rle"]
MOUNT_POINTS = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755, "tmp": 0o1777,
                "root": 0o700, "mnt": 0o755, "etc": 0o755, "var/lib": 0o755, "var/log": 0o755}
UUID = "5c1ce000-0000-4000-8000-000000000000"


def program_tree(name, place):
    """A program of this machine's and every library that it asks for, each where it asks for it."""
    program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not program:
        raise debian.BuildError(f"{name} is not installed; scripts/setup installs it")
    needed = re.findall(r"(/\S+) \(0x", debian.run("ldd", program))
    return {place: pathlib.Path(program)} | {path[1:]: pathlib.Path(path) for path in needed}


def erofs(target, files, links):
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tree = pathlib.Path(scratch) / "tree"
        tree.mkdir(mode=0o755)
        debian.lay_out(tree, files, links, MOUNT_POINTS)
        debian.run("mkfs.erofs", "--quiet", "--all-root", f"-T{debian.FIRST_SECOND_OF_1980}", f"-U{UUID}",
                   str(target), str(tree))


def stripped(agent, cache):
    """The agent without what only a debugger reads."""
    def strip(target):
        debian.run("strip", "-o", str(target), str(agent))
        target.chmod(0o755)
    return debian.kept(cache, "program", "stripped", {"agent": agent}, strip)


def build(agent, disks):
    """Returns {"kernel": path, "initramfs": path, "root": path, "append": words, "version": ...}."""
    cache = debian.cache_dir()
    with debian.locked(cache):
        kernel = debian.kernel(cache)
        agent = stripped(agent, cache)
        first = {"init": agent} | kernel.module_tree(FIRST_MODULES)
        initramfs = debian.kept(cache, "agent", "cpio", first,
                                lambda target: debian.initramfs(target, first))
        files = {"sbin/agent": agent, "bin/busybox": debian.busybox(cache)}
        files |= program_tree("crun", "usr/bin/crun")
        if disks:
            files |= program_tree("mkfs.ext4", "sbin/mkfs.ext4")
        files |= kernel.module_tree(ROOT_MODULES, DISK_MODULES if disks else ())
        links = debian.busybox_links(APPLETS) | {"sbin/init": "agent"}
        root = debian.kept(cache, "disksroot" if disks else "root", "erofs", files,
                           lambda target: erofs(target, files, links))
    return {"kernel": str(kernel.image), "initramfs": str(initramfs), "root": str(root),
            "append": "sluice.root=/dev/vda", "version": kernel.version}


def copied(image, directory):
    """The same with its files in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    names = {"kernel": "vmlinuz", "initramfs": "initramfs.cpio", "root": "root.erofs"}
    for key, name in names.items():
        shutil.copyfile(image[key], directory / name)
    return image | {key: os.fspath(directory / name) for key, name in names.items()}


def main():
    parser = argparse.ArgumentParser(description="Builds a VM that boots into Sluice's agent.")
    parser.add_argument("--agent", type=pathlib.Path, required=True, help="the static program")
    parser.add_argument("--disks", action="store_true",
                        help="with mkfs.ext4 and modules, for sluice.disk and sluice.swap")
    parser.add_argument("-o", "--output", type=pathlib.Path, metavar="DIRECTORY",
                        help="where the files go (they stay in the cache)")
    options = parser.parse_args()
    try:
        image = build(options.agent, options.disks)
        print(json.dumps(copied(image, options.output) if options.output else image))
    except (debian.BuildError, OSError) as error:
        sys.exit(f"rootfs: {error}")


if __name__ == "__main__":
    main()
