"""What a DHCP client gets: with a real client, and option by option."""
import time

import pytest

from harness.gateway import GATEWAY4, GUEST4, GUEST_MAC
from harness.link import BROADCAST, IP, UDP, Ether, Link
from harness.netns import wait_for

from scapy.layers.dhcp import BOOTP, DHCP

pytestmark = pytest.mark.hostd
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = 1, 2, 3, 4, 5, 6, 7, 8
ALL_OPTIONS = [1, 3, 6, 12, 15, 26, 51, 54, 119, 121]


def message(kind, mac=GUEST_MAC, source="0.0.0.0", destination="255.255.255.255", xid=0x51ce,
            ask=tuple(ALL_OPTIONS), ciaddr="0.0.0.0", extra=()):
    raw = bytes.fromhex(mac.replace(":", ""))
    return (Ether(src=mac, dst=BROADCAST) / IP(src=source, dst=destination) /
            UDP(sport=68, dport=67) / BOOTP(chaddr=raw, xid=xid, ciaddr=ciaddr, flags=0) /
            DHCP(options=[("message-type", kind), ("param_req_list", list(ask)), *extra, "end"]))


def options(frame):
    """{code: bytes} of a reply, read from the wire and not by scapy's ideas of each option."""
    raw = bytes(frame[BOOTP])
    assert raw[236:240] == b"\x63\x82\x53\x63"
    out, at = {}, 240
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        size = raw[at + 1]
        out[raw[at]] = out.get(raw[at], b"") + raw[at + 2:at + 2 + size]
        at += 2 + size
    return out


def ask(link, kind, limit=3, **fields):
    return link.ask(message(kind, **fields), lambda f: BOOTP in f and f[BOOTP].op == 2, limit)


def address(text):
    return bytes(int(part) for part in text.split("."))


@pytest.fixture
def link(gateway):
    with Link(gateway(attach="raw")) as made:
        yield made


def test_a_real_client_gets_an_address_a_router_and_an_mtu(gateway, world):
    net = gateway(configure=False)
    script = net.directory + "/script"
    with open(script, "w") as f:
        f.write("#!/bin/sh\n[ \"$1\" = bound ] && env > " + net.directory + "/lease\nexit 0\n")
    import os
    os.chmod(script, 0o755)
    done = net.guest.run("busybox", "udhcpc", "-i", "tap0", "-f", "-q", "-n", "-t", "5", "-T", "1",
                         "-O", "mtu", "-O", "search", "-O", "hostname", "-s", script)
    assert done.returncode == 0, done.stderr
    lease = dict(line.split("=", 1) for line in open(net.directory + "/lease").read().splitlines()
                 if "=" in line)
    assert lease["ip"] == GUEST4
    assert lease["router"] == GATEWAY4
    assert lease["subnet"] == "255.255.255.0"
    assert lease["dns"].split()[0] == GATEWAY4
    assert lease["mtu"] == "65520"
    net.guest.configure()
    with world.world.listen("198.18.0.2") as server:
        net.guest.connect("198.18.0.2", server.getsockname()[1]).close()


def test_an_offer_has_every_option_that_was_asked_for(link):
    offer = ask(link, DISCOVER)
    assert offer is not None
    got = options(offer)
    assert offer[BOOTP].yiaddr == GUEST4
    assert got[53] == bytes([OFFER])
    assert got[1] == address("255.255.255.0")
    assert got[3] == address(GATEWAY4)
    assert got[6].startswith(address(GATEWAY4))
    assert got[12] == b"guest"
    assert got[15] == b"vm.internal"
    assert got[26] == (65520).to_bytes(2, "big")
    assert int.from_bytes(got[51], "big") >= 60
    assert got[54] == address(GATEWAY4)
    assert b"\x02vm\x08internal\x00" in got[119]
    assert got[121].startswith(b"\x00" + address(GATEWAY4)) or \
        b"\x00" + address(GATEWAY4) in got[121]


def test_the_request_for_the_offer_is_acknowledged(link):
    offer = ask(link, DISCOVER)
    ack = ask(link, REQUEST, extra=[("server_id", GATEWAY4),
                                    ("requested_addr", offer[BOOTP].yiaddr)])
    assert options(ack)[53] == bytes([ACK])
    assert ack[BOOTP].yiaddr == offer[BOOTP].yiaddr


def test_rapid_commit_gives_the_lease_in_one_exchange(link):
    reply = ask(link, DISCOVER, extra=[(80, b"")])
    got = options(reply)
    assert got[53] == bytes([ACK]) and 80 in got
    assert reply[BOOTP].yiaddr == GUEST4


def test_a_renewal_by_unicast_is_acknowledged(link):
    ask(link, DISCOVER, extra=[(80, b"")])
    ack = ask(link, REQUEST, source=GUEST4, destination=GATEWAY4, ciaddr=GUEST4)
    assert options(ack)[53] == bytes([ACK])


def test_a_request_for_a_foreign_address_is_refused(link):
    """A client that boots with another network's lease must hear NAK, not wait."""
    nak = ask(link, REQUEST, extra=[("requested_addr", "10.1.2.3")])
    assert options(nak)[53] == bytes([NAK])


def test_an_inform_gets_options_and_no_address(link):
    ack = ask(link, INFORM, source=GUEST4, ciaddr=GUEST4)
    got = options(ack)
    assert got[53] == bytes([ACK]) and got[6].startswith(address(GATEWAY4))
    assert ack[BOOTP].yiaddr == "0.0.0.0" and 51 not in got


def test_a_released_address_is_offered_again(link):
    ask(link, DISCOVER, extra=[(80, b"")])
    link.send(message(RELEASE, source=GUEST4, destination=GATEWAY4, ciaddr=GUEST4,
                      extra=[("server_id", GATEWAY4)]))
    assert ask(link, DISCOVER)[BOOTP].yiaddr == GUEST4


def test_a_declined_address_does_not_stop_the_service(link):
    ask(link, DISCOVER, extra=[(80, b"")])
    link.send(message(DECLINE, extra=[("server_id", GATEWAY4), ("requested_addr", GUEST4)]))
    assert ask(link, DISCOVER) is not None


def test_a_reply_is_never_larger_than_576_bytes(link):
    for kind, extra in ((DISCOVER, []), (DISCOVER, [(80, b"")]),
                        (REQUEST, [("requested_addr", GUEST4)])):
        reply = ask(link, kind, ask=range(1, 255), extra=extra)
        assert len(bytes(reply[IP])) <= 576
        assert len(bytes(reply[BOOTP])) >= 300      # RFC 1542: BOOTP's minimum


def test_only_the_asked_for_options_come_and_the_four_that_must(link):
    """libkrun's client asks for 1, 3, 6 and 26."""
    got = options(ask(link, DISCOVER, ask=(1, 3, 6, 26)))
    assert {1, 3, 6, 26, 51, 53, 54} <= set(got)
    assert not {119, 121, 12, 15} & set(got)


@pytest.mark.timing
def test_the_first_offer_comes_within_100_ms(link):
    """libkrun's client asks once and waits 100 ms."""
    def in_time():
        """Where the machine is busy, not at the first try."""
        start = time.monotonic()
        return ask(link, DISCOVER, limit=1) is not None and time.monotonic() - start < 0.1
    wait_for(in_time, what="an offer within 100 ms")


def test_the_reply_keeps_the_transaction_and_answers_from_the_gateway(link):
    reply = ask(link, DISCOVER, xid=0xdeadbeef)
    assert reply[BOOTP].xid == 0xdeadbeef
    assert reply[IP].src == GATEWAY4 and reply[UDP].sport == 67 and reply[UDP].dport == 68


def test_a_guest_given_another_address_gets_that_one(gateway):
    net = gateway("--subnet", "10.77.0.0/24", "--gateway", "10.77.0.1", "--guest", "10.77.0.9",
                  attach="raw")
    with Link(net) as link:
        offer = ask(link, DISCOVER)
        assert offer[BOOTP].yiaddr == "10.77.0.9"
        assert options(offer)[3] == address("10.77.0.1")


def test_the_mtu_option_follows_the_flag(gateway):
    with Link(gateway(attach="raw", mtu=1400)) as link:
        assert options(ask(link, DISCOVER))[26] == (1400).to_bytes(2, "big")


@pytest.mark.parametrize("size", [0, 1, 100, 236, 239, 240, 241])
def test_a_truncated_message_is_survived(link, size):
    whole = message(DISCOVER)
    whole[UDP].remove_payload()
    body = bytes(message(DISCOVER)[BOOTP])[:size]
    link.send(Ether(src=GUEST_MAC, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") /
              UDP(sport=68, dport=67) / body)
    assert ask(link, DISCOVER) is not None


def test_a_server_in_the_guest_is_not_believed(link):
    raw = bytes.fromhex(GUEST_MAC.replace(":", ""))
    link.send(Ether(src=GUEST_MAC, dst=BROADCAST) / IP(src=GUEST4, dst="255.255.255.255") /
              UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr="192.168.127.66", chaddr=raw) /
              DHCP(options=[("message-type", OFFER), "end"]))
    assert ask(link, DISCOVER)[BOOTP].yiaddr == GUEST4


def test_a_storm_of_clients_does_not_take_the_address_from_the_guest(link):
    assert ask(link, DISCOVER, extra=[(80, b"")])[BOOTP].yiaddr == GUEST4
    for i in range(600):
        link.send(message(DISCOVER, mac=f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}", xid=i))
    reply = link.ask(message(REQUEST, source=GUEST4, destination=GATEWAY4, ciaddr=GUEST4,
                             xid=0xabcdef),
                     lambda f: BOOTP in f and f[BOOTP].xid == 0xabcdef)
    assert reply is not None and options(reply)[53] == bytes([ACK])
