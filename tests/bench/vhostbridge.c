/* vhostbridge: join a TAP interface to a vhost-user socket, as a VMM with a virtio NIC would.
 *
 *   vhostbridge [options] IFNAME SOCKET
 *     -m MTU      MTU of the interface (68..65520, default 1500)
 *     -a MAC      MAC address of the interface
 *     -w SECONDS  how long to retry connect() (default 5)
 *     -n          no offloads: neither checksums nor segmentation
 *     -e          no event index: notifications by the flags
 *     -s          receive buffers that hold any frame, instead of merged ones of a page
 *
 * The kernel behind the TAP is the guest.  The rings and buffers lie in a memfd that the back end
 * maps.  Offloads and the event index are used where the back end offers them.  One thread for each direction, each blocking where it has nothing to do: on the TAP, or on
 * the eventfd by which the back end calls.  The virtio_net_hdr goes through as it is.  Prints "ready"
 * once joined; on SIGTERM, SIGINT or the back end's end it prints its counters to stderr and exits. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

#define HEADER 12
#define FRAME 65550
#define TX_SIZE 64
#define TX_BUFFER (68 * 1024)
#define RX_SIZE 512
#define RX_PAGE 4096
#define GUEST 0x100000000ull /* where the memory lies for the guest: any place, but not ours */

enum { GET_FEATURES = 1, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 5, SET_VRING_NUM = 8,
       SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL,
       GET_PROTOCOL = 15, SET_PROTOCOL, SET_VRING_ENABLE = 18 };

struct queue {
	struct vring ring;
	uint16_t avail, used; /* the next index of each */
	int kick, call;
};

static int tap, sk, offload = 1, event_index = 1, merged = 1;
static uint8_t *memory;
static size_t memory_size, rx_buffer;
static struct queue rx, tx;
static uint8_t *rx_buffers, *tx_buffers;
static struct { uint64_t frames, bytes, wakes; } up, down;

static void die(const char *what)
{
	fprintf(stderr, "vhostbridge: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void finish(const char *why, int rc)
{
	fprintf(stderr, "vhostbridge: %s; tx frames %llu bytes %llu kicks %llu; rx frames %llu bytes "
		"%llu calls %llu\n", why, (unsigned long long)up.frames, (unsigned long long)up.bytes,
		(unsigned long long)up.wakes, (unsigned long long)down.frames,
		(unsigned long long)down.bytes, (unsigned long long)down.wakes);
	_exit(rc);
}

/* ---- the protocol */

static void tell(uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint32_t header[3] = { request, 1, size };
	struct iovec v[2] = { { header, sizeof header }, { (void *)payload, size } };
	union { struct cmsghdr c; char space[CMSG_SPACE(sizeof fd)]; } control;
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		control.c.cmsg_level = SOL_SOCKET;
		control.c.cmsg_type = SCM_RIGHTS;
		control.c.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.c), &fd, sizeof fd);
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
	}
	if (sendmsg(sk, &m, MSG_NOSIGNAL) != (ssize_t)(sizeof header + size))
		finish("back end closed (send)", 3);
}

static uint64_t ask(uint32_t request, const void *payload, uint32_t size)
{
	struct { uint32_t request, flags, size, low, high; } reply;
	tell(request, payload, size, -1);
	if (recv(sk, &reply, sizeof reply, MSG_WAITALL) != sizeof reply || reply.request != request)
		finish("back end closed (reply)", 3);
	return (uint64_t)reply.high << 32 | reply.low;
}

static void tell_number(uint32_t request, uint64_t number, int fd)
{
	tell(request, &number, sizeof number, fd);
}

static void tell_state(uint32_t request, uint32_t index, uint32_t value)
{
	uint32_t state[2] = { index, value };
	tell(request, state, sizeof state, -1);
}

static void set_queue(uint32_t index, struct queue *q)
{
	struct { uint32_t index, flags; uint64_t desc, used, avail, log; } address = {
		index, 0, (uintptr_t)q->ring.desc, (uintptr_t)q->ring.used, (uintptr_t)q->ring.avail, 0 };
	q->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	q->call = eventfd(0, EFD_CLOEXEC);
	tell_state(SET_VRING_NUM, index, q->ring.num);
	tell_state(SET_VRING_BASE, index, 0);
	tell(SET_VRING_ADDR, &address, sizeof address, -1);
	tell_number(SET_VRING_CALL, index, q->call);
	tell_number(SET_VRING_KICK, index, q->kick);
	tell_state(SET_VRING_ENABLE, index, 1);
}

#define PROTOCOL_FEATURES (1ull << 30)
#define OFFLOADS (1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM | \
		  1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6 | \
		  1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6)

/* what of the features is used; sets offload and event_index to what is there */
static uint64_t choose_features(void)
{
	uint64_t offered = ask(GET_FEATURES, NULL, 0);
	uint64_t needed = 1ull << 32 | (merged ? 1ull << VIRTIO_NET_F_MRG_RXBUF : 0);
	if ((needed & ~offered) != 0) {
		errno = ENOTSUP;
		die("the back end's features");
	}
	offload = offload && (offered & OFFLOADS) == OFFLOADS;
	event_index = event_index && (offered & 1ull << VIRTIO_RING_F_EVENT_IDX) != 0;
	return needed | (offered & PROTOCOL_FEATURES) | (offload ? OFFLOADS : 0) |
		(event_index ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0);
}

static void negotiate(uint64_t features, int memfd)
{
	if (features & PROTOCOL_FEATURES) {
		ask(GET_PROTOCOL, NULL, 0);
		tell_number(SET_PROTOCOL, 0, -1);
	}
	tell(SET_OWNER, NULL, 0, -1);
	tell_number(SET_FEATURES, features, -1);
	struct { uint32_t count, padding; uint64_t guest, size, user, offset; } table = {
		1, 0, GUEST, memory_size, (uintptr_t)memory, 0 };
	tell(SET_MEM_TABLE, &table, sizeof table, memfd);
	set_queue(0, &rx);
	set_queue(1, &tx);
	ask(GET_FEATURES, NULL, 0);	/* the others have no reply: now the back end has taken them */
}

/* ---- the rings */

static void add(struct queue *q, uint16_t descriptor)
{
	q->ring.avail->ring[q->avail++ % q->ring.num] = descriptor;
}

/* makes what was added visible, and kicks if the back end wants that; its number of added */
static void publish(struct queue *q, uint64_t *kicks)
{
	uint16_t before = q->ring.avail->idx, event;
	if (before == q->avail)
		return;
	__atomic_store_n(&q->ring.avail->idx, q->avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	int wanted;
	if (event_index) {
		event = __atomic_load_n(&vring_avail_event(&q->ring), __ATOMIC_RELAXED);
		wanted = vring_need_event(event, q->avail, before);
	} else {
		wanted = !(__atomic_load_n(&q->ring.used->flags, __ATOMIC_RELAXED) &
			   VRING_USED_F_NO_NOTIFY);
	}
	uint64_t one = 1;
	if (wanted) {
		++*kicks;
		if (write(q->kick, &one, sizeof one) < 0 && errno != EAGAIN)
			die("kick");
	}
}

static int has_used(struct queue *q)
{
	return __atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE) != q->used;
}

/* whether there is something used, after asking to be called for the next */
static int arm(struct queue *q)
{
	if (event_index)
		__atomic_store_n(&vring_used_event(&q->ring), q->used, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->ring.avail->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return has_used(q);
}

static void disarm(struct queue *q)
{
	if (!event_index)
		__atomic_store_n(&q->ring.avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}

static void wait_used(struct queue *q, uint64_t *calls)
{
	uint64_t n;
	while (!arm(q)) {
		if (read(q->call, &n, sizeof n) < 0 && errno != EINTR)
			die("wait for a call");
		++*calls;
	}
	disarm(q);
}

static size_t layout(struct queue *q, size_t at, unsigned size)
{
	vring_init(&q->ring, size, memory + at, 4096);
	return at + ((vring_size(size, 4096) + 4095) & ~4095ul);
}

static int make_memory(void)
{
	rx_buffer = merged ? RX_PAGE : TX_BUFFER;
	memory_size = (size_t)2 * 65536 + (size_t)RX_SIZE * rx_buffer + (size_t)TX_SIZE * TX_BUFFER;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)memory_size))
		die("memfd_create");
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	size_t at = layout(&tx, layout(&rx, 0, RX_SIZE), TX_SIZE);
	if (at > (size_t)2 * 65536)
		abort();
	rx_buffers = memory + (size_t)2 * 65536;
	tx_buffers = rx_buffers + RX_SIZE * rx_buffer;
	for (unsigned i = 0; i < RX_SIZE; i++) {
		rx.ring.desc[i] = (struct vring_desc){ GUEST + (uint64_t)(rx_buffers - memory) + i * rx_buffer,
			(uint32_t)rx_buffer, VRING_DESC_F_WRITE, 0 };
		add(&rx, (uint16_t)i);
	}
	rx.ring.avail->idx = rx.avail;
	return fd;
}

/* ---- frames */

static void *transmit(void *arg)
{
	uint16_t spare[TX_SIZE];
	unsigned spares = TX_SIZE;
	uint64_t calls = 0;
	(void)arg;
	for (unsigned i = 0; i < TX_SIZE; i++)
		spare[i] = (uint16_t)i;
	disarm(&tx);
	for (;;) {
		if (!spares && !has_used(&tx))
			wait_used(&tx, &calls);
		while (has_used(&tx))
			spare[spares++] = (uint16_t)tx.ring.used->ring[tx.used++ % TX_SIZE].id;
		int idle = 0;
		for (unsigned n = 0; spares && n < 16 && !idle; n++) {
			uint16_t i = spare[spares - 1];
			uint8_t *buffer = tx_buffers + (size_t)i * TX_BUFFER;
			ssize_t r = read(tap, buffer, TX_BUFFER);
			if (r < 0) {
				if (errno != EAGAIN && errno != EINTR && errno != EIO)
					die("read the tap");
				idle = errno == EAGAIN;
				continue;
			}
			tx.ring.desc[i] = (struct vring_desc){ GUEST + (uint64_t)(buffer - memory),
				(uint32_t)r, 0, 0 };
			add(&tx, i);
			spares--;
			up.frames++;
			up.bytes += (uint64_t)r - HEADER;
		}
		publish(&tx, &up.wakes);
		if (idle) {
			struct pollfd p = { tap, POLLIN, 0 };
			poll(&p, 1, -1);
		}
	}
	return NULL;
}

/* A back end may vouch for a checksum that is not there. A driver of virtio believes it; the kernel
 * behind a TAP does so only where the checksum is said to be still to come. */
static void vouch(uint8_t *buffer, size_t size)
{
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)buffer;
	const uint8_t *ip = buffer + HEADER + 14;
	if (!(h->flags & VIRTIO_NET_HDR_F_DATA_VALID) || h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ||
	    size < HEADER + 14 + 20 + 8)
		return;
	unsigned v4 = ip[0] >> 4 == 4, protocol = v4 ? ip[9] : ip[6];
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = (uint16_t)(14 + (v4 ? (ip[0] & 15) * 4 : 40));
	h->csum_offset = protocol == IPPROTO_TCP ? 16 : 6;
}

static void *receive(void *arg)
{
	(void)arg;
	disarm(&rx);
	for (;;) {
		if (!has_used(&rx))
			wait_used(&rx, &down.wakes);
		for (unsigned n = 0; n < 64 && has_used(&rx); n++) {
			struct iovec v[64];
			uint16_t ids[64];
			unsigned count = 1, got = 0;
			size_t size = 0;
			while (got < count) {
				while (!has_used(&rx))
					;
				struct vring_used_elem e = rx.ring.used->ring[rx.used++ % RX_SIZE];
				uint8_t *buffer = rx_buffers + (size_t)e.id * rx_buffer;
				if (got == 0 && merged)
					count = ((struct virtio_net_hdr_mrg_rxbuf *)buffer)->num_buffers;
				if (count == 0 || count > 64 || e.id >= RX_SIZE || e.len > rx_buffer) {
					errno = EPROTO;
					die("what the back end used");
				}
				v[got] = (struct iovec){ buffer, e.len };
				ids[got++] = (uint16_t)e.id;
				size += e.len;
			}
			vouch(v[0].iov_base, v[0].iov_len);
			while (writev(tap, v, (int)got) < 0) {
				struct pollfd p = { tap, POLLOUT, 0 };
				if (errno == EAGAIN)
					poll(&p, 1, -1);
				else if (errno != EINTR)
					break;
			}
			down.frames++;
			down.bytes += size - HEADER;
			for (unsigned i = 0; i < got; i++)
				add(&rx, ids[i]);
		}
		publish(&rx, &down.wakes);
	}
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
	finish("stopped", 0);
}

static void connect_to(const char *path, double seconds)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	sk = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (; connect(sk, (struct sockaddr *)&a, sizeof a); seconds -= 0.01) {
		if (seconds <= 0)
			die(path);
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
}

int main(int argc, char **argv)
{
	int mtu = 1500, o;
	double wait = 5;
	const char *mac = NULL;
	while ((o = getopt(argc, argv, "m:a:w:nes")) != -1) {
		switch (o) {
		case 'm': mtu = atoi(optarg); break;
		case 'a': mac = optarg; break;
		case 'w': wait = atof(optarg); break;
		case 'n': offload = 0; break;
		case 'e': event_index = 0; break;
		case 's': merged = 0; break;
		default: return 2;
		}
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: vhostbridge [-m MTU] [-a MAC] [-w SECONDS] [-nes] IFNAME SOCKET\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	connect_to(argv[optind + 1], wait);
	uint64_t features = choose_features();
	tap = tap_open(argv[optind], &(struct tap_options){ .mtu = mtu, .mac = mac, .header = HEADER,
		.offloads = offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0, .flags = O_NONBLOCK });
	negotiate(features, make_memory());
	pthread_t thread;
	if (pthread_create(&thread, NULL, transmit, NULL) ||
	    pthread_create(&thread, NULL, receive, NULL))
		die("pthread_create");
	puts("ready");
	fflush(stdout);
	char byte;
	while (recv(sk, &byte, 1, 0) > 0)
		;
	finish("back end closed", 3);
}
