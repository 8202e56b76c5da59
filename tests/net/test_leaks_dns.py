"""A hostile guest and hostile resolvers: no question and no connection leaves that no rule allows.

The numbers are those of the project's list of attacks (docs/testing.md)."""
import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from harness.attack import GOOD, LOOKUP, NAMES_ONLY, OTHER
from harness.clients import connect_error, read_exactly
from harness.gateway import GATEWAY4
from harness.servers import DnsServer
from harness.world import DNS4, FAR4, HOST4, PUBLIC4, PUBLIC4_B, PUBLIC6, WORLD4
from test_dns import addresses, ask, make, over_tcp

pytestmark = pytest.mark.hostd
SECRET = b"the-guests-secret"
HEADER = struct.Struct(">HHHHHH")
QUESTION_END = b"\0\1\0\1"      # A, IN
GOOD_WIRE = b"\4good\4test\0"


@pytest.fixture
def zone(dns):
    """Every name exists, so that what should not be asked would be answered."""
    dns.records.update({GOOD: [("A", PUBLIC4, 0), ("AAAA", PUBLIC6, 0)],
                        OTHER: [("A", PUBLIC4_B)], "evil.test": [("A", PUBLIC4_B)]})
    return dns


@pytest.fixture
def hostile(attack, zone):
    return attack(*NAMES_ONLY)


def message(body, flags=0x0100, counts=(1, 0, 0, 0), ident=0x5ec2):
    return HEADER.pack(ident, flags, *counts) + body


def say(guest, *messages):
    """UDP messages to the resolver, none of which is waited for; a question that never leaves the
    gateway ends them, so that they are dealt with when its answer is there."""
    with guest.guest.udp(family=socket.AF_INET) as sock:
        sock.connect((GATEWAY4, 53))
        for one in messages:
            sock.send(one)
    assert ask(guest.net, "gateway.vm.internal").rcode() == dns.rcode.NOERROR


def reach(guest, *places):
    """Tries TCP and UDP there; whatever comes of it."""
    for address, port in places:
        connect_error(guest.guest, address, port, timeout=1)
        with guest.guest.udp(family=socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            try:
                sock.sendto(SECRET, (address, port))
            except OSError:
                pass


def test_a_name_that_is_compressed_into_a_knot_is_not_asked(hostile):
    """Case 38."""
    knots = [b"\xc0\x0c", b"\xc0\xff", b"\xc0\x0d\0", b"\1a\xc0\x0c", b"\4good\xc0\x0c",
             b"\4good\4test\xc0\x0c", b"\xc0\x00", b"\xc0", b"\xff\xff", b"\4evil\xc0\x02"]
    say(hostile, *(message(knot + QUESTION_END) for knot in knots))
    hostile.only()


def test_a_malformed_question_is_not_asked(hostile):
    """Case 39."""
    label = b"\x3f" + b"s" * 63
    good = GOOD_WIRE + QUESTION_END
    evil = b"\4evil\4test\0" + QUESTION_END
    record = b"\xc0\x0c\0\x10\0\1\0\0\0\0" + struct.pack(">H", len(SECRET) + 1) + \
        bytes([len(SECRET)]) + SECRET
    say(hostile,
        message(b"\x40" + b"s" * 64 + b"\4test\0" + QUESTION_END),
        message(b"\x80" + b"s" * 64 + GOOD_WIRE + QUESTION_END),
        message(label * 4 + GOOD_WIRE + QUESTION_END),
        message(label * 1000 + GOOD_WIRE + QUESTION_END),
        message(good, counts=(0, 0, 0, 0)), message(good + evil, counts=(2, 0, 0, 0)),
        message(evil + good, counts=(2, 0, 0, 0)), message(good, counts=(2, 0, 0, 0)),
        message(good, counts=(65535, 0, 0, 0)), message(good[:-1]), message(good[:-4]),
        message(good + record, counts=(1, 1, 0, 0)), message(good + record, counts=(1, 0, 1, 0)),
        message(GOOD_WIRE + b"\0\1\0\3"), message(GOOD_WIRE + b"\0\1\0\xff"),
        message(GOOD_WIRE + b"\0\1\0\xfe"),
        *(message(good, flags=opcode << 11 | 0x100) for opcode in range(1, 16)),
        message(good, flags=0x8180), message(good)[:11], b"", b"\0")
    hostile.only()


def test_nothing_that_is_tacked_on_to_a_question_goes_upstream(hostile):
    """Case 39: what is answered all the same is asked in our own words."""
    good = GOOD_WIRE + QUESTION_END
    record = b"\xc0\x0c\0\x10\0\1\0\0\0\0" + struct.pack(">H", len(SECRET)) + SECRET
    say(hostile, message(good + SECRET), message(good + record, counts=(1, 0, 0, 1)))
    hostile.within(LOOKUP)


@pytest.mark.parametrize("kind", ["ANY", "AXFR", "IXFR", "MAILB", "TKEY", "TSIG", "NULL", "TYPE0",
                                  "TYPE65280", "OPT"])
def test_a_type_of_an_allowed_name_brings_nothing_else_with_it(hostile, kind):
    """Case 39: at most the question itself leaves."""
    number = dns.rdatatype.from_text(kind)
    say(hostile, message(GOOD_WIRE + struct.pack(">HH", number, 1)))
    hostile.within(("dns", DNS4, GOOD, dns.rdatatype.to_text(number)))


def test_of_questions_over_tcp_only_the_allowed_name_leaves(hostile):
    """Case 40."""
    good, evil = (make(name).to_wire() for name in (GOOD, "evil.test"))
    framed = [struct.pack(">H", len(one)) + one for one in (evil, good, evil)]
    with hostile.guest.connect(GATEWAY4, 53) as pipelined:
        pipelined.sendall(b"".join(framed))
        codes = []
        for _ in framed:
            size = struct.unpack(">H", read_exactly(pipelined, 2))[0]
            codes.append(dns.message.from_wire(read_exactly(pipelined, size)).rcode())
        assert sorted(codes) == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.NXDOMAIN]
    with hostile.guest.connect(GATEWAY4, 53) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(framed[0])):
            slow.sendall(framed[0][i:i + 1])
        size = struct.unpack(">H", read_exactly(slow, 2))[0]
        assert dns.message.from_wire(read_exactly(slow, size)).rcode() == dns.rcode.NXDOMAIN
    for start in (b"\0\0" + framed[0], b"\xff\xff" + framed[0], b"\0\1x" + framed[0],
                  b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"\x16\3\1\2\0\1\0\1\xfc\3\3"):
        with hostile.guest.connect(GATEWAY4, 53) as sock:
            sock.sendall(start)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(2)
            try:
                while sock.recv(65536):
                    pass
            except OSError:
                pass
    hostile.only(LOOKUP)


@pytest.mark.parametrize("server", [PUBLIC4, DNS4, "8.8.8.8", WORLD4])
def test_a_question_to_another_server_is_taken_and_judged(hostile, server):
    """Cases 40 and 48: by UDP and TCP, whatever server the guest means."""
    assert ask(hostile.net, "evil.test", server=server).rcode() == dns.rcode.NXDOMAIN
    assert over_tcp(hostile.net, make("evil.test"), server).rcode() == dns.rcode.NXDOMAIN
    hostile.only()


def test_nothing_of_a_clients_edns_flags_id_port_or_case_goes_upstream(hostile, zone):
    """Case 41.  That every question looks alike is checked for each packet recorded."""
    options = [dns.edns.ECSOption("203.0.113.7", 32), dns.edns.GenericOption(10, SECRET[:8]),
               dns.edns.GenericOption(12, SECRET), dns.edns.GenericOption(3, SECRET),
               dns.edns.GenericOption(65001, SECRET * 20)]
    queries = []
    for payload in (0, 512, 1232, 4096, 65535):
        for flags in (0, dns.flags.DO, 0x7fff):
            query = make("GOOD.TEST", payload=payload, options=options, ednsflags=flags)
            query.flags |= dns.flags.CD | dns.flags.AD
            query.id = 0x5ec2
            queries.append(query)
    with hostile.guest.udp("0.0.0.0", 5300) as sock:
        sock.connect((GATEWAY4, 53))
        for query in queries:
            sock.send(query.to_wire())
            assert addresses(dns.message.from_wire(sock.recv(65535))) == [PUBLIC4]
    later = make(GOOD, options=options)
    later.use_edns(1, options=options)
    say(hostile, later.to_wire())
    hostile.only(LOOKUP)
    sent = [p for p in hostile.wire.packets if p.dst == DNS4 and p.dport == 53]
    ids = {p.payload[:2] for p in sent}
    assert len(sent) >= len(queries)
    assert len(ids) > len(sent) // 2 and len({p.sport for p in sent}) > len(sent) // 2
    assert len({p.payload[12:22] for p in sent}) > 1, "the letters' case is ours, not the guest's"


def test_a_truncated_answer_is_asked_for_again_in_the_same_words(hostile, zone):
    """Case 41: TC, then TCP."""
    zone.truncate.add(GOOD)
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    hostile.only(LOOKUP)
    assert {protocol for protocol, _, _ in zone.asked(GOOD)} == {"udp", "tcp"}


def lie(query, *records, ident=0, name=None):
    """An answer with records of (owner or None for the name asked, type, value)."""
    response = dns.message.make_response(query)
    response.id ^= ident
    if name:
        response.question[0].name = dns.name.from_text(name)
    for owner, kind, value in records:
        owner = dns.name.from_text(owner) if owner else query.question[0].name
        response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, value))
    return response.to_wire()


def aliases(query, count):
    records = [(None, "CNAME", "c1.test.")] if count else []
    records += [(f"c{i}.test", "CNAME", f"c{i + 1}.test.") for i in range(1, count)]
    return lie(query, *records, (f"c{count}.test" if count else None, "A", FAR4))


TARGET = (None, "A", "5.5.7.7")
LIES = {
    "wrong-id": lambda q: lie(q, TARGET, ident=1),
    "wrong-question": lambda q: lie(q, TARGET, name="evil.test"),
    "wrong-type": lambda q: lie(q, (None, "TXT", '"5.5.7.7"')),
    "out-of-bailiwick": lambda q: lie(q, ("evil.test", "A", "5.5.7.7"), ("test", "A", "5.5.7.7")),
    "alias-loop": lambda q: lie(q, (None, "CNAME", "b.test."), ("b.test", "CNAME", "good.test."),
                                ("c.test", "A", "5.5.7.7")),
    "17-aliases": lambda q: aliases(q, 17),
    "alias-to-a-private-name": lambda q: lie(q, (None, "CNAME", "in.test."),
                                             ("in.test", "A", WORLD4)),
    "alias-without-an-address": lambda q: lie(q, (None, "CNAME", "evil.test.")),
    "address-of-another-alias": lambda q: lie(q, (None, "CNAME", "a.test."),
                                              ("b.test", "A", "5.5.7.7")),
    "aaaa-in-an-answer-to-a": lambda q: lie(q, (None, "AAAA", "2a00:5555::7")),
}


@pytest.mark.parametrize("case", LIES)
def test_a_resolver_that_lies_opens_nothing_and_makes_nothing_be_asked(hostile, zone, case):
    """Case 42.  The addresses of its lies stay closed, the names in them are not asked for."""
    zone.records[GOOD] = LIES[case]
    hostile.guest.wait_ipv6()
    answer = ask(hostile.net, GOOD, timeout=30)
    assert not addresses(answer)
    reach(hostile, ("5.5.7.7", 443), (FAR4, 80), (WORLD4, 80), ("2a00:5555::7", 443), (PUBLIC4, 80))
    hostile.only(LOOKUP)


def test_what_a_service_record_hints_at_is_not_opened(hostile, zone):
    """Case 43."""
    zone.records[GOOD] = [("HTTPS", f"1 . alpn=h3,h2 ipv4hint=5.5.7.7 ipv6hint={PUBLIC6} "
                                    "ech=AEX+DQBBqgAgACA=")]
    hostile.guest.wait_ipv6()
    answer = ask(hostile.net, GOOD, "HTTPS")
    assert [r.to_text() for r in answer.answer[0]] == ['1 . alpn="h3,h2"']
    reach(hostile, ("5.5.7.7", 443), (PUBLIC6, 443), (PUBLIC4, 443))
    hostile.only(("dns", DNS4, GOOD, "HTTPS"))


def test_an_address_of_one_family_opens_none_of_the_other(hostile):
    """Case 44."""
    hostile.guest.wait_ipv6()
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    reach(hostile, (PUBLIC6, 443), (f"64:ff9b::{int.from_bytes(socket.inet_aton(PUBLIC4_B)):x}"[:-4]
                                    + ":0606", 443))
    hostile.only(LOOKUP)


LOOKALIKES = [b"\x09good.test\0", b"\4good\4test\4evil\0", b"\5xgood\4test\0", b"\5good\0\4test\0",
              b"\x0agood.test\0x\0", b"\4good\5test.\0", b"\4go\\d\4test\0", b"\5_good\4test\0",
              b"\1*\4good\4test\0", b"\4\xf0\x9f\x98\x80\4test\0", b"\5g\xc3\xb6od\4test\0",
              b"\x0bxn--good-xxx\4test\0"[:12] + b"\4test\0", b"\4test\0", b"\0",
              b"\4good\0", b"\4GOOD\4TE\0T\0", b"\5good \4test\0", b"\4good\4te\nt\0"]


def test_names_that_only_look_like_the_allowed_one_never_leave(hostile):
    """Case 45: dots and zeros within labels, suffixes, prefixes, wildcards, other scripts."""
    say(hostile, *(message(name + QUESTION_END) for name in LOOKALIKES))
    hostile.only()
    for name in ("GOOD.TEST", "good.test.", "gOoD.tEsT"):
        assert addresses(ask(hostile.net, name)) == [PUBLIC4]
    hostile.only(LOOKUP)


def test_below_an_allowed_zone_its_neighbours_never_leave(attack, zone):
    """Case 45: the apex of a wildcard, and what only ends like it."""
    hostile = attack("--allow", "*.good.test")
    say(hostile, *(message(name + QUESTION_END) for name in LOOKALIKES
                   if name not in (b"\1*\4good\4test\0",)))
    assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
    hostile.only(LOOKUP)


def test_a_search_list_sends_no_name_out(hostile):
    """Case 46: what the libc makes of one name."""
    path = hostile.net.directory + "/resolv.conf"
    with open(path, "w") as f:
        f.write(f"nameserver {GATEWAY4}\nsearch corp.example lan evil.test\noptions ndots:3\n")
    script = ("import socket\nfor name in ('good.test', 'intranet', 'db.prod'):\n"
              " try: print(socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0])\n"
              " except OSError: print('none')")
    done = hostile.guest.run("unshare", "-m", "sh", "-c",
                             'mount --bind "$0" /etc/resolv.conf && exec "$@"', path,
                             "/usr/bin/python3", "-c", script)
    assert done.stdout.split() == [PUBLIC4, "none", "none"], done
    hostile.only(LOOKUP)


@pytest.mark.parametrize("first", ["SERVFAIL", "REFUSED", "SILENT"])
def test_while_a_resolver_fails_only_the_other_is_asked(attack, zone, world, first):
    """Case 47: and neither hears of a denied name."""
    zone.records[GOOD] = first
    second = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        second.records[GOOD] = [("A", PUBLIC4)]
        hostile = attack(*NAMES_ONLY, dns=(DNS4, PUBLIC4))
        assert addresses(ask(hostile.net, GOOD)) == [PUBLIC4]
        assert ask(hostile.net, "evil.test").rcode() == dns.rcode.NXDOMAIN
        seen = hostile.seen()
        assert {s[1:] for s in seen if s[0] == "dns"} == {(DNS4, GOOD, "A")}
        assert {s[:3] for s in seen if s[0] != "dns"} == {("udp", PUBLIC4, 53)}
        assert {name for _, name, _ in second.asked()} == {GOOD}
    finally:
        second.stop()


def test_without_any_resolver_nobody_else_is_asked(attack, world):
    """Cases 47 and 62: no public resolver is a fall-back."""
    hostile = attack(*NAMES_ONLY)
    for name in (GOOD, "evil.test"):
        code = ask(hostile.net, name, timeout=30).rcode()
        assert code == (dns.rcode.SERVFAIL if name == GOOD else dns.rcode.NXDOMAIN)
    reach(hostile, (PUBLIC4, 80))
    hostile.only(LOOKUP)


def test_no_data_leaves_in_names_that_no_rule_allows(hostile):
    """Case 48: random labels, every type that carries much."""
    import random
    chance, questions = random.Random(48), []
    for i in range(300):
        labels = [bytes(chance.choices(range(256), k=chance.randint(1, 63))) for _ in range(3)]
        name = b"".join(bytes([len(one)]) + one for one in labels) + b"\4evil\4test\0"
        questions.append(message(name + struct.pack(">HH", (1, 16, 10, 28, 15, 33, 5)[i % 7], 1)))
    say(hostile, *questions)
    hostile.only()


def test_an_allowed_zone_carries_no_more_names_than_its_limit(attack, zone):
    """Case 48: a rule on a zone is a way out, and a narrow one."""
    zone.records.update({f"n{i}.good.test": [("A", PUBLIC4)] for i in range(60)})
    hostile = attack("--allow", "*.good.test", "--dns-names", "20")
    for i in range(60):
        ask(hostile.net, f"n{i}.good.test")
    for data in ("mzxw6ytboi2dcmrt" * 3, "a" * 8 + "0123456789abcdef" * 3):
        ask(hostile.net, f"{data}.good.test")
    left = hostile.seen()
    assert len(left) == 20 and all(name.startswith("n") for _, _, name, _ in left)


INNER = ["127.0.0.1", "0.0.0.0", "10.0.0.1", HOST4, WORLD4, "169.254.169.254", "192.168.127.1",
         "192.168.127.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "::1", "::",
         "::ffff:127.0.0.1", "::ffff:198.18.0.1", "64:ff9b::c612:1", "2002:c612:1::1",
         "2001:0:c612:1::39ed:fffe", "fd51:1ce::1", "fe80::1", "fd00:ec2::254"]


def test_an_allowed_name_rebound_to_the_inside_opens_nothing(hostile, zone, world):
    """Case 49: every form of the host, its networks and the clouds' metadata, tried right after."""
    hostile.guest.wait_ipv6()
    with world.host.listen("::", 8080):
        for address in INNER:
            zone.records[GOOD] = [("AAAA" if ":" in address else "A", address, 0)]
            answer = ask(hostile.net, GOOD, "AAAA" if ":" in address else "A")
            assert not addresses(answer) and not addresses(answer, "AAAA"), address
            reach(hostile, (address, 8080))
    hostile.within(LOOKUP, ("dns", DNS4, GOOD, "AAAA"))
