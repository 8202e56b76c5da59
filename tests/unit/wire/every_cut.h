#pragma once

#include <catch2/catch.hpp>

#include "wire/reader_kit.h"

namespace sluice::testing {

/// The outcome, which is the same however the stream is cut.
template <typename Reader>
Outcome<Reader> outcome_of_every_cut(ConstBytes stream, Server server = Server::stays) {
  auto whole = run_in_steps<Reader>(stream, SIZE_MAX, server);
  CHECK(whole.broken.empty());
  CHECK(run_in_steps<Reader>(stream, 1, server) == whole);
  for (std::size_t cut = 1; cut < stream.size(); ++cut) {
    INFO("cut at " << cut);
    CHECK(run_cut_at<Reader>(stream, cut, server) == whole);
  }
  return whole;
}

}  // namespace sluice::testing
