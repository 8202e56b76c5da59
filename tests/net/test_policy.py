"""What the rules refuse is refused at once, said why, and never reaches the wire."""
import errno
import select
import time

import dns.rcode
import pytest

from harness.clients import (FAMILIES, FAR, PUBLIC, PUBLIC_B, SOON, UNREACHABLE, WORLD,
                             connect_error, error_of_recv, nonblocking_connects, pair, ready_for)
from harness.gateway import StartError
from harness.netns import wait_for
from harness.world import DNS4, FAR4, HOST4, PUBLIC4, PUBLIC4_B, PUBLIC6, WORLD4
from test_dns import addresses, ask

pytestmark = pytest.mark.hostd


@pytest.fixture
def server(world):
    """A listener on port 80 of every address of the world; gives the port."""
    with world.world.listen("::", 80, backlog=1024) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def zone(dns):
    dns.records.update({
        "good.test": [("A", PUBLIC4), ("AAAA", PUBLIC6)],
        "sub.good.test": [("A", PUBLIC4)],
        "bad.test": [("A", PUBLIC4_B)],
        "inside.test": [("A", WORLD4)],
        "loopback.test": [("A", "127.0.0.1")],
        "mixed.test": [("A", WORLD4), ("A", PUBLIC4)],
        "www.good.test": [("CNAME", "cdn.other.test.")],
        "cdn.other.test": [("A", PUBLIC4_B)],
    })
    return dns


def refused(net, address, port=80):
    error, seconds = connect_error(net.guest, address, port)
    return error == errno.ECONNREFUSED and seconds < SOON


def reached(net, address, port=80):
    return connect_error(net.guest, address, port)[0] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_denied_address_is_refused_at_once_and_said_why(gateway, server, family):
    target = FAR[family] if family == 4 else f"[{FAR[family]}]"
    net = gateway("--rule", f"deny@{target}")
    ready_for(family, net)
    assert refused(net, FAR[family])
    assert reached(net, WORLD[family])
    lines = [d for d in net.denials() if FAR[family] in d]
    assert lines and "tcp" in lines[0].lower()
    assert f'rule "deny@{target}"' in lines[0]


def test_the_default_profile_reaches_public_addresses_only(gateway, server):
    net = gateway(profile=None)
    assert reached(net, PUBLIC4)
    assert refused(net, WORLD4), "on the host's own link: private"
    assert refused(net, HOST4), "the host itself"
    assert refused(net, "169.254.169.254"), "metadata"
    assert refused(net, "10.1.2.3")
    assert refused(net, "100.100.100.200")
    assert refused(net, "168.63.129.16"), "Azure's metadata has a public address"


def test_a_public_address_of_the_hosts_own_is_not_public(gateway, world, server):
    """microsandbox 4.2 (9): the host's address and on-link prefix, however public they look."""
    world.host.ip("addr add 5.5.7.1/24 dev far")
    world.world.ip("addr add 5.5.7.2/24 dev near")
    try:
        net = gateway(profile=None)
        with world.host.listen("5.5.7.1", 80):
            assert refused(net, "5.5.7.1")
        assert refused(net, "5.5.7.2")
        assert reached(net, PUBLIC4)
    finally:
        world.host.ip("addr del 5.5.7.1/24 dev far")
        world.world.ip("addr del 5.5.7.2/24 dev near")


def test_an_address_that_the_host_gets_later_is_not_public_either(gateway, world, server):
    net = gateway(profile=None)
    world.host.ip("addr add 5.5.8.1/24 dev far")
    try:
        with world.host.listen("5.5.8.1", 80):
            wait_for(lambda: refused(net, "5.5.8.1"), what="the new address refused", step=0.1)
    finally:
        world.host.ip("addr del 5.5.8.1/24 dev far")


def test_ipv6_forms_of_a_denied_ipv4_address_are_denied_with_it(gateway, server):
    net = gateway(profile=None)
    ready_for(6, net)
    assert reached(net, PUBLIC[6])
    for form in ("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "fd00:ec2::254",
                 "::ffff:127.0.0.1"):
        assert connect_error(net.guest, form, 80, timeout=3)[0] in (
            errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH), form


def test_profile_none_reaches_nothing(gateway, server, zone):
    net = gateway(profile="none")
    assert refused(net, PUBLIC4) and refused(net, WORLD4)
    assert ask(net, "good.test").rcode() in (dns.rcode.NXDOMAIN, dns.rcode.REFUSED)
    assert not zone.asked(), "no query may leave"


def test_rules_are_judged_in_the_order_they_were_written(gateway, server):
    net = gateway("--rule", f"allow@{PUBLIC4}", "--rule", "deny@5.5.0.0/16", profile="public")
    assert reached(net, PUBLIC4) and refused(net, PUBLIC4_B)
    net = gateway("--rule", "deny@5.5.0.0/16", "--rule", f"allow@{PUBLIC4}", profile="public")
    assert refused(net, PUBLIC4) and refused(net, PUBLIC4_B)


def test_several_rules_may_stand_in_one_argument(gateway, server):
    net = gateway("--rule", f"allow@{PUBLIC4}:tcp:80,deny@any", profile="none")
    assert reached(net, PUBLIC4) and refused(net, PUBLIC4_B)


def test_a_rule_with_ports_and_protocol_opens_nothing_else(gateway, world, server):
    net = gateway("--rule", f"allow@{PUBLIC4}:tcp:80", profile="none")
    with world.world.listen("::", 81):
        assert reached(net, PUBLIC4, 80) and refused(net, PUBLIC4, 81)
    with net.guest.udp("0.0.0.0") as client:
        client.connect((PUBLIC4, 80))
        client.send(b"?")
        assert error_of_recv(client) in (errno.EHOSTUNREACH, errno.EACCES, errno.ENETUNREACH)


def test_an_allowed_name_is_resolved_and_reached(gateway, server, zone):
    net = gateway("--allow", "good.test", profile=None)
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    assert reached(net, PUBLIC4)


def test_an_address_is_refused_until_its_allowed_name_was_looked_up(gateway, server, zone):
    net = gateway("--allow", "good.test", profile=None)
    assert refused(net, PUBLIC4)
    ask(net, "good.test")
    assert reached(net, PUBLIC4)


def test_http3_to_an_address_is_refused_like_https(gateway, server, zone):
    """microsandbox 4.2 (8): what was denied over TLS went through as QUIC.  Here the address
    decides, before the first byte and for every protocol."""
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    assert refused(net, PUBLIC4_B, 443)
    with net.guest.udp("0.0.0.0") as client:
        client.connect((PUBLIC4_B, 443))
        client.send(b"initial")
        assert error_of_recv(client) in (*UNREACHABLE, errno.EACCES)


def test_a_conversation_outlives_the_ttl_of_its_name(gateway, world, zone):
    """microsandbox 4.2 (5): UDP that a name had allowed ended with the TTL."""
    net = gateway("--allow", "good.test", profile=None)
    zone.records["good.test"] = [("A", PUBLIC4, 1)]
    asked = time.monotonic()
    ask(net, "good.test")
    with world.world.udp(PUBLIC4) as service, net.guest.udp("0.0.0.0") as client:
        client.connect(service.getsockname())

        def exchange(text):
            client.send(text)
            received, peer = service.recvfrom(100)
            service.sendto(received.upper(), peer)
            return client.recv(100)
        assert exchange(b"early") == b"EARLY"
        select.select([], [], [], 2.2 - (time.monotonic() - asked))     # twice the TTL
        assert exchange(b"late") == b"LATE"
    assert not net.denials()


def test_a_connection_on_port_443_that_is_no_tls_is_carried(gateway, world, zone):
    """microsandbox 4.2 (10): without a TLS name it ended after ten seconds.  The server speaks
    first, after a silence, and then the client in its own words."""
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    client, far = pair_on(net, world, PUBLIC4, 443)
    with client, far:
        assert not select.select([client, far], [], [], 1)[0]           # the silence
        far.sendall(b"220 ready\r\n")
        assert client.recv(100) == b"220 ready\r\n"
        client.sendall(b"\0\1\2 no hello")
        assert far.recv(100) == b"\0\1\2 no hello"


@pytest.mark.long
def test_a_connection_on_port_443_that_is_no_tls_has_no_time_limit(gateway, world, zone):
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    client, far = pair_on(net, world, PUBLIC4, 443)
    with client, far:
        assert not select.select([client, far], [], [], 15)[0]
        client.sendall(b"late")
        assert far.recv(100) == b"late"


def pair_on(net, world, address, port):
    with world.world.listen(address, port) as listener:
        client = net.guest.connect(address, port)
        far, _ = listener.accept()
    far.settimeout(5)
    return client, far


def test_an_allowed_name_opens_no_other_address(gateway, server, zone):
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    assert refused(net, PUBLIC4_B)


def test_a_name_that_no_rule_allows_is_nxdomain_and_never_leaves_the_host(gateway, zone):
    net = gateway("--allow", "good.test", profile=None)
    for name in ("bad.test", "secret-data.bad.test", "sub.good.test", "xgood.test", "test"):
        answer = ask(net, name)
        assert answer.rcode() == dns.rcode.NXDOMAIN, name
    assert not zone.asked()
    assert any("bad.test" in d for d in net.denials())


def test_a_denied_name_is_nxdomain_and_never_leaves_the_host(gateway, zone):
    net = gateway("--deny", "bad.test")
    assert ask(net, "bad.test").rcode() == dns.rcode.NXDOMAIN
    assert not zone.asked("bad.test")
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    line = next(d for d in net.denials() if "bad.test" in d)
    assert 'rule "deny@bad.test"' in line


def test_a_denied_name_is_denied_in_any_case_and_with_a_final_dot(gateway, zone):
    net = gateway("--deny", "BAD.Test.")
    for name in ("bad.test", "BAD.TEST", "bAd.tEsT."):
        assert ask(net, name).rcode() == dns.rcode.NXDOMAIN, name
    assert not zone.asked()


def test_a_denied_name_cannot_be_asked_over_tcp_or_at_another_server(gateway, zone):
    from test_dns import make, over_tcp
    net = gateway("--deny", "bad.test")
    assert over_tcp(net, make("bad.test")).rcode() == dns.rcode.NXDOMAIN
    assert ask(net, "bad.test", server=DNS4).rcode() == dns.rcode.NXDOMAIN
    assert ask(net, "bad.test", "TXT").rcode() == dns.rcode.NXDOMAIN
    assert not zone.asked()


def test_a_suffix_covers_the_apex_and_every_depth(gateway, server, zone):
    net = gateway("--allow", "*.good.test", profile=None)
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    assert addresses(ask(net, "sub.good.test")) == [PUBLIC4]
    assert ask(net, "notgood.test").rcode() == dns.rcode.NXDOMAIN
    assert reached(net, PUBLIC4)


def test_a_suffix_of_one_label_needs_a_flag_of_its_own(gateway):
    with pytest.raises(StartError) as failed:
        gateway("--allow", "*.test", guest=False)
    assert failed.value.status == 2 and "*.test" in failed.value.log


def test_an_allowed_name_that_is_an_alias_opens_the_address_behind_it(gateway, server, zone):
    net = gateway("--allow", "www.good.test", profile=None)
    assert addresses(ask(net, "www.good.test")) == [PUBLIC4_B]
    assert reached(net, PUBLIC4_B)


def test_a_public_name_that_points_inside_is_filtered(gateway, zone):
    """Rebinding."""
    net = gateway(profile=None)
    assert addresses(ask(net, "inside.test")) == []
    assert addresses(ask(net, "loopback.test")) == []
    assert addresses(ask(net, "mixed.test")) == [PUBLIC4]


def test_a_port_on_a_name_rule_restricts_connections_and_not_the_lookup(
        gateway, world, server, zone):
    net = gateway("--rule", "allow@good.test:tcp:80", profile=None)
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    assert reached(net, PUBLIC4, 80)
    with world.world.listen("::", 81):
        assert refused(net, PUBLIC4, 81)


def test_a_failed_lookup_takes_nothing_away_that_was_allowed(gateway, server, zone):
    """microsandbox 4.2 (7): SERVFAIL cleared the index."""
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    for records in ("SERVFAIL", []):
        zone.records["good.test"] = records
        ask(net, "good.test", "AAAA")
        assert reached(net, PUBLIC4)


def test_a_round_robin_answer_adds_to_the_earlier_one(gateway, server, zone):
    """microsandbox 4.2 (7): replace instead of merge."""
    net = gateway("--allow", "rr.test", profile=None)
    zone.records["rr.test"] = [("A", PUBLIC4, 0)]
    ask(net, "rr.test")
    zone.records["rr.test"] = [("A", PUBLIC4_B, 0)]
    ask(net, "rr.test")
    assert reached(net, PUBLIC4) and reached(net, PUBLIC4_B)


def test_an_open_connection_outlives_the_ttl_of_its_name(gateway, world, zone):
    net = gateway("--allow", "good.test", profile=None)
    zone.records["good.test"] = [("A", PUBLIC4, 0)]
    ask(net, "good.test")
    client, server_end = pair(net.guest, world.world, PUBLIC4)
    with client, server_end:
        client.send(b"SSH-2.0-x\r\n")
        assert server_end.recv(100)
        server_end.send(b"still here")
        assert client.recv(100) == b"still here"


def test_a_denied_destination_is_never_dialled(gateway, world):
    """Not one SYN of a denied flow leaves the host."""
    net = gateway("--rule", f"deny@{FAR4}")
    with world.world.listen(FAR4, 8080) as listener:
        assert refused(net, FAR4, 8080)
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_denials_of_one_destination_are_not_a_flood_in_the_log(gateway):
    net = gateway(profile="none")
    for _ in range(500):
        assert refused(net, PUBLIC4)
    assert len(net.denials()) < 250
    assert net.counter("denials") >= 500


def test_the_denied_line_says_protocol_destination_name_and_rule(gateway, server, zone):
    net = gateway("--rule", f"deny@{PUBLIC4}:tcp:80")
    ask(net, "good.test")
    assert refused(net, PUBLIC4)
    line = next(d for d in net.denials() if PUBLIC4 in d)
    for part in ("denied", "tcp", f"{PUBLIC4}:80", "good.test", f'rule "deny@{PUBLIC4}:tcp:80"'):
        assert part in line, line


def test_the_effective_policy_is_said_in_one_line_at_the_start(gateway):
    net = gateway("--rule", f"deny@{FAR4}", profile="public")
    said = net.log().splitlines() + [net.ready_line]
    assert any(f"deny@{FAR4}" in line and "public" in line for line in said), said


@pytest.mark.parametrize("rule, part, column", [
    ("alow@good.test", "alow", 1), ("allow@", "", 7), ("allow@300.1.1.1", "300.1.1.1", 7),
    ("allow@good.test:tpc", "tpc", 17), ("allow@good.test:tcp:99999", "99999", 21),
    ("deny:sideways@any", "sideways", 6), ("allow@@set", "@set", 7),
    ("allow@10.0.0.0/33", "10.0.0.0/33", 7), ("allow@*", "*", 7), ("allow@foo..bar", "foo..bar", 7),
    ("allow@any,deny@", "", 16)])
def test_a_bad_rule_stops_the_start_and_its_fault_is_shown(gateway, rule, part, column):
    with pytest.raises(StartError) as failed:
        gateway("--rule", rule, guest=False)
    assert failed.value.status == 2
    for text in ("--rule", f"'{part}'", f"column {column}:"):
        assert text in failed.value.log


def test_a_thousand_denied_attempts_cost_a_good_connection_nothing(gateway, server):
    net = gateway("--rule", f"deny@{FAR4}")
    for _ in range(200):
        refused(net, FAR4)
    error, seconds = connect_error(net.guest, WORLD4, 80)
    assert error is None and seconds < SOON


def test_a_shared_address_is_not_opened_by_a_name_of_another_address(gateway, server, zone):
    """Only addresses that this guest's own lookups gave: never the rest of a network."""
    net = gateway("--allow", "good.test", profile=None)
    ask(net, "good.test")
    assert refused(net, "5.5.5.6") and refused(net, PUBLIC_B[4])


def test_what_a_fatal_rule_denies_closes_the_guest(gateway):
    net = gateway("--rule", f"deny!@{PUBLIC4}", profile="public")
    [client] = nonblocking_connects(net.guest.ns, PUBLIC4, [80])
    with client:
        assert net.process.wait(5) == 3
    line = net.wait_log("closed by policy: .*").group(0)
    assert f'rule "deny!@{PUBLIC4}"' in line


def test_a_violation_can_be_an_event_alone(gateway):
    net = gateway("--rule", f"deny!@{PUBLIC4}", "--on-violation", "event", profile="public")
    assert refused(net, PUBLIC4)
    assert any("(fatal)" in line for line in net.denials())
    net.check_alive()
