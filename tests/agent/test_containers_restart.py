"""An agent that is killed: its containers go on, and the next one finds them."""

import os
import signal

import pytest

from harness import agent as agents
from harness import containers
from harness.client import CallFailed
from harness.containers import Box, ContainerExec, messages

SECOND = 10**9

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))

rootfs, agent, client, box = containers.fixtures()


def again(agent, box, meanwhile=None):
    """Another agent, after the present one was killed; and its Box."""
    agent.kill()
    if meanwhile:
        meanwhile()
    agent.start()
    return Box(agent.connect(), box.rootfs)


def test_what_runs_goes_on_and_is_found_again(agent, box):
    made = box.run("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done",
                   name="counter", labels={"a": "b"})
    pid = box.info(made).pid
    before = len(box.logs(made).text())
    box = again(agent, box)
    info = box.info("counter")
    assert (info.id, info.pid, dict(info.labels)) == (made, pid, {"a": "b"})
    assert box.state(made) == "RUNNING"
    agents.until(lambda: len(box.logs(made).text()) > before, "it writes on")
    lines = box.logs(made).text().decode().split()
    assert lines == [str(number) for number in range(len(lines))]
    call = ContainerExec(box.client, made, "echo", "inside")
    assert call.finish()[0] == b"inside\n"
    assert box.call("Stop", container=made, timeout_ns=SECOND // 10).exit.signal == 9


def test_an_end_while_no_agent_is_there_is_not_lost(agent, box, tmp_path):
    made = box.run("sh", "-c", "while [ ! -e /in/go ]; do sleep 0.01; done; echo over; exit 42",
                   mounts=[messages.ContainerMount(kind="BIND", source=str(tmp_path),
                                                   target="/in")])
    (shim,) = agent.shims(made)

    def end():
        (tmp_path / "go").touch()
        agents.until(lambda: not agents.runs(shim), "it ends")
    box = again(agent, box, end)
    assert box.state(made) == "STOPPED"
    assert (box.wait(made).code, box.logs(made).text()) == (42, b"over\n")


def test_a_created_and_a_paused_one_are_what_they_were(agent, box):
    created = box.create("true").id
    paused = box.run("sleep", "60")
    box.call("Pause", container=paused)
    box = again(agent, box)
    assert (box.state(created), box.state(paused)) == ("CREATED", "PAUSED")
    box.call("Resume", container=paused)
    box.call("Start", container=created)
    assert box.wait(created).code == 0


def test_a_restart_policy_holds_over_an_agents_end(agent, box):
    made = box.run("sleep", "60", restart=messages.RestartPolicy(kind="ALWAYS"))
    pid = box.info(made).pid
    (shim,) = agent.shims(made)

    def end():
        os.kill(pid, signal.SIGKILL)
        agents.until(lambda: not agents.runs(shim), "the shim ends")
    box = again(agent, box, end)
    agents.until(lambda: box.info(made).pid not in (0, pid), "it runs again")


def test_an_attached_client_goes_on_where_it_was(agent, box):
    made = box.create("sh", "-c", "head -c 8000000 /dev/zero; sleep 0.2; echo end >&2").id
    attach = box.attach(made)
    box.call("Start", container=made)
    got = len(attach.receive().stdout)
    offset = next(iter(box.logs(made).records())).next_offset
    first = len(next(iter(box.logs(made).records())).data)
    box = again(agent, box)
    out, err = box.attach(made, offset=offset).finish()
    assert got > 0 and first + len(out) == 8_000_000 and err == b"end\n"


def test_a_shim_that_is_killed_takes_its_container_along_and_that_is_told(agent, box):
    made = box.run("sleep", "60")
    pid = box.info(made).pid
    os.kill(agent.shims(made)[0], signal.SIGKILL)
    status = box.wait(made)
    assert status.lost and status.code == 137
    assert box.state(made) == "STOPPED"
    agents.until(lambda: not agents.runs(pid), "its process is gone")
    agents.until(lambda: agent.cgroups() == [], "its cgroup is gone")
    box.call("Start", container=made)
    assert box.state(made) == "RUNNING"


def test_names_stay_taken(agent, box):
    box.create("true", name="taken")
    box = again(agent, box)
    with pytest.raises(CallFailed):
        box.create("true", name="taken")


@pytest.mark.timing
def test_a_shim_is_small(agent, box):
    (shim,) = agent.shims(box.run("sleep", "60"))
    with open(f"/proc/{shim}/smaps_rollup", encoding="ascii") as file:
        status = file.read()
    private = [int(line.split()[1]) for line in status.splitlines()
               if line.startswith(("Private_Dirty:", "Private_Clean:"))]
    assert sum(private) < 1200, status
