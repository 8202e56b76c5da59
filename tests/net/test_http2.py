"""HTTP/2 in the clear, where names share an address: real clients and a real server, and raw frames."""
import pathlib
import subprocess
import tempfile
import time

import pytest

from harness import servers
from harness.clients import read_exactly
from harness.world import PUBLIC4
from test_control import ctl_json
from test_first_flight import Far, net, zone    # noqa: F401, fixtures

pytestmark = pytest.mark.hostd
PORT = 8081
PAGE = servers.body_of(3_000_000)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 4, 7, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") +
            payload)


def block(authority):
    """GET / with everything but the authority from HPACK's static table."""
    return b"\x82\x86\x84\x01" + bytes([len(authority)]) + authority.encode()


def get(stream, authority):
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(authority))


BEGIN = PREFACE + frame(SETTINGS, 0, 0)


@pytest.fixture(scope="module")
def server(world):
    """nghttpd with a page, at the shared address; gives its folder."""
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        folder = pathlib.Path(directory)
        (folder / "page").write_bytes(PAGE)
        with (folder / "log").open("w") as log:
            running = world.world.spawn("nghttpd", "--no-tls", "--verbose", "-d", folder,
                                        "-a", PUBLIC4, PORT, stdout=log,
                                        stderr=subprocess.STDOUT)
            deadline = time.monotonic() + 30
            while True:
                try:
                    world.world.connect(PUBLIC4, PORT).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "nghttpd does not listen"
                    time.sleep(0.05)
            yield folder
            running.stop()


def curl(net, name, *options):  # noqa: F811
    return net.guest.run("curl", "-sS", "--max-time", 50, "--resolve", f"{name}:{PORT}:{PUBLIC4}",
                         "--http2-prior-knowledge", "-w", "\n%{http_code} %{http_version}",
                         *options, f"http://{name}:{PORT}/page", text=False)


def test_a_page_by_http2_arrives_whole_and_another_name_gets_403_with_the_reason(net, server):  # noqa: F811
    done = curl(net, "good.test")
    body, _, status = done.stdout.rpartition(b"\n")
    assert status == b"200 2" and body == PAGE, done.stderr
    done = curl(net, "other.test")
    body, _, status = done.stdout.rpartition(b"\n")
    assert status == b"403 2", done.stderr
    assert b"refused by network policy: other.test" in body
    assert "other.test" not in (server / "log").read_text()
    event = ctl_json(net, "events")["events"][-1]
    assert event["layer"] == "first-flight" and event["server_name"] == "other.test"


def test_an_upload_by_http2_passes_and_is_answered(net, server):  # noqa: F811
    done = curl(net, "good.test", "--data-binary", f"@{server / 'page'}")
    assert done.stdout.rpartition(b"\n")[2] == b"200 2", done.stderr


def test_many_requests_of_one_http2_connection_run_beside_each_other(net, server):  # noqa: F811
    done = net.guest.run("nghttp", "--stat", "--no-dep", "-n", "-m", 20, "--header",
                         ":authority: good.test", f"http://{PUBLIC4}:{PORT}/page", timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 200 ") == 20


def test_a_client_of_http2_for_another_name_never_reaches_the_server(net, server):  # noqa: F811
    done = net.guest.run("nghttp", "-v", "--header", ":authority: other.test",
                         f"http://{PUBLIC4}:{PORT}/page")
    assert ":status: 403" in done.stdout and "other.test: " in done.stdout
    assert "other.test" not in (server / "log").read_text()


def test_a_later_request_for_another_name_ends_the_http2_connection(net, world):  # noqa: F811
    with Far(net, world) as far:
        far.client.sendall(BEGIN + get(1, "good.test"))
        assert read_exactly(far.server, len(PREFACE)) == PREFACE
        far.server.sendall(frame(SETTINGS, 0, 0))
        passed = (BEGIN + get(1, "good.test"))[len(PREFACE):]
        assert read_exactly(far.server, len(passed)) == passed
        assert read_exactly(far.client, 9) == frame(SETTINGS, 0, 0)
        far.client.sendall(get(3, "other.test"))
        assert far.heard() == b"" and far.told() == b""
    assert "other.test" in net.wait_log("denied tcp .*other.test.*").group(0)


def test_no_frame_reaches_a_server_that_does_not_speak_http2(net, world):  # noqa: F811
    hidden = frame(0xFE, 0, 0, b"\r\n\r\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
    with Far(net, world) as far:
        far.client.sendall(BEGIN + hidden)
        assert read_exactly(far.server, len(PREFACE)) == PREFACE
        far.server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert far.client.recv(100).startswith(b"HTTP/1.1 400 ")
        far.client.sendall(hidden)
        far.server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            far.server.recv(1)


@pytest.mark.parametrize("frames", [
    frame(HEADERS, END_STREAM, 1, block("good.test")[:3]) + get(3, "good.test"),
    get(2, "good.test"),
    frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff"),
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block("good.test") + b"\x01\x01x"),
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block("good.test")[:3]),
    frame(HEADERS, END_STREAM, 1) + frame(CONTINUATION, 0, 1) * 2000,
], ids=["cut-short", "server-stream", "no-hpack", "two-authorities", "no-name", "continuations"])
def test_http2_that_could_be_read_in_two_ways_reaches_nobody(net, world, frames):  # noqa: F811
    with Far(net, world) as far:
        far.client.sendall(BEGIN + frames)
        answer = far.told()
        assert answer.startswith(frame(SETTINGS, 0, 0)) and b"refused by network policy" in answer
        assert far.heard() in (b"", PREFACE)


def test_an_upgrade_to_http2_is_followed(net, world):  # noqa: F811
    upgrade = (b"GET / HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
               b"Upgrade: h2c\r\nHTTP2-Settings: \r\n\r\n")
    with Far(net, world) as far:
        far.client.sendall(upgrade)
        assert read_exactly(far.server, len(upgrade)) == upgrade
        far.server.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert far.client.recv(100).startswith(b"HTTP/1.1 101")
        more = BEGIN + get(3, "good.test")
        far.client.sendall(more)
        assert read_exactly(far.server, len(more)) == more
        far.client.sendall(get(5, "other.test"))
        assert far.heard() == b""
