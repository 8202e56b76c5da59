"""The service Network beside its names (test_guest_dns), and Agent.Events, Metrics and
ConfigureNetwork."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

import pytest
from test_init import Guest

from harness import protocol
from harness.agent import Agent, until
from harness.client import AGENT, DATA, PROCESS, REMOTE_OPEN, CallFailed, Exec, Stream
from harness.netns import OwnNetwork, ip

NETWORK = "sluice.agent.v1.Network"
INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAVAILABLE = 3, 5, 8, 9, 14
messages = protocol.network
KIB, MIB = 1 << 10, 1 << 20
TCP, UDP = messages.ListeningPort.TCP, messages.ListeningPort.UDP


@pytest.fixture(scope="module", autouse=True)
def network():
    try:
        with OwnNetwork() as own:
            yield own
    except PermissionError as error:
        pytest.skip(f"agent tests skipped: no namespaces here: {error}")


@pytest.fixture(scope="module")
def agent(network, tmp_path_factory):
    made = Agent(tmp_path_factory.mktemp("agent"), "--dns", "on")
    yield made
    made.close()


# Ports

class Ports(Stream):
    def __init__(self, client, *namespaces):
        super().__init__(client, NETWORK, "Ports",
                         messages.PortsRequest(namespaces=namespaces), messages.PortsResponse,
                         flags=0)
        self.now = set()
        self.present = False

    def step(self):
        told = self.receive()
        for port in told.removed:
            self.now.remove(self.key(port))
        for port in told.added:
            assert self.key(port) not in self.now
            self.now.add(self.key(port))
        self.present |= told.present

    @staticmethod
    def key(port):
        return port.protocol, port.address, port.port, port.netns

    def wait_for(self, condition):
        while not (self.present and condition(self.now)):
            self.step()


def listening(address="127.0.0.1", kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
@pytest.mark.parametrize("kind,protocol_number", [(socket.SOCK_STREAM, TCP),
                                                  (socket.SOCK_DGRAM, UDP)])
def test_a_port_is_told_when_it_comes_and_when_it_goes(client, address, kind, protocol_number):
    there_before = listening(address, kind)
    first = (protocol_number, address, there_before.getsockname()[1], "")
    ports = Ports(client)
    ports.wait_for(lambda now: first in now)
    later = listening(address, kind)
    second = (protocol_number, address, later.getsockname()[1], "")
    ports.wait_for(lambda now: {first, second} <= now)
    there_before.close()
    later.close()
    ports.wait_for(lambda now: first not in now and second not in now)


def test_ports_are_those_that_listen_and_nobody_elses(client, agent):
    """Neither connections, nor UDP sockets with a peer, nor the agent's own resolver."""
    server = listening()
    connected = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.connect(("127.0.0.1", 9))
    ports = Ports(client)
    ports.wait_for(bool)
    assert ports.now == {(TCP, "127.0.0.1", server.getsockname()[1], "")}
    for sock in (accepted, connected, datagrams, server):
        sock.close()


def test_ports_say_whose_they_are(client):
    program = ("import os, socket; os.setuid(65534); s = socket.socket(); s.bind(('127.0.0.1', 0)); "
               "s.listen(); print(s.getsockname()[1], flush=True); input()")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as nobody:
        number = int(nobody.stdout.readline())
        told = Ports(client).receive()
        assert [port.uid for port in told.added if port.port == number] == [65534]
        nobody.stdin.close()


def test_the_ports_of_another_namespace_are_told_with_its_name_until_it_ends(client):
    program = ("import socket; s = socket.socket(); s.bind(('0.0.0.0', 8080)); s.listen(); "
               "print(1, flush=True); input()")
    with subprocess.Popen(["unshare", "--net", sys.executable, "-c", program],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        path = f"/proc/{other.pid}/ns/net"
        port = (TCP, "0.0.0.0", 8080, path)
        ports = Ports(client, path)
        ports.wait_for(lambda now: port in now)
        other.stdin.close()
        other.wait(60)
        ports.wait_for(lambda now: port not in now)


def test_a_namespace_that_is_not_there_is_refused(client, agent):
    with pytest.raises(CallFailed) as failed:
        Ports(client, "/proc/self/ns/nothing").receive()
    assert failed.value.code == NOT_FOUND
    assert os.readlink(f"/proc/{agent.pid}/ns/net") == os.readlink("/proc/thread-self/ns/net")


def test_thousands_of_ports_are_told_in_messages_of_a_bounded_size(client):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    socks = [listening() for _ in range(1500)]
    ports = Ports(client)
    ports.wait_for(lambda now: len(now) == 1500)
    for sock in socks:
        sock.close()
    ports.wait_for(lambda now: not now)


# Tunnels

class Tunnel(Stream):
    def __init__(self, client, **target):
        first = messages.TunnelRequest(open=messages.TunnelOpen(**target))
        super().__init__(client, NETWORK, "Tunnel", first, messages.TunnelResponse)
        self.granted = 0

    def opened(self):
        assert self.receive().WhichOneof("message") == "opened"
        return self

    def read(self, size, grant=True):
        """So many bytes, or fewer at the end."""
        data = bytearray()
        while len(data) < size:
            message = self.receive()
            kind = message.WhichOneof("message")
            if kind == "closed":
                break
            if kind == "grant":
                self.granted += message.grant
            else:
                data += message.data
                if grant:
                    self.send(grant=len(message.data))
        return bytes(data)


def tcp(sock, host="127.0.0.1"):
    return {"tcp": messages.TcpTarget(host=host, port=sock.getsockname()[1])}


@contextlib.contextmanager
def served(work, sock=None):
    """A server of one connection in a thread."""
    server = sock or listening()

    def serve():
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            work(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    thread.join(60)
    assert not thread.is_alive()
    server.close()


def echo_to_the_end(connection):
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
    connection.sendall(bytes(data).upper())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "::1", "registered"])
def test_a_tunnel_carries_both_ways_and_each_is_closed_by_itself(client, host):
    if host == "registered":
        client.call(NETWORK, "RegistryAdd", messages.RegistryAddRequest(
            registration=messages.Registration(owner="t", names=["registered"],
                                               addresses=["127.0.0.1"])),
            messages.RegistryAddResponse)
    sock = listening("::1" if host == "::1" else "127.0.0.1")
    with served(echo_to_the_end, sock):
        tunnel = Tunnel(client, **tcp(sock, host)).opened()
        tunnel.send(data=b"what is said ")
        tunnel.send(data=b"here")
        tunnel.send(closed=True)
        assert tunnel.read(17) == b"WHAT IS SAID HERE"
        assert tunnel.receive().closed
        assert tunnel.receive() is None


def test_localhost_is_ipv6_too_where_nobody_listens_on_ipv4(client):
    sock = listening("::1")
    with served(echo_to_the_end, sock):
        tunnel = Tunnel(client, **tcp(sock, "localhost")).opened()
        tunnel.close()
        assert tunnel.read(1) == b"" and tunnel.receive() is None


def test_a_tunnel_to_a_unix_socket(client, tmp_path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    with served(echo_to_the_end, sock):
        tunnel = Tunnel(client, unix_path=str(tmp_path / "s")).opened()
        tunnel.send(data=b"hello")
        tunnel.send(closed=True)
        assert tunnel.read(5) == b"HELLO"


def test_16_mib_each_way_arrive_unchanged(client):
    size = 16 * MIB
    pattern = os.urandom(MIB)

    def work(connection):
        sender = threading.Thread(target=lambda: [connection.sendall(pattern) for _ in range(16)])
        sender.start()
        got = bytearray()
        while chunk := connection.recv(1 << 18):
            got += chunk
        sender.join()
        assert got == pattern * 16
        connection.sendall(b"same")

    with served(work) as server:
        tunnel = Tunnel(client, **tcp(server)).opened()
        credit, sent, got = 256 * KIB, 0, bytearray()
        while sent < size or len(got) < size:
            while sent < size and credit >= 64 * KIB:
                offset = sent % MIB
                tunnel.send(data=pattern[offset:offset + 64 * KIB])
                sent += 64 * KIB
                credit -= 64 * KIB
            message = tunnel.receive()
            if message.WhichOneof("message") == "grant":
                credit += message.grant
            else:
                got += message.data
                tunnel.send(grant=len(message.data))
        assert got == pattern * 16
        tunnel.send(closed=True)
        assert tunnel.read(4) == b"same"


def test_a_client_that_grants_nothing_gets_its_credit_and_stalls_nobody(client, agent):
    with served(lambda connection: [connection.sendall(bytes(MIB)) for _ in range(8)]) as server:
        tunnel = Tunnel(client, **tcp(server)).opened()
        assert len(tunnel.read(256 * KIB, grant=False)) == 256 * KIB
        assert client.ping().version
        assert not client._waiting[tunnel.stream]       # pylint: disable=protected-access
        tunnel.send(grant=8 * MIB)
        assert len(tunnel.read(8 * MIB - 256 * KIB, grant=False)) == 8 * MIB - 256 * KIB


def test_a_server_that_does_not_read_holds_up_its_own_tunnel_and_no_more_is_taken(client):
    stop = threading.Event()
    with served(lambda connection: stop.wait(60)) as server:
        tunnel = Tunnel(client, **tcp(server)).opened()
        with pytest.raises(CallFailed) as failed:
            for _ in range(1000):
                tunnel.send(data=bytes(64 * KIB))
            while True:
                tunnel.receive()
        assert failed.value.code == RESOURCE_EXHAUSTED
        assert client.ping().version
        stop.set()


def test_a_tunnel_that_cannot_be_says_why(client, tmp_path):
    closed = listening()
    port = closed.getsockname()[1]
    closed.close()

    def refusal(**target):
        with pytest.raises(CallFailed) as failed:
            Tunnel(client, **target).opened()
        return failed.value

    refused = refusal(tcp=messages.TcpTarget(host="127.0.0.1", port=port))
    assert (refused.code, refused.detail.errno_name) == (UNAVAILABLE, "ECONNREFUSED")
    assert str(port) in refused.message
    missing = refusal(unix_path=str(tmp_path / "none"))
    assert (missing.code, missing.detail.errno_name) == (NOT_FOUND, "ENOENT")
    assert refusal(tcp=messages.TcpTarget(host="nobody.example", port=1)).code == NOT_FOUND
    assert refusal(tcp=messages.TcpTarget(host="127.0.0.1", port=0)).code == INVALID_ARGUMENT
    assert refusal(tcp=messages.TcpTarget(host="127.0.0.1", port=65536)).code == INVALID_ARGUMENT
    assert refusal().code == INVALID_ARGUMENT


def test_a_server_that_resets_fails_the_tunnel(client):
    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with served(reset) as server:
        tunnel = Tunnel(client, **tcp(server)).opened()
        tunnel.send(data=b"x")
        with pytest.raises(CallFailed) as failed:
            while True:
                tunnel.receive()
        assert (failed.value.code, failed.value.detail.errno_name) == (UNAVAILABLE, "ECONNRESET")


def test_a_client_that_goes_resets_its_connection(agent):
    seen = []

    def work(connection):
        try:
            seen.append(connection.recv(1))
        except ConnectionResetError as error:
            seen.append(error)

    with served(work) as server:
        gone = agent.connect()
        Tunnel(gone, **tcp(server)).opened()
        gone.close()
    assert isinstance(seen[0], ConnectionResetError)


def test_tunnels_leave_nothing_behind(client, agent):
    client.ping()       # Its connection is counted.
    before = agent.fds()
    for _ in range(30):
        with served(lambda connection: connection.sendall(b"x")) as server:
            tunnel = Tunnel(client, **tcp(server)).opened()
            assert tunnel.read(1) == b"x"
            tunnel.close()
            assert tunnel.receive().closed and tunnel.receive() is None
    until(lambda: agent.fds() <= before, "what was opened is closed")


# Events and metrics

def events_of(client):
    events = Stream(client, AGENT, "Events", protocol.agent.EventsRequest(),
                    protocol.agent.EventsResponse, flags=0)
    assert events.receive().WhichOneof("event") is None
    return events


def test_the_end_of_a_program_is_told(client, run):
    events = events_of(client)
    assert run("sh", "-c", "exit 42").exit.code == 42
    told = events.receive()
    assert told.process.code == 42 and told.process.signal == 0 and told.realtime_ns > 0
    call = Exec(client, "sleep", "1000")
    call.send(signal=signal.SIGKILL)
    told = events.receive().process
    assert (told.id, told.pid, told.code, told.signal) == (call.id, call.pid, 137, 9)


def test_a_reader_that_is_slow_is_told_how_much_it_lost_and_holds_up_nobody(agent, client):
    slow = agent.connect()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    events = events_of(slow)
    # Its connection has to be full before events are held.
    filler = Exec(slow, "yes")
    filler.send(grant=1 << 30)
    unread = [0, 0]

    def is_full():
        """Nothing has been added for a while to the much that waits in its socket."""
        time.sleep(0.1)
        unread.append(int.from_bytes(fcntl.ioctl(slow.sock, termios.FIONREAD, b"\0" * 4),
                                     sys.byteorder))
        return unread[-1] > 64 * KIB and unread[-3] == unread[-2] == unread[-1]
    until(is_full, "its connection is full")
    pids = []
    for _ in range(320):
        detached = client.begin(PROCESS, "Exec", protocol.process.ExecRequest(
            start=protocol.process.ExecStart(args=["true"], detach=True)), flags=REMOTE_OPEN)
        kind, _, payload = client.read_frame(detached)
        assert kind == DATA
        pids.append(protocol.process.ExecResponse.FromString(payload).started.pid)

    def ended():
        listed = client.call(PROCESS, "List", protocol.process.ListProcessesRequest(),
                             protocol.process.ListProcessesResponse).processes
        return all(one.HasField("exit") for one in listed if one.pid in pids)
    until(ended, "all have ended")
    filler.send(signal=signal.SIGKILL)
    seen, lost = [], 0
    while not seen or seen[-1] != filler.pid:
        told = events.receive()
        lost += told.lost
        seen.append(told.process.pid)
    ours = [pid for pid in seen if pid in pids]
    assert lost > 0 and len(ours) + lost >= 320
    assert ours == [pid for pid in pids if pid in ours] or sorted(ours) == sorted(set(ours))


def test_the_metrics_are_of_calls_names_and_memory(client):
    def metrics():
        answer = client.call(AGENT, "Metrics", protocol.agent.MetricsRequest(),
                             protocol.agent.MetricsResponse)
        return {one.name: one for one in answer.metrics}
    ping = 'sluice_agent_calls_total{method="sluice.agent.v1.Agent/Ping"}'
    before = metrics()
    client.ping()
    after = metrics()
    assert after[ping].value == before[ping].value + 1 and after[ping].counter
    assert 1e5 < after["sluice_agent_resident_bytes"].value < 1e9
    assert after["sluice_guest_memory_available_bytes"].value > 1e6
    assert after["sluice_agent_connections"].value >= 1
    assert "sluice_dns_forwarded_total" in after and not after["sluice_dns_names"].counter


# ConfigureNetwork

def test_a_service_does_not_configure_the_network(client):
    with pytest.raises(CallFailed) as failed:
        client.call(AGENT, "ConfigureNetwork", protocol.agent.ConfigureNetworkRequest(),
                    protocol.agent.ConfigureNetworkResponse)
    assert failed.value.code == FAILED_PRECONDITION


def test_an_init_takes_its_network_by_call_and_its_resolver_follows(tmp_path):
    guest = Guest(tmp_path, "quiet sluice.unix=/dev/agent.sock sluice.vsock=off sluice.serial=off")
    try:
        resolver = guest.root / "etc/resolv.conf"
        until(lambda: resolver.exists() and "127.0.0.1" in resolver.read_text(),
              "resolv.conf points to the guest's own resolver")
        until(lambda: [step for step in guest.report().steps if step.name == "guest DNS"
                       and step.message.startswith("on 127.0.0.1:53")], "its step is reported")
        events = events_of(guest.connect())
        ip("link", "add", "host0", "type", "veth", "peer", "name", "eth7", "netns", str(guest.pid))
        ip("link", "set", "host0", "up")
        calls = guest.connect()
        request = protocol.agent.ConfigureNetworkRequest(
            interface="eth7", addresses=["10.5.0.2/24", "fd05::2/64"], gateways=["10.5.0.1"],
            dns=["10.5.0.1"], search=["corp.example"], mtu=1400)
        calls.call(AGENT, "ConfigureNetwork", request, protocol.agent.ConfigureNetworkResponse)
        while True:
            told = events.receive()
            if told.WhichOneof("event") == "network" and told.network.stage == "ready" and \
                    len(told.network.addresses) == 2:
                break
        assert sorted(told.network.addresses) == ["10.5.0.2/24", "fd05::2/64"]
        assert (told.network.mtu, list(told.network.dns)) == (1400, ["10.5.0.1"])
        until(lambda: "search guest.internal corp.example" in resolver.read_text(), "the search list is written")
        assert resolver.read_text() == ("search guest.internal corp.example\nnameserver 127.0.0.1\n"
                                        "options edns0\n")
        dns = calls.call(NETWORK, "Dns", messages.DnsRequest(), messages.DnsResponse)
        assert list(dns.upstreams) == ["10.5.0.1:53"]
        with pytest.raises(CallFailed) as failed:
            calls.call(AGENT, "ConfigureNetwork",
                       protocol.agent.ConfigureNetworkRequest(addresses=["nonsense"]),
                       protocol.agent.ConfigureNetworkResponse)
        assert failed.value.code == INVALID_ARGUMENT
    finally:
        guest.close()


def test_with_the_resolver_off_resolv_conf_has_the_gateways(tmp_path):
    guest = Guest(tmp_path, "quiet sluice.unix=/dev/agent.sock sluice.vsock=off sluice.serial=off "
                  "sluice.dns=off sluice.dns=10.5.0.1 sluice.ip=10.5.0.2/24 sluice.nic=eth7")
    try:
        ip("link", "add", "host1", "type", "veth", "peer", "name", "eth7", "netns", str(guest.pid))
        ip("link", "set", "host1", "up")
        resolver = guest.root / "etc/resolv.conf"
        until(lambda: resolver.exists() and resolver.read_text() == "nameserver 10.5.0.1\n",
              "resolv.conf points to the gateway's resolver")
        assert not [step for step in guest.report().steps if step.name == "guest DNS"]
    finally:
        guest.close()
