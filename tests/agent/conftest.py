"""Fixtures of the agent's tests.

`agent`   an agent of the file's own, on a Unix socket, shared by the tests of one file
`client`  a connection to it, new for each test
`run`     runs a program to its end: run(*args, stdin=b"", **start) -> Result"""

import collections
import os
import shutil
import signal

import pytest

from harness import agent as agents
from harness.client import Exec

Result = collections.namedtuple("Result", "out err exit")


def _ended(*_):
    raise KeyboardInterrupt("SIGTERM")


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _ended)       # so that the fixtures clean up
    config.addinivalue_line("markers", "long: minutes; with SLUICE_LONG=1 only")
    config.addinivalue_line("markers", "timing: asserts memory or rates; left out under sanitizers")
    if os.getuid() != 0 or not shutil.which("protoc"):
        pytest.exit("agent tests skipped: they need root, and protoc", 0)
    if not os.access(agents.AGENT, os.X_OK):
        pytest.exit(f"no agent at {agents.AGENT}: build it, or set SLUICE_AGENT", 2)


def pytest_collection_modifyitems(items):
    if not os.environ.get("SLUICE_LONG"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="SLUICE_LONG=1 runs it"))
    if agents.SANITIZED:
        for item in items:
            if item.get_closest_marker("timing"):
                item.add_marker(pytest.mark.skip(reason="not with a sanitizer"))


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    made = agents.Agent(tmp_path_factory.mktemp("agent"))
    yield made
    made.close()
    assert not made.path.exists()


@pytest.fixture
def client(agent):
    made = agent.connect()
    yield made
    made.close()


@pytest.fixture
def run(client):
    def run_one(*args, stdin=b"", **start):
        call = Exec(client, *args, **start)
        if stdin:
            call.send(stdin=stdin)
        if not start.get("no_stdin") and "terminal" not in start:
            call.send(stdin_closed=True)
        out, err = call.finish()
        return Result(out, err, call.exit)

    return run_one
