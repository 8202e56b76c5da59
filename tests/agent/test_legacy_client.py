"""The older framing, by a client of the tests' own: u32 length, u32 type, protobuf; one request at a time."""

import os
import socket
import stat
import struct

import pytest

from harness import agent as agents
from harness import containers, protocol

assert protocol                              # generates the messages
from sluice.legacy.v1 import legacy_pb2 as legacy  # noqa: E402  pylint: disable=wrong-import-position

SECONDS = 60
EMPTY, PING, INFO, CREATE, START, STOP, REMOVE, LIST = 0, 1, 2, 0x10, 0x11, 0x12, 0x13, 0x14
KILL, PAUSE, UNPAUSE, EXEC, LOGS = 0x15, 0x17, 0x18, 0x20, 0x21
PONG, INFO_ANSWER, CREATED, LISTED, OUTPUT, ENTRY, ERROR = (
    0x1001, 0x1002, 0x1010, 0x1014, 0x1020, 0x1021, 0xFFFF)


class LegacyError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Client:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(path))

    def close(self):
        self.sock.close()

    def send(self, kind, message=None):
        payload = message.SerializeToString() if message is not None else b""
        self.sock.sendall(struct.pack(">II", 4 + len(payload), kind) + payload)

    def _read(self, size):
        data = bytearray()
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            if not chunk:
                raise EOFError("the agent closed the connection")
            data += chunk
        return bytes(data)

    def receive(self):
        """(type, payload) of the next frame; an Error is raised."""
        length, kind = struct.unpack(">II", self._read(8))
        payload = self._read(length - 4)
        if kind == ERROR:
            code, size = struct.unpack(">iI", payload[:8])
            assert len(payload) == 8 + size
            raise LegacyError(code, payload[8:].decode())
        return kind, payload

    def call(self, kind, message=None, answer=EMPTY, response=None):
        self.send(kind, message)
        got, payload = self.receive()
        assert got == answer, hex(got)
        return response.FromString(payload) if response else None

    def exec(self, *cmd, **fields):
        """(stdout, stderr, exit code)"""
        self.send(EXEC, legacy.ExecRequest(cmd=cmd, **fields))
        out = {"stdout": b"", "stderr": b""}
        while True:
            kind, payload = self.receive()
            assert kind == OUTPUT
            frame = legacy.ExecOutput.FromString(payload)
            out[frame.stream] += frame.data
            if frame.done:
                return out["stdout"], out["stderr"], frame.exit_code

    def logs(self, container, **fields):
        """The entries up to the end of the log."""
        self.send(LOGS, legacy.LogsRequest(container_id=container, **fields))
        while (frame := self.receive())[0] != EMPTY:
            assert frame[0] == ENTRY
            yield legacy.LogEntry.FromString(frame[1])

    def list(self, everything=True):
        return self.call(LIST, legacy.ListContainersRequest(all=everything), LISTED,
                         legacy.ListContainersResponse).containers


# ---- Without containers

@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plain")
    made = agents.Agent(directory, "--legacy-unix", str(directory / "legacy.sock"))
    made.legacy = directory / "legacy.sock"
    yield made
    made.close()
    assert not made.legacy.exists()


@pytest.fixture
def old(plain):
    made = Client(plain.legacy)
    yield made
    made.close()


def test_its_socket_is_for_its_owner_alone(plain):
    mode = os.stat(plain.legacy).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_nobody_serves_it_who_was_not_asked_to(tmp_path):
    made = agents.Agent(tmp_path)
    client = Client(made.path)
    client.send(PING, legacy.PingRequest(message="x"))
    # As ttrpc that is a message of nobody's stream, which is not answered in the older framing.
    client.sock.shutdown(socket.SHUT_WR)
    data = b""
    while chunk := client.sock.recv(4096):
        data += chunk
    assert struct.pack(">I", PONG) not in data
    client.close()
    made.close()


def test_ping_and_system_info(plain, old):
    new = plain.connect()
    pong = old.call(PING, legacy.PingRequest(message="hello"), PONG, legacy.PingResponse)
    assert (pong.message, pong.version) == ("pong: hello", new.ping().version)
    assert old.call(PING, legacy.PingRequest(), PONG, legacy.PingResponse).message == "pong"
    info = old.call(INFO, None, INFO_ANSWER, legacy.SystemInfo)
    system = os.uname()
    assert (info.kernel_version, info.hostname, info.arch) == (
        system.release, system.nodename, system.machine)
    assert info.cpu_count == os.cpu_count() and info.total_memory > info.available_memory > 0
    assert len(info.load_average) == 3 and info.uptime > 0


def test_a_program_in_the_vm(old):
    assert old.exec("sh", "-c", "echo out; exit 42") == (b"out\n", b"", 42)
    assert old.exec("sh", "-c", "cat; echo err >&2; kill -9 $$") == (b"", b"err\n", 137)
    assert old.exec("sh", "-c", "echo $A $PWD", env={"A": "b"}, working_dir="/")[0] == b"b /\n"
    assert b"uid=65534" in old.exec("id", user="65534:65534")[0]
    assert old.exec("tty", tty=True)[0].startswith(b"/dev/pts/")


def test_short_output_comes_in_one_frame(old):
    old.send(EXEC, legacy.ExecRequest(cmd=["printf", "a\\nb\\n"]))
    kind, payload = old.receive()
    assert kind == OUTPUT
    assert legacy.ExecOutput.FromString(payload) == legacy.ExecOutput(
        stream="stdout", data=b"a\nb\n", done=True)


def test_8_mib_of_output_arrive_whole_while_the_agent_stays_small(plain, old):
    before = plain.rss()
    size = 8 << 20
    out, _, code = old.exec("sh", "-c", f"yes sluice | head -c {size}")
    assert code == 0 and out == (b"sluice\n" * (size // 7 + 1))[:size]
    if not agents.SANITIZED:
        assert plain.rss() < before + (4 << 20)


def test_every_split_of_a_request_gives_the_same_answer(old):
    payload = legacy.PingRequest(message="split").SerializeToString()
    frame = struct.pack(">II", 4 + len(payload), PING) + payload
    for cut in range(1, len(frame)):
        old.sock.sendall(frame[:cut])
        old.sock.sendall(frame[cut:])
        assert legacy.PingResponse.FromString(old.receive()[1]).message == "pong: split"
    for byte in frame:
        old.sock.sendall(bytes([byte]))
    assert old.receive()[0] == PONG


@pytest.mark.parametrize("kind", [0x0000, 0x0003, 0x0016, 0x0019, 0x001A, 0x0022, 0x0023, 0x0024, 0x1001, 0xFFFF,
                                  0xFFFFFFFF])
def test_types_that_are_not_served_are_an_error_and_the_connection_goes_on(old, kind):
    old.send(kind, legacy.PingRequest(message="x"))
    with pytest.raises(LegacyError) as failed:
        old.receive()
    assert failed.value.code == 400 and f"0x{kind:04X}" in failed.value.message
    assert old.call(PING, None, PONG, legacy.PingResponse).message == "pong"


def test_what_can_not_be_read_is_an_error_and_the_connection_goes_on(old):
    old.sock.sendall(struct.pack(">II", 7, PING) + b"\x0a\xff\xff")
    with pytest.raises(LegacyError) as failed:
        old.receive()
    assert failed.value.code == 400
    old.sock.sendall(struct.pack(">II", 4 + (2 << 20), PING) + bytes(2 << 20))
    with pytest.raises(LegacyError) as failed:
        old.receive()
    assert failed.value.code == 400
    with pytest.raises(LegacyError) as failed:
        old.exec("no-such-program-here")
    assert failed.value.code == 404
    with pytest.raises(LegacyError) as failed:
        old.exec()
    assert failed.value.code == 400
    assert old.call(PING, None, PONG, legacy.PingResponse).message == "pong"


def test_garbage_harms_nobody_else(plain, old):
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, b"\xff" * 5000, os.urandom(50_000)):
        hostile = Client(plain.legacy)
        try:
            hostile.sock.sendall(junk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert old.call(PING, None, PONG, legacy.PingResponse).message == "pong"
        hostile.close()


def test_a_client_that_goes_takes_its_program_along(plain):
    client = Client(plain.legacy)
    client.send(EXEC, legacy.ExecRequest(cmd=["sleep", "1000"]))
    agents.until(plain.children, "the program runs")
    client.close()
    agents.until(lambda: not plain.children(), "it has ended")


def test_16_connections_are_served_and_more_are_closed_at_once(plain):
    made = [Client(plain.legacy) for _ in range(16)]
    for one in made:
        one.call(PING, None, PONG, legacy.PingResponse)
    more = Client(plain.legacy)
    with pytest.raises((EOFError, ConnectionError)):
        more.call(PING, None, PONG, legacy.PingResponse)
    for one in [*made, more]:
        one.close()

    def served():
        again = Client(plain.legacy)
        try:
            again.call(PING, None, PONG, legacy.PingResponse)
            return True
        except (EOFError, ConnectionError):
            return False
        finally:
            again.close()
    agents.until(served, "there is room again")


# ---- Containers

needs_containers = pytest.mark.skipif(containers.why_not() is not None,
                                      reason=str(containers.why_not()))
SOCKET = f"/tmp/sluice-legacy-{os.getpid()}.sock"
AGENT_ARGUMENTS = ["--legacy-unix", SOCKET]
rootfs, agent, client, box = containers.fixtures()
SCRIPT = "trap 'echo stopping; exit 42' TERM; echo started; echo problem >&2; while :; do sleep 0.05; done"


@pytest.fixture
def host(agent, box):
    made = Client(SOCKET)
    yield made
    made.close()


def create(host, box, *cmd, **fields):
    """A container by the older call; by the newer one where this machine has no rules of devices."""
    if containers.rules_of_devices():
        return host.call(CREATE, legacy.CreateContainerRequest(image=box.rootfs, cmd=cmd, **fields),
                         CREATED, legacy.CreateContainerResponse).id
    return box.create(*cmd, **fields).id


def state_of(host, container):
    return next(((one.state, one.status) for one in host.list() if one.id == container), None)


@needs_containers
def test_a_container_lives_its_whole_life(host, box):
    made = create(host, box, "sh", "-c", SCRIPT, name="old", env={"A": "b"})
    assert state_of(host, made) == ("created", "Created")
    assert not host.list(everything=False)
    host.call(START, legacy.StartContainerRequest(id="old"))
    state, status = state_of(host, made)
    assert state == "running" and status == f"Running (PID: {box.info(made).pid})"
    assert [one.name for one in host.list(everything=False)] == ["old"]
    agents.until(lambda: b"started" in b"".join(one.data for one in host.logs("old")), "its word")

    # In its namespaces, not on the VM.
    out, err, code = host.exec("sh", "-c", "echo $$ >&2; ls /; cat; exit 7", container_id="old")
    assert code == 7 and b"boot" not in out.split() and int(err) < 1000

    host.call(PAUSE, legacy.PauseContainerRequest(id="old"))
    assert state_of(host, made)[0] == "paused"
    host.call(UNPAUSE, legacy.PauseContainerRequest(id="old"))
    with pytest.raises(LegacyError) as failed:
        host.call(REMOVE, legacy.RemoveContainerRequest(id="old"))
    assert failed.value.code == 400
    host.call(STOP, legacy.StopContainerRequest(id="old", timeout=30))
    assert state_of(host, made) == ("stopped", "Exited (42)")

    entries = list(host.logs("old"))
    by_stream = {"stdout": b"", "stderr": b""}
    for entry in entries:
        by_stream[entry.stream] += entry.data
    assert by_stream == {"stdout": b"started\nstopping\n", "stderr": b"problem\n"}
    assert all(entry.timestamp > 10**18 for entry in entries)
    assert b"".join(one.data for one in host.logs("old", stderr=True)) == b"problem\n"
    assert b"".join(one.data for one in host.logs("old", stdout=True, tail=1)) == b"stopping\n"
    line = b"".join(one.data for one in host.logs("old", stderr=True, timestamps=True))
    assert line.endswith(b"Z problem\n") and line[4:5] == b"-"
    host.call(REMOVE, legacy.RemoveContainerRequest(id="old"))
    with pytest.raises(LegacyError) as failed:
        host.call(START, legacy.StartContainerRequest(id="old"))
    assert failed.value.code == 404


@needs_containers
def test_a_log_is_followed_to_the_end_of_its_container(host, box):
    made = create(host, box, "sh", "-c", "echo first; sleep 0.2; echo last")
    host.call(START, legacy.StartContainerRequest(id=made))
    assert b"".join(one.data for one in host.logs(made, follow=True)) == b"first\nlast\n"
    agents.until(lambda: state_of(host, made) == ("stopped", "Exited (0)"), "it has stopped")


@needs_containers
def test_no_time_to_stop_in_is_none(host, box):
    made = create(host, box, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    host.call(START, legacy.StartContainerRequest(id=made))
    agents.until(lambda: b"up" in b"".join(one.data for one in host.logs(made)), "it runs")
    host.call(STOP, legacy.StopContainerRequest(id=made, timeout=0))
    assert state_of(host, made) == ("stopped", "Exited (137)")


@needs_containers
def test_a_signal_by_name_and_a_forced_removal(host, box):
    made = create(host, box, "sleep", "1000")
    host.call(START, legacy.StartContainerRequest(id=made))
    host.call(KILL, legacy.KillContainerRequest(id=made, signal="SIGKILL"))
    agents.until(lambda: state_of(host, made) == ("stopped", "Exited (137)"), "it was killed")
    host.call(START, legacy.StartContainerRequest(id=made))
    host.call(REMOVE, legacy.RemoveContainerRequest(id=made, force=True))
    assert state_of(host, made) is None


@needs_containers
def test_what_is_asked_for_of_a_container_is_what_it_gets(host, box, tmp_path):
    request = legacy.CreateContainerRequest(
        name="asked", image=box.rootfs, entrypoint=["echo"], cmd=["a", "b"], env={"K": "v"},
        working_dir="/tmp", user="worker", tty=True,
        mounts=[legacy.Mount(source=str(tmp_path), target="/data", type="bind", readonly=True)])
    made = host.call(CREATE, request, CREATED, legacy.CreateContainerResponse).id
    info = box.call("Inspect", container=made)
    assert list(info.info.args) == ["echo", "a", "b"] and info.cwd == "/tmp"
    assert info.user == "worker" and info.terminal and "K=v" in info.env
    assert [(one.source, one.target, one.read_only) for one in info.mounts] == [
        (str(tmp_path), "/data", True)]
    request.mounts[0].type = "nfs"
    with pytest.raises(LegacyError) as failed:
        host.call(CREATE, request, CREATED)
    assert failed.value.code == 400 and "nfs" in failed.value.message
