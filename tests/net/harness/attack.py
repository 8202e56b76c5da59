"""A hostile guest behind a policy of few allows, and everything that it makes leave the host.

What leaves is compared as a set of these, so that one byte too many fails a test:

    ("tcp", destination, port, bytes)       a connection, with all that the host sent on it
    ("udp", destination, port, bytes)       a datagram
    ("dns", server, name, type)             a question to a resolver, over UDP or TCP
    ("icmp", destination, type, bytes)
    ("ip", destination, protocol)           anything else
"""
import ipaddress
import socket
import struct

import dns.flags
import dns.message
import dns.rdatatype

from .gateway import GATEWAY4, GUEST4, GUEST_MAC
from .recorder import (BUFFER_BYTES, ICMP, ICMPV6, SO_RCVBUFFORCE, TCP, UDP, Recorder,
                       streams)
from .world import DNS4, DNS6, HOST4, HOST6, PUBLIC4_B, WORLD4, WORLD6

GOOD, OTHER = "good.test", "other.test"
OPEN_PORT = 8080                # allowed by address, at PUBLIC4_B
NAMES_ONLY = ("--allow", GOOD)
# An allow by address lets every name resolve, so that no test of lookups has this one.
RULES = (*NAMES_ONLY, "--rule", f"allow@{PUBLIC4_B}:tcp:{OPEN_PORT}")
LOOKUP = ("dns", DNS4, GOOD, "A")
UNREACHABLE = {ICMP: 3, ICMPV6: 1}
ROUTERS, MULTICAST_LISTENER = range(133, 138), 143
NEIGHBOURS = {HOST4, WORLD4, DNS4}
# Whom the host may ask for by NDP: its own addresses, and those that it has a way through.
NEIGHBOURS6 = {HOST6, WORLD6, DNS6}
OUR_EDNS_BYTES = 1232
FRAME_TYPES = {4: 0x0800, 6: 0x86dd}


class Attack:
    """One gateway with a guest, and recorders of world and host from before its start."""

    def __init__(self, world, gateway, *arguments, profile=None, **options):
        self.world = world
        self.wire, self.inside = Recorder(world.world), Recorder(world.host)
        try:
            self.net = gateway(*(arguments or RULES), profile=profile, **options)
            self.guest = self.net.guest
            self.tap = self.guest.packets("tap0")
            # The answer to barrier() comes behind those to the attack.
            self.tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            self.gateway_mac = None
        except BaseException:
            self.close()
            raise

    def close(self):
        self.wire.stop()
        self.inside.stop()
        if getattr(self, "tap", None):
            self.tap.close()

    # ---- frames

    def barrier(self):
        """Returns once hostd has dealt with all that the guest sent before."""
        ask = (b"\xff" * 6 + _mac(GUEST_MAC) + b"\x08\x06" +
               struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + _mac(GUEST_MAC) + _ip(GUEST4) +
               b"\0" * 6 + _ip(GATEWAY4))
        for _ in range(2):      # the second once what the first batch put off has been done too
            self.tap.send(ask)
            while True:
                frame = self.tap.recv(65536)
                if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and \
                        frame[28:32] == _ip(GATEWAY4):
                    self.gateway_mac = frame[6:12]
                    break

    def send(self, *packets):
        """IP packets, made by hand, from the guest's NIC to the gateway's."""
        if not self.gateway_mac:
            self.barrier()
        for packet in map(bytes, packets):
            kind = struct.pack(">H", FRAME_TYPES[packet[0] >> 4])
            self.tap.send(self.gateway_mac + _mac(GUEST_MAC) + kind + packet)

    # ---- what left

    def seen(self):
        """Everything that has left the host until now."""
        self.barrier()
        self.wire.settle(self.world.host, WORLD4)
        self.inside.settle(self.world.host, WORLD4)
        on_loopback = [p for p in self.inside.packets if p.interface == "lo"]
        assert not on_loopback, f"on the host's loopback: {on_loopback[:5]}"
        packets = [p for p in self.wire.packets if not p.outgoing and p.interface == "near"]
        out = set()
        for (_, _, dst, port), data in streams(packets).items():
            if port == 53 and dst in (DNS4, DNS6):
                out.update(_stream_of_questions(dst, data))
            else:
                out.add(("tcp", dst, port, data))
        for p in packets:
            out.update(_what(p))
        return out

    def only(self, *expected):
        """These and nothing else left, byte for byte."""
        seen = self.seen()
        assert seen == set(expected), f"left: {seen - set(expected)}; " \
                                      f"did not: {set(expected) - seen}"

    def within(self, *allowed):
        """Nothing else left; not all of these need have."""
        left = self.seen() - set(allowed)
        assert not left, f"left: {left}"


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def _ip(text):
    return bytes(map(int, text.split(".")))


def _what(p):
    """A packet that left, as only() compares it; TCP is dealt with as streams."""
    if p.proto == -1:
        assert p.dst in NEIGHBOURS, f"the host asks by ARP for {p.dst}"
        return
    if p.proto == ICMPV6 and p.payload[0] in ROUTERS:
        if p.payload[0] == 135:
            target = str(ipaddress.IPv6Address(p.payload[8:24]))
            assert target in NEIGHBOURS6 or target.startswith("fe80:"), f"NDP asks for {target}"
        return
    if p.proto == ICMPV6 and p.payload[0] == MULTICAST_LISTENER:
        return
    assert p.tos & ~3 == 0, f"the guest's DSCP: {p}"
    assert len(p.header) in (20, 40), f"options of the guest's: {p}"
    if p.proto == TCP:
        return
    if p.proto == UDP and p.dport == 53 and p.dst in (DNS4, DNS6):
        yield question(p.dst, p.payload)
    elif p.proto == UDP:
        yield "udp", p.dst, p.dport, p.payload
    elif p.proto in UNREACHABLE:
        # The kernel itself says so of an answer that came too late.
        if p.payload[0] != UNREACHABLE[p.proto]:
            yield "icmp", p.dst, p.payload[0], p.payload[8:]
    else:
        yield "ip", p.dst, p.proto


def question(server, wire):
    """A question as ours all look: a name, a type, and nothing that a guest could write in."""
    message = dns.message.from_wire(wire, ignore_trailing=False)
    assert message.flags == dns.flags.RD and message.opcode() == 0, message
    assert len(message.question) == 1 and not message.answer and not message.authority, message
    assert not message.additional and message.edns == 0 and not message.ednsflags, message
    assert message.payload == OUR_EDNS_BYTES and not message.options, message
    asked = message.question[0]
    assert asked.rdclass == 1
    assert len(wire) == 12 + len(asked.name.to_wire()) + 4 + 11, "something besides"
    return "dns", server, asked.name.to_text(omit_final_dot=True).lower(), \
        dns.rdatatype.to_text(asked.rdtype)


def _stream_of_questions(server, data):
    while data:
        size = int.from_bytes(data[:2], "big")
        assert size and len(data) >= 2 + size, "a message that is not whole"
        yield question(server, data[2:2 + size])
        data = data[2 + size:]


__all__ = ["Attack", "GOOD", "LOOKUP", "NAMES_ONLY", "OPEN_PORT", "OTHER", "RULES"]
