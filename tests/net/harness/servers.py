"""Servers of ours: bulk flows with every byte checked, DNS with every query kept, HTTP, TLS."""
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading

from .tools import tool
from .world import DNS4, DNS6


class LoadServer:
    """`netload serve` in a namespace, and its client run from others."""

    def __init__(self, ns, port=0):
        self.process = ns.spawn(tool("netload"), "serve", port, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def run(self, ns, address, port=None, timeout=60, **options):
        """Runs flows from ns; returns netload's JSON.  Not ok flows do not raise."""
        options = [f"{k}={v}" for k, v in options.items()]
        done = ns.run(tool("netload"), "run", address, port or self.port, f"timeout={timeout}",
                      *options, timeout=timeout + 10)
        return json.loads(done.stdout)

    def start(self, ns, address, port=None, timeout=60, **options):
        """As run, in the background; the result is `finish(process)`."""
        options = [f"{k}={v}" for k, v in options.items()]
        return ns.spawn(tool("netload"), "run", address, port or self.port,
                        f"timeout={timeout}", *options, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def finish(process, limit=90):
        try:
            out, _ = process.communicate(timeout=limit)
        finally:
            process.stop()
        return json.loads(out)

    def stop(self):
        self.process.stop()


class _Serving:
    """A socketserver-like object in a thread of ours, its socket made inside a namespace."""

    def serve(self, server):
        self.server = server
        self.thread = threading.Thread(target=server.serve_forever,
                                       kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        """/bytes/N: N bytes, their SHA-256 in X-Sha256; /: the client's address."""
        if self.path.startswith("/bytes/"):
            body = body_of(int(self.path[7:]))
        else:
            body = json.dumps({"client": self.client_address[0],
                               "host": self.headers.get("Host")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Sha256", hashlib.sha256(body).hexdigest())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def body_of(size):
    block = hashlib.shake_256(b"sluice").digest(65536)
    return (block * (size // 65536 + 1))[:size]


class _DualStack(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class HttpServer(_Serving):
    def __init__(self, ns, port=80, tls=None):
        with ns:
            server = _DualStack(("::", port), _Handler)
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        self.serve(server)


def make_certificate(names, key, cert):
    """Writes a fresh self-signed certificate for the names."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", f"/CN={names[0]}", "-addext",
                    "subjectAltName=" + ",".join("DNS:" + n for n in names)],
                   check=True, capture_output=True)


def tls_context(names):
    """A server context with a fresh self-signed certificate for the names."""
    with tempfile.TemporaryDirectory() as folder:
        key, cert = os.path.join(folder, "key"), os.path.join(folder, "cert")
        make_certificate(names, key, cert)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        with open(cert) as f:
            return context, f.read()


class DnsServer:
    """Answers from `records`; keeps each query in `queries` as (protocol, name, type).

    records[name] is a list of ("A", "192.0.2.1")-like pairs with an optional TTL as third,
    or "NXDOMAIN", "SERVFAIL", "SILENT", or a function(query message) -> response message."""

    def __init__(self, ns, addresses=(DNS4, DNS6), port=53):
        self.records, self.queries, self.truncate = {}, [], set()
        self.lock, self.sockets, self.threads = threading.Lock(), [], []
        self.stopping = False
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            udp = ns.socket(family, socket.SOCK_DGRAM)
            udp.bind((address, port))
            self._start(self._udp, udp)
            tcp = ns.listen(address, port)
            tcp.settimeout(None)
            self._start(self._tcp, tcp)

    def _start(self, run, sock):
        self.sockets.append(sock)
        thread = threading.Thread(target=run, args=(sock,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def asked(self, name=None):
        """The queries seen, without their 0x20 case; of one name if given."""
        with self.lock:
            seen = list(self.queries)
        return [q for q in seen if name is None or q[1] == name]

    def answer(self, wire, protocol):
        import dns.flags
        import dns.message
        import dns.rcode
        import dns.rdatatype
        import dns.rrset
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        with self.lock:
            self.queries.append((protocol, name, kind))
        records = self.records.get(name, "NXDOMAIN")
        if records == "SILENT":
            return None
        if callable(records):
            return records(query)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(records, str):
            response.set_rcode(dns.rcode.from_text(records))
            return response.to_wire()
        if protocol == "udp" and name in self.truncate:
            response.flags |= dns.flags.TC
            return response.to_wire()
        owner, seen = question.name, set()
        while owner is not None and owner not in seen:
            seen.add(owner)
            following = None
            data = self.records.get(owner.to_text(omit_final_dot=True).lower(), [])
            for record in data if isinstance(data, list) else []:
                rtype, value = record[0], record[1]
                ttl = record[2] if len(record) > 2 else 60
                if rtype == kind or rtype == "CNAME":
                    response.answer.append(dns.rrset.from_text(owner, ttl, "IN", rtype, value))
                if rtype == "CNAME" and kind != "CNAME":
                    following = dns.name.from_text(value)
            owner = following
        return response.to_wire(max_size=65535)

    def _udp(self, sock):
        while True:
            try:
                wire, peer = sock.recvfrom(65535)
            except OSError:
                return
            if self.stopping:
                return
            reply = self.answer(wire, "udp")
            if reply:
                sock.sendto(reply, peer)

    def _tcp(self, listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            if self.stopping:
                conn.close()
                return
            threading.Thread(target=self._tcp_one, args=(conn,), daemon=True).start()

    def _tcp_one(self, conn):
        conn.settimeout(10)
        with conn, conn.makefile("rb") as stream:
            try:
                while True:
                    head = stream.read(2)
                    if len(head) < 2:
                        return
                    reply = self.answer(stream.read(int.from_bytes(head, "big")), "tcp")
                    if reply:
                        conn.sendall(len(reply).to_bytes(2, "big") + reply)
            except OSError:
                return

    def stop(self):
        self.stopping = True
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
            except OSError:
                pass
        for thread in self.threads:
            thread.join(2)
        for sock in self.sockets:
            sock.close()
