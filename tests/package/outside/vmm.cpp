#include <net/address.h>

#include <cstdio>

extern "C" int tcp_input(int segments);

int main() {
  const auto address = sluice::IpAddress::parse("192.0.2.1");
  if (!address || address->to_string() != "192.0.2.1") return 1;
  if (tcp_input(41) != 42) return 1;
  std::puts("C++ program: libnet.a works, and tcp_input is the program's own");
}
