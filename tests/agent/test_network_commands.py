"""`hostctl guest dns`, `ports`, `events`, `metrics` and `tunnel`, through hostd."""

import json
import socket
import threading

import pytest

from harness.agent import Agent, until
from harness.hostd import Following, Hostd


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    made = Agent(tmp_path_factory.mktemp("agent"), "--dns", "on", "--dns_listen", "127.0.0.1:0")
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostd(agent, tmp_path_factory):
    made = Hostd(tmp_path_factory.mktemp("hostd"), f"unix:{agent.path}")
    made.wait_for_agent()
    yield made
    made.close()


def ctl(hostd, *words, **options):
    return hostd.ctl("guest", *words, **options)


def listed(hostd):
    return json.loads(hostd.ctl("--json", "guest", "dns", "ls").stdout)


def test_names_are_added_listed_and_removed(hostd):
    added = ctl(hostd, "dns", "add", "c1", "db", "db.example.com", "-a", "10.88.0.2", "-a",
                "fd88::2", "--network", "red")
    assert added.returncode == 0, added.stderr
    assert listed(hostd)["names"] == [{
        "owner": "c1", "network": "red", "kind": "container", "names": ["db", "db.example.com"],
        "addresses": ["10.88.0.2", "fd88::2"], "by_host": True}]
    text = ctl(hostd, "dns", "ls").stdout.decode()
    assert "guest.internal" in text and "db.example.com" in text
    assert ctl(hostd, "dns", "rm", "c1", "--network", "red").returncode == 0
    assert not listed(hostd)["names"]
    gone = ctl(hostd, "dns", "rm", "c1")
    assert gone.returncode == 1 and b"c1" in gone.stderr


def test_a_name_that_cannot_be_is_refused_with_the_reason(hostd):
    refused = ctl(hostd, "dns", "add", "c1", "gateway.vm.internal", "-a", "10.88.0.2")
    assert refused.returncode == 1 and b"gateway.vm.internal" in refused.stderr


def test_ports_are_listed_and_followed(hostd):
    with socket.create_server(("127.0.0.1", 0)) as there:
        line = f"tcp 127.0.0.1:{there.getsockname()[1]}"
        assert line in ctl(hostd, "ports").stdout.decode().splitlines()
        with Following(hostd, "guest", "ports", "--follow") as ports:
            while ports.line().strip() != line:
                pass
            with socket.create_server(("127.0.0.1", 0)) as later:
                number = later.getsockname()[1]
                while ports.line().strip() != f"+ tcp 127.0.0.1:{number}":
                    pass
            while ports.line().strip() != f"- tcp 127.0.0.1:{number}":
                pass


def test_events_tell_of_the_end_of_a_program(hostd):
    with Following(hostd, "--json", "guest", "events") as events:
        assert json.loads(events.line())["kind"] == ""
        assert ctl(hostd, "exec", "sh", "-c", "exit 42").returncode == 42
        told = json.loads(events.line())
        assert told["kind"] == "process" and told["text"].endswith("ended with 42")


def test_metrics_are_names_and_numbers(hostd):
    lines = ctl(hostd, "metrics").stdout.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines)
    assert float(values["sluice_agent_resident_bytes"]) > 1e5
    assert json.loads(hostd.ctl("--json", "guest", "metrics").stdout)["sluice_guest_processes"] > 0


@pytest.mark.parametrize("to", ["{port}", "127.0.0.1:{port}", "localhost:{port}", "{path}"])
def test_a_tunnel_is_standard_input_and_output(hostd, tmp_path, to):
    path = tmp_path / "s"
    if to == "{path}":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        port = 0
    else:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]

    def serve():
        connection, _ = server.accept()
        with connection:
            data = bytearray()
            while chunk := connection.recv(1 << 16):
                data += chunk
            connection.sendall(data[::-1])

    thread = threading.Thread(target=serve)
    thread.start()
    text = bytes(range(256)) * 4096
    done = ctl(hostd, "tunnel", to.format(port=port, path=path), stdin=text)
    thread.join(60)
    server.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout == text[::-1]


def test_a_tunnel_to_nobody_says_so(hostd):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = ctl(hostd, "tunnel", port, stdin=b"")
    assert refused.returncode == 1 and b"onnection refused" in refused.stderr
    assert ctl(hostd, "tunnel", "nonsense", stdin=b"").returncode == 2


def test_the_agent_goes_on_after_all_of_this(hostd, agent):
    until(lambda: ctl(hostd, "ping").returncode == 0, "it answers")
    assert agent.process.poll() is None


def test_a_guest_without_services_says_so(hostd):
    assert ctl(hostd, "services").stdout == b"The guest has no services.\n"
    assert json.loads(hostd.ctl("--json", "guest", "services").stdout) == []
    done = ctl(hostd, "service", "logs", "nobody")
    assert done.returncode == 1 and b"there is no service nobody" in done.stderr
