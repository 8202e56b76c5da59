"""A client in Go, of the .proto files and containerd's ttrpc package alone: examples/client-go."""

import pathlib
import shutil
import subprocess

import pytest

from harness import containers

BUILD = pathlib.Path(__file__).resolve().parents[2] / "examples/client-go/build"
BUILD_SECONDS = 240     # With nothing in Go's cache it compiles gRPC too.

pytestmark = [
    pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not())),
    pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go compiler"),
]

rootfs, agent, client, box = containers.fixtures()


@pytest.fixture(scope="module")
def go_client(tmp_path_factory):
    program = tmp_path_factory.mktemp("go") / "client-go"
    done = subprocess.run([BUILD, program], capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr
    return program


def run(go_client, agent, root):
    devices = [] if containers.rules_of_devices() else ["-all-devices"]
    return subprocess.run([go_client, agent.path, "-rootfs", root, *devices], capture_output=True,
                          text=True, timeout=120)


def test_it_takes_a_container_through_its_whole_life(go_client, agent, rootfs):
    done = run(go_client, agent, rootfs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        'cat said "hello from Go\\n" and ended with 0',
        "created client-go",
        "started",
        'exec: wc counted "100000\\n" and ended with 0',
        "stopped with 42",
        "waited for 42",
        'log: "stopping\\n"',
        "removed",
        "now: rpc error: code = NotFound desc = there is no container client-go",
    ]


def test_an_error_has_the_code_that_go_knows(go_client, agent):
    done = run(go_client, agent, "/no/such/rootfs")
    assert done.returncode == 1
    assert "rpc error: code = NotFound" in done.stderr and "/no/such/rootfs" in done.stderr
