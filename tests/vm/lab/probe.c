/* What a test does inside a guest that has no tool for it. Static, so that it runs in any.
 *
 *   probe vsock CID PORT   connects, and carries stdin there and what comes back to stdout; ends with it
 *   probe slew             prints the nanoseconds by which the clock is still to be slewed (adjtime)
 */
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

static int carry(int from, int to) {
  char bytes[65536];
  ssize_t got = read(from, bytes, sizeof bytes);
  for (ssize_t done = 0; done < got;) {
    ssize_t written = write(to, bytes + done, got - done);
    if (written < 0) return -1;
    done += written;
  }
  return got > 0;
}

static int vsock(unsigned cid, unsigned port) {
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    perror("vsock");
    return 2;
  }
  struct pollfd ends[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  while (poll(ends, 2, -1) > 0) {
    if (ends[1].revents && carry(fd, 1) <= 0) return 0;
    if (ends[0].revents && carry(0, fd) <= 0) {
      shutdown(fd, SHUT_WR);
      ends[0].fd = -1;
    }
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "vsock")) {
    return vsock(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
  }
  struct timex left = {.modes = ADJ_OFFSET_SS_READ};
  if (adjtimex(&left) < 0) return 1;
  printf("%lld\n", (long long)left.offset * 1000);
  return 0;
}
