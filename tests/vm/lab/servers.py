#!/usr/bin/python3
"""The servers of the world: HTTP on port 80 of every address, DNS on port 53 of one.

Usage: servers.py ZONE-AS-JSON DNS-ADDRESS QUERY-LOG
Prints "ready" when all of them listen. Each name asked for is appended to QUERY-LOG, one a line.

HTTP: GET / is a greeting, GET /bytes/N is N bytes that depend only on their position (see
`content`), POST /digest answers with the SHA-256 of the body.
DNS: A and AAAA of the zone's names, over UDP and TCP; NXDOMAIN for all others.
"""

import functools
import hashlib
import http.server
import ipaddress
import json
import random
import socket
import socketserver
import struct
import sys
import threading

TTL_SECONDS = 60
TYPE_A, TYPE_AAAA, CLASS_IN = 1, 28, 1
NOERROR, NXDOMAIN = 0, 3
FLAGS_ANSWER = 0x8580  # response, authoritative, recursion desired and available
CHUNK_BYTES = 1 << 20


@functools.cache
def _chunk():
    return random.Random("sluice").randbytes(CHUNK_BYTES)


def content(size):
    """The body of /bytes/`size` in chunks, no two alike: each starts with its own number."""
    for index in range(0, size, CHUNK_BYTES):
        chunk = struct.pack("!Q", index) + _chunk()[8:]
        yield chunk[:size - index]


class Web(http.server.BaseHTTPRequestHandler):
    """One request a connection."""

    def do_GET(self):
        kind, _, size = self.path[1:].partition("/")
        if not kind:
            body = [b"hello from the world\n"]
        elif kind == "bytes" and size.isdigit():
            body = content(int(size))
        else:
            self.send_error(404)
            return
        self._answer(size or str(len(body[0])), body)

    def do_POST(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            part = self.rfile.read1(left)
            if not part:
                return
            digest.update(part)
            left -= len(part)
        body = digest.hexdigest().encode() + b"\n"
        self._answer(str(len(body)), [body])

    def _answer(self, length, parts):
        self.send_response(200)
        self.send_header("Content-Length", length)
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def log_message(self, format, *arguments):  # noqa: A002 (the name is the base class's)
        pass


class WebServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128


def read_name(message, offset):
    """The name at `offset` of a question (never compressed) and the offset behind it."""
    labels = []
    while message[offset]:
        length = message[offset]
        labels.append(message[offset + 1:offset + 1 + length].decode("ascii").lower())
        offset += 1 + length
    return ".".join(labels), offset + 1


def answer(query, zone, log):
    """The response to a query with one question."""
    name, end = read_name(query, 12)
    kind, _ = struct.unpack_from("!HH", query, end)
    log.write(name + "\n")
    records = []
    for address in map(ipaddress.ip_address, zone.get(name, [])):
        if kind == (TYPE_A if address.version == 4 else TYPE_AAAA):
            records.append(struct.pack("!HHHIH", 0xC00C, kind, CLASS_IN, TTL_SECONDS,
                                       len(address.packed)) + address.packed)
    code = NOERROR if name in zone else NXDOMAIN
    header = query[:2] + struct.pack("!HHHHH", FLAGS_ANSWER | code, 1, len(records), 0, 0)
    return header + query[12:end + 4] + b"".join(records)


def dns_servers(address, zone, log):
    """A UDP and a TCP server, both listening."""

    class Udp(socketserver.BaseRequestHandler):
        def handle(self):
            query, reply_socket = self.request
            reply_socket.sendto(answer(query, zone, log), self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self):
            while length := self.rfile.read(2):
                response = answer(self.rfile.read(*struct.unpack("!H", length)), zone, log)
                self.wfile.write(struct.pack("!H", len(response)) + response)

    return [socketserver.ThreadingUDPServer((address, 53), Udp),
            socketserver.ThreadingTCPServer((address, 53), Tcp)]


def main():
    zone, dns_address, log_path = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    log = open(log_path, "a", encoding="utf-8", buffering=1)
    _chunk()
    servers = [WebServer(("::", 80), Web), *dns_servers(dns_address, zone, log)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
