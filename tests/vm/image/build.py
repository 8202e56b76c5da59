#!/usr/bin/python3
"""Builds the test VM's kernel and initramfs, and prints where they are as one JSON line.

The kernel is Debian's cloud kernel and the userland Debian's static busybox, both fetched and
checked by apt and unpacked into a cache; nothing is installed on this machine. The initramfs holds
busybox, the virtio modules in load order, and the two scripts beside this file.

    build.py                the guest's init is the script `init`
    build.py --agent PATH   it is Sluice's agent; modules and their list are where it looks for them

The cache is the folder vm in ${SLUICE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/sluice}. Packages are
fetched once and then kept: remove the folder to get newer ones. The initramfs is built again
whenever one of its inputs changes.

Exit: 0, 1 (could not build; the reason is on stderr).
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
USERLAND_PACKAGE = "busybox-static"
APPLETS = ["sh", "cat", "hostname", "ip", "md5sum", "nslookup", "sleep", "uname", "wget"]
MODULES = ["virtio_pci", "virtio_console", "virtio_net"]
FETCH_SECONDS = 300


class BuildError(Exception):
    """What could not be built, why, and what to do about it."""


def run(*command, **options):
    """Runs a command and returns its standard output; a failure becomes a BuildError."""
    try:
        done = subprocess.run(command, check=True, text=True, capture_output=True,
                              timeout=FETCH_SECONDS, **options)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed; scripts/setup installs it") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"`{' '.join(command)}` took over {FETCH_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise BuildError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from None
    return done.stdout


def cache_dir():
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(os.environ.get("SLUICE_CACHE") or f"{caches}/sluice") / "vm"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextlib.contextmanager
def locked(cache):
    """Two builds at once share one download."""
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kernel_package():
    """The package that the metapackage stands for today: its name has the kernel version."""
    for line in run("apt-cache", "depends", KERNEL_METAPACKAGE).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise BuildError(f"apt knows no {KERNEL_METAPACKAGE}; run `apt-get update` first")


def unpacked(cache, directory, package_name):
    """The unpacked content of a Debian package; `package_name` is asked only when not cached."""
    target = cache / directory
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        package = package_name()
        print(f"fetching {package}", file=sys.stderr)
        # apt's own download user cannot write into a cache that belongs to somebody's home.
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=scratch)
        (archive,) = pathlib.Path(scratch).glob("*.deb")
        run("dpkg", "-x", str(archive), f"{scratch}/root")
        os.rename(f"{scratch}/root", target)
    return target


def module_files(root, version):
    """The modules to load, each after those that it needs."""
    if not (root / "lib/modules" / version / "modules.dep.bin").exists():
        run("depmod", "-b", str(root), version)
    ordered = {}
    for module in MODULES:
        listing = run("modprobe", "-d", str(root), "-S", version, "--show-depends", module)
        for line in listing.splitlines():
            action, _, path = line.strip().partition(" ")
            if action == "insmod":
                ordered[pathlib.Path(path.split()[0])] = None
    return list(ordered)


def script_tree(kernel_root, version, busybox):
    """What is in the initramfs whose init is a script: file names, and where each comes from."""
    modules = module_files(kernel_root, version)
    tree = {"init": HERE / "init", "etc/dhcp-event": HERE / "dhcp-event", "bin/busybox": busybox}
    return tree | {f"lib/modules/{index:02}-{path.name}": path for index, path in enumerate(modules)}


def agent_tree(kernel_root, version, busybox, agent):
    """What is in the initramfs whose init is the agent. Text stands for itself."""
    modules = module_files(kernel_root, version)
    tree = {"init": agent, "bin/busybox": busybox,
            "etc/modules-load.d/vm.conf": "\n".join(MODULES) + "\n",
            f"lib/modules/{version}/modules.dep":
                kernel_root / "lib/modules" / version / "modules.dep"}
    return tree | {str(path.relative_to(kernel_root)): path for path in modules}


def content(source):
    return source.encode() if isinstance(source, str) else source.read_bytes()


def pack(cache, name, inputs):
    """Builds an initramfs, named after its inputs, unless it is already there."""
    digest = hashlib.sha256()
    for path, source in sorted(inputs.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(content(source)).digest())
    target = cache / f"{name}-{digest.hexdigest()[:16]}.cpio"
    if target.exists():
        return target

    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        tree = pathlib.Path(scratch) / "tree"
        for path, source in inputs.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content(source))
            (tree / path).chmod(0o755)
        for applet in APPLETS:
            (tree / "bin" / applet).symlink_to("busybox")
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        # Not compressed: an emulated CPU would need seconds to unpack what the host copies at once.
        archive = pathlib.Path(scratch) / "initramfs"
        run("cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-O", str(archive), cwd=tree,
            input=names)
        os.rename(archive, target)
    for old in cache.glob(f"{name}-*.cpio"):
        if old != target:
            old.unlink()
    return target


def build(agent=None):
    """Returns {"kernel": path, "initramfs": path, "version": kernel version}."""
    cache = cache_dir()
    with locked(cache):
        kernel_root = unpacked(cache, "kernel", kernel_package)
        busybox = unpacked(cache, "userland", lambda: USERLAND_PACKAGE) / "bin/busybox"
        (version,) = os.listdir(kernel_root / "lib/modules")
        if agent:
            initramfs = pack(cache, "agent", agent_tree(kernel_root, version, busybox, agent))
        else:
            initramfs = pack(cache, "initramfs", script_tree(kernel_root, version, busybox))
        return {"kernel": str(kernel_root / f"boot/vmlinuz-{version}"),
                "initramfs": str(initramfs), "version": version}


if __name__ == "__main__":
    try:
        parser = argparse.ArgumentParser(description="Builds the test VM's kernel and initramfs.")
        parser.add_argument("--agent", type=pathlib.Path, help="the agent, which becomes its init")
        print(json.dumps(build(parser.parse_args().agent)))
    except (BuildError, OSError) as error:
        sys.exit(f"VM image: {error}")
