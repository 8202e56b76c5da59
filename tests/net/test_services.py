"""Whole services through the gateway, as people use them."""
import hashlib
import ssl
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from harness import servers
from harness.clients import FAMILIES, PUBLIC, WORLD, ready_for
from harness.gateway import GATEWAY4


@pytest.fixture(scope="module")
def https(world):
    context, certificate = servers.tls_context(["good.test"])
    server = servers.HttpServer(world.world, 443, context)
    server.certificate = certificate
    yield server
    server.stop()


def get(sock, path, host="good.test"):
    connection = HTTPConnection(host)
    connection.sock = sock
    connection.request("GET", path)
    return connection.getresponse()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [0, 1, 1460, 65_536, 20_000_000])
def test_a_page_of_any_size_arrives_with_its_checksum(net, http, family, size):
    ready_for(family, net)
    with net.guest.connect(WORLD[family], 80) as sock:
        response = get(sock, f"/bytes/{size}")
        body = response.read()
    assert response.status == 200 and len(body) == size
    assert hashlib.sha256(body).hexdigest() == response.headers["X-Sha256"]


def test_many_requests_on_one_connection_are_answered_in_order(net, http):
    with net.guest.connect(WORLD[4], 80) as sock:
        connection = HTTPConnection("good.test")
        connection.sock = sock
        for i in range(100):
            connection.request("GET", f"/bytes/{i}")
            assert len(connection.getresponse().read()) == i


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tls_connection_carries_its_page(net, https, family):
    ready_for(family, net)
    context = ssl.create_default_context(cadata=https.certificate)
    with net.guest.connect(WORLD[family], 443) as plain:
        with context.wrap_socket(plain, server_hostname="good.test") as sock:
            assert len(get(sock, "/bytes/1000000").read()) == 1_000_000


def test_tls_is_between_the_two_ends_alone(net, world):
    """microsandbox 4.2 (10): a gateway that took TLS apart offered no ALPN, so no HTTP/2."""
    context, certificate = servers.tls_context(["good.test"])
    context.set_alpn_protocols(["h2"])
    ours = ssl.create_default_context(cadata=certificate)
    ours.set_alpn_protocols(["h2", "http/1.1"])
    with world.world.listen(WORLD[4]) as listener:
        plain = net.guest.connect(WORLD[4], listener.getsockname()[1])
        far, _ = listener.accept()
    with ThreadPoolExecutor(1) as one, plain, far:
        accepted = one.submit(context.wrap_socket, far, server_side=True)
        with ours.wrap_socket(plain, server_hostname="good.test") as client:
            with accepted.result(5) as server:
                assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "h2"


@pytest.mark.hostd
def test_a_page_is_fetched_by_its_allowed_name_and_another_name_is_refused(
        gateway, world, http, https, dns):
    """The demonstration of issue 2, in small."""
    dns.records["good.test"] = [("A", PUBLIC[4])]
    dns.records["bad.test"] = [("A", PUBLIC[4])]
    net = gateway("--allow", "good.test", profile=None)
    path = net.directory + "/resolv.conf"
    with open(path, "w") as f:
        f.write(f"nameserver {GATEWAY4}\n")
    with open(net.directory + "/ca.pem", "w") as f:
        f.write(https.certificate)

    def curl(url):
        return net.guest.run("unshare", "-m", "sh", "-c",
                             'mount --bind "$0" /etc/resolv.conf && exec "$@"', path, "curl",
                             "-sS", "--max-time", "10", "--cacert", net.directory + "/ca.pem",
                             "-o", "/dev/null", "-w", "%{http_code} %{size_download}", url)
    assert curl("http://good.test/bytes/5000").stdout == "200 5000"
    assert curl("https://good.test/bytes/5000").stdout == "200 5000"
    refused = curl("http://bad.test/")
    assert refused.returncode == 6, "curl: could not resolve host"
    assert not dns.asked("bad.test")
    assert curl("http://198.18.0.2/").returncode == 7, "curl: failed to connect"
