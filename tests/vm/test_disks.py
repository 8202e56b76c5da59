"""A real VM with disks besides its root: what is formatted, what is mounted, what is left alone."""

import hashlib
import os
import subprocess

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.agent_vm import boot_steps, running
from lab.process import wait_until

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")

MIB = 1 << 20
EIO = 5
FORMAT = "sluice.disk=/dev/vdb,format=if-blank"
STEP = "data disk /dev/vdb"
WITH_MKFS = ["--disks"]


def make_disk(lab, name, size, content=b"", at=0):
    path = lab.directory / name
    with open(path, "wb") as disk:
        disk.truncate(size)
        disk.seek(at)
        disk.write(content)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(path):
    return ["-drive", f"file={path},format=raw,if=virtio"]


def failing(path, at):
    """A disk of which each read that covers the byte `at` fails."""
    return ["-drive", f"driver=raw,if=virtio,file.driver=blkdebug,file.image.driver=file,"
            f"file.image.filename={path},file.inject-error.0.event=read_aio,"
            f"file.inject-error.0.errno={EIO},file.inject-error.0.sector={at // 512}"]


def ended(hostd, name):
    """The step, once it is over."""
    def look():
        step = boot_steps(hostd).get(name)
        return step if step and step["result"] != "running" else None
    return wait_until(look, qemu.BOOT_SECONDS, name)


def in_guest(hostd, *command):
    done = hostd.ctl("guest", "exec", *command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def power_off(hostd, vm):
    assert hostd.ctl("guest", "shutdown").returncode == 0
    assert vm.process.wait_for_exit(60) == 0


def test_a_blank_disk_is_formatted_once_and_keeps_what_is_written_to_it(lab):
    disk = make_disk(lab, "blank.disk", 192 * MIB)
    swap = make_disk(lab, "swap.disk", 32 * MIB)
    subprocess.run(["mkswap", "-q", swap], check=True, timeout=60,
                   env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    with running(lab, "blank", f"{FORMAT} sluice.swap=32M", image=WITH_MKFS, more=plain(disk)) as (hostd, vm):
        step = ended(hostd, STEP)
        assert step["result"] == "done", step
        assert step["message"] == "was blank, is now ext4 on /var/lib/sluice"
        assert "/dev/vdb /var/lib/sluice ext4 rw" in in_guest(hostd, "cat", "/proc/mounts")
        assert ended(hostd, "swap in memory")["result"] == "done"
        assert "/dev/zram0" in in_guest(hostd, "cat", "/proc/swaps")
        in_guest(hostd, "sh", "-c", "echo kept > /var/lib/sluice/mark")
        power_off(hostd, vm)
    options = f"{FORMAT} sluice.swap=/dev/vdc"
    with running(lab, "again", options, image=WITH_MKFS, more=plain(disk) + plain(swap)) as (hostd, vm):
        step = ended(hostd, STEP)
        assert step["result"] == "done" and step["message"] == "ext4 on /var/lib/sluice", step
        assert in_guest(hostd, "cat", "/var/lib/sluice/mark") == "kept\n"
        assert ended(hostd, "swap /dev/vdc")["result"] == "done"
        assert "/dev/vdc" in in_guest(hostd, "cat", "/proc/swaps")
        power_off(hostd, vm)


@pytest.mark.parametrize("name, error, why", [("foreign", 0, "something unknown (byte 41943047 "),
                                              ("broken", EIO, "Input/output error")])
def test_a_disk_that_is_not_blank_or_cannot_be_read_is_left_byte_for_byte(lab, name, error, why):
    place = 40 * MIB + 7
    disk = make_disk(lab, f"{name}.disk", 64 * MIB, b"foreign" if name == "foreign" else b"", place)
    before = digest(disk)
    device = failing(disk, place) if error else plain(disk)
    with running(lab, name, FORMAT, image=WITH_MKFS, more=device) as (hostd, vm):
        step = ended(hostd, STEP)
        assert step["result"] == "failed" and step["mandatory"], step
        assert why in step["message"] and step["message"].endswith(": left as it is"), step
        assert step["error"] == error
        # The boot goes on.
        assert in_guest(hostd, "echo", "alive") == "alive\n"
        assert "/dev/vdb" not in in_guest(hostd, "cat", "/proc/mounts")
        power_off(hostd, vm)
    assert digest(disk) == before
