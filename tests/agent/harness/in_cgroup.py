"""Runs a program with a mount, cgroup and network namespace of its own: in_cgroup.py NAME PROGRAM...

/sys/fs/cgroup is a cgroup2 of which the root is a cgroup made for it, so that no container of a test
can be in the machine's way. Exits 77 where the machine has no cgroup2 to give.
"""

import ctypes
import os
import pathlib
import subprocess
import sys

NEW_NS, NEW_CGROUP, NEW_NET = 0x00020000, 0x02000000, 0x40000000
MS_REC, MS_PRIVATE = 16384, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def hierarchy():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(target)
    return None


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        print(f"{what}: {os.strerror(error)}", file=sys.stderr)
        sys.exit(77)


def main():
    name, *command = sys.argv[1:]
    root = hierarchy()
    if root is None:
        print("there is no cgroup2", file=sys.stderr)
        sys.exit(77)
    own = root / name
    try:
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text("0")
    except OSError as error:
        print(f"a cgroup of its own: {error}", file=sys.stderr)
        sys.exit(77)
    check(libc.unshare(NEW_NS | NEW_CGROUP | NEW_NET), "unshare")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")
    check(libc.mount(b"none", b"/sys/fs/cgroup", b"cgroup2", 0, None), "mount a cgroup2")
    check(libc.mount(b"none", b"/sys", b"sysfs", 0, None), "mount a sysfs")
    check(libc.mount(b"none", b"/sys/fs/cgroup", b"cgroup2", 0, None), "mount a cgroup2")
    # A cgroup with controllers for those below has no processes of its own.
    (pathlib.Path("/sys/fs/cgroup") / "agent").mkdir()
    (pathlib.Path("/sys/fs/cgroup") / "agent/cgroup.procs").write_text("0")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.execvp(command[0], command)


main()
