"""Neighbours: ARP, the gateway's own answers, and guests that claim what is not theirs."""
import pytest

from harness import world as places
from harness.clients import WORLD, connect_error, pair, read_exactly
from harness.gateway import ALIAS4, GATEWAY4, GUEST4, GUEST_MAC
from harness.link import ARP, BROADCAST, ICMP, IP, TCP, UDP, Ether, Link

pytestmark = pytest.mark.hostd


@pytest.fixture
def link(gateway):
    with Link(gateway(attach="raw")) as made:
        assert made.arp()
        yield made


def drops(net):
    return sum(v for v in net.status().get("drops", {}).values() if isinstance(v, int))


def test_arp_is_answered_for_the_gateway_with_a_locally_administered_mac(link):
    first = int(link.gateway_mac.split(":")[0], 16)
    assert first & 2 and not first & 1


def test_arp_is_answered_for_the_host_alias(link):
    assert link.arp(ALIAS4)


def test_arp_is_not_answered_for_addresses_that_nobody_has(link):
    assert link.arp("192.168.127.77", limit=0.5) is None
    assert link.arp(GUEST4, limit=0.5) is None


def test_an_address_probe_for_the_guests_own_address_is_not_answered(link):
    """RFC 5227: an answer would make the guest give up its lease."""
    assert link.arp(GUEST4, sender="0.0.0.0", limit=0.5) is None


def test_a_guest_that_claims_the_gateways_address_changes_nothing(link):
    for op in (1, 2):
        link.send(Ether(src=GUEST_MAC, dst=BROADCAST) /
                  ARP(op=op, hwsrc=GUEST_MAC, psrc=GATEWAY4, pdst=GATEWAY4))
    reply = link.ping()
    assert reply is not None and reply[ICMP].type == 0 and reply[IP].src == GATEWAY4
    assert link.arp() == link.gateway_mac


@pytest.mark.parametrize("lengths", [(0, 4), (6, 0), (255, 255), (5, 4), (6, 16)])
def test_arp_with_wrong_lengths_is_ignored(link, lengths):
    link.send(Ether(src=GUEST_MAC, dst=BROADCAST) /
              ARP(hwlen=lengths[0], plen=lengths[1], op=1, hwsrc=GUEST_MAC, psrc=GUEST4,
                  pdst=GATEWAY4))
    assert link.works()


def test_the_gateway_answers_a_ping(link):
    reply = link.ping(seq=7)
    assert reply[ICMP].type == 0 and reply[ICMP].seq == 7
    assert bytes(reply[ICMP].payload) == b"payload-of-a-ping"


@pytest.mark.parametrize("source", ["192.168.127.99", GATEWAY4, "127.0.0.1", "0.0.0.0",
                                    "224.0.0.1", "255.255.255.255", "8.8.8.8", ALIAS4])
def test_a_spoofed_source_address_gets_nothing_through(gateway, world, source):
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp("198.18.0.2", timeout=0.5) as server:
        link.arp()
        port = server.getsockname()[1]
        link.send(link.ip(src=source, dst="198.18.0.2") / UDP(sport=999, dport=port) / b"spoofed")
        link.send(link.ip(src=source, dst="198.18.0.2") /
                  TCP(sport=999, dport=port, flags="S", seq=1))
        link.send(link.ip(dst="198.18.0.2") / UDP(sport=1000, dport=port) / b"honest")
        assert server.recv(100) == b"honest"
        with pytest.raises(TimeoutError):
            server.recv(100)
        assert drops(net) >= 1, net.status()


def test_frames_from_the_gateways_own_mac_are_dropped(link):
    link.send(Ether(src=link.gateway_mac, dst=link.gateway_mac) / IP(src=GUEST4, dst=GATEWAY4) /
              ICMP() / b"x")
    assert link.wait(lambda f: ICMP in f, limit=0.5) is None
    assert link.works()


@pytest.mark.timing
def test_a_guest_that_changes_its_mac_in_every_frame_fills_no_table(gateway):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.arp()
        before = net.rss_bytes()
        for i in range(5000):
            mac = f"02:{i >> 8:02x}:{i & 255:02x}:00:00:01"
            link.send(Ether(src=mac, dst=BROADCAST) /
                      ARP(op=1, hwsrc=mac, psrc=f"192.168.{i >> 8}.{i & 255}", pdst=GATEWAY4))
            if i % 100 == 0:
                list(link.frames(0.001))
        assert link.works()
        assert net.rss_bytes() < before + (8 << 20)


@pytest.mark.parametrize("destination", ["127.0.0.1", "0.0.0.0", "240.0.0.1", "255.255.255.255",
                                         "224.0.0.251", "169.254.1.1"])
def test_a_connection_to_an_address_that_makes_no_sense_fails_and_breaks_nothing(
        link, destination):
    link.send(link.ip(dst=destination) / TCP(sport=1234, dport=80, flags="S", seq=1))
    reply = link.wait(lambda f: TCP in f or ICMP in f, limit=0.5)
    assert reply is None or ICMP in reply or "R" in reply[TCP].flags
    assert link.works()


def test_a_guest_with_two_flows_of_the_same_ports_to_two_servers_keeps_them_apart(net, world):
    a, a_peer = pair(net.guest, world.world, WORLD[4], source=("0.0.0.0", 41000))
    b, b_peer = pair(net.guest, world.world, places.FAR4, source=None)
    with a, b, a_peer, b_peer:
        a.send(b"to a")
        b.send(b"to b")
        assert read_exactly(a_peer, 4) == b"to a"
        assert read_exactly(b_peer, 4) == b"to b"


def test_a_broadcast_storm_does_not_stop_the_service(net, world):
    raw = net.guest.packets("tap0")
    with raw, world.world.listen(WORLD[4]) as server:
        frame = bytes(Ether(src=GUEST_MAC, dst=BROADCAST) / IP(src=GUEST4, dst="255.255.255.255") /
                      UDP(sport=5, dport=5) / (b"s" * 200))
        for _ in range(5000):
            try:
                raw.send(frame)
            except OSError:
                break
        assert connect_error(net.guest, WORLD[4], server.getsockname()[1])[0] is None
