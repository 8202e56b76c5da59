"""Two namespaces, `host` and `world`, and the servers of the world.

     VM --(QEMU's socket)-- hostd in `host` ---veth--- `world`: DNS server, web server
                                   198.18.0.1        198.18.0.2   93.184.216.x, 2606:2800:220:1::x

The servers have addresses that look public, off the link between the namespaces, because hostd
counts the host's own prefixes and all reserved ranges as private. They exist inside `world` only.
"""

import json
import pathlib
import sys

from .namespaces import Namespace

WEB4 = "93.184.216.34"
WEB6 = "2606:2800:220:1::34"
OTHER4 = "93.184.216.99"  # the same web server by an address that no name stands for
OTHER6 = "2606:2800:220:1::99"
DNS4 = "93.184.216.53"

ALLOWED_NAME = "web.example"
ALLOWED_NAME_V6 = "web6.example"  # has only an AAAA record
BLOCKED_NAME = "blocked.example"  # exists, at the address of the allowed one
ZONE = {
    ALLOWED_NAME: [WEB4, WEB6],
    ALLOWED_NAME_V6: [WEB6],
    BLOCKED_NAME: [WEB4, WEB6],
}

SERVERS = pathlib.Path(__file__).with_name("servers.py")


class World:
    """The namespaces `host` and `world`, connected, with DNS and HTTP up in `world`."""

    def __init__(self, directory):
        self._query_log = directory / "queries.log"
        self.host = Namespace("host")
        self.world = Namespace("world")
        self._connect()
        self._servers = self.world.start(
            "servers", [sys.executable, SERVERS, json.dumps(ZONE), DNS4, self._query_log],
            directory / "servers.log")
        self._servers.wait_for_log_line(["ready"])

    def _connect(self):
        host, world = self.host, self.world
        host.run("ip", "link", "add", "veth-world", "type", "veth",
                 "peer", "name", "veth-host", "netns", world.pid)
        for space, link, address4, address6 in (
                (host, "veth-world", "198.18.0.1/30", "fd00:198:18::1/64"),
                (world, "veth-host", "198.18.0.2/30", "fd00:198:18::2/64")):
            space.run("ip", "address", "add", address4, "dev", link)
            space.run("ip", "address", "add", address6, "dev", link, "nodad")
            space.run("ip", "link", "set", link, "up")
        for address in (WEB4, OTHER4, DNS4):
            world.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for address in (WEB6, OTHER6):
            world.run("ip", "address", "add", f"{address}/128", "dev", "lo", "nodad")
        # As systemd sets it on a Debian machine: everybody may open a ping socket.
        host.run("sh", "-c", "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range")
        host.run("ip", "route", "add", "default", "via", "198.18.0.2")
        host.run("ip", "-6", "route", "add", "default", "via", "fd00:198:18::2")

    def queries(self):
        """The names that the DNS server of the world was asked for so far, oldest first."""
        return self._query_log.read_text(encoding="utf-8").split()

    def close(self):
        self._servers.stop()
        self.world.close()
        self.host.close()
