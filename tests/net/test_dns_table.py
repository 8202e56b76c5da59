"""Tables of the guest's resolver: query x transport x policy, and what a hostile resolver sends."""
import concurrent.futures
import os
import socket
import tempfile
import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from harness.gateway import StartError
from harness.netns import wait_for
from harness.servers import DnsServer
from harness.world import DNS4, HOST6, PUBLIC4, PUBLIC4_B, PUBLIC6, WORLD4, WORLD6
from test_dns import addresses, ask, make, over_tcp, over_udp

pytestmark = pytest.mark.hostd
# The default policy: public addresses, and every name.
NET = {"profile": None}

BLOCKED, PROHIBITED = 15, 18
AUTHORITATIVE = dns.flags.AA
TRANSPORTS = {"udp": over_udp, "tcp": over_tcp}


@pytest.fixture
def zone(dns):
    dns.records.update({
        "good.test": [("A", PUBLIC4), ("AAAA", PUBLIC6), ("TXT", '"hello"'), ("MX", "5 mx.test.")],
        "sub.good.test": [("A", PUBLIC4)],
        "alias.good.test": [("CNAME", "other.test.")],
        "other.test": [("A", PUBLIC4_B)],
        "inside.good.test": [("A", WORLD4)],
        "both.good.test": [("A", WORLD4), ("A", PUBLIC4)],
        "empty.good.test": [],
    })
    return dns


def outcome(answer):
    """What a client sees: the code, an explanation, the addresses or the types."""
    code = dns.rcode.to_text(answer.rcode())
    explained = [int(o.code) for o in answer.options if o.otype == dns.edns.EDE]
    found = addresses(answer) + addresses(answer, "AAAA")
    found += [dns.rdatatype.to_text(r.rdtype) for r in answer.answer
              if r.rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME)]
    return (code, *explained, *found)


QUERIES = [("good.test", "A"), ("GOOD.test", "AAAA"), ("good.test", "TXT"), ("good.test", "MX"),
           ("sub.good.test", "A"), ("alias.good.test", "A"), ("inside.good.test", "A"),
           ("both.good.test", "A"), ("empty.good.test", "A"), ("gone.good.test", "A"),
           ("xgood.test", "A"), ("host.vm.internal", "AAAA"), ("nobody.vm.internal", "A")]
NO = ("NXDOMAIN", PROHIBITED)
LOCAL = [("NOERROR",), ("NXDOMAIN",)]
BELOW = [("NOERROR", PUBLIC4), ("NOERROR", PUBLIC6), ("NOERROR", "TXT"), ("NOERROR", "MX"),
         ("NOERROR", PUBLIC4), ("NOERROR", PUBLIC4_B), ("NOERROR", BLOCKED),
         ("NOERROR", BLOCKED, PUBLIC4), ("NOERROR",), ("NXDOMAIN",)]
EVERYTHING = [("NOERROR", PUBLIC4), ("NOERROR", PUBLIC6), ("NOERROR", "TXT"), ("NOERROR", "MX"),
              ("NOERROR", PUBLIC4), ("NOERROR", PUBLIC4_B), ("NOERROR", WORLD4),
              ("NOERROR", *sorted([WORLD4, PUBLIC4])), ("NOERROR",), ("NXDOMAIN",), ("NXDOMAIN",)]
POLICIES = {
    "none": (["--profile", "none"], [NO] * 11),
    "name": (["--allow", "good.test", "--profile", "none"], BELOW[:4] + [NO] * 7),
    "suffix": (["--allow", "*.good.test", "--profile", "none"], BELOW + [NO]),
    "public": ([], BELOW + [("NXDOMAIN",)]),
    "all": (["--profile", "all"], EVERYTHING),
    "all-but": (["--deny", "*.good.test", "--profile", "all"],
                [("NXDOMAIN", BLOCKED)] * 10 + [("NXDOMAIN",)]),
    "all-but-refused": (["--deny", "*.good.test", "--profile", "all", "--dns-denied", "refused"],
                        [("REFUSED", BLOCKED)] * 10 + [("NXDOMAIN",)]),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_query_is_answered_as_the_policy_says_over_either_transport(gateway, zone, policy):
    arguments, expected = POLICIES[policy]
    net = gateway(*arguments, profile=None)
    net.guest.wait_ipv6()
    expected = dict(zip(QUERIES, expected + LOCAL))
    expected[("host.vm.internal", "AAAA")] = None
    wrong = {}
    for transport, by in TRANSPORTS.items():
        for name, kind in QUERIES:
            answer = by(net, make(name, kind))
            assert not answer.flags & dns.flags.AD
            if name == "host.vm.internal":
                assert answer.rcode() == dns.rcode.NOERROR
            elif outcome(answer) != expected[name, kind]:
                wrong[transport, name, kind] = outcome(answer), expected[name, kind]
    assert not wrong
    denied = {name.lower() for (name, _), what in expected.items()
              if what and what[1:2] in ((PROHIBITED,), (BLOCKED,)) and what[0] != "NOERROR"}
    assert not denied & {name for _, name, _ in zone.asked()}


def test_a_client_without_edns_is_told_of_a_denial_without_an_explanation(gateway, zone):
    net = gateway("--deny", "good.test", profile="all")
    answer = over_udp(net, make("good.test", edns=False))
    assert answer.rcode() == dns.rcode.NXDOMAIN and answer.edns == -1


# What a hostile or broken resolver sends: a function of the query, and what the guest sees.

def reply_with(*records, flags=()):
    """Records as (name or None for the one asked, type, value)."""
    def reply(query):
        response = dns.message.make_response(query)
        for name, kind, value in records:
            owner = dns.name.from_text(name) if name else query.question[0].name
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, value))
        for flag in flags:
            response.flags |= flag
        return response.to_wire(max_size=65535)
    return reply


def raw_answer(rdata, kind=1, owner=b"\xc0\x0c"):
    """One record with these bytes as its data."""
    def reply(query):
        head = bytearray(dns.message.make_response(query).to_wire())
        question_end = 12 + len(query.question[0].name.to_wire()) + 4
        head = head[:question_end]
        head[6:12] = b"\0\1\0\0\0\0"
        record = owner + bytes([kind >> 8, kind & 255]) + b"\0\1\0\0\0\x3c"
        return bytes(head) + record + len(rdata).to_bytes(2, "big") + rdata
    return reply


def chain(aliases):
    records = [(None if i == 0 else f"c{i}.test.", "CNAME", f"c{i + 1}.test.")
               for i in range(aliases)]
    return reply_with(*records, (f"c{aliases}.test.", "A", PUBLIC4))


def slow(query):
    time.sleep(0.6)
    return reply_with((None, "A", PUBLIC4))(query)


def garbled(query):
    return reply_with((None, "A", PUBLIC4))(query)[:-3]


def only_header(query):
    return query.to_wire()[:2] + b"\x81\x80" + b"\0" * 8


def counts_that_lie(query):
    wire = bytearray(reply_with((None, "A", PUBLIC4))(query))
    wire[6:8] = b"\xff\xff"
    return bytes(wire)


def with_code(code, *records):
    """An answer with a code, whatever is in it."""
    def reply(query):
        wire = bytearray(reply_with(*records)(query))
        wire[3] = wire[3] & 0xf0 | dns.rcode.from_text(code)
        return bytes(wire)
    return reply


def with_id(query):
    wire = bytearray(reply_with((None, "A", PUBLIC4))(query))
    wire[1] ^= 1
    return bytes(wire)


def with_question(query):
    response = dns.message.make_response(query)
    response.question[0].name = dns.name.from_text("other.test")
    return response.to_wire()


FAILS, EMPTY = ("SERVFAIL", 22), ("NOERROR", BLOCKED)
HOSTILE = {
    "chain-16": (chain(16), ("NOERROR", PUBLIC4)),
    "chain-17": (chain(17), FAILS),
    "alias-to-itself": (reply_with((None, "CNAME", "alias-to-itself.test.")), FAILS),
    "pointer-to-itself": (raw_answer(b"\5\5\5\5", owner=b"\xc0\x2a"), FAILS),
    "pointer-forward": (raw_answer(b"\5\5\5\5", owner=b"\xc0\xff"), FAILS),
    "pointer-loop-in-data": (raw_answer(b"\xc0\x38", kind=5), FAILS),
    "address-of-3-bytes": (raw_answer(b"\5\5\5"), FAILS),
    "address-of-16-bytes": (raw_answer(b"\5" * 16), FAILS),
    "cut-off": (garbled, FAILS),
    "wrong-id": (with_id, FAILS),
    "wrong-question": (with_question, FAILS),
    "out-of-bailiwick": (reply_with(("other.test", "A", PUBLIC4), ("test", "A", PUBLIC4)),
                         ("NOERROR",)),
    "loop-of-two": (reply_with((None, "CNAME", "b.test."),
                               ("b.test", "CNAME", "loop-of-two.test.")), FAILS),
    "servfail": (with_code("SERVFAIL"), FAILS),
    "refused": (with_code("REFUSED"), FAILS),
    "notimp-with-an-address": (with_code("NOTIMP", (None, "A", PUBLIC4)), FAILS),
    "nxdomain": (with_code("NXDOMAIN"), ("NXDOMAIN",)),
    "nxdomain-with-an-address": (with_code("NXDOMAIN", (None, "A", PUBLIC4)),
                                 ("NOERROR", PUBLIC4)),
    "only-header": (only_header, FAILS),
    "counts-that-lie": (counts_that_lie, FAILS),
    "slow": (slow, ("NOERROR", PUBLIC4)),
    "always-truncated": (reply_with((None, "A", PUBLIC4), flags=[dns.flags.TC]), ("NOERROR", PUBLIC4)),
    "oversized": (reply_with(*[(None, "A", f"5.5.{i // 250}.{i % 250 + 1}") for i in range(900)]),
                  None),
    "too-many-records": (reply_with(*[(None, "A", f"5.{i >> 16}.{i >> 8 & 255}.{i & 255}")
                                      for i in range(1100)]), FAILS),
    "authentic": (reply_with((None, "A", PUBLIC4), flags=[dns.flags.AD]), ("NOERROR", PUBLIC4)),
}


def test_what_a_hostile_resolver_sends_harms_nobody(net, zone):
    """All are asked at once, as hostd asks for many of them again until it gives up; but the slow
    one, which would make the others late."""
    zone.records.update({f"{case}.test": reply for case, (reply, _) in HOSTILE.items()})

    def answer_of(case):
        by_tcp = case in ("oversized", "slow")
        return over_tcp(net, make(f"{case}.test")) if by_tcp else ask(net, f"{case}.test")

    together = [case for case in HOSTILE if case != "slow"]
    with concurrent.futures.ThreadPoolExecutor(len(together)) as pool:
        answers = dict(zip(together, pool.map(answer_of, together)))
    answers["slow"] = answer_of("slow")
    for case, (_, expected) in HOSTILE.items():
        answer = answers[case]
        if expected is None:
            assert answer.rcode() == dns.rcode.NOERROR and len(addresses(answer)) == 900, case
        else:
            assert outcome(answer) == expected, case
        assert not answer.flags & dns.flags.AD, case
    assert addresses(ask(net, "good.test")) == [PUBLIC4]


def test_an_answer_from_another_port_is_not_believed(net, world, zone):
    def from_elsewhere(query):
        wire = reply_with((None, "A", PUBLIC4))(query)
        with world.world.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((DNS4, 0))
            for port in guest_ports(world):
                s.sendto(wire, ("198.18.0.1", port))
        return None
    zone.records["elsewhere.test"] = from_elsewhere
    answer = ask(net, "elsewhere.test")
    assert answer.rcode() == dns.rcode.SERVFAIL and not answer.answer


def guest_ports(world):
    """The UDP ports that are open on the host: the resolver's own among them."""
    done = world.host.run("cat", "/proc/net/udp", "/proc/net/udp6")
    lines = [line.split() for line in done.stdout.splitlines()]
    return {int(f[1].rsplit(":", 1)[1], 16) for f in lines if ":" in f[1]}


REBOUND = ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254",
           "169.254.169.254", "172.16.0.1", "192.168.1.1", "192.168.127.1", "192.168.127.2",
           "192.168.127.254", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1",
           "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
           "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
           # Teredo: the inner address is the last 32 bits, inverted.
           "2001:0:505:505::80ff:fffe", "2001:0:505:505::f5ff:fffe", "2001:0:505:505::5601:5601",
           "fe80::1", "fe80::5efe:7f00:1", "fec0::1", "fc00::1", "fd53:4c55:4943::1", HOST6, WORLD6,
           "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:100.100.100.200",
           "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "ff02::1"]


@pytest.mark.parametrize("address", REBOUND)
def test_a_public_name_can_be_rebound_to_no_form_of_an_inner_address(net, zone, address):
    kind = "AAAA" if ":" in address else "A"
    name = f"r{REBOUND.index(address)}.rebound.test"
    zone.records[name] = [(kind, address)]
    assert outcome(ask(net, name, kind)) == EMPTY


def test_service_records_lose_hints_and_ech_keys(net, zone):
    zone.records["svc.test"] = [
        ("HTTPS", f"1 . alpn=h2 ipv4hint=10.0.0.1 ech=AEX+DQBBqgAgACA= ipv6hint={PUBLIC6}"),
        ("SVCB", "1 x.test. mandatory=ech ech=AEX+DQBBqgAgACA=")]
    assert [r.to_text() for r in ask(net, "svc.test", "HTTPS").answer[0]] == ['1 . alpn="h2"']
    assert [r.to_text() for r in ask(net, "svc.test", "SVCB").answer[0]] == ["1 x.test."]


def test_the_second_resolver_is_asked_after_300_ms(gateway, world):
    second = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        second.records["hedge.test"] = [("A", PUBLIC4)]
        with world.world.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind((DNS4, 53))

            def before_the_first_is_given_up():
                """Where the machine is busy, not at the first try."""
                net = gateway(profile="all", dns=(DNS4, PUBLIC4))
                start = time.monotonic()
                assert addresses(ask(net, "hedge.test")) == [PUBLIC4]
                assert time.monotonic() - start > 0.25
                return time.monotonic() - start < 0.95
            wait_for(before_the_first_is_given_up, what="an answer of the second")
    finally:
        second.stop()


def test_a_zone_with_its_own_resolver_is_asked_nowhere_else(gateway, world, dns):
    inner = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        inner.records.update({"a.corp.test": [("A", PUBLIC4)], "b.corp.test": "SERVFAIL"})
        dns.records.update({"b.corp.test": [("A", PUBLIC4_B)], "a.test": [("A", PUBLIC4_B)]})
        net = gateway("--dns-split", f"corp.test={PUBLIC4}")
        assert addresses(ask(net, "a.corp.test")) == [PUBLIC4]
        assert addresses(ask(net, "a.test")) == [PUBLIC4_B]
        assert ask(net, "b.corp.test").rcode() == 2
        assert {name for _, name, _ in dns.asked()} == {"a.test"}
    finally:
        inner.stop()


def test_records_of_the_config_are_answered_and_open_what_a_rule_on_them_allows(
        gateway, world, dns):
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "vm.toml")
        with open(path, "w") as f:
            f.write(f"""
[policy]
profile = "none"
rules = ["allow@db.corp.test"]
[dns]
zones = ["corp.test"]
denied-names = "refused"
[dns.split]
"lab.test" = ["{DNS4}"]
[[dns.records]]
name = "db.corp.test"
type = "A"
value = "{PUBLIC4}"
ttl = 7
[[dns.records]]
name = "corp.test"
type = "TXT"
value = "two words"
""")
        with world.world.listen(PUBLIC4, 80):
            net = gateway("--config", path, profile=None)
            answer = ask(net, "db.corp.test")
            assert addresses(answer) == [PUBLIC4] and answer.answer[0].ttl == 7
            assert answer.flags & AUTHORITATIVE
            assert ask(net, "corp.test", "TXT").answer[0][0].to_text() == '"two words"'
            assert ask(net, "x.corp.test").rcode() == 3
            assert ask(net, "x.lab.test").rcode() == 5
            net.guest.connect(PUBLIC4, 80).close()
        assert not dns.asked()


@pytest.mark.parametrize("arguments, named", [
    (["--dns-record", "db.test A 10.0.0.300"], ["db.test A 10.0.0.300", "IPv4"]),
    (["--dns-record", "a.test CNAME b.test", "--dns-record", "b.test CNAME a.test"],
     ["a.test", "lead back"]),
    (["--dns-split", "corp.test="], ["corp.test", "at least one"]),
    (["--dns-denied", "drop"], ["--dns-denied", "nxdomain or refused"]),
], ids=lambda v: v[0] if isinstance(v, list) else "")
def test_a_bad_setting_stops_the_start_and_names_the_fix(gateway, arguments, named):
    with pytest.raises(StartError) as failed:
        gateway(*arguments, guest=False)
    assert failed.value.status == 2
    for part in named:
        assert part in failed.value.log


def test_a_flood_of_names_below_a_zone_is_cut_with_one_event(gateway, zone):
    net = gateway("--dns-names", "20", profile="all")
    zone.records.update({f"n{i}.good.test": [("A", PUBLIC4)] for i in range(40)})
    codes = [ask(net, f"n{i}.good.test").rcode() for i in range(40)]
    assert codes == [0] * 20 + [2] * 20
    assert len(zone.asked()) == 20
    assert sum("different names" in line for line in net.denials()) == 1
