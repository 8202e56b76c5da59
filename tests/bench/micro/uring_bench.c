/* Whether io_uring would move bytes for less than epoll and a system call for each: a relay as hostd's, between
 * sockets whose other ends are threads of this process. Prints what the relay's thread took of the CPU.
 *
 *   uring_bench [SECONDS]       (default 2 for each)
 *
 * bulk: 64 KiB pieces come by a Unix stream socket and leave by TCP on loopback, as a guest's upload.
 * echo: a datagram of 64 bytes comes and goes back by UDP on loopback, one at a time.
 * Exit: 0; 77 where this kernel has no io_uring or forbids it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (64 * 1024)
#define READ (512 * 1024)

static double seconds = 2;
static char memory[READ];
static volatile int stop;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *produce(void *fd)
{
	static char bytes[PIECE];
	while (!stop && send((int)(long)fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
		;
	shutdown((int)(long)fd, SHUT_WR);
	return NULL;
}

static void *consume(void *fd)
{
	static char bytes[READ];
	while (recv((int)(long)fd, bytes, sizeof bytes, 0) > 0)
		;
	return NULL;
}

static void *ask(void *fd)
{
	char bytes[64] = { 0 };
	while (!stop && send((int)(long)fd, bytes, sizeof bytes, 0) > 0 && recv((int)(long)fd, bytes, sizeof bytes, 0) > 0)
		;
	return NULL;
}

static void tcp_pair(int pair[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&at, &size))
		die("listen");
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(pair[0], (struct sockaddr *)&at, size))
		die("connect");
	pair[1] = accept(listener, NULL, NULL);
	setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	close(listener);
}

static void udp_pair(int pair[2])
{
	struct sockaddr_in at[2];
	for (int i = 0; i < 2; i++) {
		at[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t size = sizeof at[i];
		pair[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (bind(pair[i], (struct sockaddr *)&at[i], size) || getsockname(pair[i], (struct sockaddr *)&at[i], &size))
			die("bind");
	}
	for (int i = 0; i < 2; i++)
		if (connect(pair[i], (struct sockaddr *)&at[1 - i], sizeof at[0]))
			die("connect");
}

/* ---- the relays: what comes by `in` leaves by `out`; they return the number of bytes or messages */

static int watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(0);
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
		die("epoll");
	return set;
}

static double relay_epoll(int in, int out, double end, int flags)
{
	struct epoll_event event;
	double done = 0;
	int set = watch(in);
	while (now(CLOCK_MONOTONIC) < end) {
		if (epoll_wait(set, &event, 1, 100) < 1)
			continue;
		ssize_t n = recv(in, memory, sizeof memory, MSG_DONTWAIT);
		for (ssize_t sent = 0; sent < n; sent += send(out, memory + sent, n - sent, MSG_NOSIGNAL))
			;
		done += n > 0 ? (flags ? 1 : n) : 0;
	}
	close(set);
	return done;
}

static int wait_one(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	struct __kernel_timespec limit = { .tv_nsec = 100000000 };
	int error = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, NULL);
	if (error < 0)
		return error;
	int result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

static double relay_uring(int in, int out, double end, int flags)
{
	struct io_uring ring;
	double done = 0;
	int error = io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	if (error < 0) {
		fprintf(stderr, "uring_bench: no io_uring here: %s\n", strerror(-error));
		exit(77);
	}
	int files[2] = { in, out };
	io_uring_register_files(&ring, files, 2);
	while (now(CLOCK_MONOTONIC) < end) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		io_uring_prep_recv(sqe, 0, memory, sizeof memory, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		int n;
		while ((n = wait_one(&ring)) == -ETIME && now(CLOCK_MONOTONIC) < end)
			;
		if (n <= 0)
			break;
		for (int sent = 0; sent < n;) {
			sqe = io_uring_get_sqe(&ring);
			io_uring_prep_send(sqe, 1, memory + sent, n - sent, MSG_NOSIGNAL);
			sqe->flags |= IOSQE_FIXED_FILE;
			int part;
			while ((part = wait_one(&ring)) == -ETIME)
				;
			if (part <= 0)
				break;
			sent += part;
		}
		done += flags ? 1 : n;
	}
	io_uring_queue_exit(&ring);
	return done;
}

static void run(const char *what, int echo, double (*relay)(int, int, double, int))
{
	int in[2], out[2] = { -1, -1 };
	pthread_t threads[2];
	stop = 0;
	if (echo) {
		udp_pair(in);
		pthread_create(&threads[0], NULL, ask, (void *)(long)in[0]);
	} else {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, in))
			die("socketpair");
		tcp_pair(out);
		pthread_create(&threads[0], NULL, produce, (void *)(long)in[0]);
		pthread_create(&threads[1], NULL, consume, (void *)(long)out[1]);
	}
	double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
	double done = relay(in[1], echo ? in[1] : out[0], start + seconds, echo);
	cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	double took = now(CLOCK_MONOTONIC) - start;
	stop = 1;
	shutdown(in[0], SHUT_RDWR);
	close(in[1]);
	if (!echo)
		shutdown(out[0], SHUT_RDWR);
	pthread_join(threads[0], NULL);
	if (!echo)
		pthread_join(threads[1], NULL);
	if (echo)
		printf("%-12s %8.0f /s, %6.2f us of CPU each\n", what, done / took, cpu / done * 1e6);
	else
		printf("%-12s %8.2f Gbit/s, %6.3f s of CPU for a GiB\n", what, done * 8 / took / 1e9, cpu / done * (1 << 30));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atof(argv[1]);
	for (int i = 0; i < 3; i++) {
		run("bulk epoll", 0, relay_epoll);
		run("bulk uring", 0, relay_uring);
		run("echo epoll", 1, relay_epoll);
		run("echo uring", 1, relay_uring);
	}
	return 0;
}
