#pragma once

#include <algorithm>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/http2_request.h"
#include "wire/http_request.h"
#include "wire/tls_hello_reader.h"

// Drives the readers of a connection's first flight over a whole stream. For unit tests and
// fuzzers.

namespace sluice::testing {

/// How the far server answers a request to change the protocol.
enum class Server { stays, switches };

inline ConstBytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline bool awaits_verdict(const wire::HttpRequestReader& reader) {
  return reader.state() == wire::HttpRequestReader::State::verdict;
}
inline bool awaits_verdict(const wire::Http2RequestReader& reader) {
  return reader.state() == wire::Http2RequestReader::State::verdict;
}
inline bool awaits_verdict(const wire::TlsHelloReader& reader) {
  return reader.state() == wire::TlsHelloReader::State::complete;
}

template <typename Request>
std::string host_of(const Request& request) {
  return request.authority ? request.authority->to_string() : "none";
}
inline std::string name_of(const wire::HttpRequestReader& reader) {
  return host_of(reader.request());
}
inline std::string name_of(const wire::Http2RequestReader& reader) {
  return host_of(reader.request());
}
inline std::string name_of(const wire::TlsHelloReader& reader) {
  return reader.hello().server_name ? reader.hello().server_name->text() : "none";
}

/// Answers a request to change the protocol, where one waits and more is to come.
inline bool answer(wire::HttpRequestReader& reader, Server server, bool is_more) {
  if (reader.state() != wire::HttpRequestReader::State::switching) return false;
  if (server == Server::switches) {
    reader.switched();
  } else if (is_more) {
    reader.not_switched();
  }
  return true;
}
template <typename Reader>
bool answer(Reader&, Server, bool) {
  return false;
}

/// What came of a stream in which all that the reader asks about is approved.
template <typename Reader>
struct Outcome {
  typename Reader::State state{};
  std::vector<std::string> names;  ///< Of hellos and requests, in order.
  std::uint64_t released = 0;
  std::string reason;
  std::string broken;  ///< The first promise of every reader's that did not hold; empty: all did.

  friend bool operator==(const Outcome&, const Outcome&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
    out << static_cast<int>(outcome.state) << " released " << outcome.released << " '"
        << outcome.reason << "' " << outcome.broken;
    for (const auto& name : outcome.names) out << ' ' << name;
    return out;
  }
};

/// A reader under way.
template <typename Reader>
class ReaderRun {
 public:
  explicit ReaderRun(Server server = Server::stays) : server_(server) {}

  /// In pieces of at most `step` bytes, until the reader takes nothing more.
  void feed(ConstBytes bytes, std::size_t step = SIZE_MAX) {
    while (!bytes.empty()) {
      ConstBytes piece = bytes.first(std::min(step, bytes.size()));
      std::uint64_t before = reader_.released();
      std::size_t taken = reader_.feed(piece);
      bytes = bytes.subspan(taken);
      fed_ += taken;
      expect(reader_.released() >= before, "what was released stays so");
      expect(reader_.released() <= fed_, "only what was fed is released");
      if (awaits_verdict(reader_)) {
        judge();
      } else if (!answer(reader_, server_, !bytes.empty()) && taken < piece.size()) {
        return;
      }
    }
  }

  Outcome<Reader> outcome() const {
    Outcome<Reader> outcome = outcome_;
    outcome.state = reader_.state();
    outcome.released = reader_.released();
    outcome.reason = reader_.reason();
    return outcome;
  }

  /// Called before each approval, with how much was fed and is released until then.
  std::function<void(const Reader&, std::uint64_t released, std::uint64_t fed)> on_verdict;
  std::uint64_t fed() const { return fed_; }

 private:
  void judge() {
    expect(reader_.taken() == fed_, "nothing is taken beyond what is judged");
    expect(reader_.released() < fed_, "nothing judged is released before its verdict");
    if (on_verdict) on_verdict(reader_, reader_.released(), fed_);
    outcome_.names.push_back(name_of(reader_));
    reader_.approve();
    expect(reader_.released() == fed_, "what was approved is released");
  }
  void expect(bool holds, std::string_view promise) {
    if (!holds && outcome_.broken.empty()) outcome_.broken = promise;
  }

  Server server_;
  Reader reader_;
  std::uint64_t fed_ = 0;
  Outcome<Reader> outcome_;
};

template <typename Reader>
Outcome<Reader> run_in_steps(ConstBytes stream, std::size_t step, Server server = Server::stays) {
  ReaderRun<Reader> run(server);
  run.feed(stream, step);
  return run.outcome();
}

template <typename Reader>
Outcome<Reader> run_cut_at(ConstBytes stream, std::size_t cut, Server server = Server::stays) {
  ReaderRun<Reader> run(server);
  run.feed(stream.first(cut));
  run.feed(stream.subspan(cut));
  return run.outcome();
}

}  // namespace sluice::testing
