"""Records, zones and resolvers that change while the guest runs: by the API and by a reload."""
import errno
import json
import os
import pathlib
import tempfile

import pytest

from harness.clients import connect_error, pair
from harness.servers import DnsServer
from harness.world import DNS4, PUBLIC4, PUBLIC4_B, PUBLIC6, WORLD4
from test_control import ctl, ctl_json, http
from test_dns import addresses, ask

pytestmark = pytest.mark.hostd


@pytest.fixture
def config():
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as directory:
        os.chmod(directory, 0o755)
        yield pathlib.Path(directory, "vm.toml")


def reload(net):
    start = len(net.log())
    os.kill(net.pid, 1)
    return net.wait_log(r"reload: .*", start=start).group(0)


def values(net, *arguments):
    return [(r["name"], r["type"], r["value"])
            for r in ctl_json(net, "dns", "records", "ls", *arguments)]


def test_a_record_comes_and_goes_while_the_guest_runs(gateway, dns):
    net = gateway()
    assert ask(net, "db.corp.test").rcode() == 3
    ctl(net, "dns", "records", "add", "db.corp.test", "7", "A", PUBLIC4)
    answer = ask(net, "db.corp.test")
    assert addresses(answer) == [PUBLIC4] and answer.answer[0].ttl == 7
    ctl(net, "dns", "records", "add", f"db.corp.test A {PUBLIC4_B}")
    assert sorted(addresses(ask(net, "db.corp.test"))) == sorted([PUBLIC4, PUBLIC4_B])
    ctl(net, "dns", "records", "rm", "db.corp.test", "A", PUBLIC4)
    assert addresses(ask(net, "db.corp.test")) == [PUBLIC4_B]
    ctl(net, "dns", "records", "rm", "db.corp.test")
    assert ask(net, "db.corp.test").rcode() == 3
    again = ctl(net, "dns", "records", "rm", "db.corp.test", check=False)
    assert again.returncode == 1 and "no such record" in again.stderr


def test_adding_a_record_twice_is_no_error_and_the_last_ttl_counts(gateway):
    net = gateway(attach="raw")
    ctl(net, "dns", "records", "add", f"db.corp.test 7 A {PUBLIC4}")
    ctl(net, "dns", "records", "add", f"DB.corp.test 9 a {PUBLIC4}")
    assert ctl_json(net, "dns", "records", "ls", "db.corp.test") == [
        {"name": "db.corp.test", "type": "A", "ttl": 9, "value": PUBLIC4}]


def test_a_record_is_replaced_in_one_step(gateway):
    net = gateway(attach="raw")
    ctl(net, "dns", "records", "add", f"db.corp.test A {PUBLIC4}")
    ctl(net, "dns", "records", "add", f"db.corp.test AAAA {PUBLIC6}")
    ctl(net, "dns", "records", "add", "--replace", f"db.corp.test A {PUBLIC4_B}")
    assert values(net) == [("db.corp.test", "A", PUBLIC4_B), ("db.corp.test", "AAAA", PUBLIC6)]


def test_a_zone_comes_and_goes_while_the_guest_runs(gateway, dns):
    dns.records["x.corp.test"] = [("A", PUBLIC4)]
    net = gateway()
    ctl(net, "dns", "zones", "add", "corp.test")
    assert ctl_json(net, "dns", "zones", "ls") == ["corp.test"]
    assert ask(net, "x.corp.test").rcode() == 3 and not dns.asked()
    ctl(net, "dns", "zones", "rm", "corp.test")
    assert addresses(ask(net, "x.corp.test")) == [PUBLIC4]


def test_what_a_record_opened_is_shut_when_it_is_removed(gateway, world):
    net = gateway("--allow", "db.test", "--allow", "www.test", "--dns-record",
                  f"db.test A {PUBLIC4}", "--dns-record", f"db.test A {PUBLIC4_B}",
                  "--dns-record", "www.test CNAME db.test", profile=None)
    assert len(addresses(ask(net, "www.test"))) == 2
    kept = pair(net.guest.ns, world.world, PUBLIC4_B)
    cut = pair(net.guest.ns, world.world, PUBLIC4)
    with kept[0], kept[1], cut[0], cut[1]:
        ctl(net, "dns", "records", "rm", "db.test", "A", PUBLIC4)
        cut[0].settimeout(5)
        with pytest.raises(ConnectionResetError):
            cut[0].recv(1)
        kept[1].sendall(b"x")
        kept[0].settimeout(5)
        assert kept[0].recv(1) == b"x"
    assert connect_error(net.guest.ns, PUBLIC4, 80)[0] == errno.ECONNREFUSED
    with world.world.listen(PUBLIC4_B, 80):
        assert connect_error(net.guest.ns, PUBLIC4_B, 80)[0] is None


def test_a_zone_gets_resolvers_of_its_own_and_their_health_is_shown(gateway, world, dns):
    inner = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        inner.records["a.corp.test"] = [("A", PUBLIC4)]
        dns.records["a.corp.test"] = [("A", PUBLIC4_B)]
        net = gateway()
        assert addresses(ask(net, "a.corp.test")) == [PUBLIC4_B]
        ctl(net, "dns", "split", "set", "corp.test", PUBLIC4)
        assert addresses(ask(net, "a.corp.test")) == [PUBLIC4]
        split = ctl_json(net, "dns")["split"]
        assert [s["zone"] for s in split] == ["corp.test"]
        assert split[0]["resolvers"] == [
            {"endpoint": f"{PUBLIC4}:53", "avoided": False, "answers": 1, "failures": 0}]
        inner.records["b.corp.test"] = "SERVFAIL"
        assert ask(net, "b.corp.test").rcode() == 2
        shown = ctl(net, "dns").stdout
        assert any("corp.test" in line and "SERVFAIL" in line for line in shown.splitlines())
        ctl(net, "dns", "split", "rm", "corp.test")
        assert addresses(ask(net, "a.corp.test")) == [PUBLIC4_B]
    finally:
        inner.stop()


def test_the_resolvers_are_replaced_while_the_guest_runs(gateway, world, dns):
    second = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        second.records["a.test"] = [("A", PUBLIC4)]
        dns.records["a.test"] = [("A", PUBLIC4_B)]
        net = gateway()
        assert addresses(ask(net, "a.test")) == [PUBLIC4_B]
        ctl(net, "dns", "upstream", "set", PUBLIC4)
        assert addresses(ask(net, "a.test")) == [PUBLIC4]
        assert ctl_json(net, "dns", "upstream", "ls")["resolvers"][0]["endpoint"] == f"{PUBLIC4}:53"
        ctl(net, "dns", "upstream", "set")
        assert ctl_json(net, "dns")["follows_host"]
    finally:
        second.stop()


def test_a_reload_follows_the_file_and_leaves_what_the_api_added(gateway, world, dns, config):
    second = DnsServer(world.world, addresses=(PUBLIC4,))
    try:
        second.records["a.lab.test"] = [("A", PUBLIC4)]
        config.write_text(f"""
[dns]
upstream = ["{DNS4}"]
zones = ["old.test"]
records = ["a.corp.test A {PUBLIC4}", "b.corp.test A {PUBLIC4}"]
""")
        net = gateway("--config", config, dns=())
        ctl(net, "dns", "records", "add", f"api.corp.test A {PUBLIC4}")
        config.write_text(f"""
[dns]
upstream = ["{DNS4}"]
stale-if-error = 60
zones = ["new.test"]
records = ["b.corp.test A {PUBLIC4_B}", "c.corp.test A {PUBLIC4}"]
[dns.split]
"lab.test" = ["{PUBLIC4}"]
""")
        line = reload(net)
        assert "in force: dns.split, dns.records, dns.zones" in line, line
        assert "at the next start: dns.stale-if-error" in line
        assert values(net) == [("api.corp.test", "A", PUBLIC4), ("b.corp.test", "A", PUBLIC4_B),
                               ("c.corp.test", "A", PUBLIC4)]
        assert ctl_json(net, "dns", "zones", "ls") == ["new.test"]
        assert addresses(ask(net, "a.lab.test")) == [PUBLIC4]
        assert addresses(ask(net, "b.corp.test")) == [PUBLIC4_B]
        assert "nothing has changed" in reload(net)
    finally:
        second.stop()


@pytest.mark.parametrize("text", [
    'records = ["a.test A 10.0.0.300"]\n',
    'records = ["a.test CNAME b.test", "b.test CNAME a.test"]\n',
    'records = ["db.test CNAME b.test"]\n[policy]\nprofile = "none"\n',
    'upstream = ["nowhere"]\n',
    '[dns.split]\n"corp.test" = []\n',
    'zones = ["new.test"]\n[policy]\nrules = ["deny@pivate"]\n',
], ids=["value", "loop", "conflict-with-the-api", "upstream", "split", "policy"])
def test_a_reload_with_a_fault_changes_nothing(gateway, config, text):
    config.write_text(f'[dns]\nrecords = ["keep.test A {PUBLIC4}"]\n')
    net = gateway("--config", config, profile=None, attach="raw")
    ctl(net, "dns", "records", "add", f"db.test A {PUBLIC4}")
    state = lambda: (values(net), ctl_json(net, "dns", "zones", "ls"), ctl_json(net, "dns"),
                     ctl_json(net, "policy", "show"))
    before = state()
    config.write_text("[dns]\n" + text)
    assert "nothing is changed" in reload(net)
    assert state() == before


@pytest.mark.parametrize("method, path, body, status, named", [
    ("PUT", "/v1/dns/records", {}, 400, "NAME [TTL] TYPE VALUE"),
    ("PUT", "/v1/dns/records", {"records": "x"}, 400, "array"),
    ("PUT", "/v1/dns/records", {"records": ["a.test A x"]}, 400, "IPv4"),
    ("PUT", "/v1/dns/records", {"records": [f"a.test A {PUBLIC4}", "b.test Z 1"]}, 400, "Z"),
    ("PUT", "/v1/dns/records", {"records": ["a.test CNAME a.test"]}, 400, "lead back"),
    ("PUT", "/v1/dns/records", {"record": []}, 400, "'record'"),
    ("DELETE", "/v1/dns/records", None, 400, "name"),
    ("DELETE", "/v1/dns/records?name=gone.test", None, 404, "gone.test"),
    ("DELETE", "/v1/dns/records?name=a..test", None, 400, "a..test"),
    ("PUT", "/v1/dns/zones", {"zone": 1}, 400, "zone"),
    ("PUT", "/v1/dns/zones", {"zone": ""}, 400, "zone"),
    ("DELETE", "/v1/dns/zones?zone=x.test", None, 404, "x.test"),
    ("PUT", "/v1/dns/split", {"zone": "x.test", "resolvers": []}, 400, "at least one"),
    ("PUT", "/v1/dns/split", {"zone": "x.test", "resolvers": ["x"]}, 400, "'x'"),
    ("DELETE", "/v1/dns/split?zone=x.test", None, 404, "x.test"),
    ("PUT", "/v1/dns/upstream", {}, 400, "resolvers"),
    ("POST", "/v1/dns/records", {}, 405, "GET, PUT, DELETE"),
])
def test_what_can_not_be_done_is_a_problem_document_and_changes_nothing(gateway, method, path, body,
                                                                        status, named):
    net = gateway(attach="raw")
    text = json.dumps(body) if body is not None else ""
    head, answer = http(net, f"{method} {path} HTTP/1.1\r\nHost: x\r\n"
                             f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
    assert head.startswith(f"HTTP/1.1 {status}") and "application/problem+json" in head
    assert named in json.loads(answer)["detail"]
    assert values(net) == [] and ctl_json(net, "dns")["split"] == []
