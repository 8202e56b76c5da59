"""What a guest may say first on a connection, to be taken for another name than it is for."""
import ssl
import struct

from .attack import GOOD, OTHER
from .world import PUBLIC4


def hello(name, alpn=()):
    """The first flight of OpenSSL's client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def at_once(flights):
    """Those that are refused as soon as they are read, without the five seconds of the others."""
    waiting = ("cut-off", "slow", "one-byte", "head-without-end", "method-without-end")
    return {name: flight for name, flight in flights.items() if name not in waiting}


def client_hello(*extensions, cipher=b"\x13\x01"):
    body = b"\3\3" + b"r" * 32 + b"\0" + struct.pack(">H", len(cipher)) + cipher + b"\1\0"
    listed = b"".join(extensions)
    body += struct.pack(">H", len(listed)) + listed
    return b"\1" + len(body).to_bytes(3, "big") + body


def extension(kind, data):
    return struct.pack(">HH", kind, len(data)) + data


def sni(*names, kind=0):
    names = b"".join(bytes([kind]) + struct.pack(">H", len(one)) + one for one in names)
    return extension(0, struct.pack(">H", len(names)) + names)


def records(message, size=16384, version=b"\3\1", kind=b"\x16"):
    return b"".join(kind + version + struct.pack(">H", len(part)) + part
                    for part in (message[i:i + size] for i in range(0, len(message), size)))


OTHER_BYTES, GOOD_BYTES = OTHER.encode(), GOOD.encode()
HELLOS = {
    "other": hello(OTHER),
    "other-by-openssl-with-h2": hello(OTHER, ["h2", "http/1.1"]),
    "no-extensions": records(client_hello()),
    "no-name": records(client_hello(extension(43, b"\2\3\4"))),
    "empty-name": records(client_hello(sni(b""))),
    "empty-list": records(client_hello(extension(0, b"\0\0"))),
    "empty-extension": records(client_hello(extension(0, b""))),
    "an-address": records(client_hello(sni(PUBLIC4.encode()))),
    "an-address-in-brackets": records(client_hello(sni(b"[::1]"))),
    "upper-case": records(client_hello(sni(b"OTHER.TEST"))),
    "final-dot": records(client_hello(sni(b"other.test."))),
    "zero-byte": records(client_hello(sni(b"good.test\0.other.test"))),
    "zero-byte-at-the-end": records(client_hello(sni(b"good.test\0"))),
    "blank": records(client_hello(sni(b"good.test other.test"))),
    "below": records(client_hello(sni(b"x.good.test"))),
    "above": records(client_hello(sni(b"test"))),
    "two-names": records(client_hello(sni(GOOD_BYTES, OTHER_BYTES))),
    "two-extensions": records(client_hello(sni(GOOD_BYTES), sni(OTHER_BYTES))),
    "unknown-kind-of-name": records(client_hello(sni(GOOD_BYTES, kind=1))),
    "lengths-that-lie": records(client_hello(extension(0, b"\xff\xff\0\0\x09good.test"))),
    "ech": records(client_hello(sni(GOOD_BYTES), extension(0xfe0d, b"\0" * 40))),
    "old-ech": records(client_hello(extension(0xffce, b"\0" * 40))),
    "other-behind-17-kib": records(client_hello(extension(21, b"\0" * 17000), sni(OTHER_BYTES))),
    "good-behind-17-kib": records(client_hello(extension(21, b"\0" * 17000), sni(GOOD_BYTES))),
    "in-many-records": records(client_hello(sni(OTHER_BYTES)), size=3),
    "in-records-of-one-byte": records(client_hello(sni(OTHER_BYTES)), size=1),
    "behind-an-empty-record": b"\x16\3\1\0\0" + hello(OTHER),
    "behind-an-alert": b"\x15\3\1\0\2\1\0" + hello(OTHER),
    "behind-a-change-of-ciphers": b"\x14\3\3\0\1\1" + hello(OTHER),
    "behind-application-data": b"\x17\3\3\0\1x" + hello(OTHER),
    "odd-record-version": records(client_hello(sni(OTHER_BYTES)), version=b"\3\x7f"),
    "odder-record-version": records(client_hello(sni(OTHER_BYTES)), version=b"\x0f\3"),
    "ssl2": b"\x80\x2e\1\3\1\0\x15\0\0\0\x10" + b"\0\0\4" * 7 + b"r" * 16,
    "server-hello": records(b"\2" + client_hello(sni(OTHER_BYTES))[1:]),
    "two-hellos": records(client_hello(sni(OTHER_BYTES)) + client_hello(sni(GOOD_BYTES))),
    "cut-off": hello(GOOD)[:-1],
    "slow": [hello(GOOD)[:3]],
    "one-byte": b"\x16",
    "two-parts": [hello(OTHER)[:60], hello(OTHER)[60:]],
}


def request(host, line="GET / HTTP/1.1", more="", end="\r\n"):
    return f"{line}{end}Host: {host}{end}{more}{end}".encode()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def http2(authority):
    """The preface, and one request with that authority."""
    block = b"\x82\x84\x86\x41" + bytes([len(authority)]) + authority
    return PREFACE + b"\0\0\0\4\0\0\0\0\0" + \
        len(block).to_bytes(3, "big") + b"\1\5\0\0\0\1" + block


REQUESTS = {
    "other": request(OTHER),
    "other-with-port": request(OTHER + ":80"),
    "other-upper-case": request("OTHER.TEST"),
    "other-in-small-letters": request(OTHER).replace(b"Host", b"host"),
    "below": request("x.good.test"),
    "leading-lines": b"\r\n\r\n" + request(OTHER),
    "leading-line-feed": b"\n" + request(OTHER),
    "absolute-form": request(GOOD, f"GET http://{OTHER}/ HTTP/1.1"),
    "absolute-form-of-the-good-one": request(OTHER, f"GET http://{GOOD}/ HTTP/1.1"),
    "authority-with-a-user": request(f"{GOOD}@{OTHER}"),
    "two-hosts": request(GOOD, more=f"Host: {OTHER}\r\n"),
    "two-hosts-the-other-way": request(OTHER, more=f"Host: {GOOD}\r\n"),
    "list-of-hosts": request(f"{GOOD}, {OTHER}"),
    "folded": request(GOOD, more=f" {OTHER}\r\n"),
    "blank-before-the-colon": request(OTHER).replace(b"Host:", b"Host :"),
    "zero-byte": request(f"{GOOD}\0{OTHER}"),
    "bare-cr": request(f"{GOOD}\rHost: {OTHER}"),
    "line-feeds-alone": request(OTHER, end="\n"),
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "empty-host": request(""),
    "version-1.0": b"GET / HTTP/1.0\r\n\r\n",
    "version-0.9": b"GET /\r\n",
    "address": request(PUBLIC4),
    "connect": request(f"{OTHER}:443", f"CONNECT {OTHER}:443 HTTP/1.1"),
    "connect-good": request(f"{GOOD}:443", f"CONNECT {GOOD}:443 HTTP/1.1"),
    "small-method": request(OTHER, "get / HTTP/1.1"),
    "rare-method": request(OTHER, "PROPFIND / HTTP/1.1"),
    "unknown-method": request(OTHER, "SECRET-DATA / HTTP/1.1"),
    "options-star": request(OTHER, "OPTIONS * HTTP/1.1"),
    "two-lengths": request(GOOD, "POST / HTTP/1.1",
                           "Content-Length: 0\r\nContent-Length: 50\r\n") + request(OTHER),
    "length-and-chunks": request(GOOD, "POST / HTTP/1.1", "Content-Length: 5\r\n"
                                 "Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n" + request(OTHER),
    "length-with-a-sign": request(GOOD, "POST / HTTP/1.1", "Content-Length: +5\r\n"),
    "coding-that-nobody-knows": request(GOOD, "POST / HTTP/1.1", "Transfer-Encoding: xchunked\r\n"),
    "head-without-end": f"GET / HTTP/1.1\r\nHost: {GOOD}\r\nX: ".encode(),
    "endless-head": request(GOOD, more="X: " + "x" * 70000 + "\r\n"),
    "slow": [b"GET / HTTP/1.1\r\nHo"],
    "method-without-end": b"GET",
}
