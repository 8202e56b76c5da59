"""Runs the agent as PID 1: as_init.py AGENT KERNEL_COMMAND_LINE [read-only] [netns=NAME]
    [/PATH=TEXT...]

A /PATH=TEXT becomes a file of its root, that can be executed.

Nothing of the machine is within its reach: it has pid, mount, uts, ipc, net and cgroup namespaces of
its own, and a root of its own on a tmpfs, with the machine's root let go of. /dev, /sys and
/sys/fs/cgroup are tmpfs, as a devtmpfs, sysfs or cgroup2 would be the machine's; the agent leaves
what is mounted as it is. It isn't run unless each mount it sees is one of those. With `netns` it gets a
network namespace that is there already.

Prints its pid, and how it ended: "exited N" or "signal N". Ends with it, and it with this.
"""

import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

PROGRAMS = ["sh", "sleep", "cat", "true", "stty", "id", "env"]
NEW_MOUNTS = 0x00020000
OTHER_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000
NEW_NET = 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 1, 32, 4096, 16384, 1 << 18, 2
PR_SET_PDEATHSIG = 1
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def mount(source, target, kind, flags=0, data=""):
    check(libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, data.encode()),
          f"mount {target}")


def copy_program(program, root, place):
    """With the libraries that it needs, each where it is."""
    target = root / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, target)
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", needed):
        target = root / library.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)


def make_root(root, agent, command_line, files):
    check(libc.unshare(NEW_MOUNTS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", 0, "mode=0755")
    for directory in ("proc", "sys", "dev", "run", "tmp", "etc", "var", "root", "old"):
        (root / directory).mkdir()
    copy_program(agent, root, "/sbin/agent")
    for name in PROGRAMS:
        copy_program(shutil.which(name), root, f"/bin/{name}")
    for path, text in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755)
    mount("proc", root / "proc", "proc")
    (root / "etc/command-line").write_text(command_line)
    mount(str(root / "etc/command-line"), root / "proc/cmdline", "", MS_BIND)
    mount("tmpfs", root / "sys", "tmpfs")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    mount("tmpfs", root / "sys/fs/cgroup", "tmpfs")
    mount("tmpfs", root / "dev", "tmpfs")
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))
        os.chmod(root / "dev" / name, 0o666)


def enter(root):
    check(libc.syscall(PIVOT_ROOT[os.uname().machine], str(root).encode(),
                       str(root / "old").encode()), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/old", MNT_DETACH), "umount /old")
    os.rmdir("/old")
    kinds = sorted(line.split()[2] for line in
                   pathlib.Path("/proc/self/mounts").read_text().splitlines())
    # The command line's file is a part of the root's tmpfs.
    if kinds != ["proc"] + ["tmpfs"] * 5:
        raise OSError(f"the root is not only its own: {kinds}")


def become_init(root, agent, command_line, read_only, files):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    make_root(root, agent, command_line, files)
    enter(root)
    if os.getpid() != 1:
        raise OSError("this is no pid namespace of its own")
    if read_only:
        mount("none", "/", "", MS_REMOUNT | MS_RDONLY)
    os.execve("/sbin/agent", ["agent"], {})


def main():
    agent, command_line, *options = sys.argv[1:]
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    root = pathlib.Path(tempfile.mkdtemp(prefix="sluice-init-"))
    try:
        if name := next((one.removeprefix("netns=") for one in options if one.startswith("netns=")), None):
            with open(f"/run/netns/{name}", "rb") as namespace:
                check(libc.setns(namespace.fileno(), NEW_NET), "setns")
        else:
            check(libc.unshare(NEW_NET), "unshare")
        check(libc.unshare(OTHER_NAMESPACES), "unshare")
        pid = os.fork()
        if pid == 0:
            try:
                files = dict(one.split("=", 1) for one in options if one.startswith("/"))
                become_init(root, agent, command_line, "read-only" in options, files)
            except BaseException as error:      # pylint: disable=broad-except
                print(error, file=sys.stderr, flush=True)
            os._exit(99)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
    finally:
        root.rmdir()
    if os.WIFSIGNALED(status):
        print("signal", os.WTERMSIG(status), flush=True)
    else:
        print("exited", os.WEXITSTATUS(status), flush=True)


main()
