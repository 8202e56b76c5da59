"""Host and world: the namespaces on the far side of the gateway.

    guest (one per gateway)        host                          world
    tap0 == tapbridge == socket == hostd -- veth ---- veth -- servers of ours
    192.168.127.2                  198.18.0.1                 198.18.0.2 and more, see below
"""
from .netns import Namespace, wait_for

HOST4, WORLD4 = "198.18.0.1", "198.18.0.2"
HOST6, WORLD6 = "fd51:1ce::1", "fd51:1ce::2"
# More addresses of world, beyond the host's own links (reached by the host's default route).
FAR4, FAR6 = "198.18.7.7", "fd51:1ce:7::7"
# Addresses that count as public; they exist in these namespaces only.
PUBLIC4, PUBLIC6 = "5.5.5.5", "2a00:5555::5"
PUBLIC4_B, PUBLIC6_B = "5.5.6.6", "2a00:5555::6"
DNS4, DNS6 = "198.18.0.53", "fd51:1ce::53"
# Where nothing answers: world drops what goes there.
BLACKHOLE4, BLACKHOLE6 = "198.18.8.{}", "fd51:1ce:8::{:x}"
# The host has no way there: it knows at once.  World refuses: it says so by ICMP.
NO_ROUTE4, NO_ROUTE6 = "198.18.9.9", "fd51:1ce:9::9"
NO_HOST4, NO_HOST6 = "198.18.10.10", "fd51:1ce:10::10"
# One hop behind world: TTL 1 from the host ends in world.
BEHIND4, BEHIND6 = "198.18.20.99", "fd51:1ce:20::99"


class World:
    def __init__(self):
        self.host, self.world = Namespace("host"), Namespace("world")
        h, w = self.host, self.world
        for ns in (h, w):
            ns.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0,
                      net__ipv6__conf__default__dad_transmits=0,
                      net__ipv4__tcp_max_syn_backlog=8192, net__core__somaxconn=4096)
        h.ip(f"link add far type veth peer name near netns {w.path}",
             f"addr add {HOST4}/24 dev far", f"addr add {HOST6}/64 dev far nodad",
             "link set far up")
        w.ip("link set near up", f"addr add {WORLD4}/24 dev near",
             f"addr add {DNS4}/24 dev near",
             f"addr add {WORLD6}/64 dev near nodad", f"addr add {DNS6}/64 dev near nodad",
             *(f"addr add {a}/32 dev lo" for a in (FAR4, PUBLIC4, PUBLIC4_B)),
             *(f"addr add {a}/128 dev lo nodad" for a in (FAR6, PUBLIC6, PUBLIC6_B)),
             "link add beyond type veth peer name nobody", "link set beyond up",
             "link set nobody up",
             "addr add 198.18.20.1/24 dev beyond", "addr add fd51:1ce:20::1/64 dev beyond nodad",
             "route add blackhole 198.18.8.0/24", "route add blackhole fd51:1ce:8::/64",
             "route add unreachable 198.18.10.0/24",
             "route add unreachable fd51:1ce:10::/64")
        h.ip(f"route add default via {WORLD4}", f"route add default via {WORLD6} dev far",
             "route add unreachable 198.18.9.0/24", "route add unreachable fd51:1ce:9::/64")
        w.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                 net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0,
                 net__ipv4__icmp_ratemask=0)
        h.sysctl(net__ipv4__ping_group_range="0 2147483647")
        wait_for(lambda: _answers(h, WORLD6), what="host reaches world over IPv6")

    def close(self):
        self.host.close()
        self.world.close()


def _answers(ns, address):
    """True once a closed port there refuses a connection."""
    try:
        ns.connect(address, 9, timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
