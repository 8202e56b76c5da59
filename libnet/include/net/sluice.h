#ifndef NET_SLUICE_H
#define NET_SLUICE_H

/* The C interface of libnet: a guest's network for a VMM that is not written in C++. It offers what
 * net/network.h and net/ring.h do, whose documentation also holds here; this file says only what is
 * different.
 *
 * Errors: functions return a sluice_status. The sentence for people is written to `error`, cut to
 * `error_size` bytes with a final zero; pass NULL and 0 to do without.
 * Threads: as in C++. Strings: UTF-8, with a final zero; the library copies what it is given.
 * No exception and no abort comes out of a call; a NULL where none is allowed is
 * SLUICE_INVALID_ARGUMENT. Functions that return no status treat a NULL ring as one that is closed
 * and empty, its descriptors as -1, and a NULL configuration as one that nobody reads. */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The same values as sluice::StatusCode. */
typedef enum sluice_status {
  SLUICE_OK = 0,
  SLUICE_INVALID_ARGUMENT = 1,
  SLUICE_NOT_FOUND = 2,
  SLUICE_ALREADY_EXISTS = 3,
  SLUICE_PERMISSION_DENIED = 4,
  SLUICE_EXHAUSTED = 5,
  SLUICE_WOULD_BLOCK = 6,
  SLUICE_TIMED_OUT = 7,
  SLUICE_REFUSED = 8,
  SLUICE_UNREACHABLE = 9,
  SLUICE_CLOSED = 10,
  SLUICE_UNSUPPORTED = 11,
  SLUICE_INTERNAL = 12
} sluice_status;

typedef struct sluice_config sluice_config;
typedef struct sluice_network sluice_network;
typedef struct sluice_ring sluice_ring;

/* ---- Configuration. Everything has the default of sluice::NetworkConfig. ---- */

/* NULL without memory. Freed by sluice_config_free(), not by sluice_network_create(). */
sluice_config* sluice_config_new(void);
void sluice_config_free(sluice_config* config);

/* Settings by name, as hostd's flags have them, values as text:
 *   name, subnet, gateway, guest, host-alias, prefix6, mtu, guest-name, lease-file, resolv-conf,
 *   profile, dns-ca, max-flows, memory-bytes              (the last one given counts)
 *   allow, deny, rule, publish, reverse, dns, route       (each call adds one, in order)
 * SLUICE_NOT_FOUND: no such setting. SLUICE_INVALID_ARGUMENT: the value can't be used. */
sluice_status sluice_config_set(sluice_config* config, const char* setting, const char* value,
                                char* error, size_t error_size);

/* Called for each refusal, on the Network's thread: it must return soon and not call the library.
 * `line` is one line for people, valid during the call. */
typedef void (*sluice_denied_fn)(void* context, const char* line);
void sluice_config_on_denied(sluice_config* config, sluice_denied_fn callback, void* context);

/* ---- The Network. One per process at a time. ---- */

sluice_status sluice_network_create(const sluice_config* config, sluice_network** network,
                                    char* error, size_t error_size);
/* Rings that are still attached stay valid and answer SLUICE_CLOSED. NULL is allowed. */
void sluice_network_free(sluice_network* network);

/* Publishes a port while running; `bound_port` (may be NULL) receives the host port. */
sluice_status sluice_network_publish(sluice_network* network, const char* spec,
                                     uint16_t* bound_port, char* error, size_t error_size);
/* `reset_flows` is 0 to let open connections live, else they are reset. */
sluice_status sluice_network_unpublish(sluice_network* network, const char* spec, int reset_flows,
                                       char* error, size_t error_size);
/* Drops what the guest's DNS answers bound to a name. */
sluice_status sluice_network_forget(sluice_network* network, const char* name, char* error,
                                    size_t error_size);
/* Calls `visit` for each name bound to an address, latest first. */
sluice_status sluice_network_names_of(sluice_network* network, const char* address,
                                      void (*visit)(void* context, const char* name), void* context,
                                      char* error, size_t error_size);
/* The gateway's address as text; `family` is 4 or 6. */
sluice_status sluice_network_gateway(sluice_network* network, int family, char* out,
                                     size_t out_size);

/* One flow, as sluice::FlowInfo has it. Valid during the call that shows it, and so are its
 * strings; what there is none of is an empty string. */
typedef struct sluice_flow {
  uint64_t id;
  const char* protocol;  /* "tcp", "udp", "icmp" */
  const char* direction; /* "egress", "ingress" */
  const char* state; /* "connecting", "unanswered", "inspecting", "open", "closing", "time-wait" */
  const char* guest; /* "192.168.127.2:40000"; of ICMP without a port */
  const char* remote;
  const char* server_name;
  const char* rule;         /* what allows it */
  const char* const* names; /* name_count of them, latest first */
  size_t name_count;
  uint64_t age_ns, idle_ns;
  uint64_t tx_bytes, rx_bytes;
} sluice_flow;
typedef void (*sluice_flow_fn)(void* context, const sluice_flow* flow);

/* Which flows are meant, as sluice::FlowFilter has it; what is NULL or 0 does not matter. */
typedef struct sluice_flow_filter {
  const char* to;        /* an address, a block, a name, "*.name" */
  const char* protocol;  /* as in sluice_flow */
  const char* direction; /* likewise */
  uint64_t after;        /* only flows with greater ids: the next page */
  size_t limit;          /* of one call: 1 to 10000; 0 is 1000 */
} sluice_flow_filter;

/* Calls `visit` on the calling thread for each flow that `filter` (NULL: all) lets through, in the
 * order of their ids; `rest` (may be NULL) receives how many come after these. */
sluice_status sluice_network_flows(sluice_network* network, const sluice_flow_filter* filter,
                                   sluice_flow_fn visit, void* context, size_t* rest, char* error,
                                   size_t error_size);
/* Calls `visit` for one flow. SLUICE_NOT_FOUND: it has ended, or there never was one. */
sluice_status sluice_network_flow(sluice_network* network, uint64_t id, sluice_flow_fn visit,
                                  void* context, char* error, size_t error_size);
/* Resets a flow; one that has ended already is no error, and `was_open` (may be NULL) receives 0.
 * SLUICE_NOT_FOUND: there never was one. */
sluice_status sluice_network_reset_flow(sluice_network* network, uint64_t id, int* was_open,
                                        char* error, size_t error_size);

typedef struct sluice_counters {
  uint64_t tx_frames, tx_bytes; /* sent by the guest */
  uint64_t rx_frames, rx_bytes; /* received by the guest */
  uint64_t tcp_flows, udp_flows, icmp_flows;
  uint64_t tcp_opened;
  uint64_t tcp_retransmissions;
  uint64_t denials;
  uint64_t dns_queries;
  uint64_t memory_bytes;
} sluice_counters;
sluice_status sluice_network_counters(sluice_network* network, sluice_counters* out);

/* ---- The guest's NIC: see net/ring.h for the protocol of wakes. ---- */

/* Rings of `frames` places each way; 0: the default. */
sluice_status sluice_ring_attach(sluice_network* network, size_t frames, sluice_ring** ring,
                                 char* error, size_t error_size);
/* The same with a virtio_net_hdr before each frame, both ways: RingOptions::virtio_header. */
sluice_status sluice_ring_attach_virtio(sluice_network* network, size_t frames, sluice_ring** ring,
                                        char* error, size_t error_size);
/* Unplugs the NIC: once the Network has noticed, another may be attached. NULL is allowed. */
void sluice_ring_free(sluice_ring* ring);

sluice_status sluice_ring_send(sluice_ring* ring, const struct iovec* pieces, size_t count);
void sluice_ring_flush(sluice_ring* ring);
int sluice_ring_space_fd(const sluice_ring* ring);
void sluice_ring_clear_space_wake(sluice_ring* ring);

/* The next frame and its size in `size`; NULL if there is none. Valid until sluice_ring_pop(). */
const uint8_t* sluice_ring_peek(sluice_ring* ring, size_t* size);
void sluice_ring_pop(sluice_ring* ring);
/* Up to `count` next frames; how many. They are valid until popped. */
size_t sluice_ring_peek_many(sluice_ring* ring, struct iovec* frames, size_t count);
void sluice_ring_pop_many(sluice_ring* ring, size_t count);
/* What the guest takes: bits of these. See RingLink::set_guest_offloads(). Any thread. */
#define SLUICE_GUEST_CHECKSUM 1u
#define SLUICE_GUEST_TCP4 2u
#define SLUICE_GUEST_TCP6 4u
#define SLUICE_GUEST_TCP_ECN 8u
void sluice_ring_set_guest_offloads(sluice_ring* ring, unsigned offloads);
/* 1: asleep until frames_fd is readable. 0: there is a frame already. */
int sluice_ring_arm_receive(sluice_ring* ring);
int sluice_ring_frames_fd(const sluice_ring* ring);
void sluice_ring_clear_frames_wake(sluice_ring* ring);
int sluice_ring_closed(const sluice_ring* ring);

#ifdef __cplusplus
}
#endif

#endif /* NET_SLUICE_H */
