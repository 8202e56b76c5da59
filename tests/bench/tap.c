#define _GNU_SOURCE
#include "tap.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERNET 14
#define MAX_HEAD (ETHERNET + 60 + 60)
_Static_assert(sizeof(struct virtio_net_hdr) == TAP_HEADER, "virtio_net_hdr");

int tap_open(const char *name, const struct tap_options *o)
{
	struct ifreq r = { 0 };
	int size = o->header, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | o->flags);
	if (tap < 0)
		err(1, "/dev/net/tun");
	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | (size ? IFF_VNET_HDR : 0);
	if (ioctl(tap, TUNSETIFF, &r) < 0)
		err(1, "TUNSETIFF");
	if (size && (ioctl(tap, TUNSETVNETHDRSZ, &size) < 0 || ioctl(tap, TUNSETOFFLOAD, o->offloads) < 0))
		err(1, "TUNSETOFFLOAD");
	if (o->mac) {
		unsigned char *b = (unsigned char *)r.ifr_hwaddr.sa_data;
		r.ifr_hwaddr.sa_family = 1;	/* ARPHRD_ETHER */
		if (sscanf(o->mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", b, b + 1, b + 2,
			   b + 3, b + 4, b + 5) != 6)
			errx(1, "%s is no MAC address", o->mac);
		if (ioctl(s, SIOCSIFHWADDR, &r) < 0)
			err(1, "SIOCSIFHWADDR");
	}
	r.ifr_mtu = o->mtu;
	if (ioctl(s, SIOCSIFMTU, &r) < 0)
		err(1, "SIOCSIFMTU");
	r.ifr_qlen = o->queue;
	if (o->queue && ioctl(s, SIOCSIFTXQLEN, &r) < 0)
		err(1, "SIOCSIFTXQLEN");
	if (ioctl(s, SIOCGIFFLAGS, &r) < 0)
		err(1, "SIOCGIFFLAGS");
	r.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r) < 0)
		err(1, "SIOCSIFFLAGS");
	close(s);
	return tap;
}

/* ones' complement sum, not folded; any start alignment, little endian */
static uint64_t sum(const uint8_t *p, size_t n, uint64_t s)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4) {
		uint32_t w;
		memcpy(&w, p + i, 4);
		s += w;
	}
	if (n - i >= 2) {
		uint16_t w;
		memcpy(&w, p + i, 2);
		s += w;
		i += 2;
	}
	return i < n ? s + p[i] : s;
}

static uint16_t fold(uint64_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* the pseudo header of TCP over the IPv4 or IPv6 header at ip */
static uint64_t pseudo(const uint8_t *ip, size_t l4len)
{
	int v6 = ip[0] >> 4 == 6;
	return sum(ip + (v6 ? 8 : 12), v6 ? 32 : 8, htons(6) + htons(l4len));
}

static void put16(uint8_t *p, uint16_t host)
{
	p[0] = host >> 8;
	p[1] = host;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* writes the length of an IP packet with l4len bytes after its l3 header bytes */
static void put_ip_len(uint8_t *ip, size_t l3, size_t l4len)
{
	uint16_t c;
	if (ip[0] >> 4 == 6) {
		put16(ip + 4, l3 - 40 + l4len);
		return;
	}
	put16(ip + 2, l3 + l4len);
	ip[10] = ip[11] = 0;
	c = ~fold(sum(ip, l3, 0));
	memcpy(ip + 10, &c, 2);
}

void tap_cut(uint8_t *read, size_t size, tap_frame *give, void *context)
{
	const struct virtio_net_hdr *h = (const void *)read;
	uint8_t *f = read + TAP_HEADER;
	size_t n = size - TAP_HEADER;
	if (size <= TAP_HEADER + ETHERNET)
		return;
	int gso = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	if (gso != VIRTIO_NET_HDR_GSO_TCPV4 && gso != VIRTIO_NET_HDR_GSO_TCPV6) {
		if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
			uint16_t c = ~fold(sum(f + h->csum_start, n - h->csum_start, 0));
			if (!c)
				c = 0xffff;	/* the same number; 0 is UDP's "none" (RFC 768) */
			memcpy(f + h->csum_start + h->csum_offset, &c, 2);
		}
		give(context, (struct iovec[2]){ { f, n }, { NULL, 0 } });
		return;
	}
	uint8_t head[MAX_HEAD], *ip = head + ETHERNET;
	size_t l3 = h->csum_start - ETHERNET, hl = h->csum_start + (f[h->csum_start + 12] >> 4) * 4;
	uint16_t id = f[ETHERNET + 4] << 8 | f[ETHERNET + 5];
	uint32_t seq = get32(f + h->csum_start + 4);
	uint8_t *t = ip + l3, flags = f[h->csum_start + 13];
	memcpy(head, f, hl);
	for (size_t at = hl; at < n; id++) {
		size_t len = n - at < h->gso_size ? n - at : h->gso_size, l4 = hl - h->csum_start + len;
		uint32_t here = htonl(seq + (at - hl));
		uint16_t c;
		if (gso == VIRTIO_NET_HDR_GSO_TCPV4)
			put16(ip + 4, id);
		put_ip_len(ip, l3, l4);
		memcpy(t + 4, &here, 4);
		t[13] = at + len < n ? flags & ~0x09 : flags;	/* PSH, FIN: last only */
		t[16] = t[17] = 0;
		c = ~fold(sum(f + at, len, sum(t, l4 - len, pseudo(ip, l4))));
		memcpy(t + 16, &c, 2);
		give(context, (struct iovec[2]){ { head, hl }, { f + at, len } });
		at += len;
	}
}

static void put(struct tap_writer *to, const struct iovec *v, int n)
{
	while (writev(to->fd, v, n) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EINVAL || errno == EIO || errno == ENOBUFS)
			return;		/* refused frame or interface down: dropped */
		err(1, "write tap");
	}
}

static void write_one(struct tap_writer *to, const void *p, size_t n)
{
	static const struct virtio_net_hdr none;
	struct iovec v[2] = { { (void *)&none, sizeof none }, { (void *)p, n } };
	put(to, to->plain ? v + 1 : v, to->plain ? 1 : 2);
	to->frames++;
	to->bytes += n;
}

static void write_joined(struct tap_writer *to, struct tap_joined *m)
{
	struct virtio_net_hdr h = { 0 };
	uint8_t hdr[MAX_HEAD], *ip = hdr + ETHERNET, *t = ip + m->l3;
	uint16_t c;
	if (m->n == 1)
		write_one(to, m->first, m->hl + m->seg);
	if (m->n > 1) {
		size_t l4 = m->hl - ETHERNET - m->l3 + m->total;
		memcpy(hdr, m->first, m->hl);
		put_ip_len(ip, m->l3, l4);
		t[13] |= m->psh;
		c = fold(pseudo(ip, l4));
		memcpy(t + 16, &c, 2);
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.gso_type = m->l3 == 40 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		h.hdr_len = m->hl;
		h.gso_size = m->seg;
		h.csum_start = ETHERNET + m->l3;
		h.csum_offset = 16;
		m->v[0] = (struct iovec){ &h, sizeof h };
		m->v[1] = (struct iovec){ hdr, m->hl };
		put(to, m->v, m->n + 2);
		to->frames += m->n;
		to->bytes += m->hl * m->n + m->total;
	}
	m->n = 0;
}

void tap_flush(struct tap_writer *to)
{
	for (int i = 0; i < TAP_FLOWS; i++)
		write_joined(to, &to->joined[i]);
}

/* length of the IP header of a plain, unfragmented TCP packet; 0: something else */
static size_t tcp_l3(const uint8_t *f, size_t n)
{
	const uint8_t *ip = f + ETHERNET;
	if (n >= 54 && f[12] == 0x08 && !f[13] && ip[0] == 0x45 && ip[9] == 6 &&
	    !((ip[6] & 0x3f) | ip[7]))
		return 20;
	return n >= 74 && f[12] == 0x86 && f[13] == 0xdd && ip[0] >> 4 == 6 && ip[6] == 6 ? 40 : 0;
}

void tap_write(struct tap_writer *to, const uint8_t *f, size_t n)
{
	size_t l3 = to->plain ? 0 : tcp_l3(f, n), src = l3 == 40 ? 8 : 12, key = l3 + 4 - src;
	const uint8_t *ip = f + ETHERNET, *t = ip + l3;
	struct tap_joined *m = NULL, *all = to->joined;
	if (!l3) {
		write_one(to, f, n);
		return;
	}
	for (int i = 0; i < TAP_FLOWS && !m; i++)
		if (all[i].n && all[i].l3 == l3 && !memcmp(all[i].first + ETHERNET + src, ip + src, key))
			m = &all[i];
	size_t hl = ETHERNET + l3 + (t[12] >> 4) * 4, l4 = n - ETHERNET - l3;
	size_t iplen = l3 == 40 ? 40 + (ip[4] << 8 | ip[5]) : ip[2] << 8 | ip[3];
	int ok = n <= 16384 && hl >= 34 + l3 && hl < n && iplen == n - ETHERNET &&
		 (t[13] & ~0x08) == 0x10 && fold(sum(t, l4, pseudo(ip, l4))) == 0xffff;
	if (m && ok) {
		const uint8_t *aip = m->first + ETHERNET, *a = aip + l3;
		/* traffic class, flow label, TOS and TTL alike */
		int same_ip = l3 == 40 ? !memcmp(aip, ip, 4) && aip[7] == ip[7]
				       : aip[1] == ip[1] && aip[8] == ip[8];
		if (same_ip && hl == m->hl && m->n < TAP_SEGMENTS && m->last == m->seg && n - hl <= m->seg &&
		    m->total + n < 65000 && get32(t + 4) == m->next &&
		    !memcmp(a + 8, t + 8, 5) && !memcmp(a + 14, t + 14, 2) &&
		    !memcmp(a + 20, t + 20, hl - 34 - l3)) {
			m->v[2 + m->n++] = (struct iovec){ (void *)(f + hl), n - hl };
			m->last = n - hl;
			m->total += n - hl;
			m->next += n - hl;
			m->psh |= t[13] & 8;
			return;
		}
	}
	if (m)
		write_joined(to, m);
	if (!ok) {
		write_one(to, f, n);
		return;
	}
	for (int i = 0; i < TAP_FLOWS && !m; i++)
		if (!all[i].n)
			m = &all[i];
	if (!m) {
		m = &all[to->turn++ % TAP_FLOWS];
		write_joined(to, m);
	}
	m->first = f;
	m->l3 = l3;
	m->hl = hl;
	m->seg = m->last = m->total = n - hl;
	m->n = 1;
	m->next = get32(t + 4) + (n - hl);
	m->psh = t[13] & 8;
	m->v[2] = (struct iovec){ (void *)(f + hl), n - hl };
}
