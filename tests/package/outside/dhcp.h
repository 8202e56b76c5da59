/* What a guest's kernel would say first: a DHCPDISCOVER (RFC 2131), and whether a frame offers. */
#ifndef DHCP_H
#define DHCP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ETHERNET = 14, IP = 20, UDP = 8, BOOTP = 236, DISCOVER = ETHERNET + IP + UDP + BOOTP + 8 };

static inline void put16(uint8_t* at, unsigned value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

/* `frame` has DISCOVER bytes. */
static inline void make_discover(uint8_t* frame) {
  static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
  static const uint8_t options[8] = {99, 130, 83, 99, 53, 1, 1, 255};
  uint8_t* ip = frame + ETHERNET;
  uint8_t* udp = ip + IP;
  uint8_t* bootp = udp + UDP;
  unsigned sum = 0;
  memset(frame, 0, DISCOVER);
  memset(frame, 0xff, 6);
  memcpy(frame + 6, mac, 6);
  put16(frame + 12, 0x0800);
  ip[0] = 0x45;
  put16(ip + 2, DISCOVER - ETHERNET);
  ip[8] = 64;
  ip[9] = 17;
  memset(ip + 16, 0xff, 4);
  for (int i = 0; i < IP; i += 2) sum += (unsigned)(ip[i] << 8 | ip[i + 1]);
  put16(ip + 10, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
  put16(udp, 68);
  put16(udp + 2, 67);
  put16(udp + 4, UDP + BOOTP + 8);
  bootp[0] = 1;
  bootp[1] = 1;
  bootp[2] = 6;
  put16(bootp + 10, 0x8000); /* broadcast */
  memcpy(bootp + 28, mac, 6);
  memcpy(bootp + BOOTP, options, sizeof options);
}

/* Whether the frame is a DHCPOFFER of 192.168.127.2. */
static inline int is_offer(const uint8_t* frame, size_t size) {
  static const uint8_t offered[4] = {192, 168, 127, 2};
  static const uint8_t type[7] = {99, 130, 83, 99, 53, 1, 2};
  const uint8_t* bootp = frame + ETHERNET + IP + UDP;
  return size > DISCOVER && frame[12] == 8 && frame[13] == 0 && frame[ETHERNET + 9] == 17 &&
         bootp[0] == 2 && memcmp(bootp + 16, offered, 4) == 0 &&
         memcmp(bootp + BOOTP, type, sizeof type) == 0;
}

#endif
