"""How the agent is started and ended as a service."""

import os
import signal
import socket
import subprocess

import pytest

from harness import agent as agents
from harness import client as ttrpc
from harness.agent import AGENT, Agent
from harness.client import Client, Exec


def run(*arguments, **options):
    return subprocess.run([AGENT, *arguments], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False, **options)


def test_help_names_every_option():
    result = run("--help")
    assert result.returncode == 0
    for option in ("--unix", "--vsock", "--serial", "--stdio", "--version",
                   "sluice.hostname=", "sluice.modules=", "sluice.on-init-failure=",
                   "sluice.net="):
        assert option in result.stdout
    assert run("-h").stdout == result.stdout


def test_version_is_one_line():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("agent ") and result.stdout.count("\n") == 1


@pytest.mark.parametrize("arguments, said", [
    ([], "nothing to serve on"),
    (["--bogus"], "--bogus"),
    (["--bogus=1"], "--bogus"),
    (["bogus"], "'bogus' is no option"),
    (["--unix"], "--unix needs PATH"),
    (["--unix", ""], "a path is needed"),
    (["--vsock", "x"], "'x' is not a port"),
    (["--vsock=0"], "'0' is not a port"),
    (["--vsock=4294967296"], "'4294967296' is not a port"),
    (["--hostname", "a b", "--stdio"], "'a b' is not a host name"),
    (["--on-init-failure", "panic", "--stdio"], "'panic' is neither halt nor continue"),
    (["--hostname", "box", "--stdio"], "only the guest's init uses it"),
    (["--ip", "192.0.2.2/24", "--stdio"], "only the guest's init uses it"),
    (["--vsock", "off"], "nothing to serve on"),
])
def test_wrong_usage_says_what_is_wrong(arguments, said):
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_second_agent_takes_no_socket_from_a_living_one(tmp_path):
    agent = Agent(tmp_path)
    result = run("--unix", str(agent.path))
    assert result.returncode == 1
    assert str(agent.path) in result.stderr
    agent.connect().ping()
    agent.close()
    assert not agent.path.exists()


def test_what_a_killed_agent_left_is_replaced(tmp_path):
    agent = Agent(tmp_path)
    agent.process.kill()
    agent.process.wait()
    assert agent.path.exists()
    again = Agent(tmp_path)
    again.connect().ping()
    again.close()


def test_what_is_no_socket_stays(tmp_path):
    path = tmp_path / "precious"
    path.write_text("content")
    result = run("--unix", str(path))
    assert result.returncode == 1
    assert str(path) in result.stderr
    assert path.read_text() == "content"


def test_a_socket_that_somebody_put_in_its_place_is_not_removed(tmp_path):
    agent = Agent(tmp_path)
    agent.path.unlink()
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(agent.path))
    agent.close()
    assert agent.path.exists()
    other.close()


@pytest.mark.parametrize("path", ["/no/such/directory/socket", "/tmp/" + "x" * 200])
def test_a_socket_that_cannot_be_made_is_named(path):
    result = run("--unix", path)
    assert result.returncode == 1
    assert path in result.stderr


def test_only_the_owner_may_use_the_socket(tmp_path):
    agent = Agent(tmp_path)
    assert agent.path.stat().st_mode & 0o777 == 0o600
    agent.close()


def test_several_sockets_are_served(tmp_path):
    other = tmp_path / "other.sock"
    agent = Agent(tmp_path, "--unix", str(other))
    agent.connect().ping()
    ttrpc.connect(other).ping()
    agent.close()
    assert not other.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_what_it_runs(tmp_path, number):
    agent = Agent(tmp_path)
    call = Exec(agent.connect(), "sleep", "60")
    agent.process.send_signal(number)
    assert agent.process.wait(60) == 0
    assert not agent.path.exists()
    agents.until(lambda: not agents.runs(call.pid), "the program ends")


def test_orphans_of_others_are_not_the_services(tmp_path):
    agent = Agent(tmp_path)
    assert agent.children() == []
    agent.close()


def start_on_stdio():
    theirs, ours = socket.socketpair()
    process = subprocess.Popen([AGENT, "--stdio"], stdin=theirs, stdout=theirs,
                               stderr=subprocess.DEVNULL)
    theirs.close()
    return process, Client(ours)


def test_it_serves_on_its_standard_streams_until_they_close():
    process, client = start_on_stdio()
    client.ping()
    call = Exec(client, "sh", "-c", "echo out; echo err >&2")
    assert call.finish() == (b"out\n", b"err\n")
    running = Exec(client, "sleep", "60")
    client.close()
    assert process.wait(60) == 0
    agents.until(lambda: not agents.runs(running.pid), "the program ends")


def test_standard_streams_may_be_two_pipes():
    process = subprocess.Popen([AGENT, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    request = b"\x0a\x15sluice.agent.v1.Agent\x12\x04Ping"
    process.stdin.write(len(request).to_bytes(4, "big") + b"\0\0\0\1\1\0" + request)
    process.stdin.flush()
    head = process.stdout.read(10)
    assert head[4:] == b"\0\0\0\1\2\0"
    assert len(process.stdout.read(int.from_bytes(head[:4], "big"))) > 50
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


def test_standard_streams_that_can_never_be_waited_for_end_it():
    with open(os.devnull, "rb") as nothing:
        result = subprocess.run([AGENT, "--stdio"], stdin=nothing, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=60, check=False)
    assert result.returncode in (0, 1)
