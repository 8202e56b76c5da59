// A VMM's own function of a name that lwIP has too.
int tcp_input(int segments);
int tcp_input(int segments) {
  return segments + 1;
}
