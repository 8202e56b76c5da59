"""What tests say over and over: address families, connects that are timed, exact reads."""
import errno
import select
import socket
import struct
import time

import pytest

from . import world as places
from .netns import SECONDS

FAMILIES = [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]
HOST = {4: places.HOST4, 6: places.HOST6}
WORLD = {4: places.WORLD4, 6: places.WORLD6}
FAR = {4: places.FAR4, 6: places.FAR6}
PUBLIC = {4: places.PUBLIC4, 6: places.PUBLIC6}
PUBLIC_B = {4: places.PUBLIC4_B, 6: places.PUBLIC6_B}
NO_ROUTE = {4: places.NO_ROUTE4, 6: places.NO_ROUTE6}
NO_HOST = {4: places.NO_HOST4, 6: places.NO_HOST6}
BLACKHOLE = {4: places.BLACKHOLE4, 6: places.BLACKHOLE6}
BEHIND = {4: places.BEHIND4, 6: places.BEHIND6}
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)
# What "at once" may take on a machine that other tests share, in seconds; less than any limit of
# hostd's own.
SOON = 3.0


def ready_for(family, gateway):
    """IPv6 comes by router advertisement, a moment after the link."""
    if family == 6:
        gateway.guest.wait_ipv6()


def connect_error(ns, address, port, timeout=10):
    """(errno or None, seconds) of one connect."""
    start = time.monotonic()
    try:
        ns.connect(address, port, timeout).close()
        error = None
    except TimeoutError:
        error = errno.ETIMEDOUT
    except OSError as caught:
        error = caught.errno
    return error, time.monotonic() - start


def nonblocking_connects(ns, address, ports):
    """Connections under way, one for each port."""
    out = []
    for port in ports:
        s = ns.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        assert s.connect_ex((address, port)) == errno.EINPROGRESS
        out.append(s)
    return out


def pair(client_ns, server_ns, address, port=None, **options):
    """A connection and its far end: (client, server)."""
    with server_ns.listen(address) as listener:
        client = client_ns.connect(address, port or listener.getsockname()[1], **options)
        server, _ = listener.accept()
    server.settimeout(SECONDS)
    return client, server


def read_to_end(sock, limit=60):
    """All bytes up to the end of stream."""
    end, out = time.monotonic() + limit, bytearray()
    while time.monotonic() < end:
        part = sock.recv(1 << 18)
        if not part:
            return bytes(out)
        out += part
    raise TimeoutError(f"no end of stream within {limit} s, {len(out)} bytes so far")


def read_exactly(sock, count):
    out = bytearray()
    while len(out) < count:
        part = sock.recv(count - len(out))
        assert part, f"the stream ended after {len(out)} of {count} bytes"
        out += part
    return bytes(out)


def reset(sock):
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def transfer(sender, data, receiver, limit=60):
    """Sends all and closes, reading at the same time; returns what arrived up to the end."""
    sender.setblocking(False)
    view, out, end = memoryview(data), bytearray(), time.monotonic() + limit
    while time.monotonic() < end:
        waiting = [sender] if view else []
        readable, writable, _ = select.select([receiver], waiting, [], 1)
        if writable:
            view = view[sender.send(view[:1 << 18]):]
            if not view:
                sender.close()
        if readable:
            part = receiver.recv(1 << 18)
            if not part:
                return bytes(out)
            out += part
    raise TimeoutError(f"no end of stream within {limit} s, {len(out)} bytes so far")


def fill(sock, quiet=0.3, most=1 << 30):
    """Writes without reading until nothing has been taken for `quiet` seconds; bytes written."""
    sock.setblocking(False)
    total, last, block = 0, time.monotonic(), b"\xa5" * 65536
    while time.monotonic() - last < quiet and total < most:
        try:
            total += sock.send(block)
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.002)
    return total


def error_of_recv(sock):
    """What a read on the socket gives: an errno, or the bytes."""
    try:
        return sock.recv(65536)
    except OSError as error:
        return error.errno


def read_one(sock):
    """A datagram or None at the socket's timeout."""
    try:
        return sock.recvfrom(65535)
    except TimeoutError:
        return None
