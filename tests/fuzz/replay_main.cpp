// Stands in for libFuzzer: replays every seed, then mutations of the seeds and random bytes from a
// fixed generator. `fuzz_NAME MAX_LEN [CORPUS]`: 0, or what the sanitizer or the target's own abort
// make of a fault.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr int kRounds = 20000;
// Slow targets do fewer rounds, so that the suite stays quick.
constexpr std::chrono::seconds kBudget{3};

std::vector<Input> load(const char* folder) {
  std::vector<Input> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

void run(const Input& input) {
  // A block of exactly the input's size, so that AddressSanitizer sees one byte too far.
  Input exact(input.begin(), input.end());
  exact.shrink_to_fit();
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void mutate(Input& input, std::mt19937_64& random, std::size_t max_size) {
  static constexpr std::uint8_t kEdges[] = {0,    1,    2,    3,    4,    7,   8,
                                            0x0f, 0x10, 0x7f, 0x80, 0xfe, 0xff};
  for (auto changes = random() % 8 + 1; changes > 0; --changes) {
    std::size_t at = input.empty() ? 0 : random() % input.size();
    switch (random() % 5) {
      case 0:
        if (!input.empty()) input[at] = static_cast<std::uint8_t>(random());
        break;
      case 1:
        if (!input.empty()) input[at] = kEdges[random() % std::size(kEdges)];
        break;
      case 2:
        if (!input.empty()) input[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
        break;
      case 3:
        input.resize(at);
        break;
      default:
        for (auto more = random() % 64; more > 0 && input.size() < max_size; --more) {
          input.push_back(static_cast<std::uint8_t>(random()));
        }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MAX_LEN [CORPUS]\n", argv[0]);
    return 2;
  }
  auto max_size = static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10));
  std::vector<Input> seeds;
  for (int i = 2; i < argc; ++i) seeds = load(argv[i]);
  for (const Input& seed : seeds) run(seed);
  seeds.emplace_back();

  std::mt19937_64 random(1);
  auto end = std::chrono::steady_clock::now() + kBudget;
  int rounds = 0;
  for (; rounds < kRounds && std::chrono::steady_clock::now() < end; ++rounds) {
    Input input = seeds[random() % seeds.size()];
    mutate(input, random, max_size);
    run(input);
  }
  std::printf("%zu seeds, %d mutations\n", seeds.size() - 1, rounds);
  return 0;
}
