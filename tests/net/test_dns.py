"""The guest's resolver: what it answers, what it asks upstream and what never leaves the host."""
import os
import shutil
import socket
import struct
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from harness.clients import read_exactly
from harness.gateway import ALIAS4, GATEWAY4
from harness.netns import wait_for
from harness.servers import DnsServer
from harness.world import DNS4, DNS6, FAR4, FAR6, PUBLIC4

pytestmark = pytest.mark.hostd


def make(name, kind="A", edns=True, **fields):
    return dns.message.make_query(name, kind, use_edns=0 if edns else None, **fields)


def over_udp(net, query, server=GATEWAY4, timeout=30):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with net.guest.udp(family=family, timeout=timeout) as s:
        s.connect((server, 53))
        s.send(query if isinstance(query, bytes) else query.to_wire())
        return dns.message.from_wire(s.recv(65535), ignore_trailing=False)


def over_tcp(net, query, server=GATEWAY4):
    with net.guest.connect(server, 53) as s:
        return exchange(s, query)


def exchange(s, query):
    wire = query.to_wire()
    s.sendall(struct.pack(">H", len(wire)) + wire)
    return dns.message.from_wire(read_exactly(s, struct.unpack(">H", read_exactly(s, 2))[0]))


def ask(net, name, kind="A", **options):
    return over_udp(net, make(name, kind), **options)


def addresses(message, kind="A"):
    wanted = dns.rdatatype.from_text(kind)
    return sorted(record.to_text() for rrset in message.answer if rrset.rdtype == wanted
                  for record in rrset)


@pytest.fixture
def zone(dns):
    dns.records.update({
        "a.test": [("A", FAR4), ("AAAA", FAR6)],
        "alias.test": [("CNAME", "a.test.")],
        "many.test": [("A", f"198.18.7.{i}") for i in range(1, 200)],
        "text.test": [("TXT", '"' + "t" * 200 + '"')],
        "empty.test": [],
        "broken.test": "SERVFAIL",
        "silent.test": "SILENT",
    })
    return dns


@pytest.mark.parametrize("ask_by", [over_udp, over_tcp], ids=["udp", "tcp"])
def test_a_name_is_resolved_by_the_upstream(net, zone, ask_by):
    answer = ask_by(net, make("a.test"))
    assert answer.rcode() == dns.rcode.NOERROR and addresses(answer) == [FAR4]
    assert addresses(ask_by(net, make("a.test", "AAAA")), "AAAA") == [FAR6]


def test_the_resolver_answers_on_ipv6_too(net, zone):
    net.guest.wait_ipv6()
    assert addresses(ask(net, "a.test", server=net.guest.gateway6)) == [FAR4]
    assert addresses(over_tcp(net, make("a.test"), net.guest.gateway6)) == [FAR4]


def test_queries_to_any_other_server_are_answered_by_the_gateway(net, zone):
    """Port 53 to any address is taken, so that a hard-coded resolver works and is policed."""
    assert addresses(ask(net, "a.test", server="8.8.8.8")) == [FAR4]
    assert addresses(over_tcp(net, make("a.test"), "8.8.4.4")) == [FAR4]


def test_a_linux_resolver_is_served(net, zone):
    """The libc's own client: A and AAAA at once from one port."""
    script = ("import socket, sys;"
              "print(sorted({a[4][0] for a in socket.getaddrinfo('a.test', 80)}))")
    net.guest.wait_ipv6()
    path = net.directory + "/resolv.conf"
    with open(path, "w") as f:
        f.write(f"nameserver {GATEWAY4}\n")
    done = net.guest.run("unshare", "-m", "sh", "-c",
                         'mount --bind "$0" /etc/resolv.conf && exec "$@"', path,
                         "/usr/bin/python3", "-c", script)
    assert done.stdout.strip() == str(sorted([FAR4, FAR6])), done.stderr


def test_a_cname_chain_comes_whole_and_in_order(net, zone):
    answer = ask(net, "alias.test")
    assert [rrset.name.to_text() for rrset in answer.answer] == ["alias.test.", "a.test."]
    assert addresses(answer) == [FAR4]


def test_a_name_that_does_not_exist_is_nxdomain(net, zone):
    assert ask(net, "nowhere.test").rcode() == dns.rcode.NXDOMAIN


def test_a_name_without_the_type_is_an_empty_answer(net, zone):
    answer = ask(net, "empty.test")
    assert answer.rcode() == dns.rcode.NOERROR and not answer.answer


def test_an_upstream_failure_is_servfail_and_not_silence(net, zone):
    assert ask(net, "broken.test").rcode() == dns.rcode.SERVFAIL


def test_an_upstream_that_never_answers_is_servfail_and_delays_no_other_name(net, zone):
    with net.guest.udp(family=socket.AF_INET, timeout=20) as slow:
        slow.connect((GATEWAY4, 53))
        slow.send(make("silent.test").to_wire())
        for _ in range(5):
            assert addresses(ask(net, "a.test", timeout=1)) == [FAR4]
        assert dns.message.from_wire(slow.recv(4096)).rcode() == dns.rcode.SERVFAIL


def test_an_upstream_that_is_not_there_is_servfail(net):
    assert ask(net, "not-asked-before.test", timeout=20).rcode() == dns.rcode.SERVFAIL


def test_the_question_id_and_case_come_back_as_they_were_sent(net, zone):
    query = make("A.tEsT")
    answer = over_udp(net, query)
    assert answer.id == query.id
    assert answer.question[0].name.to_text() == "A.tEsT."
    assert addresses(answer) == [FAR4]


def test_an_answer_too_large_for_the_client_is_truncated_and_complete_over_tcp(net, zone):
    small = make("many.test", edns=False)
    answer = over_udp(net, small)
    assert answer.flags & dns.flags.TC and len(answer.to_wire()) <= 512
    assert len(addresses(over_tcp(net, small))) == 199


def test_an_edns_client_gets_as_much_as_it_said(net, zone):
    answer = over_udp(net, make("many.test", payload=4096))
    if not answer.flags & dns.flags.TC:
        assert len(addresses(answer)) == 199
    else:
        assert len(addresses(over_tcp(net, make("many.test")))) == 199


def test_a_truncated_upstream_answer_is_asked_again_over_tcp(net, zone):
    zone.records["long.test"] = [("A", FAR4)]
    zone.truncate.add("long.test")
    assert addresses(ask(net, "long.test")) == [FAR4]
    assert [q[0] for q in zone.asked("long.test")] == ["udp", "tcp"]


def test_other_types_are_forwarded(net, zone):
    answer = ask(net, "text.test", "TXT")
    assert "t" * 200 in answer.answer[0][0].to_text()


def test_an_https_record_brings_no_address_that_was_not_judged(net, zone):
    """microsandbox 4.2 (7): clients connect to the hints, of which the name index knows nothing."""
    zone.records["hints.test"] = [
        ("HTTPS", f"1 . alpn=h2,h3 port=8443 ipv4hint={FAR4} ipv6hint={FAR6}"),
        ("HTTPS", "2 other.test. mandatory=alpn,ipv4hint alpn=h2 ipv4hint=192.0.2.1"),
        ("HTTPS", "0 alias.test.")]
    answer = ask(net, "hints.test", "HTTPS")
    assert sorted(record.to_text() for record in answer.answer[0]) == [
        "0 alias.test.",
        '1 . alpn="h2,h3" port="8443"',
        '2 other.test. mandatory="alpn" alpn="h2"']


def test_many_queries_on_one_tcp_connection_are_all_answered(net, zone):
    with net.guest.connect(GATEWAY4, 53) as s:
        queries = [make("a.test", kind) for kind in ("A", "AAAA") * 10]
        s.sendall(b"".join(struct.pack(">H", len(q.to_wire())) + q.to_wire() for q in queries))
        answers = [dns.message.from_wire(read_exactly(
            s, struct.unpack(">H", read_exactly(s, 2))[0])) for _ in queries]
    assert {a.id for a in answers} == {q.id for q in queries}


def test_a_tcp_query_split_at_every_byte_is_understood(net, zone):
    wire = make("a.test").to_wire()
    framed = struct.pack(">H", len(wire)) + wire
    with net.guest.connect(GATEWAY4, 53) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed:
            s.sendall(bytes([byte]))
        answer = dns.message.from_wire(read_exactly(
            s, struct.unpack(">H", read_exactly(s, 2))[0]))
    assert addresses(answer) == [FAR4]


def test_questions_at_the_same_time_each_get_their_own_answer(net, zone):
    for i in range(100):
        zone.records[f"n{i}.test"] = [("A", f"198.18.7.{i + 1}")]
    with net.guest.udp(family=socket.AF_INET) as s:
        s.connect((GATEWAY4, 53))
        expected = {}
        for i in range(100):
            query = make(f"n{i}.test", id=1000 + i)
            expected[query.id] = [f"198.18.7.{i + 1}"]
            s.send(query.to_wire())
        for _ in range(100):
            answer = dns.message.from_wire(s.recv(4096))
            assert addresses(answer) == expected.pop(answer.id)
    assert not expected


def test_both_upstreams_are_tried(gateway, world):
    net = gateway(dns=("198.18.0.54", DNS4))    # nobody is at the first
    server = DnsServer(world.world)
    try:
        server.records["a.test"] = [("A", FAR4)]
        assert addresses(ask(net, "a.test", timeout=10)) == [FAR4]
    finally:
        server.stop()


def test_a_failing_upstream_is_passed_over_for_the_next(gateway, world):
    one, two = DnsServer(world.world, (DNS4,)), DnsServer(world.world, (DNS6,))
    try:
        one.records["a.test"] = "SERVFAIL"
        two.records["a.test"] = [("A", FAR4)]
        net = gateway(dns=(DNS4, f"[{DNS6}]:53"))
        assert addresses(ask(net, "a.test", timeout=10)) == [FAR4]
    finally:
        one.stop()
        two.stop()


def test_an_upstream_that_comes_back_is_asked_again(gateway, world):
    """arcbox 1.8: one receive error ended the service for good."""
    net = gateway(dns=(DNS4,))
    assert ask(net, "a.test", timeout=20).rcode() == dns.rcode.SERVFAIL     # port unreachable
    server = DnsServer(world.world, (DNS4,))
    try:
        server.records["a.test"] = [("A", FAR4)]
        wait_for(lambda: addresses(ask(net, "a.test", timeout=20)) == [FAR4], limit=15, step=0.2,
                 what="an answer of the upstream")
    finally:
        server.stop()


def test_an_upstream_may_have_a_port_of_its_own(gateway, world):
    server = DnsServer(world.world, (DNS4,), port=5353)
    try:
        server.records["a.test"] = [("A", FAR4)]
        net = gateway(dns=(f"{DNS4}:5353",))
        assert addresses(ask(net, "a.test")) == [FAR4]
    finally:
        server.stop()


def test_the_hosts_resolv_conf_is_used_without_the_flag(gateway, zone, tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text(f"nameserver {DNS4}\n")
    net = gateway(dns=(), wrapper=("unshare", "-m", "sh", "-c",
                                   'mount --bind "$0" /etc/resolv.conf && exec "$@"', path))
    assert addresses(ask(net, "a.test")) == [FAR4]


def test_a_changed_resolv_conf_is_followed(gateway, world, tmp_path):
    """arcbox 2.3, U #714: upstreams read once at the start are stale after a network change."""
    etc = tmp_path / "etc"
    etc.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    for name in ("passwd", "group", "nsswitch.conf", "hosts"):
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", etc / name)
    (etc / "resolv.conf").write_text(f"nameserver {DNS4}\n")
    one, two = DnsServer(world.world, (DNS4,)), DnsServer(world.world, (DNS6,))
    try:
        one.records["old.test"] = two.records["new.test"] = [("A", FAR4)]
        net = gateway(dns=(), wrapper=("unshare", "-m", "sh", "-c",
                                       'mount --bind "$0" /etc && exec "$@"', etc))
        assert addresses(ask(net, "old.test")) == [FAR4]
        (etc / "resolv.conf.new").write_text(f"nameserver {DNS6}\n")
        (etc / "resolv.conf.new").rename(etc / "resolv.conf")
        wait_for(lambda: addresses(ask(net, "new.test")) == [FAR4], limit=15, step=0.2,
                 what="the new resolver asked")
    finally:
        one.stop()
        two.stop()


# ---- the local zone

@pytest.mark.parametrize("name", ["host.vm.internal", "host.docker.internal",
                                  "host.containers.internal"])
def test_the_host_has_names_that_never_go_upstream(net, zone, name):
    assert addresses(ask(net, name)) == [ALIAS4]
    assert not zone.asked(name)


def test_the_gateway_has_a_name(net, zone):
    assert addresses(ask(net, "gateway.vm.internal")) == [GATEWAY4]
    assert not zone.asked("gateway.vm.internal")


def test_an_unknown_name_of_the_local_zone_is_nxdomain_and_never_goes_upstream(net, zone):
    assert ask(net, "nobody.vm.internal").rcode() == dns.rcode.NXDOMAIN
    assert not zone.asked()


def test_a_local_name_with_another_type_is_an_empty_answer(net, zone):
    """arcbox 2.3: a local answer that ignored the question's type."""
    answer = ask(net, "gateway.vm.internal", "TXT")
    assert answer.rcode() == dns.rcode.NOERROR and not answer.answer


def test_the_local_addresses_have_their_names_back(net, zone):
    reverse = ".".join(reversed(GATEWAY4.split("."))) + ".in-addr.arpa"
    answer = ask(net, reverse, "PTR")
    assert "gateway.vm.internal." in answer.to_text()
    assert not zone.asked(reverse)


# ---- hostile questions and answers

def test_hostile_questions_do_not_stop_the_service(net, zone):
    good = make("a.test").to_wire()
    header = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    for wire in (b"", b"\0", good[:11], good[:-3], good + b"trailing",
                 header + b"\xc0\x0c\0\1\0\1",                      # a pointer to itself
                 header + b"\xc0\xff\0\1\0\1",                      # a pointer forward
                 header + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",      # a label of 64
                 header + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1",  # a name over 255
                 struct.pack(">HHHHHH", 7, 0x0100, 0, 0, 0, 0),     # no question
                 struct.pack(">HHHHHH", 7, 0x0100, 65535, 65535, 65535, 65535),
                 struct.pack(">HHHHHH", 7, 0x8180, 1, 0, 0, 0) + good[12:],  # QR = 1
                 struct.pack(">HHHHHH", 7, 0x2900, 1, 0, 0, 0) + good[12:],  # opcode 5
                 b"\xff" * 512):
        with net.guest.udp(family=socket.AF_INET) as s:
            s.connect((GATEWAY4, 53))
            s.send(wire)
    assert addresses(ask(net, "a.test")) == [FAR4]


def test_two_questions_in_one_message_are_refused(net, zone):
    wire = bytearray(make("a.test", edns=False).to_wire())
    wire[5] = 2
    answer = over_udp(net, bytes(wire) + bytes(wire[12:]))
    assert answer.rcode() in (dns.rcode.FORMERR, dns.rcode.REFUSED, dns.rcode.NOTIMP)


@pytest.mark.parametrize("length", [0, 1, 11, 65535])
def test_a_tcp_length_that_lies_only_ends_its_own_connection(net, zone, length):
    with net.guest.connect(GATEWAY4, 53) as s:
        s.sendall(struct.pack(">H", length) + b"x" * min(length, 1000))
        s.shutdown(socket.SHUT_WR)
        assert addresses(ask(net, "a.test")) == [FAR4]


def spoofer(change):
    """An answer to the question, changed by the function."""
    def answer(query):
        response = dns.message.make_response(query)
        name = query.question[0].name
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", PUBLIC4))
        return change(query, response)
    return answer


def wrong_id(query, response):
    response.id ^= 0x5555
    return response.to_wire()


def wrong_question(query, response):
    other = dns.message.make_response(dns.message.make_query("other.test", "A", id=query.id))
    other.answer.append(dns.rrset.from_text("other.test.", 60, "IN", "A", PUBLIC4))
    return other.to_wire()


@pytest.mark.parametrize("change", [wrong_id, wrong_question])
def test_an_answer_to_another_question_is_not_believed(net, zone, change):
    zone.records["spoof.test"] = spoofer(change)
    answer = ask(net, "spoof.test", timeout=20)
    assert answer.rcode() == dns.rcode.SERVFAIL and not answer.answer


def test_records_that_were_not_asked_for_are_cut_off(net, zone):
    """Poison: an address for another name in the answer and in the additional section."""
    def poison(query, response):
        extra = dns.rrset.from_text("bank.test.", 60, "IN", "A", PUBLIC4)
        response.answer.append(extra)
        response.additional.append(extra)
        return response.to_wire()
    zone.records["poison.test"] = spoofer(poison)
    answer = ask(net, "poison.test")
    assert addresses(answer) == [PUBLIC4]
    assert "bank.test." not in answer.to_text()


def test_a_cname_loop_ends(net, zone):
    zone.records["loop.test"] = [("CNAME", "pool.test.")]
    zone.records["pool.test"] = [("CNAME", "loop.test.")]
    answer = ask(net, "loop.test", timeout=20)
    assert not addresses(answer)
    assert addresses(ask(net, "a.test")) == [FAR4]


def test_the_authenticated_data_bit_of_an_edited_answer_is_cleared(net, zone):
    def signed(query, response):
        response.flags |= dns.flags.AD
        response.answer.append(dns.rrset.from_text("bank.test.", 60, "IN", "A", PUBLIC4))
        return response.to_wire()
    zone.records["signed.test"] = spoofer(signed)
    assert not ask(net, "signed.test").flags & dns.flags.AD


def test_slow_tcp_clients_do_not_stop_the_others(net, zone):
    held = [net.guest.connect(GATEWAY4, 53) for _ in range(50)]
    try:
        for s in held:
            s.sendall(b"\0")
        assert addresses(over_tcp(net, make("a.test"))) == [FAR4]
    finally:
        for s in held:
            s.close()


def test_a_thousand_names_are_resolved_by_many_clients(net, zone):
    for i in range(1000):
        zone.records[f"m{i}.test"] = [("A", f"198.18.{i // 250}.{i % 250 + 1}")]
    wrong = []

    def client(part):
        for i in range(part, 1000, 4):
            answer = ask(net, f"m{i}.test", timeout=10)
            if addresses(answer) != [f"198.18.{i // 250}.{i % 250 + 1}"]:
                wrong.append(i)
    threads = [threading.Thread(target=client, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
