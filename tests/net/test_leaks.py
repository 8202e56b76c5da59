"""A hostile guest behind a small list of allows: what it does to get out, and all that left.

Everything is recorded that leaves the host (harness/attack.py); one byte, question or packet that
no rule allows fails the test.  The numbers are those of the project's list of attacks
(docs/testing.md); lookups are in test_leaks_dns.py."""
import itertools
import os
import select
import signal
import socket
import struct

import dns.rcode
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)

from harness.attack import GOOD, LOOKUP, NAMES_ONLY, OPEN_PORT, OTHER
from harness.clients import connect_error, nonblocking_connects
from harness.first_words import (HELLOS, OTHER_BYTES, PREFACE, REQUESTS, at_once, hello, http2,
                                 request)
from harness.gateway import ALIAS4, GATEWAY4, GUEST4
from harness.world import (DNS4, FAR4, FAR6, HOST4, HOST6, PUBLIC4, PUBLIC4_B, PUBLIC6, PUBLIC6_B,
                           WORLD4, WORLD6)
from test_control import ctl
from test_dns import addresses, ask, make, over_tcp
from test_first_flight import get_quic

pytestmark = pytest.mark.hostd
SECRET = b"the-guests-secret"
WEB, TLS, ODD = 80, 443, 8443
OUTSIDE = ("dns", DNS4, OTHER, "A")


@pytest.fixture
def zone(dns):
    dns.records.update({GOOD: [("A", PUBLIC4)], OTHER: [("A", PUBLIC4)],
                        "metadata.google.internal": [("A", "169.254.169.254")]})
    return dns


@pytest.fixture(scope="module")
def sink(world):
    """Servers that take everything: the kernel accepts and acknowledges for them."""
    listeners = [world.world.listen("::", port, backlog=4096)
                 for port in (22, WEB, 81, TLS, 853, OPEN_PORT, ODD)]
    yield
    for listener in listeners:
        listener.close()


@pytest.fixture
def hostile(attack, zone, sink):
    """Names, and an address with a port, are allowed; the guest has looked nothing up."""
    return attack()


@pytest.fixture
def bound(hostile):
    """The same, and the guest has looked up the allowed name."""
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    return hostile


def udp(guest, address, port, data=SECRET):
    """One datagram; whatever comes of it."""
    with guest.guest.udp(family=socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        try:
            sock.sendto(data, (address, port))
        except OSError:
            pass


def refused(guest, address, port):
    error, _ = connect_error(guest.guest, address, port, timeout=2)
    udp(guest, address, port)
    return error is not None


def shoot(guest, port, flights, address=PUBLIC4):
    """Sends each on a connection of its own, and waits until the gateway has ended them all; gives
    those that it let live."""
    open_ones = {}
    for name, flight in flights.items():
        sock = guest.guest.connect(address, port)
        try:
            for part in flight if isinstance(flight, list) else [flight]:
                sock.sendall(part)
        except OSError:
            pass            # refused before its end
        open_ones[sock] = name
    end = 30.0
    while open_ones and (ready := select.select(list(open_ones), [], [], end)[0]):
        for sock in ready:
            try:
                more = sock.recv(65536)
            except OSError:
                more = b""
            if not more:
                open_ones.pop(sock)
                sock.close()
    for sock in open_ones:
        sock.close()
    return sorted(open_ones.values())


# ---- addresses

def test_an_address_that_was_never_resolved_is_reached_by_no_protocol(hostile):
    """Case 50: sockets of every kind, at each address that a rule or a name could open later."""
    hostile.guest.wait_ipv6()
    for address in (PUBLIC4, PUBLIC4_B, FAR4, WORLD4, PUBLIC6, FAR6, WORLD6):
        for port in (22, WEB, TLS):
            assert refused(hostile, address, port), (address, port)
    assert refused(hostile, PUBLIC4, OPEN_PORT) and refused(hostile, PUBLIC4_B, 81)
    udp(hostile, PUBLIC4_B, OPEN_PORT)
    hostile.only()


def test_no_packet_of_any_kind_leaves_but_as_a_flow_that_is_allowed(hostile):
    """Case 50, by frame: every protocol number, TCP flag and ICMP type."""
    places = (PUBLIC4, PUBLIC4_B, WORLD4)
    hostile.send(*(IP(src=GUEST4, dst=place, proto=proto) / SECRET
                   for place in places for proto in range(256)))
    hostile.send(*(IP(src=GUEST4, dst=place) / TCP(sport=4000, dport=WEB, flags=flags) / SECRET
                   for place in places for flags in range(256)))
    hostile.send(*(IP(src=GUEST4, dst=place) / ICMP(type=kind) / SECRET
                   for place in places for kind in range(256)))
    # Of the allowed place too, only a SYN opens a connection.
    hostile.send(*(IP(src=GUEST4, dst=PUBLIC4_B) / TCP(sport=4001, dport=OPEN_PORT, flags=flags) /
                   SECRET for flags in range(256) if not flags & 2 or flags & 0x15))
    hostile.only()


def test_no_ipv6_packet_of_any_kind_leaves_either(hostile):
    """Cases 13 and 50."""
    source = hostile.guest.address6
    for place in (PUBLIC6, WORLD6, FAR6):
        head = IPv6(src=source, dst=place)
        hostile.send(*(IPv6(src=source, dst=place, nh=proto) / SECRET for proto in range(256)))
        hostile.send(
            head / IPv6ExtHdrHopByHop() / TCP(dport=WEB, flags="S"),
            head / IPv6ExtHdrDestOpt() / UDP(dport=WEB) / SECRET,
            head / IPv6ExtHdrRouting(addresses=[PUBLIC6_B]) / UDP(dport=WEB) / SECRET,
            IPv6(src=source, dst=PUBLIC6_B) / IPv6ExtHdrRouting(addresses=[place]) /
            TCP(dport=OPEN_PORT, flags="S"),
            head / IPv6ExtHdrFragment(id=1) / UDP(dport=WEB) / SECRET,
            head / ICMPv6EchoRequest(data=SECRET))
    hostile.only()


def test_a_source_that_is_not_the_guests_opens_nothing(hostile):
    """Case 14, at the place that the guest itself may reach."""
    hostile.send(*(IP(src=source, dst=PUBLIC4_B) / TCP(sport=4002, dport=OPEN_PORT, flags="S")
                   for source in ("192.168.127.77", GATEWAY4, ALIAS4, "127.0.0.1", "0.0.0.0",
                                  "224.0.0.1", HOST4, WORLD4, "8.8.8.8", "255.255.255.255")))
    hostile.only()


def test_fragments_and_options_lead_nowhere_else(hostile):
    """Cases 11 and 12: a header that is written over, a route of the guest's own."""
    def segment(port):
        return bytes(TCP(sport=4003, dport=port, flags="S", seq=1) / (b"x" * 12))

    def fragment(data, offset, more, ident):
        return IP(src=GUEST4, dst=PUBLIC4_B, proto=6, id=ident, frag=offset,
                  flags="MF" if more else 0) / data
    opened, closed = segment(OPEN_PORT), segment(22)
    hostile.send(fragment(opened[:16], 0, True, 7), fragment(closed[:16], 0, True, 7),
                 fragment(opened[16:], 2, False, 7),
                 fragment(closed[:8], 0, True, 8), fragment(closed[8:], 1, False, 8),
                 fragment(opened[8:], 1, False, 9), fragment(closed[:16], 0, True, 9))
    for option in (b"\x83\x07\x04" + socket.inet_aton(FAR4), b"\x89\x07\x04" +
                   socket.inet_aton(FAR4), b"\x07\x0b\x04" + b"\0" * 8, b"\x94\x04\0\0"):
        hostile.send(IP(src=GUEST4, dst=PUBLIC4_B, options=[IPOption(option)]) /
                     TCP(sport=4004, dport=22, flags="S"))
        hostile.send(IP(src=GUEST4, dst=PUBLIC4_B, options=[IPOption(option)]) /
                     TCP(sport=4005 + option[0], dport=OPEN_PORT, flags="S"))
    hostile.within(("tcp", PUBLIC4_B, OPEN_PORT, b""))


def test_of_an_allowed_connection_the_bytes_leave_and_nothing_of_its_headers(hostile):
    """The guest's DSCP, its IP options and its port are no way out; checked for each packet."""
    sock = hostile.guest.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xb8)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
        sock.bind(("0.0.0.0", 4242))
        sock.settimeout(30)
        sock.connect((PUBLIC4_B, OPEN_PORT))
        sock.sendall(SECRET)
        sock.shutdown(socket.SHUT_WR)
        hostile.barrier()
        hostile.only(("tcp", PUBLIC4_B, OPEN_PORT, SECRET))
    sent = [p for p in hostile.wire.packets if not p.outgoing and p.dport == OPEN_PORT]
    assert sent and all(p.sport != 4242 and p.header[8] == 64 for p in sent)


def test_what_another_guest_has_resolved_opens_nothing_here(attack, zone, sink):
    """Case 51: two gateways of one host, one resolver, one cache upstream."""
    first, second = attack(*NAMES_ONLY), attack(*NAMES_ONLY)
    assert addresses(ask(first.net, GOOD)) == [PUBLIC4]
    assert refused(second, PUBLIC4, WEB)
    first.only(LOOKUP)


@pytest.mark.parametrize("ttl", [0, 1, 1 << 31, (1 << 32) - 1])
def test_whatever_the_ttl_only_the_answers_address_is_opened(hostile, zone, ttl):
    """Case 52.  Expiry itself is on a virtual clock: policy/name_index_test."""
    def reply(query):
        wire = dns.message.make_response(query).to_wire()
        record = b"\xc0\x0c\0\1\0\1" + struct.pack(">I", ttl) + b"\0\4" + socket.inet_aton(PUBLIC4)
        asked = wire[12:12 + len(query.question[0].name.to_wire()) + 4]
        return wire[:6] + b"\0\1\0\0\0\0" + asked + record
    zone.records[GOOD] = reply
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    assert not refused_tcp(hostile, PUBLIC4, WEB)
    assert refused(hostile, PUBLIC4_B, WEB)
    ctl(hostile.net, "names", "--forget", GOOD)
    assert refused(hostile, PUBLIC4, TLS), "a client that keeps an address longer than the gateway"
    hostile.only(LOOKUP, ("tcp", PUBLIC4, WEB, b""))


def refused_tcp(guest, address, port):
    return connect_error(guest.guest, address, port, timeout=30)[0] is not None


def test_of_a_name_with_many_addresses_no_more_are_open_than_are_remembered(hostile, zone, world):
    """Case 53: the index forgets the oldest, and what it forgot is closed."""
    many = [f"5.5.9.{i}" for i in range(1, 101)]
    zone.records[GOOD] = [("A", one) for one in many]
    assert len(addresses(over_tcp(hostile.net, make(GOOD)))) == 100
    reached = []
    for address in [*many, "5.5.9.101", "5.5.9.200", "5.5.8.255"]:
        [sock] = nonblocking_connects(hostile.guest.ns, address, [WEB])
        hostile.barrier()
        sock.close()
    for entry in hostile.seen() - {LOOKUP}:
        assert entry[0] == "tcp" and entry[2:] == (WEB, b""), entry
        reached.append(entry[1])
    assert 0 < len(reached) <= 64 and set(reached) <= set(many)


# ---- names on a shared address

@pytest.mark.parametrize("port", [TLS, ODD])
def test_of_a_hello_that_is_not_for_the_allowed_name_not_one_byte_leaves(bound, port):
    """Cases 54 and 55, on the address that the allowed name shares."""
    assert shoot(bound, port, HELLOS if port == TLS else at_once(HELLOS)) == []
    with bound.guest.connect(PUBLIC4, port) as sock:
        sock.sendall(good := hello(GOOD))
        bound.only(LOOKUP, ("tcp", PUBLIC4, port, b""), ("tcp", PUBLIC4, port, good))


@pytest.mark.parametrize("port", [WEB, ODD])
def test_of_a_request_that_is_not_for_the_allowed_name_not_one_byte_leaves(bound, port):
    """Case 56."""
    assert shoot(bound, port, REQUESTS if port == WEB else at_once(REQUESTS)) == []
    with bound.guest.connect(PUBLIC4, port) as sock:
        sock.sendall(request(GOOD))
        bound.only(LOOKUP, ("tcp", PUBLIC4, port, b""), ("tcp", PUBLIC4, port, request(GOOD)))


SECOND_REQUESTS = {
    "pipelined": (request(GOOD), request(OTHER)),
    "behind-a-body": (request(GOOD, "POST / HTTP/1.1", "Content-Length: 4\r\n") + b"body",
                      request(OTHER)),
    "behind-chunks": (request(GOOD, "POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n") +
                      b"4;x=y\r\nbody\r\n0\r\n\r\n", request(OTHER)),
    "in-no-words-of-http": (request(GOOD), SECRET),
}


@pytest.mark.parametrize("case", SECOND_REQUESTS)
def test_of_a_second_request_to_another_name_not_one_byte_leaves(bound, case):
    """Case 56: where the first of the connection was allowed, sent with it or after it."""
    first, second = SECOND_REQUESTS[case]
    assert shoot(bound, WEB, {"at-once": first + second, "after": [first, second]}) == []
    bound.within(LOOKUP, ("tcp", PUBLIC4, WEB, first), ("tcp", PUBLIC4, WEB, b""))


def test_what_follows_an_upgrade_waits_until_the_server_agrees(bound):
    """Case 56: it could be the next request."""
    head = request(GOOD, more="Connection: Upgrade\r\nUpgrade: websocket\r\n")
    with bound.guest.connect(PUBLIC4, WEB) as sock:
        sock.sendall(head + request(OTHER))
        bound.only(LOOKUP, ("tcp", PUBLIC4, WEB, head))


def test_of_an_http2_request_to_another_name_only_the_preface_leaves(bound):
    """Case 56: h2c. The 24 bytes are always the same; no frame follows them."""
    assert shoot(bound, WEB, {"http2": http2(OTHER_BYTES)}) == []
    bound.within(LOOKUP, ("tcp", PUBLIC4, WEB, PREFACE), ("tcp", PUBLIC4, WEB, b""))


def test_an_upgrade_to_http2_in_the_clear_takes_no_other_name_along(bound):
    """Case 56: h2c. What follows waits until the server agrees."""
    head = request(GOOD, more="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                              "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n")
    with bound.guest.connect(PUBLIC4, WEB) as sock:
        sock.sendall(head + http2(OTHER_BYTES))
        bound.only(LOOKUP, ("tcp", PUBLIC4, WEB, head))


def test_looking_the_other_name_up_does_not_help(bound):
    """Case 54: it is asked for, as an address is allowed, but no rule is on it or its address."""
    assert addresses(ask(bound.net, OTHER)) == []
    few = {name: HELLOS[name] for name in ("other", "no-name", "two-names")}
    assert shoot(bound, TLS, few) == []
    assert shoot(bound, WEB, {"other": request(OTHER)}) == []
    bound.only(LOOKUP, OUTSIDE, ("tcp", PUBLIC4, TLS, b""), ("tcp", PUBLIC4, WEB, b""))


# ---- other ways to resolve, and QUIC

def test_no_other_way_to_resolve_leaves(hostile):
    """Case 57: DoT, DoQ, DoH, mDNS, LLMNR, NetBIOS; at servers, gateway and multicast."""
    for address in (DNS4, PUBLIC4, "8.8.8.8", "1.1.1.1", GATEWAY4, ALIAS4):
        assert refused(hostile, address, TLS)
        udp(hostile, address, 853)
        if address != GATEWAY4:
            assert refused(hostile, address, 853)
    for group, port in (("224.0.0.251", 5353), ("224.0.0.252", 5355), ("239.255.255.250", 1900),
                        ("192.168.127.255", 137), ("255.255.255.255", 137)):
        hostile.send(IP(src=GUEST4, dst=group) / UDP(sport=port, dport=port) / SECRET)
    hostile.send(IPv6(src="fe80::5894:efff:fee4:cee", dst="ff02::fb") / UDP(dport=5353) / SECRET)
    hostile.only()


def test_of_quic_to_another_name_no_datagram_leaves(bound):
    """Cases 54 and 57: a real client, and what could pass for QUIC."""
    assert get_quic(bound.net, OTHER, TLS) == b""
    identifier = b"\x08" + b"i" * 8 + b"\0"
    for first, version in itertools.product(range(0xc0, 0x100, 8), (1, 0x6b3343cf, 0xff00001d,
                                                                   0x0a0a0a0a, 0xfaceb00c)):
        udp(bound, PUBLIC4, TLS,
            bytes([first]) + struct.pack(">I", version) + identifier + SECRET * 70)
    bound.only(LOOKUP)


# ---- what must never be reached

METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16",
            "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
            "::169.254.169.254"]


def test_no_metadata_endpoint_is_reached_under_any_spelling(attack, zone, sink):
    """Case 58: with all public addresses allowed, too."""
    for arguments in (NAMES_ONLY, ("--profile", "public")):
        hostile = attack(*arguments)
        hostile.guest.wait_ipv6()
        for address in METADATA:
            assert refused(hostile, address, 80), address
        spellings = ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
                     "metadata.google.internal", "metadata"]
        for name in spellings:
            assert not addresses(ask(hostile.net, name)), name
        if arguments is NAMES_ONLY:
            hostile.only()
        else:
            assert {s[0] for s in hostile.seen()} <= {"dns"}


def test_nothing_of_the_host_is_reached_by_any_of_its_addresses(attack, gateway, zone, sink, world):
    """Case 59: loopback behind gateway and alias, the host's own addresses, a bridge's, another
    guest's published port."""
    world.host.ip("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0",
                  "addr add 5.5.7.1/32 dev docker0", "link set docker0 up")
    try:
        neighbour = gateway(publish=["127.0.0.1:0:80", f"{HOST4}:0:81"])
        with neighbour.guest.listen("0.0.0.0", 80), world.host.listen("::", 8080):
            for arguments in ((), ("--profile", "public")):
                hostile = attack(*arguments)
                hostile.guest.wait_ipv6()
                ports = [8080, neighbour.port(80), neighbour.port(81)]
                for address in (GATEWAY4, ALIAS4, HOST4, "127.0.0.1", "127.1.2.3", "0.0.0.0",
                                "172.17.0.1", "172.17.255.255", "5.5.7.1", HOST6,
                                hostile.guest.gateway6, "::ffff:127.0.0.1"):
                    for port in ports:
                        assert refused(hostile, address, port) or address in ("127.0.0.1",
                                                                              "0.0.0.0"), address
                    packets = [IP(src=GUEST4, dst=address) / TCP(dport=port, flags="S")
                               for port in ports if ":" not in address]
                    hostile.send(*packets)
                hostile.only()
    finally:
        world.host.ip("link del docker0")


def test_ten_thousand_rules_open_what_the_first_that_matches_says(attack, zone, sink, tmp_path):
    """Case 61: order, duplicates, and a list that nobody reads."""
    rules = [f"deny@5.{i >> 8 & 255}.{i & 255}.0/24" for i in range(0x0600, 0x0600 + 4000)]
    rules += [f"allow@n{i}.test:tcp:{i % 60000 + 1}" for i in range(6000)]
    rules = ["allow@5.5.5.0/24:tcp:80", "deny@5.5.5.5:tcp:80", "deny@5.5.0.0/16", *rules,
             "allow@5.0.0.0/8:tcp:443", "allow@5.0.0.0/8:tcp:443"]
    path = tmp_path / "vm.toml"
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        os.chmod(folder, 0o755)
    path.write_text("[policy]\nrules = [\n" + ",\n".join(f'"{one}"' for one in rules) + "]\n")
    hostile = attack("--config", path)
    assert not refused_tcp(hostile, PUBLIC4, WEB)
    assert refused(hostile, PUBLIC4_B, WEB) and refused(hostile, PUBLIC4_B, TLS)
    assert refused(hostile, PUBLIC4, TLS) and refused(hostile, "5.6.7.8", TLS)
    hostile.only(("tcp", PUBLIC4, WEB, b""))


# ---- failing closed

def test_a_bad_policy_or_a_killed_gateway_opens_nothing(attack, zone, sink, tmp_path):
    """Case 62: a bad change is no change; a gateway that is killed leaves no way behind, and one
    that is started anew has forgotten what was bound."""
    path = tmp_path / "vm.toml"
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        os.chmod(folder, 0o755)
    path.write_text(f'[policy]\nrules = ["allow@{GOOD}"]\n')
    hostile = attack("--name", "leaks", "--config", path)
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    path.write_text('[policy]\nrules = ["allow@any", "deny@pivate"]\n')
    assert ctl(hostile.net, "policy", "set", "allow@any", "deny@pivate", check=False).returncode
    os.kill(hostile.net.pid, signal.SIGHUP)
    hostile.net.wait_log("reload: .*nothing is changed")
    assert refused(hostile, PUBLIC4_B, WEB)
    hostile.only(LOOKUP)
    hostile.net.process.kill()
    hostile.net.process.wait(30)
    for address in (PUBLIC4, PUBLIC4_B):
        assert connect_error(hostile.guest, address, WEB, timeout=1)[0]
    path.write_text(f'[policy]\nrules = ["allow@{GOOD}"]\n')
    again = attack("--name", "leaks", "--config", path)
    assert refused(again, PUBLIC4, WEB)
    again.only()


def test_profile_none_lets_no_packet_out_at_all(attack, zone, sink):
    """Case 63: DHCP and DNS are the gateway's own, and all the rest is nobody's."""
    hostile = attack("--profile", "none")
    hostile.guest.wait_ipv6()
    for name in (GOOD, OTHER, "gateway.vm.internal"):
        try:
            assert not addresses(ask(hostile.net, name, timeout=1)) or name.endswith("internal")
        except OSError:
            pass            # no rule needs names, so the resolver may be closed
    for address in (PUBLIC4, PUBLIC4_B, WORLD4, DNS4, HOST4, GATEWAY4, PUBLIC6, WORLD6):
        for port in (WEB, TLS, OPEN_PORT):
            assert refused(hostile, address, port), (address, port)
        udp(hostile, address, 123)
    hostile.send(*(IP(src=source, dst="255.255.255.255") / UDP(sport=68, dport=67) / SECRET
                   for source in ("0.0.0.0", GUEST4)),
                 *(IP(src=GUEST4, dst=DNS4) / UDP(sport=67, dport=67) / SECRET for _ in range(2)))
    hostile.only()
