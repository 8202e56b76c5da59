"""FIN, half-close and RST cross the gateway as they are, and data before them is delivered.

Each scene is played on a connection of the guest's to the world and on one of the world's to a
published port of the guest's.  After it neither a flow nor a descriptor may be left."""
import errno
import select
import socket

import pytest

from harness.clients import (FAMILIES, HOST, WORLD, connect_error, error_of_recv, fill, pair,
                             read_exactly, read_to_end, ready_for, reset, transfer)
from harness.gateway import GATEWAY4
from harness.netns import wait_for
from harness.servers import body_of
from harness.world import HOST4, HOST6

MEGABYTE = body_of(1 << 20)
INTO_GUEST = {4: 80, 6: 86}                     # published guest ports
NET = dict(publish=[f"{HOST4}:0:{INTO_GUEST[4]}", f"[{HOST6}]:0:{INTO_GUEST[6]}"])


def connect_out(net, world, family):
    return pair(net.guest, world.world, WORLD[family])


def connect_in(net, world, family):
    port = INTO_GUEST[family]
    with net.guest.listen("0.0.0.0" if family == 4 else "::", port) as listener:
        peer = world.world.connect(HOST[family], net.port(port))
        guest, _ = listener.accept()
    guest.settimeout(30)
    return guest, peer


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=[pytest.param(connect_out, id="out"),
                        pytest.param(connect_in, id="in", marks=pytest.mark.hostd)])
def ends(net, world, family, request):
    """A connection between guest and world: (guest's end, world's end)."""
    ready_for(family, net)
    is_hostd = hasattr(net, "ready_line")
    if is_hostd:                                # an answer: it has taken all of the attachment's
        assert connect_error(net.guest, GATEWAY4, 1)[0] == errno.ECONNREFUSED
    fds = net.fd_count()
    guest, peer = request.param(net, world, family)
    yield guest, peer
    guest.close()
    peer.close()
    if is_hostd:
        wait_for(lambda: net.counter("flows.tcp") == 0 and net.counter("memory_bytes") == 0
                 and net.fd_count() <= fds, limit=60, step=0.05,
                 what="no flow, no memory of one and no descriptor left")


def test_a_guest_that_closes_its_side_still_gets_the_answer(ends):
    guest, peer = ends
    guest.sendall(b"request")
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(peer) == b"request"
    assert transfer(peer, MEGABYTE, guest) == MEGABYTE


def test_a_peer_that_closes_its_side_still_gets_the_request(ends):
    guest, peer = ends
    peer.sendall(b"banner")
    peer.shutdown(socket.SHUT_WR)
    assert read_to_end(guest) == b"banner"
    assert transfer(guest, MEGABYTE, peer) == MEGABYTE


def test_a_half_closed_connection_stays_open_while_nothing_is_said(ends):
    guest, peer = ends
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(peer) == b""
    assert not select.select([guest], [], [], 2)[0], "the guest's side ended with the peer's"
    peer.sendall(b"late answer")
    assert read_exactly(guest, 11) == b"late answer"


def test_a_close_by_the_guest_reaches_the_peer_as_end_of_stream(ends):
    guest, peer = ends
    guest.close()
    assert read_to_end(peer) == b""


def test_a_close_by_the_peer_reaches_the_guest_as_end_of_stream(ends):
    guest, peer = ends
    peer.close()
    assert read_to_end(guest) == b""


def test_a_reset_by_the_guest_reaches_the_peer_as_a_reset(ends):
    guest, peer = ends
    guest.sendall(b"x")
    assert read_exactly(peer, 1) == b"x"
    reset(guest)
    assert error_of_recv(peer) == errno.ECONNRESET


def test_a_reset_by_the_peer_reaches_the_guest_as_a_reset(ends):
    guest, peer = ends
    guest.sendall(b"x")
    assert read_exactly(peer, 1) == b"x"
    reset(peer)
    assert error_of_recv(guest) == errno.ECONNRESET


def test_a_peer_that_resets_in_mid_stream_resets_the_guest(ends):
    guest, peer = ends
    fill(guest, quiet=0.2, most=1 << 22)
    guest.setblocking(True)
    guest.settimeout(30)
    reset(peer)                                 # with unread data: the kernel would reset anyway

    def broken():
        try:
            guest.send(b"x" * 1000)
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False
    wait_for(broken, what="the guest learns of the reset")


def test_a_guest_that_resets_in_mid_stream_resets_the_peer(ends):
    guest, peer = ends
    fill(peer, quiet=0.2, most=1 << 22)
    peer.setblocking(True)
    peer.settimeout(30)
    reset(guest)

    def broken():
        try:
            peer.send(b"x" * 1000)
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False
    wait_for(broken, what="the peer learns of the reset")


def test_a_peer_that_closes_with_unread_data_resets_the_guest(ends):
    """Linux answers data that nobody will read by RST; the guest must not see a clean end."""
    guest, peer = ends
    guest.sendall(b"never read")
    wait_for(lambda: peer.recv(10, socket.MSG_PEEK), what="the data at the peer")
    peer.close()
    assert error_of_recv(guest) == errno.ECONNRESET


def test_a_reset_after_the_guests_half_close_is_still_a_reset(ends):
    guest, peer = ends
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(peer) == b""
    reset(peer)
    assert error_of_recv(guest) == errno.ECONNRESET


def test_the_tail_of_a_download_reaches_a_slow_reader_after_the_peer_has_gone(ends):
    guest, peer = ends
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    sent = fill(peer, quiet=0.3, most=1 << 22)
    peer.close()
    assert len(read_to_end(guest)) == sent


def test_the_tail_of_an_upload_reaches_a_slow_peer_after_the_guest_has_gone(ends):
    guest, peer = ends
    sent = fill(guest, quiet=0.3, most=1 << 24)
    guest.close()
    assert len(read_to_end(peer)) == sent


def test_data_and_fin_in_one_go_are_both_delivered(ends):
    guest, peer = ends
    guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    guest.sendall(b"last words")
    guest.close()
    assert read_to_end(peer) == b"last words"


def test_a_reset_after_the_peers_end_of_stream_ends_the_flow(ends):
    guest, peer = ends
    peer.shutdown(socket.SHUT_WR)
    assert read_to_end(guest) == b""
    reset(guest)
    assert error_of_recv(peer) in (b"", errno.ECONNRESET)


def test_urgent_data_does_not_break_the_stream(ends):
    guest, peer = ends
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    guest.sendall(b"before")
    guest.send(b"!", socket.MSG_OOB)
    guest.sendall(b"after")
    guest.shutdown(socket.SHUT_WR)
    assert read_to_end(peer).replace(b"!", b"") == b"beforeafter"
