"""UDP as a guest and its peers see it."""
import errno
import ipaddress
import select
import socket
import struct

import pytest

from harness.clients import (FAMILIES, FAR, NO_HOST, UNREACHABLE, WORLD, error_of_recv, ready_for)
from harness.gateway import GATEWAY4, GUEST4, GUEST_MAC
from harness.link import Ether, ICMP, IP, IPv6, UDP, Link
from harness.netns import wait_for
from test_ipv6 import advertisement, gateway_of

UDP_HEADER = 8
RECEIVE_ERROR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}    # IP(V6)_RECVERR


@pytest.fixture(params=FAMILIES)
def family(request, net):
    ready_for(request.param, net)
    return request.param


def guest_socket(net, family, connect=None):
    s = net.guest.udp("0.0.0.0" if family == 4 else "::")
    if connect:
        s.connect(connect)
    return s


def test_a_datagram_reaches_its_server_and_the_answer_comes_back(net, world, family):
    with world.world.udp(WORLD[family]) as server, guest_socket(net, family) as client:
        client.sendto(b"question", server.getsockname()[:2])
        text, peer = server.recvfrom(100)
        assert text == b"question"
        server.sendto(b"answer", peer)
        assert client.recvfrom(100)[0] == b"answer"


@pytest.mark.hostd
@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 60_000, 65_507])
def test_datagrams_of_every_size_cross_both_ways(net, world, family, size):
    size = min(size, 65_507 if family == 4 else 65_487)     # 40-byte headers count for the length
    body = bytes(i * 7 & 255 for i in range(size))
    with world.world.udp(WORLD[family]) as server, guest_socket(net, family) as client:
        client.sendto(body, server.getsockname()[:2])
        text, peer = server.recvfrom(65535)
        assert text == body
        server.sendto(body, peer)
        assert client.recv(65535) == body


@pytest.mark.parametrize("size", [1472, 1473, 5000, 60_000])
@pytest.mark.parametrize("ip", FAMILIES)
def test_datagrams_larger_than_a_1500_byte_mtu_are_fragmented_both_ways(
        gateway, world, size, ip):
    net = gateway(mtu=1500)
    ready_for(ip, net)
    body = bytes(i * 11 & 255 for i in range(size))
    with world.world.udp(WORLD[ip]) as server, guest_socket(net, ip) as client:
        client.sendto(body, server.getsockname()[:2])
        text, peer = server.recvfrom(65535)
        assert text == body
        server.sendto(body, peer)
        assert client.recv(65535) == body


def test_one_guest_port_is_one_port_to_every_server(net, world, family):
    """Endpoint-independent mapping: what STUN needs."""
    with world.world.udp(WORLD[family]) as one, world.world.udp(FAR[family]) as two, \
            guest_socket(net, family) as client:
        client.sendto(b"1", one.getsockname()[:2])
        first = one.recvfrom(10)[1]
        client.sendto(b"2", two.getsockname()[:2])
        second = two.recvfrom(10)[1]
        assert first[:2] == second[:2]


@pytest.mark.hostd
def test_a_stranger_that_was_never_sent_to_gets_nothing_through(net, world, family):
    with world.world.udp(WORLD[family]) as known, world.world.udp(WORLD[family]) as stranger, \
            guest_socket(net, family) as client:
        client.sendto(b"hello", known.getsockname()[:2])
        mapped = known.recvfrom(10)[1]
        stranger.sendto(b"let me in", mapped)
        known.sendto(b"welcome", mapped)
        assert client.recv(100) == b"welcome"
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)


def test_a_closed_port_gives_the_guest_econnrefused(net, world, family):
    with world.world.udp(WORLD[family]) as gone:
        where = gone.getsockname()[:2]
    with guest_socket(net, family, connect=where) as client:
        client.send(b"anyone?")
        assert error_of_recv(client) == errno.ECONNREFUSED


def test_an_unreachable_host_gives_the_guest_an_error(net, family):
    with guest_socket(net, family) as client:
        client.setsockopt(*RECEIVE_ERROR[family], 1)
        client.connect((NO_HOST[family], 5353))
        client.send(b"anyone?")
        assert error_of_recv(client) in UNREACHABLE


def test_the_port_of_the_error_is_the_port_that_sent(net, world):
    """Two flows from one port: the error of one is not the other's."""
    with world.world.udp(WORLD[4]) as gone:
        closed = gone.getsockname()
    with world.world.udp(WORLD[4]) as server, guest_socket(net, 4) as client:
        client.setsockopt(*RECEIVE_ERROR[4], 1)
        client.sendto(b"!", server.getsockname())
        text, peer = server.recvfrom(10)
        client.sendto(b"?", closed)
        server.sendto(b"fine", peer)
        poll = select.poll()
        poll.register(client, select.POLLERR)
        assert poll.poll(3000), "no ICMP error"
        message, control, _, where = client.recvmsg(100, 1000, socket.MSG_ERRQUEUE)
        assert where[:2] == closed and message == b"?"
        assert client.recv(10) == b"fine"


def test_a_flow_that_only_receives_stays_alive(net, world):
    """microsandbox 4.2 (5), arcbox 2.3: receive-only flows died at a time-out.  The clock of the
    time-out is tested with virtual time in tests/unit; here, that answers without questions
    keep coming for longer than one poll interval of anything."""
    with world.world.udp(WORLD[4]) as server, guest_socket(net, 4) as client:
        client.sendto(b"subscribe", server.getsockname())
        _, peer = server.recvfrom(100)
        for i in range(200):
            server.sendto(b"%d" % i, peer)
            assert client.recv(100) == b"%d" % i


@pytest.mark.long
@pytest.mark.hostd
def test_a_flow_that_only_receives_outlives_the_unreplied_timeout(net, world):
    with world.world.udp(WORLD[4]) as server, guest_socket(net, 4) as client:
        client.sendto(b"subscribe", server.getsockname())
        _, peer = server.recvfrom(100)
        client.settimeout(2)
        for _ in range(75):
            server.sendto(b"tick", peer)
            assert client.recv(100) == b"tick"
            select.select([client], [], [], 1)


def test_many_questions_from_ports_of_their_own_are_all_answered(net, world):
    """One source port a query, as resolvers do."""
    with world.world.udp(WORLD[4]) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        clients = [guest_socket(net, 4) for _ in range(500)]
        try:
            for i, client in enumerate(clients):
                client.sendto(b"%d" % i, server.getsockname())
                text, peer = server.recvfrom(100)
                server.sendto(text, peer)
            for i, client in enumerate(clients):
                assert client.recv(100) == b"%d" % i
        finally:
            for client in clients:
                client.close()


@pytest.mark.hostd
def test_ten_thousand_source_ports_are_bounded_and_do_not_stop_new_flows(gateway, world):
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp(WORLD[4], timeout=0.2) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        port, head = server.getsockname()[1], bytes(link.ip(dst=WORLD[4]))[:14]
        for i in range(10_000):
            link.send(head + bytes(IP(src=GUEST4, dst=WORLD[4]) /
                                   UDP(sport=2000 + i, dport=port) / b"x"))
        link.send(link.ip(dst=WORLD[4]) / UDP(sport=1999, dport=port) / b"last")

        def last_arrived():
            try:
                return server.recv(100) == b"last"
            except TimeoutError:
                return False
        wait_for(last_arrived, limit=10, what="the newest flow works", step=0)
        assert net.fd_count() < 5000
        assert link.works()


def test_a_burst_of_datagrams_loses_little(net, world):
    """UDP may lose under pressure, but 200 datagrams in one go are no pressure."""
    with world.world.udp(WORLD[4]) as server, guest_socket(net, 4) as client:
        for i in range(200):
            client.sendto(b"%d" % i, server.getsockname())
        got = [server.recvfrom(100)[0] for _ in range(200)]
        assert sorted(got, key=int) == [b"%d" % i for i in range(200)]


@pytest.fixture
def narrow_link(world):
    world.host.ip("link set far mtu 1280")
    yield
    world.host.ip("link set far mtu 1500")


@pytest.mark.parametrize("size", [100, 1400])
def test_a_burst_of_equal_datagrams_arrives_also_over_a_narrow_link(
        net, world, narrow_link, family, size):
    """The kernel cuts them for hostd from one message, but not those that no packet of the link holds."""
    bodies = [bytes([i]) * size for i in range(60)] + [b"short"]
    with world.world.udp(WORLD[family]) as server, guest_socket(net, family) as client:
        for body in bodies:
            client.sendto(body, server.getsockname()[:2])
        assert sorted(server.recvfrom(2000)[0] for _ in bodies) == sorted(bodies)


def test_datagrams_whose_checksum_comes_to_zero_arrive_both_ways(net, world, family):
    """0 would be "none", which IPv6 forbids (RFC 8200 section 8.1): it goes as 0xffff."""
    with world.world.udp(WORLD[family]) as server, guest_socket(
            net, family, connect=server.getsockname()[:2]) as client:
        ends = [client.getsockname(), server.getsockname()]
        # What both headers and the pseudo header add up to, whichever way the datagram goes.
        words = b"".join(ipaddress.ip_address(address).packed for address, *_ in ends)
        total = (sum(struct.unpack(f"!{len(words) // 2}H", words)) + sum(port for _, port, *_ in ends)
                 + socket.IPPROTO_UDP + 2 * (UDP_HEADER + 2))
        body = struct.pack("!H", 0xffff - total % 0xffff)
        client.send(body)
        got, guest = server.recvfrom(100)
        server.sendto(body, guest)
        assert got == client.recv(100) == body


@pytest.mark.hostd
@pytest.mark.parametrize("ip", FAMILIES)
def test_a_denied_datagram_is_answered_with_administratively_prohibited(gateway, world, ip):
    net = gateway(profile="none")
    ready_for(ip, net)
    with guest_socket(net, ip) as client:
        client.setsockopt(*RECEIVE_ERROR[ip], 1)
        client.connect((WORLD[ip], 9999))
        client.send(b"?")
        assert error_of_recv(client) in (errno.EHOSTUNREACH, errno.EACCES, errno.ENETUNREACH)
    assert any("udp" in line.lower() and WORLD[ip] in line for line in net.denials())


@pytest.mark.hostd
def test_the_gateway_address_reaches_udp_services_of_the_host(net, world):
    with world.host.udp("127.0.0.1") as server, guest_socket(net, 4) as client:
        client.sendto(b"local?", (GATEWAY4, server.getsockname()[1]))
        text, peer = server.recvfrom(100)
        server.sendto(b"yes", peer)
        answer, source = client.recvfrom(100)
        assert answer == b"yes" and source[0] == GATEWAY4


@pytest.mark.hostd
def test_a_closed_udp_port_of_the_gateway_is_refused(net):
    with guest_socket(net, 4, connect=(GATEWAY4, 9)) as client:
        client.send(b"?")
        assert error_of_recv(client) == errno.ECONNREFUSED


# ---- fragments, made by hand

@pytest.fixture
def link(gateway):
    with Link(gateway(attach="raw")) as made:
        made.arp()
        yield made


def datagram(link, port, body, **fields):
    return bytes((link.ip(dst=WORLD[4], **fields) / UDP(sport=4000, dport=port) / body)[IP].payload)


def fragment(link, payload, at, size, more, ident=77):
    return link.ip(dst=WORLD[4], id=ident, flags="MF" if more else 0, frag=at // 8, proto=17) / \
        payload[at:at + size]


@pytest.mark.hostd
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_fragments_in_any_order_are_put_together(link, world, order):
    body = bytes(i & 255 for i in range(3000))
    with world.world.udp(WORLD[4]) as server:
        whole = datagram(link, server.getsockname()[1], body)
        parts = [fragment(link, whole, 0, 1000, True), fragment(link, whole, 1000, 1000, True),
                 fragment(link, whole, 2000, 4000, False)]
        link.send(*(parts[i] for i in order))
        assert server.recv(65535) == body


@pytest.mark.hostd
def test_overlapping_fragments_are_dropped_as_a_set(link, world):
    body = bytes(3000)
    with world.world.udp(WORLD[4], timeout=0.5) as server:
        whole = datagram(link, server.getsockname()[1], body)
        link.send(fragment(link, whole, 0, 1000, True), fragment(link, whole, 992, 1008, True),
                  fragment(link, whole, 2000, 4000, False))
        with pytest.raises(TimeoutError):
            server.recv(65535)
        link.send(fragment(link, whole, 0, 1600, True, 78), fragment(link, whole, 1600, 4000, False,
                                                                     78))
        assert server.recv(65535) == body


@pytest.mark.timing
@pytest.mark.hostd
def test_fragment_sets_that_are_never_completed_stay_within_their_budget(link):
    before = link.gateway.rss_bytes()
    for i in range(4000):
        link.send(link.ip(dst=WORLD[4], id=i, flags="MF", proto=17) / (b"f" * 8000))
    assert link.works()
    assert link.gateway.rss_bytes() < before + (24 << 20)


@pytest.mark.hostd
@pytest.mark.parametrize("bad", ["length under 8", "length over the payload", "bad checksum"])
def test_a_wrong_udp_header_is_dropped(link, world, bad):
    with world.world.udp(WORLD[4], timeout=0.3) as server:
        udp = UDP(sport=4000, dport=server.getsockname()[1])
        if bad == "length under 8":
            udp.len = 4
        elif bad == "length over the payload":
            udp.len = 500
        else:
            udp.chksum = 0x1234
        link.send(link.ip(dst=WORLD[4]) / udp / b"bad")
        with pytest.raises(TimeoutError):
            server.recv(100)
    assert link.works()


@pytest.mark.hostd
def test_a_udp_checksum_of_zero_is_right_for_ipv4_and_wrong_for_ipv6(link, world):
    """RFC 768 and RFC 8200 8.1."""
    with world.world.udp(WORLD[4], timeout=1) as server:
        link.send(link.ip(dst=WORLD[4]) / UDP(sport=1, dport=server.getsockname()[1], chksum=0) /
                  b"four")
        assert server.recv(10) == b"four"
    ra = advertisement(link)
    with world.world.udp(WORLD[6], timeout=0.3) as server:
        packet = bytearray(bytes(IPv6(src=gateway_of(ra)[1], dst=WORLD[6]) /
                                 UDP(sport=1, dport=server.getsockname()[1]) / b"six"))
        packet[46:48] = b"\0\0"
        link.send(bytes(Ether(src=GUEST_MAC, dst=ra[Ether].src, type=0x86dd)) + bytes(packet))
        with pytest.raises(TimeoutError):
            server.recv(10)


@pytest.mark.hostd
@pytest.mark.parametrize("port", [67, 68, 123, 137, 546, 547, 853, 5353, 5355])
def test_noise_to_the_gateways_own_ports_is_survived(link, port):
    for body in (b"", b"x", b"\xff" * 600):
        link.send(link.ip(dst=GATEWAY4) / UDP(sport=port, dport=port) / body)
    assert link.works()


@pytest.mark.hostd
def test_forged_icmp_errors_of_the_guest_do_not_end_a_flow(net, world):
    with world.world.udp(WORLD[4]) as server, guest_socket(net, 4) as client:
        where = server.getsockname()
        client.sendto(b"1", where)
        _, peer = server.recvfrom(10)
        raw = net.guest.packets("tap0")
        with raw:
            raw.send(bytes(Ether(src=GUEST_MAC, dst="ff:ff:ff:ff:ff:ff") /
                           IP(src=GUEST4, dst=WORLD[4]) / ICMP(type=3, code=3) /
                           IP(src=WORLD[4], dst=GUEST4) /
                           UDP(sport=where[1], dport=client.getsockname()[1])))
        server.sendto(b"2", peer)
        assert client.recv(10) == b"2"


def test_a_connected_guest_socket_sees_answers_from_the_address_it_asked(net, world, family):
    with world.world.udp(FAR[family]) as server, \
            guest_socket(net, family, connect=server.getsockname()[:2]) as client:
        client.send(b"?")
        _, peer = server.recvfrom(10)
        server.sendto(b"!", peer)
        assert client.recv(10) == b"!"
