#pragma once

// lwIP as a TCP engine and nothing else: we parse and emit Ethernet and IP, keep the flow table,
// and call tcp_input(). What is not named here has lwIP's default (lwip/opt.h).

// One thread, no operating system layer, timers driven by the adapter.
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0

// Protocols that we speak ourselves.
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_ICMP 0
#define LWIP_RAW 0
#define LWIP_UDP 0
#define LWIP_IGMP 0
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_ACD 0
#define LWIP_DNS 0
#define IP_FORWARD 0
#define IP_REASSEMBLY 0
#define IP_FRAG 0

// lwIP has no IPv6 without its ICMPv6 and neighbour discovery: they are linked for the route and
// path MTU of a destination, with their tables at their least, and no packet ever reaches them.
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_MLD 0
#define LWIP_ND6_QUEUEING 0
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_ND6_NUM_NEIGHBORS 1
#define LWIP_ND6_NUM_DESTINATIONS 1
#define LWIP_ND6_NUM_PREFIXES 1
#define LWIP_ND6_NUM_ROUTERS 1

// Memory is the C library's, so the limits on flows and bytes are ours and not the pools' (a pool
// of more than 65535 elements silently overflows).
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_POOL_BUFSIZE \
  2048  // nobody allocates one; the default follows TCP_MSS and overflows u16

// Segments as large as a pbuf can describe (64 KiB less the TCP header), which lwIP's sanity checks
// (written for 16-bit send buffers) would refuse. The adapter lowers a connection's MSS to the
// guest's.
#define TCP_MSS 65495
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
#define TCP_SNDLOWAT 32768

// Bytes in flight per connection and direction. A PCB is born with the whole window; the adapter
// narrows it. Below 1 MiB a single flow loses throughput, above it caches do. More is sent only of
// what is not in memory.
#define TCP_WND (1024 * 1024)
#define TCP_SND_BUF (4 * 1024 * 1024)
#define TCP_SND_QUEUELEN 60000
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 8

// Host data goes in by reference, so there is no tail to leave room in.
#define TCP_OVERSIZE 0
#define LWIP_NETIF_TX_SINGLE_PBUF 0

// What a guest can make us hold out of order: one window, in Ethernet-sized pieces.
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (1024 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 1024
#define LWIP_TCP_SACK_OUT 1

// The listener only ever receives a SYN that was let through, one at a time.
#define TCP_LISTEN_BACKLOG 0
#define LWIP_TCP_TIMESTAMPS 0

// Milliseconds. TIME_WAIT of 2 * MSL holds a 4-tuple; on a link of one hop nothing arrives late.
#define TCP_MSL 500

// Checksums are verified and made at the edge, by us.
#define CHECKSUM_GEN_IP 0
#define CHECKSUM_GEN_TCP 0
#define CHECKSUM_GEN_UDP 0
#define CHECKSUM_GEN_ICMP 0
#define CHECKSUM_GEN_ICMP6 0
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_UDP 0
#define CHECKSUM_CHECK_ICMP 0
#define CHECKSUM_CHECK_ICMP6 0

// One function for what happens to a PCB instead of six pointers in each: 48 bytes. It is named as
// ours, since only what lwIP defines gets a prefix (cmake/prefix-lwip); see hooks.h.
#define LWIP_EVENT_API 1
#define lwip_tcp_event sluice_tcp_event

// A pointer to the PCB's hints reaches netif->output, and by it the adapter finds the PCB.
#define LWIP_NETIF_HWADDRHINT 1

// lwIP's own numbers are a counter that anybody can guess.
#define LWIP_HOOK_FILENAME "hooks.h"
#define LWIP_HOOK_TCP_ISN sluice_tcp_isn

// Statistics: TCP's, with the retransmissions in lwip_stats.mib2.tcpretranssegs. Nobody reads when
// an interface last changed, the one thing that would need sys_now().
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LWIP_STATS_DISPLAY 0
#define TCP_STATS 1
#define MIB2_STATS 1
#define MIB2_COPY_SYSUPTIME_TO(destination) (*(destination) = 0)
#define LINK_STATS 0
#define IP_STATS 0
#define IP6_STATS 0
#define ICMP_STATS 0
#define ICMP6_STATS 0
#define ND6_STATS 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0
