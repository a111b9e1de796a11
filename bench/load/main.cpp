// ringline-load: see --help.
#include <fmt/format.h>

#include <cstdio>

#include "driver.hpp"
#include "hosts.hpp"
#include "modes.hpp"
#include "options.hpp"
#include "report.hpp"
#include "ringline/base/random.hpp"

namespace ringline::bench {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Fewer, larger buffers than a server's: under load many frames come at once, and what a buffer does not hold costs another receive.
constexpr loop::RingOptions kRing = {.entries = 4096, .receive_buffers = 128, .receive_buffer_bytes = 64 * 1024};

int run(const Options& options) {
  auto ring = loop::Ring::open(kRing);
  auto address = loop::resolve_tcp(options.host, options.port);
  if (!ring || !address) {
    fmt::print(stderr, "ringline-load: {}\n", !ring ? ring.error().message : address.error().message);
    return kUsage;
  }
  const ServerProbe probe(options.server_pids);
  if (auto use = probe.ask(false); !use) {
    fmt::print(stderr, "ringline-load: --server-pid: {}\n", use.error().message);
    return kUsage;
  }
  catch_interrupts();
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(*ring));
  Crowd crowd(options, loop, *address, static_cast<std::uint32_t>(base::random_u64()));
  Driver driver(options, loop, crowd);
  Report report{.options = options};
  if (set_up(options, driver, crowd, probe, report)) run_mode(options, driver, crowd, probe, report);
  print_report(report);
  tear_down(loop, crowd);
  if (!options.json.empty()) {
    if (auto written = write_json(report); !written) {
      fmt::print(stderr, "ringline-load: {}\n", written.error().message);
      return kUsage;
    }
  }
  return report.clean() ? 0 : kFailed;
}

}  // namespace
}  // namespace ringline::bench

int main(int argc, char** argv) {
  const auto options = ringline::bench::parse_options(argc, argv);
  if (!options) return options.error();
  return options->mode == ringline::bench::Mode::hosts ? ringline::bench::run_hosts(*options)
                                                       : ringline::bench::run(*options);
}
