"""The clock of a real VM, which hostd keeps at the host's through the agent."""

import json
import pathlib
import socket
import sys
import time

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.agent_vm import PROBE, bring_probe, running
from lab.process import wait_until

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "agent"))
from harness import protocol                                          # noqa: E402
from harness.client import AGENT, Client                              # noqa: E402

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")

FROM_2020 = ["-rtc", "base=2020-01-01T00:00:00"]
CLOSE = 5  # seconds; a call over an emulated VM's port takes a part of one


def seconds_behind(hostd):
    """Of the guest's clock, give or take the call."""
    before = time.time()
    guest = json.loads(hostd.ctl("--json", "guest", "ping").stdout)["realtime_ns"] / 1e9
    return (before + time.time()) / 2 - guest


def right(hostd):
    return abs(seconds_behind(hostd)) < CLOSE


class Monitor:
    """QEMU's monitor (QMP)."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("r")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command):
        self.sock.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while "return" not in json.loads(self.lines.readline()):
            pass

    def close(self):
        self.lines.close()
        self.sock.close()


def test_a_guest_that_boots_in_2020_has_todays_time(lab):
    with running(lab, "past", more=FROM_2020) as (hostd, _):
        wait_until(lambda: right(hostd), qemu.ONLINE_SECONDS, "the guest's clock is set")
        assert "the guest's clock was" in hostd.process.log()
        status = json.loads(hostd.ctl("--json", "status").stdout)
        assert isinstance(status["agent"]["clock_offset_ns"], int)


def test_a_guest_that_was_stopped_catches_up_by_itself(lab):
    monitor_path = lab.directory / "stopped.qmp"
    more = ["-qmp", f"unix:{monitor_path},server=on,wait=off"]
    with running(lab, "stopped", more=more) as (hostd, _):
        wait_until(lambda: right(hostd), qemu.ONLINE_SECONDS, "the guest's clock is set")
        monitor = Monitor(monitor_path)
        monitor.do("stop")
        stopped_at = time.monotonic()
        wait_until(lambda: time.monotonic() > stopped_at + 2 * CLOSE, 60, "ten seconds have passed")
        monitor.do("cont")
        monitor.close()
        wait_until(lambda: right(hostd), 60, "the guest's clock has caught up")


@pytest.fixture(scope="module")
def left_alone(lab):
    """A guest whose clock nobody sets but the test, and a client of its agent."""
    with running(lab, "alone", "", "--agent-clock", "off", more=FROM_2020) as (hostd, _):
        bring_probe(lab, hostd)
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(hostd.ready["socket"].removesuffix(".sock") + ".agent.sock")
        client = Client(channel)
        yield hostd, client
        client.close()


def set_time(client, **request):
    return client.call(AGENT, "SetTime", protocol.agent.SetTimeRequest(**request),
                       protocol.agent.SetTimeResponse)


def step_of(client):
    """What SetTime can change at once: the wall clock against the one that counts from the boot."""
    pong = client.call(AGENT, "Ping", protocol.agent.PingRequest(), protocol.agent.PingResponse)
    return (pong.realtime_ns - pong.boottime_ns) / 1e9


def test_off_leaves_the_clock_as_it_is(left_alone):
    hostd, _ = left_alone
    assert seconds_behind(hostd) > 1e8
    assert json.loads(hostd.ctl("--json", "status").stdout)["agent"]["clock_offset_ns"] is None


def test_half_a_second_is_stepped(left_alone):
    _, client = left_alone
    for offset in (0.5, -0.5):
        before = step_of(client)
        answer = set_time(client, offset_ns=int(offset * 1e9))
        assert answer.stepped and answer.offset_ns == int(offset * 1e9)
        assert abs(step_of(client) - before - offset) < 0.01


def test_less_is_slewed_and_comes_bit_by_bit(left_alone):
    hostd, client = left_alone
    before = step_of(client)
    assert not set_time(client, offset_ns=300_000_000).stepped

    def left():
        return int(hostd.ctl("guest", "exec", PROBE, "slew").stdout)
    assert 0 < left() <= 300_000_000
    wait_until(lambda: left() < 299_900_000, 60, "the clock runs faster")
    assert abs(step_of(client) - before) < 0.01


def test_a_time_far_away_is_set_and_one_out_of_range_is_refused(left_alone):
    hostd, client = left_alone
    assert set_time(client, realtime_ns=time.time_ns()).stepped
    assert right(hostd)
    assert hostd.ctl("guest", "exec", "date", "+%Y").stdout.strip() == time.strftime("%Y", time.gmtime())
