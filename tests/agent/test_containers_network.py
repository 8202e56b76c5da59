"""Containers on the bridge: addresses, routes, and no address translation."""

import ipaddress
import re

import pytest

from harness import agent as agents
from harness import containers
from harness.client import CallFailed
from harness.containers import ContainerExec

RESOURCE_EXHAUSTED = 8
AGENT_ARGUMENTS = ["--containers", "10.88.7.0/29,fd00:88::/64"]

pytestmark = pytest.mark.skipif(containers.why_not() is not None, reason=str(containers.why_not()))

rootfs, agent, client, box = containers.fixtures()


def inside(box, container, *args):
    call = ContainerExec(box.client, container, *args)
    out, err = call.finish()
    return call.exit.code, (out + err).decode()


def addresses(box, container):
    return [ipaddress.ip_interface(one) for one in box.info(container).addresses]


def test_a_container_has_addresses_of_the_prefixes_and_a_way_out(agent, box):
    made = box.run("sleep", "60")
    v4, v6 = addresses(box, made)
    assert v4.network == ipaddress.ip_network("10.88.7.0/29")
    assert v6.network == ipaddress.ip_network("fd00:88::/64")
    _, shown = inside(box, made, "ip", "addr")
    assert f"inet {v4}" in shown and f"inet6 {v6}" in shown and "eth0" in shown
    assert "127.0.0.1/8" in shown
    _, routes = inside(box, made, "ip", "route")
    assert "default via 10.88.7.1 dev eth0" in routes
    _, routes = inside(box, made, "ip", "-6", "route")
    assert "default via fd00:88::1 dev eth0" in routes
    assert agent.inside("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"


def test_containers_and_the_vm_reach_each_other_by_their_own_addresses(agent, box):
    first = box.run("sleep", "60")
    second = box.run("sleep", "60")
    for own, other in zip(addresses(box, first), addresses(box, second)):
        assert own.ip != other.ip
        # A bridge forwards a moment after its port has a carrier.
        agents.until(lambda ip=str(other.ip): inside(box, first, "ping", "-c", "1", ip)[0] == 0,
                     "the other container answers")
        agents.until(lambda ip=str(other.ip): agent.inside("ping", "-c", "1", ip,
                                                           check=False).returncode == 0,
                     "it answers the VM")
    # Who is called sees who calls: there is no translation.
    ContainerExec(box.client, second, "nc", "-ll", "-p", "7000", "-e", "netstat", "-tn")
    agents.until(lambda: "7000" in inside(box, second, "netstat", "-ltn")[1], "it listens")
    code, out = inside(box, first, "sh", "-c",
                       f"sleep 1 | nc -w 60 {addresses(box, second)[0].ip} 7000")
    assert code == 0 and str(addresses(box, first)[0].ip) in out, out


def test_addresses_come_back_and_are_not_given_twice(box):
    made = [box.run("sleep", "60") for _ in range(5)]
    given = {str(addresses(box, one)[0].ip) for one in made}
    assert len(given) == 5 and not given & {"10.88.7.0", "10.88.7.1", "10.88.7.7"}
    sixth = box.create("sleep", "60").id
    with pytest.raises(CallFailed) as failed:
        box.call("Start", container=sixth)
    assert "10.88.7.0/29" in failed.value.message
    box.call("Stop", container=made[2], timeout_ns=-1)
    box.call("Start", container=sixth)
    assert str(addresses(box, sixth)[0].ip) in given


def test_an_agent_that_comes_after_gives_no_address_twice(agent, box):
    made = [box.run("sleep", "60") for _ in range(3)]
    given = {str(addresses(box, one)[0].ip) for one in made}
    agent.kill()
    agent.start()
    box = containers.Box(agent.connect(), box.rootfs)
    for _ in range(2):
        made.append(box.run("sleep", "60"))
        given.add(str(addresses(box, made[-1])[0].ip))
    assert len(given) == 5


def test_no_link_is_left_behind(agent, box):
    made = box.run("sleep", "60")
    assert "sv" in agent.inside("ip", "-br", "link").stdout
    box.call("Remove", container=made, force=True)
    shown = agent.inside("ip", "-br", "link").stdout
    assert not re.findall(r"^sv", shown, re.M), shown


def test_the_hosts_network_is_the_vms_and_none_has_only_a_loopback(agent, box):
    made = box.run("sleep", "60", network="host")
    assert "sluice0" in inside(box, made, "ip", "link")[1]
    assert not box.info(made).addresses
    alone = box.run("sleep", "60", network="none")
    # Of the kernel's own there may be tunnels, which are down.
    _, shown = inside(box, alone, "ip", "-o", "addr")
    assert set(re.findall(r"^\d+: (\w+)", shown, re.M)) == {"lo"}, shown


def test_resolvers_and_hosts_are_of_the_containers_own(box):
    made = box.run("sleep", "60", hostname="inner", dns=["10.88.7.1", "fd00:88::1"],
                   dns_search=["guest.internal"])
    assert inside(box, made, "cat", "/etc/resolv.conf")[1] == (
        "nameserver 10.88.7.1\nnameserver fd00:88::1\nsearch guest.internal\n")
    assert "inner" in inside(box, made, "cat", "/etc/hosts")[1]
    assert inside(box, made, "cat", "/etc/hostname")[1] == "inner\n"


def test_stats_count_what_it_sends_and_receives(box):
    made = box.run("sleep", "60")

    def counted():
        inside(box, made, "ping", "-c", "3", "-i", "0.1", "10.88.7.1")
        stats = box.call("Stats", container=made)
        return stats.sent_bytes > 200 and stats.received_bytes > 200
    agents.until(counted, "both are counted")
