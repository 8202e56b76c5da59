"""--resolve-and-dial: a name leads to where the gateway finds it, wherever the guest believes it."""
import pytest

from harness import servers
from harness.clients import error_of_recv, read_exactly
from harness.first_words import hello, request
from harness.world import DNS4, PUBLIC4, PUBLIC4_B
from test_control import ctl_json
from test_dns import addresses, ask, make, over_udp
from test_first_flight import ALERT, get_quic, get_tls, quic  # noqa: F401 (a fixture)

pytestmark = pytest.mark.hostd
PORT = 9443
FIRST_WORDS = {"tls": hello("good.test"), "http": request("good.test")}
words = pytest.mark.parametrize("first", FIRST_WORDS.values(), ids=FIRST_WORDS.keys())


@pytest.fixture
def zone(dns):
    """Answers that nobody keeps, so that each lookup says where the name is now."""
    dns.records.update({"good.test": [("A", PUBLIC4, 0)], "also.test": [("A", PUBLIC4, 0)]})
    return dns


@pytest.fixture
def net(gateway, zone):
    running = gateway("--resolve-and-dial", "--allow", "good.test", "--allow", "also.test",
                      profile=None)
    for name in ("good.test", "also.test"):
        assert addresses(ask(running, name)) == [PUBLIC4]
    return running


class Two:
    """A server of the test's own at each of two addresses, and a client of the first."""

    def __init__(self, net, world):
        self.here = world.world.listen(PUBLIC4, PORT)
        self.there = world.world.listen(PUBLIC4_B, PORT)
        self.client = net.guest.connect(PUBLIC4, PORT)
        self.client.settimeout(30)
        self.first = self.accept(self.here)
        self.second = None

    def accept(self, listener):
        listener.settimeout(30)
        server, _ = listener.accept()
        server.settimeout(30)
        return server

    def moved(self):
        self.second = self.accept(self.there)
        return self.second

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in (self.client, self.first, self.second, self.here, self.there):
            if one:
                one.close()


@words
def test_a_name_that_is_still_there_keeps_its_connection(net, world, first):
    with Two(net, world) as two:
        two.client.sendall(first)
        assert read_exactly(two.first, len(first)) == first
        two.first.sendall(b"answer")
        assert read_exactly(two.client, 6) == b"answer"


@words
def test_a_name_that_has_moved_is_served_where_it_is_and_its_old_address_hears_nothing(
        net, world, zone, first):
    with Two(net, world) as two:
        zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
        two.client.sendall(first[:50])
        two.client.sendall(first[50:])
        server = two.moved()
        assert read_exactly(server, len(first)) == first
        assert two.first.recv(100) == b"", "not a byte, and the end"
        server.sendall(b"answer")
        assert read_exactly(two.client, 6) == b"answer"
        two.client.sendall(b"\x17\x03\x03\0\1x" if first[0] == 0x16 else request("good.test"))
        assert server.recv(1)


def test_a_page_comes_whole_from_where_the_name_has_moved_to(net, world, zone):
    context, certificate = servers.tls_context(["good.test"])
    server = servers.HttpServer(world.world, 443, context)
    try:
        zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
        assert get_tls(net, certificate, "good.test", 443) == 100_000
    finally:
        server.stop()


@words
def test_a_name_that_the_resolver_does_not_answer_for_is_refused_with_the_reason(
        net, world, zone, first):
    with Two(net, world) as two:
        zone.records["good.test"] = "SERVFAIL"
        two.client.sendall(first)
        told = two.client.recv(1000)
        assert told == ALERT or told.startswith(b"HTTP/1.1 403 ") and b"own lookup" in told
        assert error_of_recv(two.first) in (b"", 104), "not a byte"
        line = net.wait_log("denied tcp .*good.test.*").group(0)
        assert "resolve-and-dial" in line and "own lookup of it gave no address" in line
        event = ctl_json(net, "events")["events"][-1]
        assert event["rule"] == "resolve-and-dial" and event["server_name"] == "good.test"
        assert event["layer"] == "first-flight" and event["decided_by"] is None


def test_an_address_that_refuses_is_refused_with_the_reason(net, world, zone):
    zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
    with world.world.listen(PUBLIC4, PORT), net.guest.connect(PUBLIC4, PORT) as client:
        client.sendall(hello("good.test"))
        assert client.recv(100) == ALERT
    assert "Connection refused" in net.wait_log("denied tcp .*good.test.*").group(0)


def test_an_address_that_the_policy_does_not_allow_is_not_dialled(net, world, zone):
    with Two(net, world) as two:
        # The resolver's word does not open the host's own networks.
        zone.records["good.test"] = [("A", DNS4, 0)]
        two.client.sendall(hello("good.test"))
        assert two.client.recv(100) == ALERT
    assert "gave no address" in net.wait_log("denied tcp .*resolve-and-dial.*").group(0)


def test_a_server_that_speaks_first_is_heard_and_what_is_neither_tls_nor_http_goes_on(
        net, world, zone):
    with Two(net, world) as two:
        zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
        before = len(zone.asked("good.test"))
        two.first.sendall(b"SSH-2.0-server\r\n")
        assert read_exactly(two.client, 16) == b"SSH-2.0-server\r\n"
        two.client.sendall(b"SSH-2.0-client\r\n")
        assert read_exactly(two.first, 16) == b"SSH-2.0-client\r\n"
        assert len(zone.asked("good.test")) == before


def test_a_server_that_has_spoken_is_not_exchanged_for_another(net, world, zone):
    with Two(net, world) as two:
        zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
        two.first.sendall(b"hello?")
        assert read_exactly(two.client, 6) == b"hello?"
        two.client.sendall(request("good.test"))
        with pytest.raises(ConnectionResetError):
            two.client.recv(100)
        assert error_of_recv(two.first) in (b"", 104)
    assert "this connection leads to" in net.wait_log("denied tcp .*good.test.*").group(0)


def test_a_later_request_goes_where_the_connection_leads_or_nowhere(net, world, zone):
    with Two(net, world) as two:
        two.client.sendall(request("good.test") + request("also.test"))
        both = len(request("good.test") + request("also.test"))
        assert len(read_exactly(two.first, both)) == both
        zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
        two.client.sendall(request("good.test"))
        with pytest.raises(ConnectionResetError):
            two.client.recv(100)
        assert error_of_recv(two.first) in (b"", 104), "not a byte of the last"


def test_the_guest_still_has_to_look_a_name_up_itself(net, zone):
    with pytest.raises(ConnectionRefusedError):
        net.guest.connect(PUBLIC4_B, PORT)
    zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
    assert addresses(over_udp(net, make("good.test"))) == [PUBLIC4_B]


def test_quic_goes_on_where_its_name_is_and_is_refused_elsewhere(net, quic, zone):  # noqa: F811
    assert get_quic(net, "good.test", 443) == servers.body_of(300_000)
    zone.records["good.test"] = [("A", PUBLIC4_B, 0)]
    assert get_quic(net, "good.test", 443) == b""
    assert "resolve-and-dial" in net.wait_log("denied udp .*good.test.*").group(0)
