"""A QEMU guest driven from the outside.

The kernel's messages go to a serial console, which is the log. Commands go over a virtio-serial
port, one line each way (see ../image/init), so that they need no network.
"""

import base64
import dataclasses
import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

from .process import LabError

QEMU = "qemu-system-x86_64"
REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
SCRIPT_IMAGE = REPOSITORY / "tests/vm/image/build.py"
AGENT_IMAGE = REPOSITORY / "examples/rootfs/build.py"
MEMORY_MIB = 256
BOOT_SECONDS = 180
ONLINE_SECONDS = 90
COMMAND_SECONDS = 60
NIC_DEVICE = "virtio-net-pci,netdev=nic,mac=52:54:00:00:00:02,romfile="
SPARE_SECONDS = 15  # for a guest that is late in killing a command, before it counts as hung


def build_image(builder=SCRIPT_IMAGE, *options):
    """The paths of what a VM boots, built or from the cache."""
    done = subprocess.run([sys.executable, builder, *map(str, options)], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise LabError(done.stderr.strip())
    return json.loads(done.stdout)


def stream_nic(path):
    """QEMU connects to a gateway that listens at `path`."""
    return f"stream,id=nic,server=off,addr.type=unix,addr.path={path}"


def stream_nic_listening(path):
    """QEMU listens at `path`, and starts the guest without waiting for the gateway."""
    return f"stream,id=nic,server=on,addr.type=unix,addr.path={path}"


def dgram_nic(path, own_path):
    """A datagram per frame, to the gateway at `path`, from a socket bound to `own_path`."""
    return (f"dgram,id=nic,local.type=unix,local.path={own_path},"
            f"remote.type=unix,remote.path={path}")


def vhost_user_nic(path):
    """QEMU shares the guest's memory with a gateway at `path`, and connects again when it went."""
    return ["-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on",
            "-numa", "node,memdev=memory",
            "-chardev", f"socket,id=vhost,path={path},reconnect=1",
            # QEMU 7.2 without KVM falls over vhost-user's MSI-X vectors, so the NIC has none.
            "-netdev", "vhost-user,id=nic,chardev=vhost", "-device", NIC_DEVICE + ",vectors=0"]


def qemu_command(image, nic, port_path, port_name, append="", more=()):
    """A VM with one NIC, whose back end is `nic` (of -netdev, or all the options of both), and a
    virtio-serial port, whose socket at `port_path` it listens on."""
    disk = ["-drive", f"file={image['root']},format=raw,if=virtio,readonly=on"] \
        if "root" in image else []
    return [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", f"q35,accel={os.environ.get('SLUICE_VM_ACCEL', 'tcg')}",
        "-cpu", "max", "-m", str(MEMORY_MIB),
        "-kernel", image["kernel"], "-initrd", image["initramfs"],
        "-append", f"console=ttyS0 quiet panic=-1 tsc=reliable {image.get('append', '')} {append}", *disk,
        "-serial", "stdio",
        "-chardev", f"socket,id=port,path={port_path},server=on,wait=off",
        "-device", "virtio-serial-pci",
        "-device", f"virtserialport,chardev=port,name={port_name}",
        *(nic if isinstance(nic, list) else ["-netdev", nic, "-device", NIC_DEVICE]),
        *more,
    ]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command in the guest did. `output` is stdout and stderr together."""
    exit_code: int
    output: str


class Vm:
    """A running guest, started in the namespace `space` with the network device `nic`."""

    def __init__(self, image, space, nic, directory, name="vm"):
        self._ids = itertools.count(1)
        control_path = directory / f"{name}.control"
        control_path.unlink(missing_ok=True)
        command = qemu_command(image, nic, control_path, "sluice.control")
        # hostd may run as another user than QEMU: it has to be able to write to QEMU's sockets.
        self._process = space.start(name, command, directory / f"{name}.log", umask=0)
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process.wait_for(lambda: self._try_connect(control_path), 60, "QEMU starts")
            self._lines = self._control.makefile("r", encoding="ascii", newline="\n")
            self._expect("ready", BOOT_SECONDS)
        except BaseException:
            self.close()
            raise

    def _try_connect(self, path):
        try:
            self._control.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def _read_line(self, seconds, what):
        self._control.settimeout(seconds)
        try:
            line = self._lines.readline()
        except (TimeoutError, OSError) as error:
            raise LabError(f"the guest did not finish {what} in {seconds} s ({error})\n"
                           f"{self._process.tail()}") from None
        if not line.endswith("\n"):
            raise LabError(f"the VM ended during {what}\n{self._process.tail()}")
        return line.rstrip("\n")

    def _expect(self, text, seconds):
        line = self._read_line(seconds, "its boot")
        if line != text:
            raise LabError(f"the guest said {line!r} instead of {text!r}")

    def run(self, command, seconds=COMMAND_SECONDS):
        """Runs a shell command in the guest, which kills it after `seconds` (exit code 137)."""
        number = next(self._ids)
        encoded = base64.b64encode(command.encode()).decode()
        self._control.settimeout(SPARE_SECONDS)
        self._control.sendall(f"{number} {seconds} {encoded}\n".encode())
        line = self._read_line(seconds + SPARE_SECONDS, f"`{command}`")
        answered, exit_code, output = (line.split(" ") + [""])[:3]
        if int(answered) != number:
            raise LabError(f"the guest answered command {answered} instead of {number}")
        return Result(int(exit_code), base64.b64decode(output).decode(errors="replace"))

    def output_of(self, command, seconds=COMMAND_SECONDS):
        """The output of a command that must succeed, without the last line end."""
        result = self.run(command, seconds)
        if result.exit_code != 0:
            raise LabError(f"`{command}` in the guest ended with {result.exit_code}: "
                           f"{result.output.strip()}\n{self._process.tail()}")
        return result.output.rstrip("\n")

    def wait_for(self, command, seconds, what):
        """Repeats a command in the guest until it succeeds; returns its output."""
        deadline = time.monotonic() + seconds
        while True:
            result = self.run(command)
            if result.exit_code == 0:
                return result.output.rstrip("\n")
            if time.monotonic() > deadline:
                state = self.run("ip address show eth0; ip route; ip -6 route").output
                raise LabError(f"the guest waited {seconds} s in vain for {what}\n{state}"
                               f"{self._process.tail()}")

    def wait_online(self, seconds=ONLINE_SECONDS):
        """Waits for a DHCP lease."""
        self.wait_for("test -e /tmp/lease || { usleep 50000; false; }", seconds, "a DHCP lease")

    def wait_online_v6(self, seconds=ONLINE_SECONDS):
        """Waits for an address that the guest made of a router advertisement; returns it."""
        shown = self.wait_for(
            "ip -6 address show dev eth0 scope global | grep -v tentative | grep inet6 "
            "|| { usleep 50000; false; }", seconds, "an IPv6 address by router advertisement")
        return re.search(r"inet6 (\S+)/", shown).group(1)

    def lease(self):
        """The variables that the DHCP client gave to its script."""
        lines = self.output_of("cat /tmp/lease").splitlines()
        pairs = (line.partition("=") for line in lines)
        return {name: value.strip("'") for name, _, value in pairs}

    def wait_for_exit(self, seconds):
        """Waits until QEMU has ended by itself; returns its exit code."""
        return self._process.wait_for_exit(seconds)

    def kill(self):
        """SIGKILL to QEMU, as when a VMM crashes."""
        self._process.kill()
        self._control.close()

    def close(self):
        self._process.stop()
        self._control.close()
