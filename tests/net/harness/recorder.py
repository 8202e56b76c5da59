"""Every packet of a namespace, as the kernel saw it, and what it comes to."""
import ipaddress
import os
import select
import socket
import struct
import threading
from dataclasses import dataclass, field

from .netns import wait_for

ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 3, 0x0800, 0x0806, 0x86dd
OUTGOING = 4                    # PACKET_OUTGOING of linux/if_packet.h
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER_BYTES = 256 << 20       # of which nothing is taken that isn't needed
MARK = b"sluice-recorder-mark"
TCP, UDP, ICMP, ICMPV6, HOP_BY_HOP = 6, 17, 1, 58, 0
SYN = 2


@dataclass
class Packet:
    """One IP or ARP packet.  `payload` is the transport's, up to what was recorded of it."""
    time_ns: int
    interface: str
    outgoing: bool              # sent by the namespace itself
    proto: int                  # of IP; -1: ARP
    src: str
    dst: str
    sport: int = 0
    dport: int = 0
    flags: int = 0              # of TCP
    seq: int = 0
    size: int = 0               # of the whole payload
    payload: bytes = b""
    tos: int = 0
    header: bytes = field(default=b"", repr=False)      # of IP, with its options


def parse(data, time_ns, interface, kind, protocol, length):
    outgoing = kind == OUTGOING
    if protocol == ETH_P_ARP:
        return Packet(time_ns, interface, outgoing, -1, socket.inet_ntoa(data[14:18]),
                      socket.inet_ntoa(data[24:28]), payload=data)
    if protocol == ETH_P_IP:
        size = (data[0] & 15) * 4
        proto, tos, total = data[9], data[1], struct.unpack(">H", data[2:4])[0] or length
        src, dst = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    elif protocol == ETH_P_IPV6:
        size, proto = 40, data[6]
        tos, total = (data[0] << 4 | data[1] >> 4) & 255, struct.unpack(">H", data[4:6])[0]
        total = total + 40 if total else length
        src, dst = (str(ipaddress.IPv6Address(data[i:i + 16])) for i in (8, 24))
        if proto == HOP_BY_HOP and data[size] == ICMPV6:
            proto, size = ICMPV6, size + (data[size + 1] + 1) * 8
    else:
        return Packet(time_ns, interface, outgoing, -protocol, "", "", payload=data)
    packet = Packet(time_ns, interface, outgoing, proto, src, dst, tos=tos, header=data[:size])
    at = size
    if proto in (TCP, UDP) and len(data) >= size + 8:
        packet.sport, packet.dport = struct.unpack(">HH", data[size:size + 4])
        at = size + 8
    if proto == TCP:
        packet.seq, packet.flags = struct.unpack(">I", data[size + 4:size + 8])[0], data[size + 13]
        at = size + (data[size + 12] >> 4) * 4
    packet.size, packet.payload = max(0, total - at), data[at:total]
    return packet


class Recorder:
    """Records from its making on; `stop()` or leaving the `with` ends it.

    One raw socket on all interfaces, so packets are in the order in which the kernel saw them.
    The kernel's time stamps are of the clock of time.time_ns()."""

    def __init__(self, ns, snap=65536):
        self.ns, self.snap, self.packets, self.stopping = ns, snap, [], False
        self.marks = set()
        self.sock = ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.setblocking(False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self):
        while not self.stopping:
            if not select.select([self.sock], [], [], 0.05)[0]:
                continue
            try:
                while True:
                    data, extra, _, where = self.sock.recvmsg(self.snap, 64)
                    self._take(data, extra, where)
            except BlockingIOError:
                pass
            except OSError:
                return

    def _take(self, data, extra, where):
        seconds, nanoseconds = struct.unpack("qq", extra[0][2])
        interface, protocol, kind = where[:3]
        packet = parse(data, seconds * 10**9 + nanoseconds, interface, kind, protocol, len(data))
        if packet.proto == UDP and packet.payload.startswith(MARK):
            self.marks.add(packet.payload)
        else:
            self.packets.append(packet)

    def settle(self, source, address):
        """Returns once everything is recorded that `source` had sent to `address` before.

        A packet on its way waits in the queue of the CPU that sent it, in order: so a mark is sent
        from each."""
        cpus, marks = os.sched_getaffinity(0), set()
        with source.udp(address=None, family=socket.AF_INET) as sock:
            try:
                for cpu in cpus:
                    os.sched_setaffinity(0, {cpu})
                    marks.add(mark := MARK + os.urandom(8))
                    sock.sendto(mark, (address, 9))
            finally:
                os.sched_setaffinity(0, cpus)
        wait_for(lambda: marks <= self.marks, 60, "the recorder's marks")
        lost = struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        assert lost == 0, f"{lost} packets were not recorded"

    def stop(self):
        self.stopping = True
        self.thread.join(5)
        self.sock.close()


def streams(packets):
    """The TCP connections among the packets, one way: {(src, sport, dst, dport): bytes}."""
    out = {}
    for p in packets:
        if p.proto != TCP:
            continue
        key = (p.src, p.sport, p.dst, p.dport)
        start, data = out.setdefault(key, [None, bytearray()])
        if p.flags & SYN:
            out[key][0] = (p.seq + 1) & 0xffffffff
            continue
        if start is None or not p.payload:
            continue
        at = (p.seq - start) & 0xffffffff
        assert at <= len(data), f"a gap in the recording of {key}"
        data[at:at + len(p.payload)] = p.payload
    return {key: bytes(data) for key, (_, data) in out.items()}
