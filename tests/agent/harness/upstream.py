"""A resolver of the tests' own, in the gateway's place, that can misbehave."""

import socket
import struct
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


def answer(query, *records, rcode=dns.rcode.NOERROR):
    """A reply with records such as "x.example. 60 IN A 192.0.2.1"."""
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA
    reply.set_rcode(rcode)
    for record in records:
        owner, ttl, klass, kind, data = record.split(None, 4)
        reply.answer.append(dns.rrset.from_text(owner, int(ttl), klass, kind, data))
    return reply


class Upstream:
    """Serves `handler(query, tcp, server)` on UDP and TCP; what it returns is sent: a message, bytes,
    a list of those, or None for silence. `asked` has (name, type, tcp) of each question, and
    `raw` every message."""

    def __init__(self, address, handler, port=53):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.handler = handler
        self.asked = []
        self.raw = []
        self.open = True
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.tcp = socket.socket(family)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, port))
        self.tcp.listen(64)
        self.client = None
        self.threads = [threading.Thread(target=work, daemon=True)
                        for work in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def _answers(self, data, tcp):
        self.raw.append(data)
        try:
            query = dns.message.from_wire(data)
            self.asked.append((query.question[0].name.to_text(),
                               dns.rdatatype.to_text(query.question[0].rdtype), tcp))
        except Exception:       # pylint: disable=broad-except
            query = data
        replies = self.handler(query, tcp, self)
        if not isinstance(replies, list):
            replies = [replies]
        for reply in replies:
            if reply is not None:
                yield reply if isinstance(reply, bytes) else reply.to_wire(max_size=65535)

    def _serve_udp(self):
        while self.open:
            try:
                data, self.client = self.udp.recvfrom(65535)
                if not self.open:
                    return
                for reply in self._answers(data, False):
                    self.udp.sendto(reply, self.client)
            except OSError:
                if not self.open:
                    return

    def _serve_tcp(self):
        while self.open:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(20)
                try:
                    size, = struct.unpack(">H", connection.recv(2, socket.MSG_WAITALL))
                    data = connection.recv(size, socket.MSG_WAITALL)
                    for reply in self._answers(data, True):
                        connection.sendall(struct.pack(">H", len(reply)) + reply)
                except (OSError, struct.error):
                    pass

    def names(self):
        return [name for name, _, _ in self.asked]

    def close(self):
        self.open = False
        self.tcp.shutdown(socket.SHUT_RDWR)
        # A datagram of our own ends the wait.
        with socket.socket(self.udp.family, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", self.udp.getsockname())
        for thread in self.threads:
            thread.join(60)
        self.tcp.close()
        self.udp.close()
