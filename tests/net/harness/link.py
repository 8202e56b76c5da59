"""A guest made by hand: the test holds the NIC's socket and says every byte that is on it."""
import os
import socket
import struct
import time

from scapy.config import conf
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6ND_NA,
                                ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, Ether

from .gateway import GATEWAY4, GUEST4, GUEST_MAC

conf.verb = 0
LINK_LOCAL = "fe80::5894:efff:fee4:cee"         # EUI-64 of GUEST_MAC
BROADCAST = "ff:ff:ff:ff:ff:ff"


def framed(frame):
    frame = bytes(frame)
    return struct.pack(">I", len(frame)) + frame


class Link:
    """The VMM's end of a stream attachment (or of a socket that is given)."""

    def __init__(self, gateway, sock=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            end = time.monotonic() + 5
            while True:
                try:
                    sock.connect(gateway.socket_path)
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.005)
        self.gateway, self.sock, self.have = gateway, sock, b""
        sock.settimeout(5)
        self.gateway_mac = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *frames):
        self.sock.sendall(b"".join(framed(f) for f in frames))

    def frames(self, limit=3):
        """Received frames, parsed, until the limit (seconds) or the end of the stream."""
        end = time.monotonic() + limit
        while True:
            while len(self.have) >= 4:
                size = struct.unpack(">I", self.have[:4])[0]
                if len(self.have) < 4 + size:
                    break
                frame, self.have = self.have[4:4 + size], self.have[4 + size:]
                yield Ether(frame)
            left = end - time.monotonic()
            if left <= 0:
                return
            self.sock.settimeout(left)
            try:
                part = self.sock.recv(1 << 18)
            except TimeoutError:
                return
            except ConnectionResetError:
                part = b""
            if not part:
                return
            self.have += part

    def wait(self, match, limit=3):
        """The first received frame that the function accepts, or None."""
        for frame in self.frames(limit):
            if match(frame):
                return frame
        return None

    def ask(self, frame, match, limit=3):
        self.send(frame)
        return self.wait(match, limit)

    def is_closed(self, limit=3):
        """Whether hostd ends the connection within the limit."""
        self.sock.settimeout(limit)
        try:
            while self.sock.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        return True

    # ---- the usual questions

    def arp(self, target=GATEWAY4, sender=GUEST4, mac=GUEST_MAC, limit=3):
        """The MAC that answers for the target, or None."""
        reply = self.ask(Ether(src=mac, dst=BROADCAST) /
                         ARP(op=1, hwsrc=mac, psrc=sender, pdst=target),
                         lambda f: ARP in f and f[ARP].op == 2 and f[ARP].psrc == target, limit)
        if reply is not None and target == GATEWAY4:
            self.gateway_mac = reply[ARP].hwsrc
        return reply[ARP].hwsrc if reply is not None else None

    def works(self, limit=3):
        """Whether the gateway still answers at all."""
        return self.arp(limit=limit) is not None

    def ip(self, **fields):
        """Ethernet and IPv4 headers from the guest to the gateway's MAC."""
        if not self.gateway_mac:
            assert self.arp(), "no ARP reply"
        fields.setdefault("src", GUEST4)
        return Ether(src=GUEST_MAC, dst=self.gateway_mac) / IP(**fields)

    def ping(self, destination=GATEWAY4, seq=1, limit=3, **fields):
        """The echo reply or ICMP error for one echo request, or None."""
        ident = os.getpid() & 0xffff
        return self.ask(self.ip(dst=destination, **fields) /
                        ICMP(type=8, id=ident, seq=seq) / b"payload-of-a-ping",
                        lambda f: ICMP in f and f[ICMP].type != 8, limit)


__all__ = ["ARP", "BROADCAST", "Ether", "ICMP", "ICMPv6NDOptDstLLAddr", "ICMPv6NDOptPrefixInfo",
           "ICMPv6ND_NA", "ICMPv6ND_NS", "ICMPv6ND_RA", "ICMPv6ND_RS", "ICMPv6NDOptSrcLLAddr",
           "IP", "IPv6", "LINK_LOCAL", "Link", "TCP", "UDP", "framed"]
