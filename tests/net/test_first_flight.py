"""Names that share an address, as on a CDN: what the guest says first decides, on every port."""
import errno
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from http.client import HTTPConnection

import pytest

from harness import servers
from harness.clients import SOON, error_of_recv, read_exactly
from harness.first_words import hello
from harness.world import PUBLIC4
from test_control import ctl_json
from test_dns import ask

pytestmark = pytest.mark.hostd
ALERT = bytes.fromhex("15030300020231")         # fatal, access_denied
ODD_PORT = 8443


@pytest.fixture(scope="module")
def cdn(world):
    """One address with both names, on 443 and an odd port; gives the certificate."""
    context, certificate = servers.tls_context(["good.test", "other.test"])
    running = [servers.HttpServer(world.world, port, context) for port in (443, ODD_PORT)]
    yield certificate
    for server in running:
        server.stop()


@pytest.fixture
def zone(dns):
    dns.records.update({"good.test": [("A", PUBLIC4)], "other.test": [("A", PUBLIC4)],
                        "also.test": [("A", PUBLIC4)]})
    return dns


@pytest.fixture
def net(gateway, zone):
    """A guest that may reach two of the three names, and has looked up one of them."""
    running = gateway("--allow", "good.test", "--allow", "also.test", profile=None)
    ask(running, "good.test")
    return running


class Far:
    """A server of the test's own at the shared address: what has reached it?"""

    def __init__(self, net, world, port=9443):
        with world.world.listen(PUBLIC4, port) as listener:
            self.client = net.guest.connect(PUBLIC4, port)
            self.server, _ = listener.accept()
        self.client.settimeout(30)
        self.server.settimeout(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()

    def heard(self):
        """Everything until the end, which the gateway brings about."""
        out = b""
        try:
            while chunk := self.server.recv(65536):
                out += chunk
        except ConnectionResetError:
            pass
        return out

    def told(self):
        """What the guest got before the end."""
        out = b""
        try:
            while chunk := self.client.recv(65536):
                out += chunk
        except ConnectionResetError:
            pass
        return out


def get_tls(net, certificate, name, port):
    context = ssl.create_default_context(cadata=certificate)
    with net.guest.connect(PUBLIC4, port) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            connection = HTTPConnection(name)
            connection.sock = tls
            connection.request("GET", "/bytes/100000")
            return len(connection.getresponse().read())


@pytest.mark.parametrize("port", [443, ODD_PORT])
def test_the_allowed_name_works_and_another_at_its_address_gets_a_tls_alert(net, cdn, port):
    assert get_tls(net, cdn, "good.test", port) == 100_000
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED|access denied"):
        get_tls(net, cdn, "other.test", port)
    line = net.wait_log("denied tcp .*other.test.*").group(0)
    assert PUBLIC4 in line and "no rule allows this name" in line


def test_an_allowed_name_that_the_guest_never_looked_up_opens_nothing(net, cdn):
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED|access denied"):
        get_tls(net, cdn, "also.test", 443)
    ask(net, "also.test")
    context = ssl.create_default_context(cadata=cdn)
    context.check_hostname = False
    with net.guest.connect(PUBLIC4, 443) as plain:
        context.wrap_socket(plain, server_hostname="also.test").close()


def test_not_one_byte_of_a_refused_hello_reaches_the_server(net, world):
    with Far(net, world) as far:
        far.client.sendall(hello("other.test"))
        assert far.told() == ALERT
        assert far.heard() == b""


def test_a_hello_split_at_any_byte_is_read_all_the_same(net, world):
    good, other = hello("good.test"), hello("other.test")
    with world.world.listen(PUBLIC4, 9443, backlog=1024) as listener:
        clients = {cut: net.guest.connect(PUBLIC4, 9443) for cut in range(1, len(other))}
        for cut, client in clients.items():
            client.sendall(other[:cut])
        ask(net, "good.test")       # the gateway has read all of these before the rest
        for cut, client in clients.items():
            client.sendall(other[cut:])
        for cut, client in clients.items():
            client.settimeout(30)
            with client:
                assert client.recv(100) == ALERT, f"cut at {cut}"
        for _ in clients:
            with listener.accept()[0] as server:
                assert error_of_recv(server) in (b"", errno.ECONNRESET)
    with Far(net, world) as far:
        far.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(good)):
            far.client.sendall(good[i:i + 1])
        assert read_exactly(far.server, len(good)) == good


def test_a_hello_in_several_records_is_put_together(net, world):
    message = hello("other.test")[5:]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
                       for part in (message[i:i + 40] for i in range(0, len(message), 40)))
    with Far(net, world) as far:
        far.client.sendall(records)
        assert far.told() == ALERT and far.heard() == b""


def test_a_hello_that_never_ends_is_refused_after_five_seconds(net, world):
    with Far(net, world) as far:
        start = time.monotonic()
        far.client.sendall(hello("good.test")[:-1])
        assert far.told() == ALERT and far.heard() == b""
        assert time.monotonic() - start > 4


def test_a_hello_without_a_name_is_refused(net, world):
    with Far(net, world) as far:
        far.client.sendall(hello(None))
        assert far.told() == ALERT and far.heard() == b""
    assert "names no server" in net.wait_log("denied tcp .*unidentified.*").group(0)


def test_every_request_of_an_http_connection_is_judged(net, world):
    def request(host):
        return f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    with Far(net, world, 80) as far:
        far.client.sendall(request("good.test"))
        assert read_exactly(far.server, len(request("good.test"))) == request("good.test")
        far.server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert far.client.recv(100).startswith(b"HTTP/1.1 204")
        far.client.sendall(request("other.test"))
        assert far.heard() == b"" and far.told() == b""
    with Far(net, world, 80) as far:
        far.client.sendall(request("other.test"))
        answer = far.told()
        assert answer.startswith(b"HTTP/1.1 403 ") and b"other.test" in answer
        assert far.heard() == b""


@pytest.mark.parametrize("text", [
    b"GET / HTTP/1.1\r\nHost: good.test\r\nHost: other.test\r\n\r\n",
    b"GET http://other.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    b"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : good.test\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
], ids=["two-hosts", "absolute", "connect", "no-host", "blank", "smuggled"])
def test_http_that_could_be_read_in_two_ways_reaches_nobody(net, world, text):
    with Far(net, world, 80) as far:
        far.client.sendall(text)
        assert far.told().startswith(b"HTTP/1.1 403 ") and far.heard() == b""


def test_a_large_upload_passes_an_inspected_connection_whole(net, world):
    body = servers.body_of(3_000_000)
    head = (f"PUT / HTTP/1.1\r\nHost: good.test\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    with Far(net, world, 80) as far:
        sender = threading.Thread(target=far.client.sendall, args=(head + body,))
        sender.start()
        assert read_exactly(far.server, len(head) + len(body)) == head + body
        sender.join(5)


def test_a_server_that_speaks_first_does_not_wait(net, world):
    with Far(net, world, 2525) as far:
        start = time.monotonic()
        far.server.sendall(b"220 ready\r\n")
        assert far.client.recv(100) == b"220 ready\r\n"
        far.client.sendall(b"\0\1\2 in its own words")
        assert far.server.recv(100) == b"\0\1\2 in its own words"
        assert time.monotonic() - start < SOON


def test_a_websocket_passes_once_the_server_has_agreed(net, world):
    upgrade = (b"GET /chat HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\n"
               b"Upgrade: websocket\r\n\r\n")
    with Far(net, world, 80) as far:
        far.client.sendall(upgrade)
        assert read_exactly(far.server, len(upgrade)) == upgrade
        far.server.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert far.client.recv(100).startswith(b"HTTP/1.1 101")
        far.client.sendall(b"\x81\x02hi")
        assert far.server.recv(100) == b"\x81\x02hi"


def test_what_stays_unidentified_can_be_let_go_by_its_binding(gateway, world, zone):
    net = gateway("--allow", "good.test", "--unidentified", "allow-if-bound", profile=None)
    ask(net, "good.test")
    with Far(net, world) as far:
        nameless = hello(None)
        far.client.sendall(nameless)
        assert read_exactly(far.server, len(nameless)) == nameless
    with Far(net, world) as far:
        far.client.sendall(hello("other.test"))
        assert far.told() == ALERT, "a name that is readable still counts"


def test_a_denied_name_is_refused_where_all_others_are_allowed(gateway, world, zone, cdn):
    net = gateway("--deny", "other.test", profile="public")
    ask(net, "good.test")
    assert get_tls(net, cdn, "good.test", 443) == 100_000
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED|access denied"):
        get_tls(net, cdn, "other.test", 443)


@pytest.fixture(scope="module")
def quic(world):
    """A QUIC server with a page at the shared address, on 443 and an odd port."""
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        folder = pathlib.Path(directory)
        servers.make_certificate(["good.test", "other.test"], folder / "key", folder / "cert")
        (folder / "page").write_bytes(servers.body_of(300_000))
        running = [world.world.spawn("/usr/sbin/gtlsserver", "-q", "-d", folder, PUBLIC4, port,
                                     folder / "key", folder / "cert",
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for port in (443, ODD_PORT)]
        yield
        for server in running:
            server.stop()


def get_quic(net, name, port, *options):
    """What a real QUIC client downloads; nothing where it is refused."""
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        # The client takes the name that it sends from where it connects to, and that from here.
        hosts = pathlib.Path(directory, "hosts")
        hosts.write_text(f"{PUBLIC4} {name}\n")
        net.guest.run("unshare", "-m", "sh", "-c",
                      'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", hosts,
                      "gtlsclient", "-q", "--exit-on-all-streams-close", "--timeout=4s",
                      "--handshake-timeout=4s", f"--download={directory}", *options, name, port,
                      f"https://{name}/page", timeout=20)
        page = pathlib.Path(directory, "page")
        return page.read_bytes() if page.exists() else b""


@pytest.mark.parametrize("port", [443, ODD_PORT])
@pytest.mark.parametrize("options", [["--version=v1"], ["--version=v2draft"]], ids=["v1", "v2"])
def test_quic_reaches_the_allowed_name_and_no_other_at_its_address(net, quic, port, options):
    if options == ["--version=v2draft"]:
        # A draft's version can't be read, so it is unidentified whatever its name.
        assert get_quic(net, "good.test", port, *options) == b""
        assert "QUIC version" in net.wait_log("denied udp .*unidentified.*").group(0)
        return
    assert get_quic(net, "good.test", port, *options) == servers.body_of(300_000)
    assert get_quic(net, "other.test", port, *options) == b""
    line = net.wait_log("denied udp .*other.test.*").group(0)
    assert PUBLIC4 in line and "no rule allows this name" in line


def test_no_datagram_of_a_refused_quic_hello_reaches_the_server(net, world):
    with world.world.udp(PUBLIC4, ODD_PORT + 1) as server:
        server.settimeout(0.2)
        assert get_quic(net, "other.test", ODD_PORT + 1) == b""
        with pytest.raises(TimeoutError):
            server.recv(65535)


def test_udp_that_is_no_quic_passes_by_its_binding(net, world):
    with world.world.udp(PUBLIC4, 5000) as server, net.guest.udp("0.0.0.0") as client:
        client.sendto(b"\x01 no long header", (PUBLIC4, 5000))
        server.settimeout(5)
        assert server.recv(100) == b"\x01 no long header"


def test_a_refused_first_flight_is_an_event_with_the_name(net, world):
    with Far(net, world) as far:
        far.client.sendall(hello("other.test"))
        assert far.told() == ALERT
    event = ctl_json(net, "events")["events"][-1]
    assert event["layer"] == "first-flight" and event["server_name"] == "other.test"
    assert "good.test" in event["names"] and event["verdict"] == "deny"


def test_a_policy_without_name_rules_looks_into_nothing(gateway, world):
    net = gateway(profile="public")
    with Far(net, world) as far:
        far.client.sendall(b"GET / HT")
        assert far.server.recv(100) == b"GET / HT"
