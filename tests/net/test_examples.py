"""The example VMMs do what their README says: a TAP is the guest's NIC, libnet's rings its network."""
import contextlib
import os
import signal
import subprocess

import pytest

from harness import gateway as gateways
from harness.clients import SOON, WORLD, connect_error, read_exactly
from harness.netns import Namespace

EXAMPLES = os.environ.get("SLUICE_EXAMPLES") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(gateways.HOSTD))), "examples")
PROGRAMS = ["vmm-cpp", "vmm-c"]
pytestmark = pytest.mark.hostd


@contextlib.contextmanager
def running(world, name, *arguments):
    """The example at work beside a guest, which is its `guest`."""
    program = os.path.join(EXAMPLES, name)
    if not os.access(program, os.X_OK):
        pytest.skip(f"{program} is not built")
    # What the harness starts as `init` keeps the guest's namespace reachable by a pid.
    guest = Namespace("guest")
    init = guest.spawn("sleep", 60)
    tap = f"ex{os.getpid() % 100000}{name[-1]}"
    process = world.host.spawn(program, tap, "--profile", "all", "--deny", "203.0.113.7",
                               *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        world.host.ip(f"link set {tap} netns {init.pid} name tap0")
        guest.ip("link set tap0 txqueuelen 16384 up", "addr add 192.168.127.2/24 dev tap0",
                 "route add default via 192.168.127.1")
        process.guest = guest
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0, process.stderr.read()
    finally:
        process.stop()
        init.stop()
        guest.close()


@pytest.fixture(params=PROGRAMS)
def vmm(request, world):
    with running(world, request.param) as process:
        yield process


@pytest.mark.parametrize("name", PROGRAMS)
def test_rings_that_are_always_full_lose_nothing(world, load, name):
    """As small as they can be.  (The TAP's own queue is long: what it drops is not ours.)"""
    with running(world, name, "--ring", 16) as vmm:
        result = load.run(vmm.guest, WORLD[4], flows=4, at=4, up=16 << 20, down=16 << 20)
    assert result["ok"] == result["flows"], result


def test_an_example_vmm_carries_data_both_ways_and_tells_a_refusal(vmm, world):
    data = os.urandom(300_000)
    with world.world.listen(WORLD[4]) as listener:
        client = vmm.guest.connect(WORLD[4], listener.getsockname()[1])
        server, _ = listener.accept()
        with client, server:
            client.sendall(data)
            assert read_exactly(server, len(data)) == data
            server.sendall(data)
            assert read_exactly(client, len(data)) == data
    error, seconds = connect_error(vmm.guest, "203.0.113.7", 80)
    assert error and seconds < SOON
    assert "denied tcp" in vmm.stderr.readline()


def test_an_example_vmm_answers_ping_of_the_gateway(vmm):
    done = vmm.guest.run("ping", "-c", 1, "-W", 2, "192.168.127.1")
    assert done.returncode == 0, done.stdout
