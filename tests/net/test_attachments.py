"""How a NIC reaches hostd, and what happens when a VMM goes, comes back or talks nonsense."""
import os
import signal
import socket
import struct
import subprocess

import pytest

from harness.clients import WORLD, connect_error, pair, read_exactly
from harness.gateway import GATEWAY4, GUEST4, GUEST_MAC
from harness.link import ARP, BROADCAST, Ether, Link, TCP, framed
from harness.netns import Namespace, wait_for

pytestmark = pytest.mark.hostd
ARP_REQUEST = bytes(Ether(src=GUEST_MAC, dst=BROADCAST) /
                    ARP(op=1, hwsrc=GUEST_MAC, psrc=GUEST4, pdst=GATEWAY4))


def carries_data(net, world):
    guest, server = pair(net.guest, world.world, WORLD[4])
    with guest, server:
        guest.sendall(b"x" * 100_000)
        assert read_exactly(server, 100_000) == b"x" * 100_000
        server.sendall(b"y" * 100_000)
        assert read_exactly(guest, 100_000) == b"y" * 100_000
    return True


@pytest.mark.parametrize("kind", ["qemu", "qemu-connect", "fd", "vfkit", "tap", "vhost-user"])
def test_a_guest_on_each_kind_of_attachment_reaches_the_world(gateway, world, kind):
    assert carries_data(gateway(attach=kind), world)


@pytest.mark.parametrize("kind", ["qemu", "qemu-connect", "fd", "vfkit", "tap", "vhost-user"])
def test_ipv6_works_on_each_kind_of_attachment(gateway, world, kind):
    net = gateway(attach=kind)
    net.guest.wait_ipv6()
    guest, server = pair(net.guest, world.world, WORLD[6])
    with guest, server:
        guest.sendall(b"six")
        assert read_exactly(server, 3) == b"six"


def test_a_datagram_guest_that_sends_no_hello_is_served_too(gateway):
    net = gateway(attach="vfkit", guest=False)
    path = os.path.join(net.directory, "vm.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nic:
        nic.bind(path)
        os.chmod(path, 0o777)
        nic.settimeout(3)
        nic.connect(net.socket_path)
        nic.send(ARP_REQUEST)
        while True:
            frame = Ether(nic.recv(65536))
            if ARP in frame:
                assert frame[ARP].psrc == GATEWAY4
                break


def test_a_datagram_guest_gets_an_mtu_of_1500(gateway, world):
    net = gateway(attach="vfkit")
    guest, server = pair(net.guest, world.world, WORLD[4])
    with guest, server:
        assert guest.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1460


def test_a_tap_is_found_by_the_name_of_a_network_namespace(gateway, world):
    """As `ip netns add` makes them: a name below /run/netns."""
    name = f"sluice-test-{os.getpid()}-{os.urandom(3).hex()}"
    path = f"/run/netns/{name}"
    net = ns = None
    os.makedirs("/run/netns", exist_ok=True)
    open(path, "x").close()
    try:
        ns = Namespace("named")
        subprocess.run(["mount", "--bind", ns.path, path], check=True)
        net = gateway(attach="tap", tap=f"tap0@{name}", guest=False)
        ns.ip("link set tap0 up", f"addr add {GUEST4}/24 dev tap0",
              f"route add default via {GATEWAY4}")
        assert connect_error(ns, WORLD[4], 9)[0] == 111
    finally:
        if net:
            net.process.stop()
        if ns:
            subprocess.run(["umount", path], check=False)
            ns.close()
        os.unlink(path)


# ---- the VMM goes and comes back

@pytest.mark.parametrize("kind", ["qemu", "vfkit", "vhost-user"])
def test_a_vmm_that_comes_back_is_served_again(gateway, world, kind):
    net = gateway(attach=kind)
    for _ in range(3):
        assert carries_data(net, world)
        net.guest.leave()
        net.guest.join()
        net.guest.configure()
    assert carries_data(net, world)


@pytest.mark.parametrize("kind", ["qemu", "vhost-user"])
def test_a_vmm_that_is_killed_in_the_middle_of_traffic_is_served_again(gateway, world, load, kind):
    net = gateway(attach=kind)
    run = load.start(net.guest, WORLD[4], flows=8, at=8, up=1 << 28, down=1 << 28, timeout=5)
    wait_for(lambda: net.counter("flows.tcp") >= 8, what="flows")
    net.guest.kill()
    net.guest.join()
    net.guest.configure()
    assert carries_data(net, world)
    run.kill()
    run.stop()
    wait_for(lambda: net.counter("flows.tcp") == 0, limit=30, step=0.1,
             what="the flows of the dead VM gone")


def test_hostd_calls_a_vmm_that_listens_again_after_it_went(gateway, world):
    net = gateway(attach="qemu-connect")
    assert carries_data(net, world)
    net.guest.leave()
    net.guest.join()
    net.guest.ready()
    net.guest.configure()
    assert carries_data(net, world)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 20, 45])
def test_a_vmm_that_goes_in_the_middle_of_a_frame_is_served_at_its_next_connection(gateway, cut):
    net = gateway(attach="raw")
    with Link(net) as link:
        assert link.works()
        link.sock.sendall(framed(ARP_REQUEST)[:cut])
    with Link(net) as link:
        assert link.works()


def test_a_frame_split_at_every_byte_is_put_together(gateway):
    net = gateway(attach="raw")
    whole = framed(ARP_REQUEST)
    with Link(net) as link:
        for cut in range(1, len(whole)):
            link.sock.sendall(whole[:cut])
            # The pause between the two halves: until hostd has taken the first.
            wait_for(lambda: unsent(link.sock) == 0, what="the first half read")
            link.sock.sendall(whole[cut:])
            assert link.wait(lambda f: ARP in f and f[ARP].op == 2) is not None, cut


def unsent(sock):
    import fcntl
    import termios
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]


@pytest.mark.parametrize("length", [0, 1, 13])
def test_a_frame_too_short_to_be_one_is_dropped_and_the_link_goes_on(gateway, length):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.sock.sendall(struct.pack(">I", length) + b"x" * length)
        assert link.works()


@pytest.mark.parametrize("length", [65551, 0x20000, 0x7fffffff, 0xffffffff])
def test_a_length_that_no_frame_has_ends_the_connection_and_the_next_one_works(gateway, length):
    net = gateway(attach="raw")
    with Link(net) as link:
        assert link.works()
        link.sock.sendall(struct.pack(">I", length) + b"x" * 1000)
        assert link.is_closed()
    with Link(net) as link:
        assert link.works()
    assert net.rss_bytes() < 256 << 20


def test_the_longest_frame_is_accepted(gateway):
    net = gateway(attach="raw")
    with Link(net) as link:
        link.send(bytes(Ether(src=GUEST_MAC, dst=BROADCAST, type=0x88b5)) + b"x" * (65550 - 14))
        assert link.works()


def test_no_frame_to_the_guest_is_longer_than_65550_bytes(gateway, world):
    """libkrun panics at longer ones."""
    net = gateway(attach="raw")
    with Link(net) as link, world.world.listen(WORLD[4]) as server:
        port = server.getsockname()[1]
        syn = link.ip(dst=WORLD[4]) / TCP(sport=5000, dport=port, flags="S", seq=100, window=65535,
                                          options=[("MSS", 65480), ("WScale", 8)])
        reply = link.ask(syn, lambda f: TCP in f and f[TCP].flags == "SA")
        peer, _ = server.accept()
        with peer:
            link.send(link.ip(dst=WORLD[4]) / TCP(sport=5000, dport=port, flags="A", seq=101,
                                                  ack=reply[TCP].seq + 1, window=65535))
            peer.sendall(b"z" * 300_000)
            sizes = [len(f) for f in link.frames(0.5)]
        assert sizes and max(sizes) <= 65550


def test_a_second_vmm_does_not_disturb_the_first(gateway):
    net = gateway(attach="raw")
    with Link(net) as first:
        assert first.works()
        with Link(net):
            assert first.works()
        assert first.works()


@pytest.mark.timing
def test_a_guest_that_never_reads_is_no_reason_to_spin_or_to_grow(gateway):
    """A stalled VMM: the socket is full and stays so."""
    net = gateway(attach="raw")
    with Link(net) as link:
        link.arp()
        link.sock.setblocking(False)
        blob = framed(link.ip(dst=GATEWAY4) / (b"\x08\x00\xf7\xff\0\0\0\0" + b"\0" * 1000)) * 50
        for _ in range(400):
            try:
                link.sock.send(blob)
            except BlockingIOError:
                break
        memory = net.rss_bytes()
        wait_for(lambda: net.idles(0.1), what="it does not spin")
        assert net.rss_bytes() < memory + (16 << 20)


def test_hostd_outlives_the_vmm_and_ends_with_it_where_it_was_told_to(gateway):
    stays = gateway(attach="raw")
    goes = gateway("--one-off", attach="raw")
    for net in (stays, goes):
        with Link(net) as link:
            assert link.works()
    assert goes.process.wait(5) == 0
    with Link(stays) as link:
        assert link.works()


def test_hostd_ends_when_its_only_passed_socket_ends(gateway):
    net = gateway(attach="fd")
    net.guest.leave()
    assert net.process.wait(5) == 0


def test_the_socket_is_removed_at_the_end_and_a_stale_one_of_ours_is_replaced(gateway, world):
    net = gateway(attach="raw")
    path, command = net.socket_path, net.process.args
    assert net.process.stop() == 0
    assert not os.path.exists(path)
    assert command
    # A socket that a killed hostd left: nobody listens there any more.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    again = world.host.spawn(*[a for a in strip(command)], stderr=subprocess.DEVNULL)
    try:
        with Link(net) as link:
            assert link.works()
    finally:
        again.stop()


def strip(args):
    """The command line without our wrapper and without the descriptor that is gone."""
    args = list(args)[list(args).index("--") + 1:]
    at = args.index("--ready-fd")
    return args[:at] + args[at + 2:]


def test_a_file_that_is_no_socket_is_never_replaced(gateway, world, tmp_path):
    from harness.gateway import HOSTD
    path = tmp_path / "precious"
    path.write_text("mine")
    done = world.host.run(HOSTD, "run", "--qemu", path)
    assert done.returncode == 1 and str(path) in done.stderr
    assert path.read_text() == "mine"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_hostd_ends_cleanly_on_a_signal_with_flows_open(gateway, world, sign):
    net = gateway()
    guest, server = pair(net.guest, world.world, WORLD[4])
    with guest, server:
        os.kill(net.pid, sign)
        assert net.process.wait(5) == 0
        server.settimeout(5)
        try:
            assert server.recv(10) == b""
        except ConnectionResetError:
            pass


def test_a_killed_hostd_leaves_nothing_that_stops_the_next_one(gateway, world):
    net = gateway(attach="raw", publish=["127.0.0.1:18999:80"])
    command = strip(net.process.args)
    net.process.kill()
    net.process.wait()
    again = world.host.spawn(*command, stderr=subprocess.DEVNULL)
    try:
        with Link(net) as link:
            assert link.works()
    finally:
        again.stop()


@pytest.mark.parametrize("ethertype", [0x8100, 0x88a8, 0x0042, 0x88cc, 0xffff])
def test_a_frame_of_another_kind_is_dropped_and_the_link_goes_on(gateway, ethertype):
    net = gateway(attach="raw")
    with Link(net) as link:
        for size in (0, 1, 4, 46, 1500):
            link.send(bytes(Ether(src=GUEST_MAC, dst=BROADCAST, type=ethertype)) + b"\0" * size)
        assert link.works()
