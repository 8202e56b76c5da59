"""Ways around the gateway's resolver: DNS over TLS, QUIC and HTTPS, mDNS, LLMNR, NetBIOS."""
import errno
import socket

import pytest

from harness.clients import connect_error
from harness.world import PUBLIC4, PUBLIC4_B
from test_control import ctl_json
from test_dns import addresses, ask

pytestmark = pytest.mark.hostd


@pytest.fixture
def zone(dns):
    dns.records.update({name: [("A", PUBLIC4)] for name in
                        ("dns.google", "mozilla.cloudflare-dns.com", "use-application-dns.net",
                         "good.test")})
    return dns


def test_known_doh_hosts_and_the_canary_do_not_exist_beside_rules_on_names(gateway, zone):
    net = gateway("--deny", "bad.test", profile="public")
    assert addresses(ask(net, "good.test")) == [PUBLIC4]
    for name in ("dns.google", "mozilla.cloudflare-dns.com", "use-application-dns.net"):
        assert ask(net, name).rcode() == 3
    assert {q[1] for q in zone.asked()} == {"good.test"}
    line = next(line for line in net.denials() if "dns.google" in line)
    assert "policy.encrypted-dns: encrypted DNS is refused where rules are on names" in line
    event = ctl_json(net, "events", "--to", "dns.google")["events"][0]
    verdict = ctl_json(net, "policy", "check", "dns", "dns.google", check=False)
    assert verdict["verdict"] == "deny" and verdict["lookup"]["reason"] == event["reason"]


@pytest.mark.parametrize("arguments", [("--deny", "bad.test", "--rule", "allow@dns.google"),
                                       ("--deny", "bad.test", "--encrypted-dns", "allow"), ()],
                         ids=["named", "setting", "no-name-rules"])
def test_a_doh_host_resolves_where_a_rule_or_the_setting_says_so(gateway, zone, arguments):
    net = gateway(*arguments, profile="public")
    assert addresses(ask(net, "dns.google")) == [PUBLIC4]


def test_port_853_is_shut_beside_rules_on_names_but_for_the_address_that_is_named(gateway, world):
    with world.world.listen(PUBLIC4, 853), world.world.listen(PUBLIC4_B, 853):
        net = gateway("--deny", "bad.test", "--allow", PUBLIC4_B, profile="public")
        assert connect_error(net.guest.ns, PUBLIC4, 853)[0] == errno.ECONNREFUSED
        assert connect_error(net.guest.ns, PUBLIC4_B, 853)[0] is None
        with net.guest.udp(family=socket.AF_INET) as client:
            client.connect((PUBLIC4, 853))
            client.send(b"x")
            client.settimeout(30)
            with pytest.raises(OSError) as refused:
                client.recv(1)
            assert refused.value.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES)
        events = ctl_json(net, "events", "--to", PUBLIC4)["events"]
        assert [one["layer"] for one in events] == ["syn", "udp"]
        assert all("encrypted DNS is refused" in one["reason"] for one in events)


@pytest.mark.parametrize("address, port", [("224.0.0.251", 5353), ("224.0.0.252", 5355),
                                           ("192.168.127.255", 137), ("192.168.127.1", 5353),
                                           ("192.168.127.1", 5355), ("192.168.127.1", 137)])
def test_mdns_llmnr_and_netbios_get_no_answer_and_ask_nobody(gateway, zone, address, port):
    net = gateway(profile="public")
    with net.guest.udp(family=socket.AF_INET, timeout=0.3) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        with pytest.raises(OSError):
            client.sendto(b"\0\0\1\0\0\1\0\0\0\0\0\0\4good\4test\0\0\1\0\1", (address, port))
            client.recvfrom(512)
    assert not zone.asked()
