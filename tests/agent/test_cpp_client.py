"""A client in C++, on agent/client: examples/client-cpp."""

import os
import pathlib
import subprocess
import tempfile

import pytest

from harness import agent as agents
from harness import containers

PROGRAM = pathlib.Path(agents.AGENT).parents[1] / "examples/client-cpp"

pytestmark = [
    pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not())),
    pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason=f"there is no {PROGRAM}"),
]

IMAGES = tempfile.TemporaryDirectory(prefix="sluice-images-")
AGENT_ARGUMENTS = ["--images", IMAGES.name]
rootfs, agent, client, box = containers.fixtures()
LIFE = [
    "created client-cpp",
    "started",
    "exec: wc counted 1000000",
    "stopped with 42",
    "log: started",
    "stopping",
    "removed",
]


def file_system(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()


def run(agent, *arguments):
    devices = [] if containers.rules_of_devices() else ["--all-devices"]
    return subprocess.run([PROGRAM, f"unix:{agent.path}", *arguments, *devices],
                          capture_output=True, text=True, timeout=120)


def test_it_takes_a_container_through_its_whole_life(agent, rootfs, box):
    done = run(agent, "--rootfs", rootfs)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("agent ") and lines[1:] == LIFE
    assert not box.call("List", all=True).containers


@pytest.mark.skipif(file_system("/tmp") == "overlayfs", reason="an overlay can't be on another")
def test_an_image_that_it_imports_is_what_its_container_runs(agent, rootfs, box, tmp_path):
    archive = tmp_path / "app.tar"
    subprocess.run(["tar", "-C", rootfs, "-cf", archive, "."], check=True)
    done = run(agent, "--archive", archive)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [f"imported {archive}", *LIFE]
    assert not box.call("List", all=True).containers


def test_an_archive_that_is_none_is_told(agent, tmp_path):
    archive = tmp_path / "junk.tar"
    archive.write_bytes(os.urandom(1 << 20))
    done = run(agent, "--archive", archive)
    assert done.returncode == 1 and "import" in done.stderr


def test_an_error_is_told_and_nothing_is_left(agent, box):
    done = run(agent, "--rootfs", "/no/such/rootfs")
    assert done.returncode == 1 and "/no/such/rootfs" in done.stderr
    assert not box.call("List", all=True).containers


def test_an_agent_that_is_not_there_is_told(tmp_path):
    done = subprocess.run([PROGRAM, f"unix:{tmp_path}/nobody.sock"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1 and "nobody.sock" in done.stderr
    assert subprocess.run([PROGRAM], capture_output=True, timeout=60).returncode == 2
