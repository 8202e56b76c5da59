"""A policy that changes while much is under way: what is revoked stops with the answer to the
change, and what is allowed all along notices nothing."""
import json
import select
import socket
import threading
import time

import pytest

from harness.attack import GOOD
from harness.clients import read_exactly
from harness.flows import CHUNK, TICK, Flows, Kind, pattern
from harness.gateway import SANITIZED
from harness.netns import wait_for
from harness.recorder import TCP, UDP, Recorder
from harness.world import HOST4, PUBLIC4, PUBLIC4_B, WORLD4
from test_dns import addresses, ask, make

pytestmark = pytest.mark.hostd
FLAP = "flap.test"
STEADY_PORT, FLAP_PORT, UDP_PORT = 7001, 7002, 7003
BOTH, ONE = [f"allow@{GOOD}", f"allow@{FLAP}"], [f"allow@{GOOD}"]
RST = 4
RSS_GROWTH_BYTES = 24 << 20
SNAP = 256
KINDS = [Kind("steady, no known words", PUBLIC4, STEADY_PORT, 25, steady=True),
         Kind("steady, by name", PUBLIC4, STEADY_PORT, 25, host=GOOD, steady=True),
         Kind("flapping, by address", PUBLIC4_B, FLAP_PORT, 25),
         Kind("flapping, by name", PUBLIC4, FLAP_PORT, 25, host=FLAP)]
FLAPPING = [kind.label for kind in KINDS if not kind.steady]


class Control:
    """One connection to the control API."""

    def __init__(self, net):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(net.ready["socket"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def set_policy(self, rules):
        """Returns when it is in force: (nanoseconds before the request, and after the answer)."""
        body = json.dumps({"rules": rules}).encode()
        before = time.time_ns()
        self.sock.sendall(b"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                          % (len(body), body))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(65536)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 2"), answer
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                       if line.startswith(b"content-length")), 0)
        while len(rest) < length:
            rest += self.sock.recv(65536)
        return before, time.time_ns()


class Datagrams:
    """UDP to the name that flaps, a datagram each tick, until stop()."""

    def __init__(self, guest):
        self.sock = guest.udp("0.0.0.0")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over.wait(TICK):
            try:
                self.sock.sendto(b"\1datagram", (PUBLIC4_B, UDP_PORT))
            except OSError:
                pass            # what ICMP says of an earlier one

    def stop(self):
        self.over.set()
        self.thread.join(30)
        self.sock.close()


@pytest.fixture
def net(gateway, dns):
    dns.records.update({GOOD: [("A", PUBLIC4, 0)],
                        FLAP: [("A", PUBLIC4, 0), ("A", PUBLIC4_B, 0)]})
    running = gateway(*(part for rule in BOTH for part in ("--rule", rule)), profile=None)
    ask(running, GOOD)
    ask(running, FLAP)
    return running


def revoked_spans(changes):
    """(from, to) in nanoseconds, between the answer to each revocation and the next request."""
    spans, since = [], None
    for rules, before, after in changes:
        if since is not None:
            spans.append((since, before))
        since = after if rules is ONE else None
    return spans


def flaps(p):
    """A packet that must not leave while the name is revoked.

    At the address of that name alone nothing may, but for the reset; at the one that it shares a
    connection may be opened, since another name allows it, but carries nothing."""
    if p.proto == TCP and p.dport == FLAP_PORT:
        return p.size > 0 or (p.dst == PUBLIC4_B and not p.flags & RST)
    if p.proto == UDP:
        return p.dport == UDP_PORT or (p.dport == 53 and b"\4flap" in p.payload.lower())
    return False


def in_spans(packets, spans):
    """The packets within any of the spans; both in order of time."""
    found, at = [], 0
    for p in sorted(packets, key=lambda one: one.time_ns):
        while at < len(spans) and spans[at][1] < p.time_ns:
            at += 1
        if at < len(spans) and spans[at][0] < p.time_ns:
            found.append(p)
    return found


def rounds(count, least, seconds=60):
    """So many, or, but for the least, what a slow machine has of them in so many seconds."""
    deadline = time.monotonic() + seconds
    for i in range(count):
        if i >= least and time.monotonic() > deadline:
            return
        yield i


def swap_under_load(net, world, swaps, watched_each=20):
    """Revokes and gives back under load.  Now and then it waits until everything has noticed.
    `swaps` are the numbers of the changes."""
    changes, rss = [], []
    with Recorder(world.world, snap=SNAP) as wire, Control(net) as control, \
            world.world.udp(PUBLIC4_B, UDP_PORT):
        flows, datagrams = Flows(net.guest, world.world, KINDS), Datagrams(net.guest)
        try:
            wait_for(lambda: all(flows.carried.values()), 60, "every kind of flow carries data")
            for i in swaps:
                rules = (ONE, BOTH)[i % 2]
                changes.append((rules, *control.set_policy(rules)))
                if i % watched_each == 0:
                    wait_for(lambda: not flows.alive(FLAPPING[0]), 60, "every revoked flow is cut")
                    assert ask(net, FLAP).rcode() == 3
                elif i % watched_each == 1:
                    before = dict(flows.carried)
                    wait_for(lambda: all(flows.carried[one] > before[one] for one in before), 60,
                             "what was given back carries data, and so does all else")
                    rss.append(net.rss_bytes())
            carried, cut = flows.stop(), dict(flows.cut)
        finally:
            datagrams.stop()
            flows.close()
            assert not flows.errors, flows.errors[:3]
        wire.settle(world.host, WORLD4)
        packets = [p for p in wire.packets if not p.outgoing and p.interface == "near"]
    spans = revoked_spans(changes)
    late = in_spans(filter(flaps, packets), spans)
    assert not late, f"{len(late)} packets of a revoked name, such as {late[:3]}"
    assert sum(flaps(p) for p in packets) > 100, "nothing was seen of it when it was allowed"
    assert all(count > 0 for label, count in cut.items() if label in FLAPPING), cut
    if not SANITIZED:
        assert max(rss) - rss[0] < RSS_GROWTH_BYTES, rss
    times = sorted(after - before for _, before, after in changes)
    print(f"{len(changes)} changes, {times[len(times) // 2] / 1e6:.2f} ms each at the median, "
          f"{times[-1] / 1e6:.2f} ms at most; {carried} bytes of flows that were never cut; "
          f"cut {cut}; {len(spans)} spans")


def test_a_thousand_changes_under_load_let_nothing_through_and_cut_nothing_else(net, world):
    """Case 60.  100 flows, half of them to a name that every other change revokes."""
    fds = net.fd_count()
    swap_under_load(net, world, rounds(1000, least=200))
    wait_for(lambda: net.fd_count() <= fds + 4, 60, "descriptors go back")


@pytest.mark.long
def test_twenty_thousand_changes_under_load_do_too(net, world):
    swap_under_load(net, world, range(20_000))


class Echo:
    """Servers in the guest, and clients in world that come again whenever they are cut."""

    def __init__(self, net, world, source):
        self.net, self.world, self.source = net, world, source
        self.over, self.carried, self.cut = threading.Event(), 0, 0
        self.listener = net.guest.listen("0.0.0.0", 80)
        self.datagrams = net.guest.udp("0.0.0.0", 53, timeout=0.05)
        self.listener.settimeout(0.05)
        self.udp = world.world.udp(source, timeout=TICK)
        runs = [self._accept, self._echo_datagrams, self._send_datagrams] + [self._connect] * 4
        self.threads = [threading.Thread(target=run, daemon=True) for run in runs]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        for sock in (self.listener, self.datagrams, self.udp):
            sock.close()

    def _accept(self):
        while not self.over.is_set():
            try:
                sock, _ = self.listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    @staticmethod
    def _echo(sock):
        with sock:
            try:
                while data := sock.recv(65536):
                    sock.sendall(data)
            except OSError:
                pass

    def _echo_datagrams(self):
        while not self.over.is_set():
            try:
                self.datagrams.sendto(*self.datagrams.recvfrom(2048))
            except TimeoutError:
                pass

    def _connect(self):
        while not self.over.wait(TICK):
            try:
                with self.world.world.connect(HOST4, self.net.port(80),
                                              source=(self.source, 0)) as sock:
                    while not self.over.wait(0.002):
                        sock.sendall(b"\1" * CHUNK)
                        self.carried += len(sock.recv(CHUNK))
            except OSError:
                self.cut += 1

    def _send_datagrams(self):
        while not self.over.is_set():
            self.udp.sendto(b"\1 datagram", (HOST4, self.net.port(53, "udp")))
            try:
                self.udp.recv(2048)
                self.over.wait(TICK)
            except TimeoutError:
                pass


def test_a_client_gets_no_byte_through_while_it_is_denied_and_another_misses_none(gateway, world):
    """Published ports, TCP and UDP; 100 times denied and allowed again, under load."""
    denied, steady = PUBLIC4_B, PUBLIC4
    net = gateway(publish=[f"{HOST4}:0:80", f"{HOST4}:0:53/udp"])
    spans = {"out": [], "in": []}
    with Recorder(world.world, snap=SNAP) as outside, Recorder(net.guest, snap=SNAP) as inside, \
            Control(net) as control, Echo(net, world, denied) as flapping, \
            world.world.connect(HOST4, net.port(80), source=(steady, 0)) as client:

        def echoed(number):
            """Frames keep their order, so what was under way to the guest is there as well."""
            data = pattern(number, 0, 20_000)
            client.sendall(data)
            assert read_exactly(client, len(data)) == data

        for i in rounds(100, least=20):
            before = flapping.carried
            wait_for(lambda: flapping.carried > before, what="what is allowed carries data")
            _, answered = control.set_policy([f"deny:ingress@{denied}"])
            echoed(i)
            there = time.time_ns()
            request, _ = control.set_policy([f"deny:ingress@{WORLD4}"])
            spans["out"].append((answered, request))
            spans["in"].append((there, request))
        outside.settle(world.host, WORLD4)
        out = [p for p in outside.packets
               if p.interface == "near" and not p.outgoing and p.dst == denied and p.size]
        into = [p for p in inside.packets if not p.outgoing and p.src == denied and p.size]
        wait_for(lambda: flapping.cut >= len(spans["out"]), what="each change cut a connection")
    assert {p.proto for p in out} == {p.proto for p in into} == {TCP, UDP}
    assert not in_spans(out, spans["out"]), "to the client"
    assert not in_spans(into, spans["in"]), "to the guest"


def test_what_the_host_had_already_taken_of_a_revoked_flow_is_not_sent(net, world):
    """Bytes in the host's own socket buffer: the far end's window is full when the change comes."""
    with Control(net) as control, world.world.listen(PUBLIC4_B, FLAP_PORT) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = net.guest.connect(PUBLIC4_B, FLAP_PORT)
        far, _ = listener.accept()
        with client, far:
            client.setblocking(False)
            quiet = time.monotonic()
            while time.monotonic() - quiet < 0.5:       # until nothing more is taken
                try:
                    if client.send(b"\1" * 65536):
                        quiet = time.monotonic()
                except BlockingIOError:
                    select.select([], [client], [], 0.05)
            with Recorder(world.world, snap=SNAP) as wire:
                _, after = control.set_policy(ONE)
                far.settimeout(30)
                with pytest.raises(ConnectionResetError):
                    while far.recv(1 << 20):
                        pass
                wire.settle(world.host, WORLD4)
                late = [p for p in wire.packets
                        if flaps(p) and not p.outgoing and p.time_ns > after]
                assert not late, late[:3]
            with pytest.raises(ConnectionResetError):
                client.setblocking(True)
                client.settimeout(30)
                client.recv(1)


def test_a_question_under_way_is_not_asked_again_once_its_name_is_revoked(net, world, dns):
    """The resolver is silent, so that it would be asked again after a second."""
    dns.records[FLAP] = "SILENT"
    with Recorder(world.world) as wire, Control(net) as control, net.guest.udp("0.0.0.0") as sock:
        sock.connect(("192.168.127.1", 53))
        sock.send(make(FLAP, "TXT").to_wire())
        wait_for(lambda: dns.asked(FLAP), what="the question upstream")
        _, after = control.set_policy(ONE)
        assert sock.recv(4096)[3] & 15 == 3, "NXDOMAIN, at once"
        # Longer than all that the resolver would have been asked again.
        assert not select.select([sock], [], [], 5)[0]
        wire.settle(world.host, WORLD4)
        assert not [p for p in wire.packets
                    if not p.outgoing and flaps(p) and p.time_ns > after]


@pytest.mark.parametrize("looked_up", [True, False], ids=["looked-up", "never-looked-up"])
def test_a_connection_from_before_names_counted_ends_where_it_may_be_for_a_denied_one(
        gateway, world, dns, looked_up):
    """On an address that two names share, nobody has read which of them it is for."""
    dns.records.update({GOOD: [("A", PUBLIC4)], FLAP: [("A", PUBLIC4)]})
    net = gateway(profile="public")
    ask(net, GOOD)
    if looked_up:
        assert addresses(ask(net, FLAP)) == [PUBLIC4]
    with Control(net) as control, world.world.listen(PUBLIC4, FLAP_PORT) as listener:
        client = net.guest.connect(PUBLIC4, FLAP_PORT)
        far, _ = listener.accept()
        with client, far:
            far.settimeout(30)
            client.sendall(b"GET / HTTP/1.1\r\n")
            assert far.recv(100)
            control.set_policy(ONE)
            if looked_up:
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            else:
                client.sendall(b"Host: good.test\r\n\r\n")
                assert far.recv(100)


def test_a_connection_ends_when_its_address_becomes_one_of_the_hosts_network(gateway, world):
    """The rules are the same, and mean something else by then."""
    world.world.ip("addr add 5.5.8.2/32 dev lo")
    try:
        net = gateway(profile="public")
        with world.world.listen("5.5.8.2", STEADY_PORT) as listener:
            client = net.guest.connect("5.5.8.2", STEADY_PORT)
            far, _ = listener.accept()
        with client, far:
            world.host.ip("addr add 5.5.8.1/24 dev far")
            client.settimeout(30)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    finally:
        world.world.ip("addr del 5.5.8.2/32 dev lo")
        world.host.run("ip", "addr", "del", "5.5.8.1/24", "dev", "far")
