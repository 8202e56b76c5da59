#include <stdio.h>

int tcp_input(int segments);

int main(void) {
  if (tcp_input(41) != 42) return 1;
  puts("C program: libnet.a links, and tcp_input is the program's own");
  return 0;
}
