/* What a bridge does at its TAP, behind which a kernel is the guest: opens it, cuts the large
 * segments of that kernel into frames, and joins frames to large segments for it. A NIC or a VMM
 * would. */
#ifndef TAP_H
#define TAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TAP_HEADER 10 /* the virtio_net_hdr without num_buffers */

struct tap_options {
  int mtu;
  const char* mac;   /* NULL: the kernel's choice */
  int queue;         /* frames that wait to be read; 0: the kernel's choice */
  int header;        /* size of the virtio_net_hdr before each frame; 0: none */
  unsigned offloads; /* TUN_F_*; with a header only */
  int flags;         /* of open() */
};

/* Opens the TAP of this name in the thread's network namespace and brings it up. On an error the
 * process ends and says why. */
int tap_open(const char* name, const struct tap_options* options);

/* Takes one frame, in two pieces of which the second may be empty. */
typedef void tap_frame(void* context, const struct iovec frame[2]);

/* Gives what was read from a TAP with TAP_HEADER and offloads of TCP as the frames that the guest
 * meant, checksums in full. What was read is written to. */
void tap_cut(uint8_t* read, size_t size, tap_frame* give, void* context);

#define TAP_FLOWS 8
#define TAP_SEGMENTS 64

/* Writes frames to a TAP. Frames of one TCP flow in a row, their checksums verified, wait for each
 * other to be written as one: until tap_flush() their memory has to stay. */
struct tap_writer {
  int fd;
  int plain; /* the TAP has no header instead of TAP_HEADER, so nothing is joined */
  uint64_t frames, bytes;
  unsigned turn;
  struct tap_joined {
    const uint8_t* first;
    size_t l3, hl, seg, total, last;
    int n;
    uint32_t next;
    uint8_t psh;
    struct iovec v[TAP_SEGMENTS + 2];
  } joined[TAP_FLOWS];
};
void tap_write(struct tap_writer* to, const uint8_t* frame, size_t size);
void tap_flush(struct tap_writer* to);

#ifdef __cplusplus
}
#endif

#endif
