"""Resolvers over TLS (RFC 7858): a real TLS server, good, wrong, slow and broken."""
import os
import ssl
import subprocess
import tempfile
import threading
import time

import dns.edns
import dns.message
import dns.rrset
import pytest

from harness.clients import SOON
from harness.gateway import SANITIZED, StartError
from harness.netns import wait_for
from harness.servers import DnsServer
from harness.world import DNS4, PUBLIC4, PUBLIC4_B
from test_control import ctl, ctl_json
from test_dns import addresses, ask

pytestmark = pytest.mark.hostd

NAME = "dot.test"


def openssl(*arguments, folder):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


class Authority:
    """A certificate authority of the test's own, and what it signs."""

    def __init__(self, folder):
        self.folder, self.path = folder, os.path.join(folder, "ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", 2, "-subj", "/CN=ca",
                folder=folder)
        os.chmod(self.path, 0o644)

    def context(self, name, days=2):
        """A server's context; a negative number of days makes a certificate that has expired."""
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", "key", "-out", "csr", "-subj", "/CN=x", "-addext",
                f"subjectAltName={name}", folder=self.folder)
        openssl("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-copy_extensions", "copy", "-days", days, "-out", "cert", folder=self.folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.folder, "cert"),
                                os.path.join(self.folder, "key"))
        return context


class DotServer(DnsServer):
    """Answers over TLS alone.  `held` keeps handshakes back until it is set; `closes_after` is the
    number of questions of a connection, the last without its answer, after which it is closed."""

    def __init__(self, ns, context, address=DNS4, port=853):
        self.context, self.connections, self.failed = context, 0, 0
        self.held = threading.Event()
        self.held.set()
        self.closes_after = None
        super().__init__(ns, addresses=())
        listener = ns.listen(address, port)
        listener.settimeout(None)
        self._start(self._tcp, listener)

    def _tcp_one(self, conn):
        conn.settimeout(30)
        with conn:
            self.held.wait(60)
            try:
                tls = self.context.wrap_socket(conn, server_side=True)
            except (OSError, ssl.SSLError):
                self.failed += 1
                return
            self.connections += 1
            self._serve(tls)

    def _serve(self, tls):
        seen = 0
        with tls, tls.makefile("rb") as stream:
            try:
                while len(head := stream.read(2)) == 2:
                    reply = self.answer(stream.read(int.from_bytes(head, "big")), "tls")
                    seen += 1
                    if seen == self.closes_after:
                        return
                    if reply:
                        tls.sendall(len(reply).to_bytes(2, "big") + reply)
            except OSError:
                return


@pytest.fixture(scope="module")
def authority():
    with tempfile.TemporaryDirectory(prefix="sluice-net-") as folder:
        os.chmod(folder, 0o755)
        yield Authority(folder)


@pytest.fixture
def serve(world, authority):
    made = []

    def start(name=f"DNS:{NAME}", days=2, **options):
        made.append(DotServer(world.world, authority.context(name, days), **options))
        made[-1].records.update({f"{c}.test": [("A", PUBLIC4)] for c in "abcdefgh"})
        return made[-1]

    yield start
    for server in made:
        server.held.set()
        server.stop()


def start(gateway, authority, *arguments, dns=(f"tls://{DNS4}#{NAME}",), **options):
    return gateway("--dns-ca", authority.path, *arguments, dns=dns, **options)


def health(net):
    return ctl_json(net, "dns")["resolvers"][0]


@pytest.mark.parametrize("spelling", [f"tls://{DNS4}#{NAME}", f"{DNS4}#{NAME}",
                                      f"tls://{DNS4}:853#DOT.test"])
def test_names_are_asked_over_tls_on_one_connection_and_never_in_clear_text(
        gateway, authority, serve, dns, spelling):
    server = serve()
    net = start(gateway, authority, dns=(spelling,))
    for name in ("a.test", "b.test", "c.test"):
        assert addresses(ask(net, name)) == [PUBLIC4]
    assert ask(net, "gone.test").rcode() == 3
    assert server.connections == 1 and not dns.asked()
    assert health(net) == {"endpoint": f"tls://{DNS4}:853#{NAME}", "avoided": False, "answers": 4,
                           "failures": 0}


def test_queries_are_padded_and_the_padding_of_answers_goes_no_further(gateway, authority, serve):
    server, sizes, options = serve(), [], []
    reply_to = server.answer

    def answer_of(wire, protocol):
        sizes.append(len(wire))
        return reply_to(wire, protocol)

    def padded(query):
        options.append([(int(one.otype), set(one.to_wire())) for one in query.options])
        answer = dns.message.make_response(query)
        owner = query.question[0].name
        answer.answer.append(dns.rrset.from_text(owner, 60, "IN", "A", PUBLIC4))
        answer.use_edns(0, options=[dns.edns.GenericOption(12, bytes(300))])
        return answer.to_wire()

    names = ["a.test", f"{'b' * 60}.test", f"{'c' * 60}.{'c' * 60}.{'c' * 60}.test"]
    server.answer = answer_of
    server.records.update({name: padded for name in names})
    net = start(gateway, authority)
    for name in names:
        answer = ask(net, name)
        assert addresses(answer) == [PUBLIC4]
        assert answer.edns == 0 and not answer.options
    assert sizes == [128, 128, 256]
    assert options == [[(12, {0})]] * 3


@pytest.mark.skipif(SANITIZED, reason="hostd uses the system's OpenSSL then, and its openssl.cnf")
def test_an_openssl_cnf_that_names_modules_loads_none(gateway, authority, serve, tmp_path):
    """They are made for the host's own libraries, and hostd has others inside."""
    serve()
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text("openssl_conf = a\n[a]\nproviders = b\n[b]\nmissing = c\n[c]\nactivate = 1\n")
    tmp_path.chmod(0o755)
    net = start(gateway, authority, wrapper=("env", f"OPENSSL_CONF={configuration}"))
    assert addresses(ask(net, "a.test")) == [PUBLIC4]


def test_an_address_can_be_the_name_in_the_certificate(gateway, authority, serve):
    serve(name=f"IP:{DNS4}")
    net = start(gateway, authority, dns=(f"tls://{DNS4}#{DNS4}",))
    assert addresses(ask(net, "a.test")) == [PUBLIC4]


@pytest.mark.parametrize("certificate, days, trouble", [
    ("DNS:other.test", 2, f"its certificate is not for the name {NAME}"),
    (f"IP:{DNS4}", 2, f"its certificate is not for the name {NAME}"),
    (f"DNS:{NAME}", -1, "its certificate has expired"),
])
def test_a_wrong_certificate_gets_no_question_and_hostctl_says_why(
        gateway, authority, serve, dns, certificate, days, trouble):
    server = serve(name=certificate, days=days)
    net = start(gateway, authority)
    assert ask(net, "a.test").rcode() == 2
    assert not server.asked() and not dns.asked()
    assert health(net)["trouble"] == trouble
    assert trouble in ctl(net, "dns").stdout


def test_a_signature_that_this_host_does_not_trust_gets_no_question(gateway, serve, dns):
    server = serve()
    net = gateway(dns=(f"tls://{DNS4}#{NAME}",))
    assert ask(net, "a.test").rcode() == 2
    assert not server.asked() and not dns.asked()
    assert health(net)["trouble"] == "its certificate is signed by nobody that is trusted here"


def test_a_resolver_that_is_away_is_servfail_at_once_and_named(gateway, authority, dns):
    net = start(gateway, authority)
    begun = time.monotonic()
    assert ask(net, "a.test").rcode() == 2
    assert time.monotonic() - begun < SOON
    assert health(net)["trouble"] == "Connection refused" and not dns.asked()


def test_a_server_without_tls_is_named_as_that(gateway, authority, world, dns):
    plain = DnsServer(world.world, addresses=(PUBLIC4,), port=853)
    plain.answer = lambda wire, protocol: b"no TLS here"
    try:
        net = start(gateway, authority, dns=(f"tls://{PUBLIC4}#{NAME}",))
        assert ask(net, "a.test").rcode() == 2
        assert "TLS" in health(net)["trouble"] and not dns.asked()
    finally:
        plain.stop()


def test_a_resolver_that_comes_back_is_asked_again(gateway, authority, serve):
    net = start(gateway, authority)
    assert ask(net, "a.test").rcode() == 2
    serve()
    wait_for(lambda: ask(net, "b.test").rcode() == 0, 60, "an answer of the resolver that is back")
    assert "trouble" not in health(net)


def test_a_question_whose_connection_is_closed_is_asked_once_more(gateway, authority, serve):
    server = serve()
    server.closes_after = 3
    net = start(gateway, authority)
    for name in "abcdefgh":
        assert addresses(ask(net, f"{name}.test")) == [PUBLIC4]
    assert server.connections > 1 and health(net)["failures"] == 0


def test_the_second_resolver_answers_while_the_first_is_slow_to_shake_hands(
        gateway, authority, serve):
    slow = serve()
    slow.held.clear()
    second = serve(address=PUBLIC4_B)
    net = start(gateway, authority,
                dns=(f"tls://{DNS4}#{NAME}", f"tls://{PUBLIC4_B}#{NAME}"))
    begun = time.monotonic()
    assert addresses(ask(net, "a.test")) == [PUBLIC4]
    assert time.monotonic() - begun > 0.25
    assert second.asked() and not slow.asked()
    assert health(net)["trouble"] == "no TLS handshake in time"


def test_one_zone_can_be_asked_over_tls_and_the_rest_as_before(gateway, authority, serve, dns):
    server = serve()
    server.records["a.corp.test"] = [("A", PUBLIC4)]
    dns.records["x.test"] = [("A", PUBLIC4_B)]
    net = start(gateway, authority, "--dns-split", f"corp.test=tls://{DNS4}#{NAME}", dns=(DNS4,))
    assert addresses(ask(net, "a.corp.test")) == [PUBLIC4]
    assert addresses(ask(net, "x.test")) == [PUBLIC4_B]
    assert [q[1] for q in server.asked()] == ["a.corp.test"]
    assert [q[1] for q in dns.asked()] == ["x.test"]


def test_a_resolver_over_tls_can_be_set_while_the_guest_runs(gateway, authority, serve, dns):
    server = serve()
    net = start(gateway, authority, dns=(DNS4,))
    assert ask(net, "a.test").rcode() == 3
    ctl(net, "dns", "upstream", "set", f"tls://{DNS4}#{NAME}")
    assert addresses(ask(net, "a.test")) == [PUBLIC4]
    assert server.asked() and len(dns.asked()) == 1


@pytest.mark.parametrize("arguments, resolver, named", [
    ((), f"tls://{DNS4}", "tls://ADDRESS#NAME"),
    ((), f"tls://{DNS4}#", "tls://ADDRESS#NAME"),
    ((), f"tls://{NAME}#{NAME}", "is not a resolver"),
    (("--dns-ca", "/nowhere.pem"), f"tls://{DNS4}#{NAME}", "--dns-ca /nowhere.pem: No such file"),
    (("--dns-ca", "/dev/null"), f"tls://{DNS4}#{NAME}", "no certificate is in it"),
])
def test_a_bad_setting_stops_the_start_and_is_named(gateway, arguments, resolver, named):
    with pytest.raises(StartError) as failed:
        gateway(*arguments, dns=(resolver,), guest=False)
    assert failed.value.status == 2 and named in failed.value.log
