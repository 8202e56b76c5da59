"""Router advertisements, SLAAC, DHCPv6, neighbours: what an IPv6 guest needs."""
import ipaddress

import pytest

from harness.clients import WORLD, pair, read_exactly
from harness.gateway import GUEST_MAC
from harness.link import (Ether, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo,
                          ICMPv6NDOptSrcLLAddr, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
                          ICMPv6ND_RS, IPv6, LINK_LOCAL, Link, UDP)
from harness.netns import wait_for

from scapy.layers.dhcp6 import (DHCP6_Advertise, DHCP6_InfoRequest, DHCP6_Reply, DHCP6_Request,
                                DHCP6_Solicit, DHCP6OptClientId, DHCP6OptDNSServers,
                                DHCP6OptIA_NA, DHCP6OptIAAddress, DHCP6OptOptReq,
                                DHCP6OptRapidCommit, DHCP6OptServerId, DUID_LL)
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
                                ICMPv6NDOptDNSSL, ICMPv6NDOptMTU, ICMPv6NDOptRDNSS)

pytestmark = pytest.mark.hostd
ALL_ROUTERS, ALL_NODES, ALL_DHCP = "ff02::2", "ff02::1", "ff02::1:2"


def multicast_mac(address):
    tail = ipaddress.ip_address(address).packed[-4:]
    return "33:33:" + ":".join(f"{b:02x}" for b in tail)


def solicit():
    return (Ether(src=GUEST_MAC, dst=multicast_mac(ALL_ROUTERS)) /
            IPv6(src=LINK_LOCAL, dst=ALL_ROUTERS, hlim=255) / ICMPv6ND_RS() /
            ICMPv6NDOptSrcLLAddr(lladdr=GUEST_MAC))


def advertisement(link):
    found = link.ask(solicit(), lambda f: ICMPv6ND_RA in f)
    assert found is not None, "no router advertisement"
    return found


def gateway_of(ra):
    network = ipaddress.ip_network(f"{ra[ICMPv6NDOptPrefixInfo].prefix}/64", strict=False)
    return str(network[1]), f"{network[0x77]}"


def neighbour(link, target, source=LINK_LOCAL, limit=3):
    group = "ff02::1:ff" + ipaddress.ip_address(target).exploded[-7:]
    return link.ask(Ether(src=GUEST_MAC, dst=multicast_mac(group)) /
                    IPv6(src=source, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target) /
                    ICMPv6NDOptSrcLLAddr(lladdr=GUEST_MAC),
                    lambda f: ICMPv6ND_NA in f and f[ICMPv6ND_NA].tgt == target, limit)


def dhcp6(kind, *options):
    duid = DUID_LL(lladdr=GUEST_MAC)
    packet = (Ether(src=GUEST_MAC, dst=multicast_mac(ALL_DHCP)) /
              IPv6(src=LINK_LOCAL, dst=ALL_DHCP, hlim=255) / UDP(sport=546, dport=547) /
              kind(trid=0x51ce) / DHCP6OptClientId(duid=duid))
    for option in options:
        packet = packet / option
    return packet


@pytest.fixture
def link(gateway):
    with Link(gateway(attach="raw")) as made:
        yield made


def test_a_solicitation_is_answered_with_prefix_mtu_and_name_servers(link):
    ra = advertisement(link)
    assert ra[IPv6].hlim == 255 and ipaddress.ip_address(ra[IPv6].src).is_link_local
    prefix = ra[ICMPv6NDOptPrefixInfo]
    assert prefix.prefixlen == 64 and prefix.A == 1 and prefix.L == 1
    assert ipaddress.ip_address(prefix.prefix) in ipaddress.ip_network("fc00::/7")
    assert ra[ICMPv6NDOptMTU].mtu == 65520
    assert ra[ICMPv6NDOptRDNSS].dns
    assert "vm.internal." in ra[ICMPv6NDOptDNSSL].searchlist
    assert ra[ICMPv6NDOptSrcLLAddr].lladdr == ra[Ether].src
    assert ra[ICMPv6ND_RA].routerlifetime > 0


def test_a_host_without_ipv6_makes_no_default_router_of_the_gateway(gateway, world):
    """A default route into nothing costs each connection of the guest a time-out."""
    world.host.ip("route del default via fd51:1ce::2")
    try:
        net = gateway(attach="raw")
        with Link(net) as link:
            ra = advertisement(link)
            assert ra[ICMPv6ND_RA].routerlifetime == 0
            assert ICMPv6NDOptPrefixInfo in ra, "the prefix stays for published ports"
            # The route comes back: the guest is told by itself or at its next question.
            world.host.ip("route add default via fd51:1ce::2 dev far")
            wait_for(lambda: advertisement(link)[ICMPv6ND_RA].routerlifetime > 0,
                     what="a router lifetime", step=0.1)
    finally:
        world.host.ip("route replace default via fd51:1ce::2 dev far")


def test_a_linux_guest_gets_an_address_a_route_and_name_servers_by_itself(net):
    address = net.guest.wait_ipv6()
    assert ipaddress.ip_address(address) in ipaddress.ip_network("fc00::/7")
    routes = net.guest.run("ip", "-6", "route", "show", "default").stdout
    assert "via fe80::" in routes and "proto ra" in routes


def test_the_gateways_global_and_link_local_addresses_answer_a_ping(net):
    net.guest.wait_ipv6()
    route = net.guest.run("ip", "-6", "route", "show", "default").stdout.split()
    for address in (net.guest.gateway6, route[route.index("via") + 1] + "%tap0"):
        done = net.guest.run("ping", "-n", "-c", "2", "-i", "0.01", "-W", "2", address)
        assert done.returncode == 0, done.stdout


def test_neighbour_solicitations_for_the_gateway_are_answered(link):
    ra = advertisement(link)
    global_address, nobody = gateway_of(ra)
    for target in (global_address, ra[IPv6].src):
        answer = neighbour(link, target)
        assert answer is not None, target
        assert answer[ICMPv6ND_NA].R == 1 and answer[ICMPv6ND_NA].S == 1
        assert answer[ICMPv6NDOptDstLLAddr].lladdr == ra[Ether].src
    assert neighbour(link, nobody, limit=0.5) is None


def test_duplicate_address_detection_for_the_guests_address_is_not_answered(link):
    advertisement(link)
    target = LINK_LOCAL
    assert neighbour(link, target, source="::", limit=0.5) is None


def test_a_guest_that_claims_the_gateways_ipv6_address_changes_nothing(link):
    ra = advertisement(link)
    target = gateway_of(ra)[0]
    link.send(Ether(src=GUEST_MAC, dst=multicast_mac(ALL_NODES)) /
              IPv6(src=target, dst=ALL_NODES, hlim=255) / ICMPv6ND_NA(R=1, S=0, O=1, tgt=target) /
              ICMPv6NDOptDstLLAddr(lladdr=GUEST_MAC))
    answer = neighbour(link, target)
    assert answer is not None and answer[ICMPv6NDOptDstLLAddr].lladdr == ra[Ether].src


def test_a_router_advertisement_from_the_guest_is_ignored(link):
    ra = advertisement(link)
    link.send(Ether(src=GUEST_MAC, dst=multicast_mac(ALL_NODES)) /
              IPv6(src=LINK_LOCAL, dst=ALL_NODES, hlim=255) / ICMPv6ND_RA(routerlifetime=1800) /
              ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64))
    assert advertisement(link)[ICMPv6NDOptPrefixInfo].prefix == ra[ICMPv6NDOptPrefixInfo].prefix


def test_a_solicitation_from_beyond_the_link_is_ignored(link):
    """RFC 4861 6.1.1: a hop limit under 255 has crossed a router."""
    advertisement(link)
    list(link.frames(0.3))                      # what the gateway says without being asked
    far = solicit()
    far[IPv6].hlim = 64
    assert link.ask(far, lambda f: ICMPv6ND_RA in f, limit=0.5) is None


def test_neighbour_discovery_with_a_zero_length_option_is_ignored(link):
    advertisement(link)
    list(link.frames(0.3))                      # what the gateway says without being asked
    bad = (Ether(src=GUEST_MAC, dst=multicast_mac(ALL_ROUTERS)) /
           IPv6(src=LINK_LOCAL, dst=ALL_ROUTERS, hlim=255) / ICMPv6ND_RS() /
           (b"\x01\x00" + b"x" * 6))
    assert link.ask(bad, lambda f: ICMPv6ND_RA in f, limit=0.5) is None
    assert advertisement(link)


def test_stateless_dhcpv6_gives_name_servers(link):
    advertisement(link)
    reply = link.ask(dhcp6(DHCP6_InfoRequest, DHCP6OptOptReq(reqopts=[23, 24])),
                     lambda f: DHCP6_Reply in f)
    assert reply is not None and reply[DHCP6OptDNSServers].dnsservers


def test_dhcpv6_gives_one_address_of_the_prefix(link):
    ra = advertisement(link)
    network = ipaddress.ip_network(f"{ra[ICMPv6NDOptPrefixInfo].prefix}/64", strict=False)
    offer = link.ask(dhcp6(DHCP6_Solicit, DHCP6OptIA_NA(iaid=1)), lambda f: DHCP6_Advertise in f)
    assert offer is not None
    address = offer[DHCP6OptIAAddress].addr
    assert ipaddress.ip_address(address) in network
    reply = link.ask(dhcp6(DHCP6_Request, DHCP6OptServerId(duid=offer[DHCP6OptServerId].duid),
                           DHCP6OptIA_NA(iaid=1, ianaopts=[DHCP6OptIAAddress(addr=address)])),
                     lambda f: DHCP6_Reply in f)
    assert reply[DHCP6OptIAAddress].addr == address


def test_dhcpv6_rapid_commit_answers_a_solicit_with_a_reply(link):
    advertisement(link)
    reply = link.ask(dhcp6(DHCP6_Solicit, DHCP6OptRapidCommit(), DHCP6OptIA_NA(iaid=1)),
                     lambda f: DHCP6_Reply in f or DHCP6_Advertise in f)
    assert DHCP6_Reply in reply and DHCP6OptRapidCommit in reply


def test_a_spoofed_ipv6_source_gets_nothing_through(gateway, world):
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp(WORLD[6], timeout=0.5) as server:
        ra = advertisement(link)
        gateway6, own = gateway_of(ra)
        port = server.getsockname()[1]
        for source in ("2001:db8::bad", "::1", "fd51:1ce::1", gateway6, "ff02::1"):
            link.send(Ether(src=GUEST_MAC, dst=ra[Ether].src) / IPv6(src=source, dst=WORLD[6]) /
                      UDP(sport=999, dport=port) / b"spoofed")
        link.send(Ether(src=GUEST_MAC, dst=ra[Ether].src) / IPv6(src=own, dst=WORLD[6]) /
                  UDP(sport=1000, dport=port) / b"honest")
        assert server.recv(100) == b"honest"
        with pytest.raises(TimeoutError):
            server.recv(100)


def test_extension_headers_are_followed_to_the_payload(gateway, world):
    from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp(WORLD[6]) as server:
        ra = advertisement(link)
        own = gateway_of(ra)[1]
        port = server.getsockname()[1]
        head = Ether(src=GUEST_MAC, dst=ra[Ether].src) / IPv6(src=own, dst=WORLD[6])
        for between in (IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(),
                        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(),
                        IPv6ExtHdrFragment(offset=0, m=0)):     # RFC 6946: atomic fragment
            text = type(between).__name__.encode()
            link.send(head / between / UDP(sport=1000, dport=port) / text)
            assert server.recv(100) == text


def test_a_routing_header_gets_no_further(gateway, world):
    """RFC 5095: type 0 lets a guest choose its path."""
    from scapy.layers.inet6 import IPv6ExtHdrRouting
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp(WORLD[6], timeout=0.5) as server:
        ra = advertisement(link)
        link.send(Ether(src=GUEST_MAC, dst=ra[Ether].src) /
                  IPv6(src=gateway_of(ra)[1], dst=WORLD[6]) /
                  IPv6ExtHdrRouting(addresses=[WORLD[6]], segleft=1) /
                  UDP(sport=1000, dport=server.getsockname()[1]) / b"routed")
        with pytest.raises(TimeoutError):
            server.recv(100)
        assert advertisement(link)


def test_an_echo_request_to_the_gateway_is_answered_with_its_payload(link):
    ra = advertisement(link)
    gateway6, own = gateway_of(ra)
    reply = link.ask(Ether(src=GUEST_MAC, dst=ra[Ether].src) / IPv6(src=own, dst=gateway6) /
                     ICMPv6EchoRequest(id=5, seq=6, data=b"d" * 1000),
                     lambda f: ICMPv6EchoReply in f)
    assert reply[ICMPv6EchoReply].seq == 6 and reply[ICMPv6EchoReply].data == b"d" * 1000


def test_ipv6_and_ipv4_work_side_by_side(net, world):
    net.guest.wait_ipv6()
    ends = [pair(net.guest, world.world, WORLD[family]) for family in (4, 6)]
    for client, server in ends:
        with client, server:
            client.send(b"hello")
            assert read_exactly(server, 5) == b"hello"


def test_a_v4_mapped_destination_is_not_a_way_out(gateway, world):
    net = gateway(attach="raw")
    with Link(net) as link, world.world.udp("198.18.0.2", timeout=0.5) as server:
        ra = advertisement(link)
        link.send(Ether(src=GUEST_MAC, dst=ra[Ether].src) /
                  IPv6(src=gateway_of(ra)[1], dst="::ffff:198.18.0.2") /
                  UDP(sport=1000, dport=server.getsockname()[1]) / b"mapped")
        with pytest.raises(TimeoutError):
            server.recv(100)
        answer = link.wait(lambda f: ICMPv6DestUnreach in f, limit=0.1)
        assert answer is None or answer[ICMPv6DestUnreach].code in (0, 1, 3, 5)
