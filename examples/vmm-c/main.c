/* A VMM stand-in in C: a TAP device is the guest's NIC, one thread with poll() carries its frames
 * to and from the rings of a network.
 *
 *   vmm-c TAP [--SETTING VALUE]... [--ring FRAMES]     settings as in net/sluice.h */

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <net/sluice.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A TAP drops what its queue, of 1000 frames unless told otherwise, has no room for. */
enum { MTU = 1500, FRAME = 65550, TAP_QUEUE = 4096 };

static int open_tap(const char* name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
    fprintf(stderr, "vmm-c: tap %s: %s\n", name, strerror(errno));
    return -1;
  }
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_mtu = MTU;
  ioctl(control, SIOCSIFMTU, &request);
  request.ifr_qlen = TAP_QUEUE;
  ioctl(control, SIOCSIFTXQLEN, &request);
  request.ifr_flags = IFF_UP;
  ioctl(control, SIOCSIFFLAGS, &request);
  close(control);
  return fd;
}

static void on_denied(void* context, const char* line) {
  (void)context;
  fprintf(stderr, "%s\n", line);
}

/* A frame that the ring had no room for waits in `frame`; `waiting` is its size. */
static unsigned char frame[FRAME];
static size_t waiting;

/* Guest to network, until the TAP is empty or the ring full. */
static void transmit(int tap, sluice_ring* ring) {
  for (;;) {
    if (waiting == 0) {
      ssize_t size = read(tap, frame, sizeof frame);
      if (size <= 0) break;
      waiting = (size_t)size;
    }
    struct iovec piece = {frame, waiting};
    if (sluice_ring_send(ring, &piece, 1) == SLUICE_WOULD_BLOCK) return;
    waiting = 0;
  }
  sluice_ring_flush(ring);
}

/* Network to guest, until the ring is empty (1) or the TAP full (0). */
static int receive(int tap, sluice_ring* ring) {
  size_t size;
  const uint8_t* next;
  while ((next = sluice_ring_peek(ring, &size)) != NULL) {
    if (write(tap, next, size) < 0 && errno == EAGAIN) return 0;
    sluice_ring_pop(ring);
  }
  return 1;
}

int main(int argc, char** argv) {
  char error[256];
  if (argc < 2 || argc % 2 != 0) {
    fprintf(stderr, "usage: vmm-c TAP [--SETTING VALUE]... [--ring FRAMES]\n");
    return 2;
  }
  sluice_config* config = sluice_config_new();
  sluice_config_set(config, "mtu", "1500", NULL, 0);
  size_t places = 0;
  for (int i = 2; i < argc; i += 2) {
    if (strcmp(argv[i], "--ring") == 0) {
      places = strtoul(argv[i + 1], NULL, 10);
      continue;
    }
    const char* setting = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : argv[i];
    if (sluice_config_set(config, setting, argv[i + 1], error, sizeof error) != SLUICE_OK) {
      fprintf(stderr, "vmm-c: %s\n", error);
      return 2;
    }
  }
  sluice_config_on_denied(config, on_denied, NULL);

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  int stop = signalfd(-1, &signals, SFD_CLOEXEC);

  sluice_network* network = NULL;
  sluice_ring* ring = NULL;
  if (sluice_network_create(config, &network, error, sizeof error) != SLUICE_OK ||
      sluice_ring_attach(network, places, &ring, error, sizeof error) != SLUICE_OK) {
    fprintf(stderr, "vmm-c: %s\n", error);
    return 1;
  }
  sluice_config_free(config);
  int tap = open_tap(argv[1]);
  if (tap < 0) return 1;
  puts("ready");
  fflush(stdout);

  for (;;) {
    transmit(tap, ring);
    int tap_has_room = receive(tap, ring);
    if (tap_has_room && !sluice_ring_arm_receive(ring)) continue;
    struct pollfd fds[] = {
        {stop, POLLIN, 0},
        {tap, (short)((waiting ? 0 : POLLIN) | (tap_has_room ? 0 : POLLOUT)), 0},
        {sluice_ring_frames_fd(ring), POLLIN, 0},
        {waiting ? sluice_ring_space_fd(ring) : -1, POLLIN, 0},
    };
    if (poll(fds, 4, -1) < 0 && errno != EINTR) break;
    if (fds[0].revents) break;
    if (fds[2].revents) sluice_ring_clear_frames_wake(ring);
    if (fds[3].revents) sluice_ring_clear_space_wake(ring);
  }

  sluice_counters counters;
  if (sluice_network_counters(network, &counters) == SLUICE_OK) {
    printf("sent %lu frames, received %lu, %lu connections, %lu refusals\n",
           (unsigned long)counters.tx_frames, (unsigned long)counters.rx_frames,
           (unsigned long)counters.tcp_opened, (unsigned long)counters.denials);
  }
  sluice_ring_free(ring);
  sluice_network_free(network);
  close(tap);
  close(stop);
  return 0;
}
