"""One agent, shared by hostd among many clients, and `hostctl guest`, which is one of them."""

import os
import re
import signal
import socket
import stat
import struct
import threading

import pytest

from harness import protocol
from harness.agent import Agent, runs, until
from harness.client import AGENT, PROCESS, CallFailed, Exec
from harness.hostd import Hostd

CANCELLED, RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE = 1, 8, 10, 14
MIB = 1 << 20


@pytest.fixture(scope="module")
def hostd(agent, tmp_path_factory):
    made = Hostd(tmp_path_factory.mktemp("hostd"), f"unix:{agent.path}")
    made.wait_for_agent()
    yield made
    made.close()
    assert not made.path.exists()


@pytest.fixture
def client(hostd):
    made = hostd.connect()
    yield made
    made.close()


def cancel(client, stream):
    client.call(AGENT, "Cancel", protocol.agent.CancelRequest(stream_id=stream),
                protocol.agent.CancelResponse)


def test_the_agents_socket_is_beside_the_control_socket_and_for_its_owner_alone(hostd):
    mode = os.stat(hostd.path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_status_says_which_agent_answers(hostd, client):
    agent = hostd.status()
    assert agent["connected"] and agent["boot_id"] == client.ping().boot_id
    assert agent["last_error"] == ""


def test_many_clients_have_the_same_stream_numbers_and_each_its_own_answers(hostd):
    clients = [hostd.connect() for _ in range(16)]
    calls = [Exec(one, "sh", "-c", f"cat; echo {number}") for number, one in enumerate(clients)]
    assert {call.stream for call in calls} == {1}
    for number, call in enumerate(calls):
        call.send(stdin=b"%d says: " % number)
    for number, call in reversed(list(enumerate(calls))):
        call.send(stdin_closed=True)
        assert call.finish()[0] == b"%d says: %d\n" % (number, number)


def test_64_mib_through_hostd_arrive_unchanged(client):
    call = Exec(client, "sh", "-c", f"yes sluice | head -c {64 * MIB}")
    out, _ = call.finish()
    assert out == (b"sluice\n" * (64 * MIB // 7 + 1))[:64 * MIB]


def test_hostctl_exec_takes_several_variables(hostd):
    done = hostd.ctl("guest", "exec", "-e", "A=1", "-e", "B=2", "sh", "-c", "echo $A $B")
    assert (done.returncode, done.stdout) == (0, b"1 2\n"), done.stderr


def test_a_client_that_goes_takes_its_programs_along_and_nobody_elses(hostd, client):
    mine = Exec(client, "sleep", "1000")
    other = hostd.connect()
    others = Exec(other, "sleep", "1000")
    other.close()
    until(lambda: not runs(others.pid), "the program of the client that went")
    assert runs(mine.pid)
    mine.send(signal=signal.SIGTERM)
    mine.finish()
    assert mine.exit.signal == signal.SIGTERM


def test_a_call_is_cancelled_by_the_number_that_its_own_client_knows(hostd, client):
    other = hostd.connect()
    waiting = Exec(client, "sleep", "1000")
    others = Exec(other, "sleep", "1000")
    assert waiting.stream == others.stream
    cancel(client, waiting.stream)
    with pytest.raises(CallFailed) as failed:
        waiting.receive()
    assert failed.value.code == CANCELLED
    until(lambda: not runs(waiting.pid), "the cancelled program")
    assert runs(others.pid)
    cancel(other, others.stream)
    cancel(other, 999)


@pytest.mark.timing
def test_a_client_that_reads_nothing_is_cut_off_and_holds_nobody_up(hostd, client):
    greedy = hostd.connect()
    call = Exec(greedy, "yes")
    call.send(grant=1 << 31)
    until(lambda: not runs(call.pid), "the end of the client that left so much unread")
    assert client.ping().version
    with open(f"/proc/{hostd.pid}/status", encoding="ascii") as status:
        assert int(re.search(r"VmHWM:\s*(\d+)", status.read()).group(1)) < 128 * 1024


def test_what_no_agent_takes_is_refused_and_the_connection_goes_on(client):
    client.sock.sendall(struct.pack(">IIBB", 2 * MIB, 1, 1, 0) + bytes(2 * MIB))
    with pytest.raises(CallFailed) as failed:
        client.end(1, protocol.agent.PingResponse)
    assert failed.value.code == RESOURCE_EXHAUSTED
    client.send_frame(2, 1, 0)
    with pytest.raises(CallFailed):
        client.end(2, protocol.agent.PingResponse)
    client._next = 3
    assert client.ping().version


def test_an_agent_that_dies_ends_its_calls_and_its_successor_is_found(tmp_path):
    first = Agent(tmp_path)
    hostd = Hostd(tmp_path, f"unix:{first.path}")
    try:
        boot = hostd.wait_for_agent()
        client = hostd.connect()
        call = Exec(client, "sleep", "1000")
        first.process.kill()
        first.process.wait()
        os.kill(call.pid, signal.SIGKILL)
        with pytest.raises(CallFailed) as failed:
            call.receive()
        assert failed.value.code == ABORTED
        with pytest.raises(CallFailed) as failed:
            client.ping()
        assert failed.value.code == UNAVAILABLE and str(first.path) in failed.value.message
        assert not hostd.status()["connected"]
        second = Agent(tmp_path)
        assert hostd.wait_for_agent().boot_id == boot.boot_id
        assert client.ping().version
        second.close()
    finally:
        hostd.close()


class Vsock:
    """Firecracker's Unix socket: CONNECT PORT, then OK, then the agent; or a refusal."""

    def __init__(self, path, agent_path, answer):
        self._agent_path = agent_path
        self._answer = answer
        self.asked = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            line = bytearray()
            while not line.endswith(b"\n") and (byte := near.recv(1)):
                line += byte
            self.asked.append(bytes(line))
            if not self._answer.startswith(b"OK"):
                near.sendall(self._answer)
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._agent_path))
            near.sendall(self._answer)
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("answer,reached", [(b"OK 1073741824\n", True), (b"NO\n", False)])
def test_firecrackers_handshake_comes_first(agent, tmp_path, answer, reached):
    vsock = Vsock(tmp_path / "vsock", agent.path, answer)
    hostd = Hostd(tmp_path, f"firecracker:{tmp_path}/vsock:1024")
    try:
        until(lambda: vsock.asked, "hostd connects")
        assert vsock.asked[0] == b"CONNECT 1024\n"
        if reached:
            hostd.wait_for_agent()
            assert hostd.ctl("guest", "exec", "echo", "hello").stdout == b"hello\n"
        else:
            until(lambda: hostd.status()["last_error"], "the refusal is told")
            assert hostd.ctl("guest", "ping").returncode == 1
    finally:
        hostd.close()
        vsock.close()


# hostctl guest


def test_the_exit_status_of_a_program_is_hostctls(hostd):
    assert hostd.ctl("guest", "exec", "true").returncode == 0
    assert hostd.ctl("guest", "exec", "sh", "-c", "exit 42").returncode == 42
    assert hostd.ctl("guest", "exec", "sh", "-c", "kill -9 $$").returncode == 137
    missing = hostd.ctl("guest", "exec", "no-such-program")
    assert missing.returncode == 127 and b"no-such-program" in missing.stderr
    assert hostd.ctl("guest", "exec", "/etc/passwd").returncode == 126
    for_nobody = hostd.ctl("guest", "exec", "--user", "nobody-has-this", "true")
    assert for_nobody.returncode == 125 and b"nobody-has-this" in for_nobody.stderr
    assert hostd.ctl("guest", "exec", "--timeout", "0.1", "sleep", "1000").returncode == 137


def test_input_goes_to_the_program_whole_and_only_when_it_is_asked_for(hostd):
    data = os.urandom(3 * MIB)
    assert hostd.ctl("guest", "exec", "-i", "cat", stdin=data).stdout == data
    assert hostd.ctl("guest", "exec", "cat", stdin=data).stdout == b""


def test_options_of_the_program_are_not_hostctls(hostd):
    done = hostd.ctl("guest", "exec", "-e", "A=1", "-w", "/tmp", "sh", "-c", "echo $A $PWD $0 $1",
                     "-t", "--user")
    assert done.stdout == b"1 /tmp -t --user\n", done.stderr


def test_a_detached_program_goes_on_and_is_listed(hostd, client):
    started = hostd.ctl("guest", "exec", "-d", "sleep", "1000").stdout.decode().strip()
    assert started[:12].encode() in hostd.ctl("guest", "ps").stdout
    client.call(PROCESS, "Signal", protocol.process.SignalRequest(id=started, signal=9),
                protocol.process.SignalResponse)
    answer = client.call(PROCESS, "Wait", protocol.process.WaitRequest(id=started),
                         protocol.process.WaitResponse)
    assert answer.exit.signal == 9


def test_without_an_agent_hostctl_says_what_is_missing(tmp_path):
    hostd = Hostd(tmp_path, f"unix:{tmp_path}/nobody")
    try:
        done = hostd.ctl("guest", "ping")
        assert done.returncode == 1
        assert b"unix:" in done.stderr and b"No such file" in done.stderr
    finally:
        hostd.close()


def test_clients_beyond_the_limit_are_closed_and_the_others_served(hostd):
    for one in hostd.clients:
        one.close()
    until(lambda: hostd.status()["clients"] == 0, "hostd has seen the others go")
    clients = [hostd.connect() for _ in range(64)]
    late = hostd.connect()
    with pytest.raises((EOFError, ConnectionError)):
        late.ping()
    assert all(one.ping().version for one in clients)
    assert hostd.status()["clients"] == 64
