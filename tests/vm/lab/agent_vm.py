"""A QEMU guest whose init is the agent, and which is driven by `hostctl guest`."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

from . import vm as qemu
from .hostd import REPOSITORY
from .process import wait_until
from .vm import AGENT_IMAGE, BOOT_SECONDS, ONLINE_SECONDS, build_image, qemu_command

PROBE = "/run/probe"


def agent_binary():
    """The program to run: $SLUICE_AGENT, or the one that scripts/build makes."""
    return pathlib.Path(os.environ.get("SLUICE_AGENT") or REPOSITORY / "build/bin/agent")


def busybox():
    """The bytes of the static busybox that the guests have."""
    sys.path.insert(0, str(AGENT_IMAGE.parent))
    import debian  # noqa: PLC0415  (found by the line above)
    return debian.busybox(debian.cache_dir()).read_bytes()


class AgentVm:
    """A running guest in the namespace of the world's host. `port` is where its agent is reached."""

    def __init__(self, lab, nic, name, append="", image=(), more=()):
        """`image` are options of examples/rootfs/build.py, `more` of QEMU."""
        self.port = lab.directory / f"{name}.agent"
        self.port.unlink(missing_ok=True)
        built = build_image(AGENT_IMAGE, "--agent", agent_binary(), *image)
        command = qemu_command(built, nic, self.port, "sluice.agent", append, more)
        # hostd may run as another user than QEMU: it has to be able to write to QEMU's sockets.
        self.process = lab.world.host.start(name, command, lab.directory / f"{name}.log", umask=0)

    def kill(self):
        """SIGKILL to QEMU, as when a VMM crashes."""
        self.process.kill()

    def close(self):
        self.process.stop()


def wait_for_agent(hostd):
    """Waits until the guest's agent answers hostd; returns what it says of itself."""
    def ping():
        done = hostd.ctl("--json", "guest", "ping")
        return json.loads(done.stdout) if done.returncode == 0 else None
    return wait_until(ping, BOOT_SECONDS, "the guest's agent")


def boot_steps(hostd):
    """The steps of the guest's boot so far, by name."""
    report = json.loads(hostd.ctl("--json", "guest", "boot").stdout)
    return {step["name"]: step for step in report["steps"]}


def wait_for_network(hostd):
    """What the step `network` of the boot has come to, once it is over."""
    def ended():
        step = boot_steps(hostd)["network"]
        return step if step["result"] != "running" else None
    return wait_until(ended, ONLINE_SECONDS, "the guest's network")


@contextlib.contextmanager
def running(lab, name, append="", *options, image=(), more=()):
    """A VM and the hostd beside it, with `options`, whose agent answers. See AgentVm for the rest."""
    nic = lab.directory / f"{name}.nic"
    vm = AgentVm(lab, qemu.stream_nic_listening(nic), name, append, image, more)
    with contextlib.closing(vm):
        hostd = lab.hostd("--qemu-connect", nic, "--agent", f"serial:{vm.port}", *options,
                          name=f"hostd-{name}")
        with contextlib.closing(hostd):
            wait_for_agent(hostd)
            yield hostd, vm


def bring_probe(lab, hostd):
    """Puts the program that probe.c makes into the guest, at PROBE."""
    program = lab.directory / "probe"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, pathlib.Path(__file__).with_name("probe.c")],
                   check=True, timeout=120)
    done = hostd.ctl("guest", "cp", program, f"vm:{PROBE}")
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def guest_pipe(hostd, *command):
    """A socket whose other end is standard input and output of a program in the guest."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        program = subprocess.Popen([hostd.hostctl(), "-n", hostd.ready["socket"], "guest", "exec",
                                    "-i", *command], stdin=theirs, stdout=theirs)
        theirs.close()
        try:
            yield ours
        finally:
            ours.close()
            program.kill()
            program.wait()
