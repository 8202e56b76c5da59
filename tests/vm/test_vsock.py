"""The agent's vsock in a real VM, by the loopback transport of the guest's kernel."""

import json
import pathlib
import subprocess
import sys

import pytest

from lab import lab as lab_module
from lab import vm as qemu
from lab.agent_vm import PROBE, boot_steps, bring_probe, guest_pipe, running
from lab.process import wait_until

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "agent"))
from harness import protocol                                          # noqa: E402
from harness.client import AGENT, CallFailed, Client, Exec            # noqa: E402

pytestmark = pytest.mark.skipif(lab_module.why_not() is not None,
                                reason=f"VM tests skipped: {lab_module.why_not()}")

LOCAL_CID = "1"
SECOND = ["/sbin/init", "--vsock", "2000", "--vsock_from", LOCAL_CID, "--state", "/run/second",
          "--data", "/run/second", "--images", "/run/second/images"]


@pytest.fixture(scope="module")
def guest(lab):
    with running(lab, "vsock", "sluice.modules=vsock_loopback") as (hostd, _):
        bring_probe(lab, hostd)
        yield hostd


@pytest.fixture(scope="module")
def served(guest):
    """An agent that serves the programs of the guest on port 2000."""
    started = guest.ctl("guest", "exec", "-d", *SECOND)
    assert started.returncode == 0, started.stderr

    def listens():
        probe = f"{PROBE} vsock {LOCAL_CID} 2000 </dev/null"
        return guest.ctl("guest", "exec", "sh", "-c", probe).returncode == 0
    wait_until(listens, qemu.ONLINE_SECONDS, "the second agent")
    return guest


def test_the_agent_serves_vsock_and_says_so(guest):
    steps = boot_steps(guest)
    assert steps["serve vsock port 1024"]["result"] == "done"
    assert steps["module vsock_loopback"]["result"] == "done"


def test_a_program_of_the_guest_is_not_the_host_and_is_not_heard(guest):
    """CID 2 alone may call the agent; a program of the guest that connects to itself has 1."""
    done = subprocess.run([guest.hostctl(), "-n", guest.ready["socket"], "guest", "exec", "-i", PROBE,
                           "vsock", LOCAL_CID, "1024"], input=b"\0" * 10, capture_output=True,
                          timeout=qemu.COMMAND_SECONDS, check=False)
    assert done.stdout == b""
    assert json.loads(guest.ctl("--json", "guest", "ping").stdout)["version"]


def test_calls_are_answered_over_vsock(served):
    with guest_pipe(served, PROBE, "vsock", LOCAL_CID, "2000") as pipe:
        client = Client(pipe)
        pong = client.call(AGENT, "Ping", protocol.agent.PingRequest(), protocol.agent.PingResponse)
        assert pong.boot_id == json.loads(served.ctl("--json", "guest", "ping").stdout)["boot_id"]
        with pytest.raises(CallFailed) as failed:
            client.call(AGENT, "Shutdown", protocol.agent.ShutdownRequest(),
                        protocol.agent.ShutdownResponse)
        assert failed.value.code == 9  # FAILED_PRECONDITION: it is not this guest's init
        client.close()


def test_a_programs_output_and_exit_come_over_vsock(served):
    with guest_pipe(served, PROBE, "vsock", LOCAL_CID, "2000") as pipe:
        client = Client(pipe)
        program = Exec(client, "sh", "-c", "seq 1 20000; exit 42")
        output, _ = program.finish()
        assert output == "".join(f"{i}\n" for i in range(1, 20001)).encode()
        assert program.exit.code == 42
        client.close()
