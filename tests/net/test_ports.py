"""Published ports: the world reaches into the guest, and sees what the guest does.  How such
connections end: test_tcp_close.py."""
import errno
import os
import re
import socket
import tempfile

import pytest

from harness.clients import error_of_recv, read_exactly
from harness.gateway import GUEST4, StartError
from harness.netns import wait_for
from harness.servers import LoadServer, body_of
from harness.world import HOST4, HOST6, WORLD4, WORLD6

pytestmark = pytest.mark.hostd
LOCAL = "127.0.0.1"


@pytest.fixture
def ends(gateway, world):
    """A client in the host and its server in the guest, joined by a published port."""
    net = gateway(publish=[f"{LOCAL}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        client = world.host.connect(LOCAL, net.port(80))
        server, _ = listener.accept()
    server.settimeout(5)
    yield client, server
    client.close()
    server.close()


@pytest.fixture
def open_folder():
    """A folder that hostd can still reach once it is no longer root (tmp_path is root's)."""
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as folder:
        os.chmod(folder, 0o777)
        yield folder


def test_a_client_of_the_host_reaches_the_guest(ends):
    client, server = ends
    client.sendall(b"GET")
    assert read_exactly(server, 3) == b"GET"
    server.sendall(b"200")
    assert read_exactly(client, 3) == b"200"


def test_a_port_without_an_address_is_bound_to_loopback_only(gateway, world):
    net = gateway(publish=["0:80"])
    with net.guest.listen("0.0.0.0", 80):
        world.host.connect(LOCAL, net.port(80)).close()
        with pytest.raises(ConnectionRefusedError):
            world.world.connect(HOST4, net.port(80))


def test_the_client_address_is_kept(gateway, world):
    net = gateway(publish=[f"{HOST4}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        client = world.world.connect(HOST4, net.port(80))
        server, peer = listener.accept()
        with client, server:
            assert peer[0] == WORLD4
            assert peer[1] == client.getsockname()[1]
            server.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"


def test_the_ipv6_client_address_is_kept(gateway, world):
    net = gateway(publish=[f"[{HOST6}]:0:80"])
    net.guest.wait_ipv6()
    with net.guest.listen("::", 80) as listener:
        client = world.world.connect(HOST6, net.port(80))
        server, peer = listener.accept()
        with client, server:
            assert peer[0] == client.getsockname()[0]
            server.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"


def test_a_client_on_loopback_is_seen_as_the_gateway(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        with world.host.connect(LOCAL, net.port(80)):
            server, peer = listener.accept()
            server.close()
    assert peer[0] == "192.168.127.1"


def test_an_ipv6_client_reaches_a_guest_that_listens_on_ipv4(gateway, world):
    net = gateway(publish=["[::1]:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        with world.host.connect("::1", net.port(80)) as client:
            server, _ = listener.accept()
            with server:
                server.sendall(b"hello")
                assert read_exactly(client, 5) == b"hello"


def test_port_0_is_any_port_and_is_reported(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:80", f"{LOCAL}:0:81"])
    one, two = net.port(80), net.port(81)
    assert one and two and one != two
    entry = next(p for p in net.ready["ports"] if p["guest_port"] == 80)
    assert entry["host"] == LOCAL and entry["proto"] == "tcp"
    assert str(one) in net.log()


def test_a_range_of_ports_maps_one_to_one(gateway, world):
    net = gateway(publish=[f"{LOCAL}:18080-18083:8080-8083"])
    for i in range(4):
        assert net.port(8080 + i) == 18080 + i
        with net.guest.listen("0.0.0.0", 8080 + i) as listener:
            with world.host.connect(LOCAL, 18080 + i):
                listener.accept()[0].close()


def test_a_unix_socket_reaches_the_guest(gateway, world, open_folder):
    path = os.path.join(open_folder, "web.sock")
    net = gateway(publish=[f"unix:{path}:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            server, _ = listener.accept()
            with server:
                client.sendall(b"hello")
                assert read_exactly(server, 5) == b"hello"


def test_a_file_that_is_in_the_way_of_a_unix_socket_is_never_removed(gateway, tmp_path):
    path = tmp_path / "precious"
    path.write_text("mine")
    with pytest.raises(StartError) as failed:
        gateway(publish=[f"unix:{path}:80"], guest=False)
    assert failed.value.status == 1 and str(path) in failed.value.log
    assert path.read_text() == "mine"


def test_a_reverse_port_takes_the_guest_to_a_unix_socket_of_the_host(gateway, open_folder):
    path = os.path.join(open_folder, "host.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.listen()
        listener.settimeout(5)
        net = gateway("-R", f"2375:unix:{path}")
        with net.guest.connect("192.168.127.1", 2375) as client:
            server, _ = listener.accept()
            with server:
                client.sendall(b"hello")
                assert read_exactly(server, 5) == b"hello"


def test_a_closed_guest_port_resets_the_client(gateway, world):
    """Never a clean end of stream, which looks like an empty answer."""
    net = gateway(publish=[f"{LOCAL}:0:80"])
    try:
        client = world.host.connect(LOCAL, net.port(80))
    except ConnectionResetError:
        return                                  # so fast that connect() itself saw it
    with client:
        assert error_of_recv(client) == errno.ECONNRESET


def test_a_guest_that_is_not_there_resets_the_client(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:80"])
    net.guest.leave()
    with world.host.connect(LOCAL, net.port(80), timeout=20) as client:
        assert error_of_recv(client) == errno.ECONNRESET


def test_a_server_that_speaks_first_is_heard_before_the_client_says_a_word(ends):
    client, server = ends
    server.sendall(b"220 ready")
    assert read_exactly(client, 9) == b"220 ready"


def test_300_connections_at_once_are_all_served(gateway, world):
    """microsandbox 4.1 (1606), arcbox 4: a backlog of 128, a silent cap at 256."""
    count, net = 300, gateway(publish=[f"{LOCAL}:0:80"])
    with net.guest.listen("0.0.0.0", 80, backlog=512) as listener:
        clients = [world.host.connect(LOCAL, net.port(80)) for _ in range(count)]
        servers = [listener.accept()[0] for _ in range(count)]
        for i, client in enumerate(clients):
            client.sendall(b"%03d" % i)
        assert sorted(read_exactly(s, 3) for s in servers) == [b"%03d" % i for i in range(count)]
        for s in clients + servers:
            s.close()


def test_clients_of_one_source_port_are_kept_apart(gateway, world):
    """arcbox 4: ports chosen without a look at those in use.  All are seen as the gateway, which
    cannot give each the port that it has."""
    net = gateway(publish=[f"{LOCAL}:0:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        clients = [world.host.connect(LOCAL, net.port(80), source=(f"127.0.0.{i}", 34567))
                   for i in range(1, 6)]
        servers, peers = zip(*(listener.accept() for _ in clients))
        for i, client in enumerate(clients):
            client.sendall(b"%d" % i)
        assert sorted(read_exactly(s, 1) for s in servers) == [b"0", b"1", b"2", b"3", b"4"]
        assert len(set(peers)) == 5
        for s in (*clients, *servers):
            s.close()


@pytest.mark.timing
@pytest.mark.parametrize("slow, way", [("server_read", "up"), ("client_read", "down")])
def test_a_published_port_keeps_the_pace_of_its_slower_side(gateway, world, slow, way):
    """microsandbox 4.1 (914): 30 to 120 KB/s, since nothing told of room that there was again."""
    net = gateway(publish=[f"{LOCAL}:0:7777"])
    rate, size = 16 << 20, 32 << 20
    options = {"up": 0, "down": 0, way: size, slow: rate}
    server = LoadServer(net.guest.ns, port=7777)
    try:
        def in_time():
            """Where the machine is busy, not at the first try."""
            result = server.run(world.host, LOCAL, net.port(7777), flows=1, **options)
            assert result["ok"] == 1, result
            return result["secs"] < size / rate / 0.95 + 0.2
        wait_for(in_time, 60, "32 MiB at 16 MiB/s")
    finally:
        server.stop()


@pytest.mark.timing
def test_nothing_is_leaked_by_thousands_of_connections_into_the_guest(gateway, world):
    """Flows, fds and memory are back where they were: clients that close, that die in the middle,
    and that are reset because nobody listens any more."""
    net = gateway(publish=[f"{LOCAL}:0:7777"])
    server = LoadServer(net.guest.ns, port=7777)

    def settled():
        return net.counter("flows.tcp") == 0

    def run(**options):
        result = server.run(world.host, LOCAL, net.port(7777), at=32, **options)
        assert result["ok"] == result["flows"], result
    try:
        run(flows=1000, up=1000, down=1000)
        wait_for(settled, limit=60, what="no flow", step=0.1)
        fds, memory = net.fd_names(), net.rss_bytes()
        run(flows=3000, up=10_000, down=10_000)
        dying = server.start(world.host, LOCAL, net.port(7777), flows=64, at=64, up=64 << 20,
                             down=64 << 20)
        wait_for(lambda: net.counter("flows.tcp") == 64, what="64 flows")
        dying.kill()
        dying.stop()
    finally:
        server.stop()
    for _ in range(500):
        try:
            with world.host.connect(LOCAL, net.port(7777)) as client:
                assert error_of_recv(client) == errno.ECONNRESET
        except ConnectionResetError:
            pass                                # so fast that connect() itself saw it
    wait_for(settled, limit=60, what="no flow after all have gone", step=0.1)
    assert net.fd_names() == fds
    # Given back by the tick after the last flow's.
    wait_for(lambda: net.rss_bytes() < memory + (32 << 20), limit=60, what="the memory of a burst")


def test_many_flows_into_the_guest_carry_every_byte(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:7777"])
    server = LoadServer(net.guest.ns, port=7777)
    try:
        for options in (dict(flows=32, at=32, up=1 << 20, down=1 << 20),
                        dict(flows=5000, at=32, up=1, down=1)):
            result = server.run(world.host, LOCAL, net.port(7777), **options)
            assert result["ok"] == result["flows"], result
    finally:
        server.stop()


def test_a_port_that_is_taken_stops_the_start_and_is_named(gateway, world):
    with world.host.listen(LOCAL) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as failed:
            gateway(publish=[f"{LOCAL}:{port}:80"], guest=False)
    assert failed.value.status == 1
    assert str(port) in failed.value.log and "in use" in failed.value.log


def test_an_address_that_the_host_does_not_have_stops_the_start(gateway):
    with pytest.raises(StartError) as failed:
        gateway(publish=["203.0.113.7:8080:80"], guest=False)
    assert failed.value.status == 1 and "203.0.113.7" in failed.value.log


def test_a_port_below_1024_can_be_published(gateway, world):
    net = gateway(publish=[f"{LOCAL}:88:80"])
    with net.guest.listen("0.0.0.0", 80) as listener:
        with world.host.connect(LOCAL, 88):
            listener.accept()[0].close()


def test_all_ports_listen_before_the_guest_is_there(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:80"], attach="raw")
    world.host.connect(LOCAL, net.port(80)).close()


# ---- UDP

def test_a_published_udp_port_carries_datagrams_both_ways(gateway, world):
    net = gateway(publish=[f"{HOST4}:0:53/udp"])
    with net.guest.udp("0.0.0.0", 53) as server, world.world.udp(WORLD4) as client:
        client.sendto(b"question", (HOST4, net.port(53, "udp")))
        text, peer = server.recvfrom(100)
        assert text == b"question" and peer[0] == WORLD4
        server.sendto(b"answer", peer)
        answer, source = client.recvfrom(100)
        assert answer == b"answer" and source == (HOST4, net.port(53, "udp"))


def test_a_udp_client_keeps_one_source_port(gateway, world):
    """arcbox 2.3: a new port for each datagram broke QUIC."""
    net = gateway(publish=[f"{LOCAL}:0:53/udp"])
    with net.guest.udp("0.0.0.0", 53) as server, world.host.udp(LOCAL) as client:
        peers = set()
        for i in range(20):
            client.sendto(b"%d" % i, (LOCAL, net.port(53, "udp")))
            peers.add(server.recvfrom(100)[1])
        assert len(peers) == 1


def test_two_udp_clients_are_kept_apart(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:53/udp"])
    with net.guest.udp("0.0.0.0", 53) as server, world.host.udp(LOCAL) as a, \
            world.host.udp(LOCAL) as b:
        for client, text in ((a, b"a"), (b, b"b")):
            client.sendto(text, (LOCAL, net.port(53, "udp")))
        for _ in range(2):
            text, peer = server.recvfrom(100)
            server.sendto(text.upper(), peer)
        assert a.recv(10) == b"A" and b.recv(10) == b"B"


def test_large_datagrams_reach_a_published_udp_port_whole(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:53/udp"], mtu=1500)
    body = body_of(60_000)
    with net.guest.udp("0.0.0.0", 53) as server, world.host.udp(LOCAL) as client:
        client.sendto(body, (LOCAL, net.port(53, "udp")))
        text, peer = server.recvfrom(65535)
        assert text == body
        server.sendto(body, peer)
        assert client.recv(65535) == body


def test_tcp_and_udp_of_one_number_are_two_ports(gateway, world):
    net = gateway(publish=[f"{LOCAL}:15353:53", f"{LOCAL}:15353:53/udp"])
    with net.guest.udp("0.0.0.0", 53) as datagrams, net.guest.listen("0.0.0.0", 53) as streams:
        with world.host.udp(LOCAL) as u, world.host.connect(LOCAL, 15353):
            streams.accept()[0].close()
            u.sendto(b"x", (LOCAL, 15353))
            assert datagrams.recvfrom(10)[0] == b"x"


@pytest.mark.parametrize("spec", ["80", "a:80", "1:2:3:4:5", "70000:80", "80:70000", "80:80/sctp",
                                  "8000-8002:80-81", "8002-8000:80-82", "[::1:80:80", ":",
                                  "unix::80"])
def test_a_bad_port_specification_is_a_usage_error_that_names_it(gateway, spec):
    with pytest.raises(StartError) as failed:
        gateway(publish=[spec], guest=False)
    assert failed.value.status == 2
    assert spec in failed.value.log and re.search(r"-p\b", failed.value.log)


def test_a_published_port_names_a_guest_address(gateway, world):
    net = gateway(publish=[f"{LOCAL}:0:{GUEST4}:80"])
    with net.guest.listen(GUEST4, 80) as listener:
        with world.host.connect(LOCAL, net.port(80)):
            listener.accept()[0].close()
