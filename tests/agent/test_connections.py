"""Connections: many, hostile, and gone in the middle of everything."""

import os
import random
import select
import socket
import struct

import pytest

from harness import agent as agents
from harness import client as ttrpc
from harness import protocol
from harness.client import AGENT, PROCESS, CallFailed, Exec

messages = protocol.process


def answers(agent):
    """Whether there is room for one more connection; those that went may not have been seen to."""
    try:
        agent.connect().ping()
    except (EOFError, ConnectionError):
        return False
    return True


@pytest.fixture
def settled(agent):
    """Checks that what the test left open is closed, and what it started has ended."""
    agents.until(lambda: answers(agent), "there is room")
    for made in agent.clients:
        made.close()
    agents.until(lambda: not agent.children(), "no children before")
    agents.until(lambda: agent.connections() == 0, "the connections before have ended")
    before = agent.fds()
    yield
    for made in agent.clients:
        made.close()
    agents.until(lambda: not agent.children(), "no process is left")
    agents.until(lambda: agent.fds() <= before, f"no descriptor is left beyond {before}")


def test_64_connections_are_served_and_more_are_closed_at_once(agent, settled):
    made = [agent.connect() for _ in range(64)]
    for one in made:
        one.ping()
    one_more = agent.connect()
    with pytest.raises((EOFError, ConnectionError)):
        one_more.ping()
    made.pop().close()
    agents.until(lambda: answers(agent), "there is room again")


def test_garbage_harms_no_other_connection(agent, client):
    random.seed(5)
    for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 5000, b"\xff" * 5000,
                 random.randbytes(100_000), struct.pack(">IIBB", 2**32 - 1, 1, 1, 0) + b"x" * 1000):
        hostile = agent.connect()
        try:
            hostile.sock.sendall(junk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        client.ping()
        hostile.close()
    client.ping()
    assert agent.process.poll() is None


def test_frames_of_random_calls_harm_nobody(agent, settled):
    random.seed(6)
    hostile = agent.connect()
    for number in range(2000):
        payload = protocol.envelope.Request(
            service=random.choice([AGENT, PROCESS, "x"]),
            method=random.choice(["Ping", "Wait", "Signal", "List", "Cancel", "BootReport", ""]),
            payload=random.randbytes(random.randrange(20))).SerializeToString()
        hostile.send_frame(2 * number + 1, random.choice([1, 1, 1, 2, 3, 9]), random.randrange(8),
                           payload)
        if select.select([hostile.sock], [], [], 0.001)[0]:
            assert hostile.sock.recv(1 << 16)
    agent.connect().ping()


def test_a_request_in_single_bytes_is_answered(agent, client):
    raw = agent.connect()
    request = protocol.envelope.Request(service=AGENT, method="Ping").SerializeToString()
    for byte in struct.pack(">IIBB", len(request), 1, 1, 0) + request:
        raw.sock.sendall(bytes([byte]))
    assert raw.end(1, protocol.agent.PingResponse).protocol == 1


def test_an_oversized_message_is_refused_and_the_connection_goes_on(client):
    request = protocol.envelope.Request(service=AGENT, method="Ping", payload=b"x" * (1 << 20))
    client.send_frame(101, ttrpc.REQUEST, 0, request.SerializeToString())
    with pytest.raises(CallFailed) as failed:
        client.end(101, protocol.agent.PingResponse)
    assert failed.value.code == 8
    client._next = 103
    client.ping()


def test_unknown_calls_are_unimplemented(client):
    for service, method in ((AGENT, "Fly"), ("sluice.agent.v1.Bird", "Ping"), ("", "")):
        with pytest.raises(CallFailed) as failed:
            client.call(service, method, protocol.agent.PingRequest(), protocol.agent.PingResponse)
        assert failed.value.code == 12


def test_shutdown_is_refused_where_the_agent_is_not_the_init(client):
    with pytest.raises(CallFailed) as failed:
        client.call(AGENT, "Shutdown", protocol.agent.ShutdownRequest(),
                    protocol.agent.ShutdownResponse)
    assert failed.value.code == 9


@pytest.mark.parametrize("change", [{"realtime_ns": 0}, {"realtime_ns": -1},
                                    {"realtime_ns": 2**63 - 1},
                                    {"realtime_ns": 1, "round_trip_ns": -1},
                                    {"realtime_ns": 1, "round_trip_ns": 2**63 - 1},
                                    {"offset_ns": 2**63 - 1}, {"offset_ns": -2**63},
                                    {"offset_ns": 10**9, "realtime_ns": 10**18}])
def test_a_time_that_cannot_be_is_refused(client, change):
    """Each of them is refused before the clock is touched."""
    with pytest.raises(CallFailed) as failed:
        client.call(AGENT, "SetTime", protocol.agent.SetTimeRequest(**change),
                    protocol.agent.SetTimeResponse)
    assert failed.value.code == 3


@pytest.mark.parametrize("size", [0, 15, 513])
def test_a_seed_of_a_wrong_size_is_refused(client, size):
    with pytest.raises(CallFailed) as failed:
        client.call(AGENT, "SeedRandom", protocol.agent.SeedRandomRequest(seed=os.urandom(size)),
                    protocol.agent.SeedRandomResponse)
    assert failed.value.code == 3


@pytest.mark.parametrize("size", [16, 512])
def test_a_seed_is_taken(client, size):
    client.call(AGENT, "SeedRandom", protocol.agent.SeedRandomRequest(seed=os.urandom(size)),
                protocol.agent.SeedRandomResponse)


def test_a_client_that_goes_in_the_middle_of_everything_leaves_nothing(agent, settled):
    for _ in range(3):
        client = agent.connect()
        calls = [Exec(client, "sleep", "60"),
                 Exec(client, "cat", "/dev/zero"),
                 Exec(client, "sh", "-c", "sleep 60 & sleep 60"),
                 Exec(client, "cat", terminal=messages.TerminalSize()),
                 Exec(client, "sh", "-c", "yes; sleep 60"),
                 Exec(client, "sleep", "60", timeout_ns=10**10),
                 Exec(client, "sleep", "60", no_stdin=True)]
        calls[0].send(stdin=b"x" * 65536)
        calls[1].send(grant=2**32 - 1)
        client.begin(PROCESS, "Wait", messages.WaitRequest(id=calls[0].id))
        # A request that is only half there, and a start that nobody will read the answer of.
        first = messages.ExecRequest(start=messages.ExecStart(args=["sleep", "60"]))
        client.begin(PROCESS, "Exec", first, flags=ttrpc.REMOTE_OPEN)
        client.sock.sendall(struct.pack(">IIBB", 1000, 999, 1, 0) + b"half")
        client.close()


def test_a_client_that_goes_at_each_byte_of_a_call_leaves_nothing(agent, settled):
    start = messages.ExecRequest(start=messages.ExecStart(args=["sleep", "60"]))
    request = protocol.envelope.Request(service=PROCESS, method="Exec",
                                        payload=start.SerializeToString()).SerializeToString()
    stdin = messages.ExecRequest(stdin=b"input").SerializeToString()
    conversation = (struct.pack(">IIBB", len(request), 1, 1, ttrpc.REMOTE_OPEN) + request +
                    struct.pack(">IIBB", len(stdin), 1, 3, 0) + stdin)
    for size in range(len(conversation) + 1):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(agent.path))
        sock.sendall(conversation[:size])
        sock.close()
        if size % 16 == 0:      # More than 64 at once would be closed unheard.
            agents.until(lambda: answers(agent), "they are heard")
            agents.until(lambda: agent.connections() < 32, "they are seen to go")


def test_a_thousand_programs_leave_no_descriptor_and_no_memory(agent, settled):
    client = agent.connect()
    many = 200 if agents.SANITIZED else 1000

    def run_some(count):
        for _ in range(count):
            call = Exec(client, "/bin/true")
            call.finish()
            assert call.exit.code == 0

    run_some(300)       # The ends that are remembered are there then.
    before, fds = agent.rss(), agent.fds()
    run_some(many)
    agents.until(lambda: agent.fds() <= fds, "no descriptor is left")
    if not agents.SANITIZED:
        assert agent.rss() - before < 300_000


def test_a_thousand_connections_leave_nothing(agent, settled):
    agent.connect().ping()
    before = agent.rss()
    for _ in range(1000):
        made = ttrpc.connect(agent.path)
        made.ping()
        made.close()
    if not agents.SANITIZED:
        assert agent.rss() - before < 300_000


def loaded_bytes(program):
    """What a 64-bit program has but for debug information: the segments that are loaded."""
    with open(program, "rb") as file:
        header = file.read(64)
        at, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(at)
        segments = [struct.unpack("<IIQQQQQQ", file.read(size)) for _ in range(count)]
    return sum(segment[5] for segment in segments if segment[0] == 1)


@pytest.mark.timing
def test_an_idle_agent_is_small(tmp_path):
    fresh = agents.Agent(tmp_path)
    fresh.connect().ping()
    assert fresh.rss() < 3 << 20
    assert loaded_bytes(agents.AGENT) < 9 << 18
    fresh.close()


@pytest.mark.timing
def test_large_requests_are_not_kept(agent, settled):
    client = agent.connect()
    client.ping()
    before = agent.rss()
    for _ in range(20):
        with pytest.raises(CallFailed):
            client.call(PROCESS, "Wait", messages.WaitRequest(id="x" * 1_000_000),
                        messages.WaitResponse)
    client.ping()
    assert agent.rss() - before < 1 << 20
