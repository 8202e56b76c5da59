/* netload: many TCP flows at once, both ways, every byte checked.
 *
 *   netload serve PORT                    prints "ready PORT"; port 0: any
 *   netload run ADDR PORT [name=value ...]   one JSON object on stdout
 *     flows=N total   at=N at a time      up=BYTES down=BYTES per flow
 *     client_read= client_write= server_read= server_write=  bytes/s a flow, 0: no limit
 *     rcvbuf=BYTES of the client's socket (0: the kernel's)  timeout=SECONDS for the whole run
 *     bind=ADDR       the client's own address
 *
 * A flow: the client sends a header and UP patterned bytes, then FIN; the server sends DOWN
 * patterned bytes at the same time, and after the client's FIN a report of how many of the
 * client's bytes were right, then FIN.  So each flow is half-closed by the client while data
 * may still flow the other way.  The pattern is a function of (seed, offset): lost, doubled,
 * moved and foreign bytes are all seen.  A flow is ok only if both byte counts are exact. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x534c5549434531ull
#define CHUNK (256 * 1024)
#define TICK_MS 2		/* how often paced flows get their turn */

struct header { uint64_t magic, seed, up, down, read_rate, write_rate; };
struct report { uint64_t magic, verified; };

struct conn {
	int fd, paced;
	uint32_t events;
	struct header h;
	uint64_t t0, out, in;		/* payload bytes so far */
	size_t head_done, tail_done;	/* bytes of header and report so far */
	struct report tail;
	int eof, sent_fin;
	struct conn *next;		/* list of paced flows */
};

static int ep;
static uint8_t buf[CHUNK];
static struct conn *paced;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what)
{
	printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint8_t pattern(uint64_t seed, uint64_t at)
{
	return mix(seed * 0x10001 + (at >> 3)) >> (at & 7) * 8;
}

static void fill(uint8_t *p, size_t n, uint64_t seed, uint64_t at)
{
	for (; n && (at & 7); n--)
		*p++ = pattern(seed, at++);
	for (; n >= 8; n -= 8, p += 8, at += 8) {
		uint64_t w = mix(seed * 0x10001 + (at >> 3));
		memcpy(p, &w, 8);
	}
	for (; n; n--)
		*p++ = pattern(seed, at++);
}

/* how many bytes from the start are right */
static size_t check(const uint8_t *p, size_t n, uint64_t seed, uint64_t at)
{
	size_t i = 0;
	while (i < n) {
		if (!((at + i) & 7) && n - i >= 8) {
			uint64_t w = mix(seed * 0x10001 + ((at + i) >> 3));
			if (!memcmp(p + i, &w, 8)) {
				i += 8;
				continue;
			}
		}
		if (p[i] != pattern(seed, at + i))
			return i;
		i++;
	}
	return n;
}

static uint64_t up_seed(const struct conn *c) { return c->h.seed * 2; }
static uint64_t down_seed(const struct conn *c) { return c->h.seed * 2 + 1; }

/* how many bytes a rate (bytes/s, 0: no limit) allows now */
static size_t allowed(const struct conn *c, uint64_t rate, uint64_t done)
{
	if (!rate)
		return CHUNK;
	uint64_t due = (now() - c->t0) / 1e9 * rate + 1;
	return due <= done ? 0 : due - done < CHUNK ? due - done : CHUNK;
}

static void want(struct conn *c, uint32_t events)
{
	if (c->paced || events == c->events)
		return;
	struct epoll_event e = { .events = events, .data.ptr = c };
	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
	c->events = events;
}

static struct conn *conn_new(int fd)
{
	struct conn *c = calloc(1, sizeof *c);
	int one = 1;
	c->fd = fd;
	c->t0 = now();
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return c;
}

static void conn_pace(struct conn *c)
{
	c->paced = 1;
	epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
	c->next = paced;
	paced = c;
}

/* ---- server: 0 goes on, 1 done, -1 failed */

static int server_step(struct conn *c)
{
	while (c->head_done < sizeof c->h) {
		ssize_t r = recv(c->fd, (char *)&c->h + c->head_done, sizeof c->h - c->head_done, 0);
		if (r <= 0)
			return r < 0 && errno == EAGAIN ? 0 : -1;
		c->head_done += r;
		if (c->head_done == sizeof c->h) {
			if (c->h.magic != MAGIC)
				return -1;
			c->t0 = now();
			if (c->h.read_rate || c->h.write_rate)
				conn_pace(c);
		}
	}
	for (int turn = 0; turn < 4; turn++) {
		int moved = 0;
		size_t n = c->eof ? 0 : allowed(c, c->h.read_rate, c->in);
		if (n) {
			ssize_t r = recv(c->fd, buf, n, 0);
			if (r < 0 && errno != EAGAIN)
				return -1;
			if (r == 0)
				c->eof = 1;
			if (r > 0) {
				if (c->tail.verified == c->in)
					c->tail.verified += check(buf, r, up_seed(c), c->in);
				c->in += r;
			}
			moved |= r >= 0;
		}
		n = allowed(c, c->h.write_rate, c->out);
		if (n > c->h.down - c->out)
			n = c->h.down - c->out;
		if (n) {
			fill(buf, n, down_seed(c), c->out);
			ssize_t r = send(c->fd, buf, n, MSG_NOSIGNAL);
			if (r < 0 && errno != EAGAIN)
				return -1;
			if (r > 0)
				c->out += r, moved = 1;
		}
		if (c->eof && c->out == c->h.down) {
			c->tail.magic = MAGIC ^ c->in;
			ssize_t r = send(c->fd, (char *)&c->tail + c->tail_done,
					 sizeof c->tail - c->tail_done, MSG_NOSIGNAL);
			if (r < 0)
				return errno == EAGAIN ? 0 : -1;
			c->tail_done += r;
			if (c->tail_done == sizeof c->tail)
				return 1;
		}
		if (!moved)
			break;
	}
	want(c, (c->eof ? 0 : EPOLLIN) |
	     (c->out < c->h.down || (c->eof && c->tail_done < sizeof c->tail) ? EPOLLOUT : 0));
	return 0;
}

static void run_paced(int (*step)(struct conn *), void (*end)(struct conn *, int))
{
	for (struct conn **p = &paced; *p;) {
		struct conn *c = *p;
		int r = step(c);
		if (r) {
			*p = c->next;
			end(c, r);
		} else
			p = &c->next;
	}
}

static void server_end(struct conn *c, int r)
{
	(void)r;
	close(c->fd);
	free(c);
}

static void __attribute__((noreturn)) serve(const char *port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	socklen_t al = sizeof a;
	int one = 1, zero = 0, l = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(l, (void *)&a, sizeof a) || listen(l, 4096) || getsockname(l, (void *)&a, &al))
		die("listen");
	ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN }, ev[256];
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	printf("ready %d\n", ntohs(a.sin6_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, 256, paced ? TICK_MS : -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;
			int s;
			if (c) {
				int was_paced = c->paced, r = server_step(c);
				if (r && !was_paced && c->paced)	/* failed in its first turn */
					paced = c->next;
				if (r)
					server_end(c, r);
				continue;
			}
			while ((s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
				c = conn_new(s);
				e = (struct epoll_event){ .events = EPOLLIN, .data.ptr = c };
				c->events = EPOLLIN;
				epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
			}
		}
		run_paced(server_step, server_end);
	}
}

/* ---- client */

static uint64_t opt_up, opt_down, opt_cr, opt_cw, opt_sr, opt_sw, opt_rcvbuf, opt_flows = 1,
	opt_at = 1, opt_timeout = 60;
static const char *opt_bind;
static struct sockaddr_storage dest;
static socklen_t dest_len;
static uint64_t opened, ok, failed, bytes_in, bytes_out, worst_connect;
static char first_error[256];

static int fail(struct conn *c, const char *what, int e)
{
	if (!first_error[0])
		snprintf(first_error, sizeof first_error,
			 "flow %llu: %s%s%s (out %llu of %llu, in %llu of %llu)",
			 (unsigned long long)c->h.seed, what, e ? ": " : "", e ? strerror(e) : "",
			 (unsigned long long)c->out, (unsigned long long)c->h.up,
			 (unsigned long long)c->in, (unsigned long long)c->h.down);
	return -1;
}

static int client_step(struct conn *c)
{
	if (!c->head_done) {
		int err = 0;
		socklen_t l = sizeof err;
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
		if (err)
			return fail(c, "connect", err);
		ssize_t r = send(c->fd, &c->h, sizeof c->h, MSG_NOSIGNAL);
		if (r < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return 0;
		if (r != sizeof c->h)
			return fail(c, "send header", errno);
		c->head_done = r;
		if (now() - c->t0 > worst_connect)
			worst_connect = now() - c->t0;
		c->t0 = now();
		if (opt_cr || opt_cw)
			conn_pace(c);
	}
	for (int turn = 0; turn < 32; turn++) {
		int moved = 0;
		size_t n = allowed(c, opt_cw, c->out);
		if (n > c->h.up - c->out)
			n = c->h.up - c->out;
		if (n) {
			fill(buf, n, up_seed(c), c->out);
			ssize_t r = send(c->fd, buf, n, MSG_NOSIGNAL);
			if (r < 0 && errno != EAGAIN)
				return fail(c, "send", errno);
			if (r > 0)
				c->out += r, bytes_out += r, moved = 1;
		}
		if (c->out == c->h.up && !c->sent_fin) {
			shutdown(c->fd, SHUT_WR);
			c->sent_fin = 1;
		}
		n = allowed(c, opt_cr, c->in + c->tail_done);
		if (n) {
			uint8_t extra;
			uint64_t left = c->h.down - c->in;
			if (left && n > left)
				n = left;
			ssize_t r = left ? recv(c->fd, buf, n, 0) : recv(c->fd, &extra, 1, 0);
			if (r < 0 && errno != EAGAIN)
				return fail(c, "receive", errno);
			if (r == 0) {
				if (c->in != c->h.down || c->tail_done != sizeof c->tail)
					return fail(c, "the server's data ended early", 0);
				if (c->tail.magic != (MAGIC ^ c->h.up) || c->tail.verified != c->h.up)
					return fail(c, "the server saw other bytes than were sent", 0);
				return 1;
			}
			if (r > 0 && left) {
				if (check(buf, r, down_seed(c), c->in) != (size_t)r)
					return fail(c, "wrong bytes received", 0);
				c->in += r;
				bytes_in += r;
			} else if (r > 0) {
				if (c->tail_done == sizeof c->tail)
					return fail(c, "more bytes than the server sent", 0);
				((uint8_t *)&c->tail)[c->tail_done++] = extra;
			}
			moved |= r > 0;
		}
		if (!moved)
			break;
	}
	want(c, EPOLLIN | (c->out < c->h.up ? EPOLLOUT : 0));
	return 0;
}

static void client_end(struct conn *c, int r)
{
	if (r > 0)
		ok++;
	else
		failed++;
	close(c->fd);
	free(c);
}

static void resolve(const char *host, const char *port, struct sockaddr_storage *to, socklen_t *len)
{
	struct addrinfo hint = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM }, *r;
	if (getaddrinfo(host, port, &hint, &r)) {
		errno = EINVAL;
		die(host);
	}
	memcpy(to, r->ai_addr, r->ai_addrlen);
	*len = r->ai_addrlen;
	freeaddrinfo(r);
}

static void client_open(uint64_t seed)
{
	int s = socket(dest.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s < 0)
		die("socket");
	if (opt_rcvbuf) {
		int n = opt_rcvbuf;
		setsockopt(s, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
	}
	if (opt_bind) {
		struct sockaddr_storage b;
		socklen_t bl;
		resolve(opt_bind, "0", &b, &bl);
		if (bind(s, (void *)&b, bl))
			die("bind");
	}
	struct conn *c = conn_new(s);
	c->h = (struct header){ MAGIC, seed, opt_up, opt_down, opt_sr, opt_sw };
	opened++;
	if (connect(s, (void *)&dest, dest_len) && errno != EINPROGRESS) {
		client_end(c, fail(c, "connect", errno));
		return;
	}
	struct epoll_event e = { .events = EPOLLOUT, .data.ptr = c };
	c->events = EPOLLOUT;
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
}

static int run(int ac, char **av)
{
	static const struct { const char *name; uint64_t *to; } opts[] = {
		{ "flows", &opt_flows }, { "at", &opt_at }, { "up", &opt_up }, { "down", &opt_down },
		{ "client_read", &opt_cr }, { "client_write", &opt_cw }, { "server_read", &opt_sr },
		{ "server_write", &opt_sw }, { "rcvbuf", &opt_rcvbuf }, { "timeout", &opt_timeout },
	};
	for (int i = 2; i < ac; i++) {
		char *eq = strchr(av[i], '=');
		size_t k = 0, n = sizeof opts / sizeof *opts;
		if (eq && !strncmp(av[i], "bind", eq - av[i])) {
			opt_bind = eq + 1;
			continue;
		}
		while (k < n && !(eq && strlen(opts[k].name) == (size_t)(eq - av[i]) &&
				  !strncmp(av[i], opts[k].name, eq - av[i])))
			k++;
		if (k == n) {
			errno = EINVAL;
			die(av[i]);
		}
		*opts[k].to = strtoull(eq + 1, NULL, 0);
	}
	resolve(av[0], av[1], &dest, &dest_len);
	ep = epoll_create1(EPOLL_CLOEXEC);
	uint64_t t0 = now(), end = t0 + opt_timeout * 1000000000ull;
	struct epoll_event ev[256];
	while (ok + failed < opt_flows && now() < end) {
		while (opened < opt_flows && opened - ok - failed < opt_at)
			client_open(opened + 1);
		int n = epoll_wait(ep, ev, 256, paced ? TICK_MS : 100);
		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;
			int was_paced = c->paced, r = client_step(c);
			if (r && !was_paced && c->paced)
				paced = c->next;
			if (r)
				client_end(c, r);
		}
		run_paced(client_step, client_end);
	}
	printf("{\"flows\":%llu,\"ok\":%llu,\"failed\":%llu,\"unfinished\":%llu,\"up\":%llu,"
	       "\"down\":%llu,\"secs\":%.3f,\"worst_connect_ms\":%.1f,\"first_error\":\"%s\"}\n",
	       (unsigned long long)opt_flows, (unsigned long long)ok, (unsigned long long)failed,
	       (unsigned long long)(opt_flows - ok - failed), (unsigned long long)bytes_out,
	       (unsigned long long)bytes_in, (now() - t0) / 1e9, worst_connect / 1e6, first_error);
	return ok == opt_flows ? 0 : 1;
}

int main(int ac, char **av)
{
	struct rlimit r;
	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	signal(SIGPIPE, SIG_IGN);
	if (ac == 3 && !strcmp(av[1], "serve"))
		serve(av[2]);
	if (ac >= 4 && !strcmp(av[1], "run"))
		return run(ac - 2, av + 2);
	fprintf(stderr, "netload: see the comment at the top of netload.c\n");
	return 2;
}
