"""Calls over TCP: from where they may come, and with the token first. A network of the tests' own has
the agent's address and the router's, so that both ends are here."""

import pathlib
import random
import socket
import subprocess
import time

import pytest

from harness import agent as agents
from harness import client as ttrpc
from harness import protocol
from harness.netns import OwnNetwork, ip

TOKEN = "c0ffee" + "0123456789" * 5 + "abcdefab"
LINE = b"SLUICE-TOKEN %s\n" % TOKEN.encode()
OWN, ROUTER, NEIGHBOUR = "10.9.0.2", "10.9.0.1", "10.9.0.3"
PORT = 1024
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def network():
    with OwnNetwork():
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        ip("link", "set", "eth0", "up")
        ip("link", "set", "far", "up")
        ip("addr", "add", f"{OWN}/24", "dev", "eth0")
        ip("route", "add", "default", "via", ROUTER)
        for address in (ROUTER, NEIGHBOUR):
            ip("addr", "add", f"{address}/32", "dev", "lo")
        yield


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("token") / "token"
    path.touch(mode=0o600)
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="module")
def agent(network, token_file, tmp_path_factory):
    made = agents.Agent(tmp_path_factory.mktemp("agent"), "--tcp", str(PORT),
                        "--token-file", str(token_file))
    yield made
    made.close()


def knock(source=ROUTER, to=OWN, port=PORT):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(SECONDS)
    sock.bind((source, 0))
    sock.connect((to, port))
    return sock


def answer(sock):
    """What comes back up to a line's end, or the end."""
    said = b""
    while not said.endswith(b"\n"):
        try:
            byte = sock.recv(1)
        except ConnectionResetError:
            break
        if not byte:
            break
        said += byte
    return said


def is_refused(sock):
    """That nothing but the one word came, if that, and the end."""
    said = answer(sock)
    try:
        rest = sock.recv(1)
    except ConnectionResetError:
        rest = b""
    sock.close()
    return said in (b"refused\n", b"") and not rest


def metrics(agent):
    client = agent.connect()
    found = client.call(ttrpc.AGENT, "Metrics", protocol.agent.MetricsRequest(),
                        protocol.agent.MetricsResponse).metrics
    client.close()
    name = "sluice_agent_tcp_connections"
    return {one.name.split('"')[1]: one.value for one in found if one.name.startswith(name)}


def admitted(agent):
    sock = knock()
    sock.sendall(LINE)
    assert answer(sock) == b"OK\n"
    return ttrpc.Client(sock)


def test_who_shows_the_token_is_served(agent):
    client = admitted(agent)
    assert client.ping().version
    client.close()


def test_the_token_may_come_byte_by_byte_and_with_the_first_call_behind_it(agent):
    slow = knock()
    for byte in LINE:
        slow.sendall(bytes([byte]))
    assert answer(slow) == b"OK\n"
    assert ttrpc.Client(slow).ping().version
    slow.close()

    request = protocol.envelope.Request(service=ttrpc.AGENT, method="Ping").SerializeToString()
    frame = len(request).to_bytes(4, "big") + b"\0\0\0\1\1\0" + request
    eager = knock()
    eager.sendall(LINE + frame)
    assert answer(eager) == b"OK\n"
    assert ttrpc.Client(eager).end(1, protocol.agent.PingResponse).version
    eager.close()


@pytest.mark.parametrize("line", [
    pytest.param(LINE[:13] + b"d" + LINE[14:], id="first digit"),
    pytest.param(LINE[:-2] + b"c\n", id="last digit"),
    pytest.param(LINE[:13] + LINE[13:-1].upper() + b"\n", id="upper case"),
    pytest.param(LINE[:-1] + b" ", id="no line end"),
    pytest.param(b"SLUICE-TOKEN " + b"0" * 64 + b"\n", id="zeros"),
    pytest.param(b"\0" * len(LINE), id="NULs"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
    pytest.param(b"\0\0\0\x10\0\0\0\1\1\0" + b"x" * 16, id="a call"),
])
def test_without_the_right_token_nobody_is_served_or_told_why(agent, line):
    before = metrics(agent)["wrong-token"]
    sock = knock()
    sock.sendall(line)
    assert is_refused(sock)
    agents.until(lambda: metrics(agent)["wrong-token"] == before + 1, "it is counted")


def test_random_bytes_are_refused_and_harm_nobody(agent):
    random.seed(7)
    for size in (1, 77, 78, 79, 5000, 100_000):
        sock = knock()
        try:
            sock.sendall(random.randbytes(size))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert is_refused(sock)
    admitted(agent).close()


@pytest.mark.parametrize("source", [OWN, NEIGHBOUR])
def test_only_the_router_is_served_even_with_the_token(agent, source):
    before = metrics(agent)["wrong-address"]
    sock = knock(source)
    try:
        sock.sendall(LINE)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert is_refused(sock)
    agents.until(lambda: metrics(agent)["wrong-address"] == before + 1, "it is counted")


def test_programs_of_the_guest_are_not_the_router(agent):
    sock = knock("127.0.0.1", "127.0.0.1")
    assert is_refused(sock)


def test_other_peers_may_be_named(token_file, tmp_path):
    made = agents.Agent(tmp_path, "--tcp", f"{OWN}:1025", f"--token_file={token_file}",
                        "--tcp_from", f"{NEIGHBOUR},192.0.2.0/24")
    for source, word in ((NEIGHBOUR, b"OK\n"), (ROUTER, b"refused\n")):
        sock = knock(source, port=1025)
        try:
            sock.sendall(LINE)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert answer(sock) in ([word] if word == b"OK\n" else [word, b""])
        sock.close()
    made.close()


def test_who_only_connects_is_sent_away_in_time(agent):
    sock = knock()
    sock.sendall(LINE[:-1])
    began = time.monotonic()
    assert is_refused(sock)
    assert time.monotonic() - began > 5


def test_a_crowd_that_shows_nothing_keeps_nobody_out(agent):
    agents.until(lambda: agent.connections() == 1, "nobody is there but the listener of TCP")
    before = metrics(agent)["displaced"]
    crowd = []
    for _ in range(100):
        crowd.append(knock())
        crowd[-1].sendall(LINE[:20])
    client = admitted(agent)
    assert client.ping().version
    agents.until(lambda: metrics(agent)["displaced"] >= before + 84, "the oldest have gone")
    # The listener on TCP, the client and 16 of the crowd.
    agents.until(lambda: agent.connections() <= 18, "no more than 16 of the crowd")
    for one in crowd:
        one.close()
    assert client.ping().version
    client.close()


def test_the_log_says_who_was_refused_and_never_the_token(agent):
    def is_told():
        # A line a second at most.
        assert is_refused(knock(NEIGHBOUR))
        return f"connection of {NEIGHBOUR}:" in agent.log.read_text()
    agents.until(is_told, "the refusal is in the log")
    text = agent.log.read_text()
    assert "no router's" in text
    assert TOKEN[8:20] not in text


def start(*arguments):
    return subprocess.run([agents.AGENT, *map(str, arguments)], capture_output=True, text=True,
                          timeout=SECONDS)


def test_tcp_without_a_token_is_wrong_usage():
    done = start("--tcp", "1026")
    assert done.returncode == 2 and "--token-file" in done.stderr


def test_a_token_is_no_argument_as_everybody_could_read_it():
    done = start("--tcp", "1026", "--token", TOKEN)
    assert done.returncode == 2 and "only the guest's init" in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_that_others_can_read_is_not_used(tmp_path, mode):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(mode)
    done = start("--tcp", "1026", "--token-file", path)
    assert done.returncode == 1 and "chmod 600" in done.stderr


@pytest.mark.parametrize("text", ["", TOKEN[1:], TOKEN + "0", TOKEN[1:] + "g", TOKEN + "\n\n"])
def test_a_token_is_64_hex_digits(tmp_path, text):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(text)
    done = start("--tcp", "1026", "--token-file", path)
    assert done.returncode == 1 and "64 hex digits" in done.stderr
    assert TOKEN[8:20] not in done.stderr


def test_a_port_that_is_taken_is_told(agent, token_file):
    done = start("--tcp", PORT, "--token-file", token_file)
    assert done.returncode == 1 and "TCP" in done.stderr and "1024" in done.stderr
    assert pathlib.Path(f"/proc/{agent.pid}").exists()
