"""Disks without room: what can't be kept is told, nothing half is left, and what runs goes on."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

from harness import agent as agents
from harness import containers
from harness.client import CallFailed
from harness.containers import Box, ContainerAgent
from harness.hostd import Hostd

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))

RESOURCE_EXHAUSTED = 8


@contextlib.contextmanager
def tmpfs(path, size):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextlib.contextmanager
def agent_on(tmp_path, directory, size):
    """An agent one of whose directories ("s" its state, "d" its data) is on a small disk."""
    home = pathlib.Path(containers.home())
    with tmpfs(home / directory, size):
        agent = ContainerAgent(home)
        client = agent.connect()
        yield agent, Box(client, containers.make_rootfs(tmp_path / "root"))
        agent.close()
    shutil.rmtree(home)


@contextlib.contextmanager
def full(agent, directory):
    """As long as this lasts there is no room."""
    path = f"/proc/{agent.holder.pid}/root{directory}/ballast"
    with open(path, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
    yield
    os.unlink(path)


def test_a_container_that_cannot_be_remembered_is_refused_and_leaves_nothing(tmp_path):
    with agent_on(tmp_path, "s", "256k") as (agent, box):
        kept = box.run("sleep", "1000")
        with full(agent, agent.state):
            with pytest.raises(CallFailed) as failed:
                for _ in range(100):
                    box.create("true")
            assert failed.value.code == RESOURCE_EXHAUSTED and "No space left" in failed.value.message
            known = {one.id for one in box.call("List", all=True).containers}
            assert box.state(kept) == "RUNNING"
        assert {one.name for one in (agent.state / "containers").iterdir()} == known
        assert box.ended("echo", "again")[1] == b"again\n"
        # What has been half written is not there after a restart either.
        agent.kill()
        agent.start()
        box = Box(agent.connect(), box.rootfs)
        assert {one.id for one in box.call("List", all=True).containers} == known
        box.call("Remove", container=kept, force=True)


def read(box, container):
    """The log's text, how much of the output is in it, and how much it says is missing."""
    logs = box.logs(container)
    text, lost = b"", 0
    for record in logs.records():
        text += record.data
        lost += record.lost
    return text, lost + logs.end.lost


def test_a_container_whose_log_has_no_room_goes_on_and_the_log_says_what_is_missing(tmp_path):
    size, lines = 1 << 20, 200_000
    with agent_on(tmp_path, "d", str(size)) as (agent, box):
        made = box.run("seq", "1", str(lines))
        assert box.wait(made).code == 0
        whole = b"".join(b"%d\n" % line for line in range(1, lines + 1))
        logs, at, kept, lost = box.logs(made), 0, 0, 0
        for record in logs.records():
            if record.lost:     # for a while there was room again: other files change too
                at = whole.index(record.data, at)
            assert record.data == whole[at:at + len(record.data)]
            at += len(record.data)
            kept += len(record.data)
            lost += record.lost
        assert 0 < kept < size and lost + logs.end.lost > 0
        box.call("Remove", container=made)
        assert box.ended("echo", "again")[1] == b"again\n"


def test_a_log_goes_on_when_there_is_room_again_and_tells_the_gap_in_its_place(tmp_path):
    """The log, and who is attached: what can't be kept can't be passed on either, and is not hushed up."""
    with agent_on(tmp_path, "d", "1m") as (agent, box):
        made = box.create("cat", open_stdin=True).id
        attach = box.attach(made)
        box.call("Start", container=made)
        attach.send(stdin=b"before\n")
        attach.read_until(b"before\n")
        with full(agent, agent.data):
            for _ in range(4):
                attach.send(stdin=b"x" * 4096)
            agents.until(lambda: read(box, made)[1] > 0, "the log has a gap")
        attach.send(stdin=b"after\n")
        told = 0
        while not (message := attach.receive()).stdout.endswith(b"after\n"):
            told += message.lost
        attach.send(stdin_closed=True)
        assert box.wait(made).code == 0
        records = list(box.logs(made).records())
        assert records[0].data == b"before\n" and records[0].lost == 0
        assert records[-1].data.endswith(b"after\n")
        assert told == sum(record.lost for record in records) > 0


def test_hostctl_tells_of_a_gap(tmp_path):
    with agent_on(tmp_path, "d", "1m") as (agent, box):
        made = box.run("seq", "1", "200000")
        assert box.wait(made).code == 0
        hostd = Hostd(tmp_path, f"unix:{agent.path}")
        hostd.wait_for_agent()
        done = hostd.ctl("guest", "logs", made)
        assert done.returncode == 0 and b"bytes of the log are missing here" in done.stderr
        hostd.close()
