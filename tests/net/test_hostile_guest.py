"""Packets no honest guest sends: nothing ends, nothing grows, the honest flows go on."""
import random
import socket
import struct

import pytest

from harness.clients import SOON, WORLD, connect_error, pair, read_exactly
from harness.gateway import GATEWAY4, GUEST4, GUEST_MAC
from harness.link import BROADCAST, Ether, ICMP, IP, Link, TCP, UDP, framed
from harness.netns import wait_for

pytestmark = pytest.mark.hostd


@pytest.fixture
def link(gateway):
    with Link(gateway(attach="raw")) as made:
        made.arp()
        yield made


class Hand:
    """A TCP client made by hand, up to the end of the handshake."""

    def __init__(self, link, port, sport=5000, options=(("MSS", 1460),), window=65535, isn=1000):
        self.link, self.port, self.sport, self.window = link, port, sport, window
        self.reply = link.ask(self.segment("S", isn, 0, options=list(options)),
                              lambda f: TCP in f and f[TCP].dport == sport)
        assert self.reply is not None and self.reply[TCP].flags == "SA", self.reply
        self.seq, self.ack = isn + 1, self.reply[TCP].seq + 1
        link.send(self.segment("A"))

    def segment(self, flags, seq=None, ack=None, body=b"", **fields):
        fields.setdefault("window", self.window)
        tcp = TCP(sport=self.sport, dport=self.port, flags=flags,
                  seq=(self.seq if seq is None else seq) & 0xffffffff,
                  ack=(self.ack if ack is None else ack) & 0xffffffff, **fields)
        packet = self.link.ip(dst=WORLD[4]) / tcp
        return packet / body if body else packet


@pytest.fixture
def server(world):
    with world.world.listen(WORLD[4], backlog=1024) as listener:
        yield listener


def port_of(listener):
    return listener.getsockname()[1]


@pytest.mark.parametrize("options", [b"\x02\x00\x00\x00", b"\x02\x01\x00\x00", b"\x02\xff\x05\xb4",
                                     b"\x03\x0e\x00\x00", b"\x05\x02", b"\x05\x29" + b"\0" * 38,
                                     b"\x01" * 40, b"\x08\x0a\0\0", b"\xfd\x00\x01\x01",
                                     b"\x02\x04\x00\x00", b"\x02\x04\x00\x01",
                                     b"\x03\x03\xff\x00"])
def test_malformed_tcp_options_are_survived(link, server, options):
    """lwIP 2.2.1 reads out of bounds on some of these."""
    options += b"\0" * (-len(options) % 4)
    for flags in (0x02, 0x10, 0x12, 0x14):
        head = struct.pack(">HHIIBBHHH", 5001, port_of(server), 1, 0,
                           (5 + len(options) // 4) << 4, flags, 1000, 0, 0)
        link.send(link.ip(dst=WORLD[4], proto=6) / with_checksum(head + options))
    assert link.works()


def with_checksum(segment, source=GUEST4, destination=WORLD[4]):
    from scapy.utils import checksum
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + \
        struct.pack(">BBH", 0, 6, len(segment))
    value = checksum(pseudo + segment)
    return segment[:16] + struct.pack(">H", value) + segment[18:]


@pytest.mark.parametrize("offset", [0, 1, 4, 15])
def test_a_wrong_data_offset_is_survived(link, server, offset):
    for flags in (0x02, 0x10, 0x18):
        head = struct.pack(">HHIIBBHHH", 5002, port_of(server), 1, 0, offset << 4, flags, 1000,
                           0, 0)
        link.send(link.ip(dst=WORLD[4], proto=6) / with_checksum(head))
    assert link.works()


@pytest.mark.parametrize("size", range(0, 20, 3))
def test_a_tcp_header_that_is_cut_off_is_survived(link, size):
    link.send(link.ip(dst=WORLD[4], proto=6) / bytes(range(size)))
    assert link.works()


@pytest.mark.parametrize("flags", ["", "SF", "SR", "FSRPAUEC", "SFPU", "F", "U"])
def test_impossible_flags_open_nothing(link, server, flags):
    link.send(link.ip(dst=WORLD[4]) / TCP(sport=5003, dport=port_of(server), flags=flags, seq=5,
                                          urgptr=60000) / b"data")
    server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        server.accept()
    assert link.works()


def test_a_segment_of_no_known_flow_is_answered_by_a_reset(link):
    """arcbox 2.2 (6): it was dropped, and the guest waited."""
    reply = link.ask(link.ip(dst=WORLD[4]) / TCP(sport=5004, dport=80, flags="A", seq=7, ack=99),
                     lambda f: TCP in f)
    assert reply is not None and "R" in reply[TCP].flags and reply[TCP].seq == 99


def test_a_syn_with_a_bad_checksum_costs_nothing(link, server, world):
    """microsandbox 4.2 (2): each leaked a listener."""
    for i in range(600):
        link.send(link.ip(dst=WORLD[4]) / TCP(sport=6000 + i, dport=port_of(server), flags="S",
                                              seq=1, chksum=0x1234))
    server.settimeout(0.3)
    with pytest.raises(TimeoutError):
        server.accept()
    server.settimeout(30)
    Hand(link, port_of(server), sport=7000)
    assert link.gateway.counter("flows.tcp") <= 1


def test_resets_in_the_handshake_cost_nothing(link, server):
    """microsandbox 4.2 (2): a RST in SYN-RECEIVED leaked a slot; 256 of them ended egress."""
    for i in range(400):
        sport = 8000 + i
        reply = link.ask(link.ip(dst=WORLD[4]) / TCP(sport=sport, dport=port_of(server), flags="S",
                                                     seq=1),
                         lambda f: TCP in f and f[TCP].dport == sport)
        assert reply is not None and reply[TCP].flags == "SA", i
        link.send(link.ip(dst=WORLD[4]) / TCP(sport=sport, dport=port_of(server), flags="R", seq=2))
        server.accept()[0].close()
    wait_for(lambda: link.gateway.counter("flows.tcp") == 0, limit=60, what="no flow", step=0.05)


@pytest.mark.long
def test_handshakes_that_are_never_finished_end_in_time(link, server):
    for i in range(50):
        link.send(link.ip(dst=WORLD[4]) / TCP(sport=9000 + i, dport=port_of(server), flags="S",
                                              seq=1))
    wait_for(lambda: link.gateway.counter("flows.tcp") == 0, limit=90, step=0.5,
             what="half-open flows given up")


@pytest.mark.timing
def test_a_syn_flood_ends_no_live_connection(gateway, world, server):
    net = gateway()
    guest, peer = pair(net.guest, world.world, WORLD[4])
    with guest, peer, net.guest.packets("tap0") as raw:
        neighbours = net.guest.run("ip", "neigh", "show", GATEWAY4).stdout.split()
        gateway_mac = neighbours[neighbours.index("lladdr") + 1]
        before = net.rss_bytes()
        template = bytes(Ether(src=GUEST_MAC, dst=gateway_mac) / IP(src=GUEST4, dst="198.18.8.8") /
                         TCP(sport=1, dport=80, flags="S", seq=1))
        segment = bytearray(template[34:])
        for i in range(20_000):
            segment[0:4] = struct.pack(">HH", 1024 + i % 60000, 80 + i // 60000)
            segment[16:18] = b"\0\0"
            frame = template[:34] + with_checksum(bytes(segment), destination="198.18.8.8")
            try:
                raw.send(frame)
            except (BlockingIOError, OSError):
                pass
        guest.sendall(b"alive?")
        assert read_exactly(peer, 6) == b"alive?"
        peer.sendall(b"alive!")
        assert read_exactly(guest, 6) == b"alive!"
        error, seconds = connect_error(net.guest, WORLD[4], port_of(server))
        assert error is None and seconds < 2 * SOON
        assert net.rss_bytes() < before + (32 << 20)
        assert net.counter("held_syns") <= 1024
        assert net.fd_count() < 1024 + 200


def test_data_out_of_order_and_overlapping_arrives_once_and_in_order(link, server):
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(3)
    base = hand.seq
    parts = [(10, b"klmno"), (5, b"fghij"), (3, b"defghijkl"), (0, b"abcde"), (12, b"mnopq"),
             (2, b"cde"), (0, b"abc"), (17, b"rst")]
    with peer:
        for at, body in parts:
            link.send(hand.segment("PA", base + at, body=body))
        assert read_exactly(peer, 20) == b"abcdefghijklmnopqrst"


def test_a_fin_before_missing_data_ends_nothing_early(link, server):
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(3)
    base = hand.seq
    with peer:
        link.send(hand.segment("FA", base + 10, body=b"klmno"))
        link.send(hand.segment("PA", base, body=b"abcde"))
        assert read_exactly(peer, 5) == b"abcde"
        link.send(hand.segment("PA", base + 5, body=b"fghij"))
        assert read_exactly(peer, 10) == b"fghijklmno"
        assert peer.recv(1) == b""


def test_sequence_numbers_wrap_around(link, server):
    hand = Hand(link, port_of(server), isn=0xffffffff - 5)
    peer, _ = server.accept()
    peer.settimeout(3)
    with peer:
        for i in range(20):
            link.send(hand.segment("PA", hand.seq + i, body=b"%c" % (97 + i)))
        assert read_exactly(peer, 20) == b"abcdefghijklmnopqrst"


def test_an_ack_of_data_that_was_never_sent_is_ignored(link, server):
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(3)
    with peer:
        link.send(hand.segment("A", ack=hand.ack + 1_000_000))
        link.send(hand.segment("PA", body=b"honest"))
        assert read_exactly(peer, 6) == b"honest"


def test_a_reset_outside_the_window_is_ignored(link, server):
    """RFC 5961: else a blind attacker ends flows."""
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(3)
    with peer:
        link.send(hand.segment("R", hand.seq + 0x40000000))
        link.send(hand.segment("PA", body=b"honest"))
        assert read_exactly(peer, 6) == b"honest"


@pytest.mark.timing
def test_single_bytes_among_junk_keep_no_memory_of_the_junk(link, server):
    """A byte that waits for the one before it must not keep all that was read with it."""
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(10)
    base = hand.seq
    junk = framed(Ether(src=GUEST_MAC, dst=BROADCAST, type=0x88b5) / bytes(65000)) * 8
    before = link.gateway.rss_bytes()
    with peer:
        for at in range(1, 401):
            link.sock.sendall(framed(hand.segment("PA", base + at, body=bytes([at & 255]))) + junk)
        assert link.works()
        assert link.gateway.rss_bytes() < before + (110 << 20)
        link.send(hand.segment("PA", base, body=b"\0"))
        assert read_exactly(peer, 401) == bytes(at & 255 for at in range(401))


@pytest.mark.timing
def test_a_window_that_stays_at_zero_holds_bounded_memory(link, server):
    hand = Hand(link, port_of(server), window=0)
    peer, _ = server.accept()
    with peer:
        peer.setblocking(False)
        total = 0
        try:
            while total < 64 << 20:
                total += peer.send(b"w" * 65536)
        except BlockingIOError:
            pass
        before = link.gateway.cpu_seconds()
        assert link.works()
        assert total < 32 << 20
        assert link.gateway.cpu_seconds() - before < 0.5
        assert hand


def test_a_tiny_mss_does_not_stop_the_data(link, server):
    """MSS 1: an honest stack never says it."""
    hand = Hand(link, port_of(server), options=[("MSS", 1)])
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"d" * 2000)
        got, expected = {}, hand.ack
        for frame in link.frames(5):
            if TCP not in frame or frame[TCP].dport != hand.sport:
                continue
            body = bytes(frame[IP])[frame[IP].ihl * 4 + frame[TCP].dataofs * 4:frame[IP].len]
            if body:
                got[frame[TCP].seq] = body
                while expected in got:
                    expected += len(got[expected])
                link.send(hand.segment("A", ack=expected))
            if expected - hand.ack >= 2000:
                break
        assert expected - hand.ack == 2000
    assert link.works()


def test_a_new_syn_on_a_live_connection_does_not_confuse_it(link, server):
    hand = Hand(link, port_of(server))
    peer, _ = server.accept()
    peer.settimeout(3)
    with peer:
        link.send(hand.segment("S", hand.seq + 5, 0))
        link.send(hand.segment("PA", body=b"honest"))
        assert read_exactly(peer, 6) == b"honest"


def ip_header(**change):
    fields = dict(version=4, ihl=5, length=None, ttl=64, proto=17, options=b"")
    fields.update(change)
    body = b"\x13\x88\x13\x89\x00\x0c\x00\x00data" + b"\0" * 20
    length = 20 + len(fields["options"]) + len(body)
    head = struct.pack(">BBHHHBBH4s4s", fields["version"] << 4 | fields["ihl"], 0,
                       length if fields["length"] is None else fields["length"], 1, 0,
                       fields["ttl"], fields["proto"], 0, socket.inet_aton(GUEST4),
                       socket.inet_aton(WORLD[4])) + fields["options"]
    from scapy.utils import checksum
    value = struct.pack(">H", checksum(head))
    return head[:10] + value + head[12:] + body


@pytest.mark.parametrize("change", [dict(ihl=0), dict(ihl=4), dict(ihl=15), dict(length=0),
                                    dict(length=19), dict(length=65535), dict(version=5),
                                    dict(version=0), dict(ttl=0), dict(proto=255), dict(proto=0),
                                    dict(ihl=15, options=b"\x07\xff" + b"\0" * 38),
                                    dict(ihl=15, options=b"\x01" * 40),
                                    dict(ihl=6, options=b"\x83\x00\x00\x00")])
def test_a_wrong_ipv4_header_is_survived(link, change):
    link.send(bytes(Ether(src=GUEST_MAC, dst=link.gateway_mac, type=0x800)) + ip_header(**change))
    assert link.works()


@pytest.mark.parametrize("size", range(0, 62, 7))
def test_a_frame_cut_off_at_any_place_is_survived(link, size):
    whole = bytes(link.ip(dst=WORLD[4]) / TCP(dport=80, flags="S") / (b"x" * 8))
    link.send(whole[:size])
    assert link.works()


def test_protocols_that_are_not_relayed_are_told_so(link):
    """An honest error, never silence: ICMP protocol unreachable or prohibited."""
    reply = link.ask(link.ip(dst=WORLD[4], proto=132) / (b"\0" * 40), lambda f: ICMP in f)
    assert reply is not None and reply[ICMP].type == 3 and reply[ICMP].code in (2, 9, 10, 13)


def test_random_frames_are_survived(link):
    """Each run has another seed, named when it fails."""
    storm(link, 5_000)


@pytest.mark.long
def test_100_000_random_frames_are_survived(link):
    storm(link, 100_000)


def storm(link, count):
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    bases = [bytes(link.ip(dst=WORLD[4]) / TCP(dport=80, flags="S", options=[("MSS", 1460)])),
             bytes(link.ip(dst=WORLD[4]) / UDP(dport=53) / (b"\x12\x34\1\0\0\1" + b"\0" * 30)),
             bytes(link.ip(dst=GATEWAY4) / ICMP() / (b"x" * 40)),
             bytes(Ether(src=GUEST_MAC, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") /
                   UDP(sport=68, dport=67) / (b"\1\1\6\0" + b"\0" * 232 + b"c\x82Sc5\1\1\xff"))]
    link.sock.settimeout(0.001)
    for _ in range(count):
        frame = bytearray(rng.choice(bases))
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        if rng.random() < 0.2:
            del frame[rng.randrange(len(frame)):]
        link.sock.settimeout(30)
        link.send(bytes(frame))
        link.sock.settimeout(0.00001)
        try:
            link.sock.recv(1 << 18)
        except (TimeoutError, BlockingIOError):
            pass
    # What is still on its way ends in the middle of a frame for us: start a new connection.
    link.close()
    with Link(link.gateway) as fresh:
        assert fresh.works(limit=5), f"seed {seed}"
