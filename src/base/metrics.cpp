// The Prometheus text, made from the rows of metrics.hpp, and what the process itself costs.
#include "ringline/base/metrics.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "ringline/base/clock.hpp"
#include "ringline/base/version.hpp"

namespace ringline::base {
namespace {

void put_head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

template <class Number>
void put(std::string& out, std::string_view name, std::string_view type, std::string_view help, Number value) {
  put_head(out, name, type, help);
  fmt::format_to(std::back_inserter(out), "{} {}\n", name, value);
}

void put_histogram(std::string& out, std::string_view name, std::string_view help, const Histogram& histogram) {
  put_head(out, name, "histogram", help);
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    so_far += histogram.buckets[i];
    const double bound = static_cast<double>(std::uint64_t{1} << i) / 1e6;
    fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name, bound, so_far);
  }
  fmt::format_to(std::back_inserter(out), "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name,
                 histogram.count, static_cast<double>(histogram.sum_ns) / 1e9);
}

double cpu_seconds() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

struct Memory {
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_bytes = 0;
};

struct CloseFolder {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

Memory memory() noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"), &std::fclose);
  unsigned long long all = 0;
  unsigned long long resident = 0;
  if (!file || std::fscanf(file.get(), "%llu %llu", &all, &resident) != 2) return {};
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {all * page, resident * page};
}

// Since Linux 6.2 the size of the folder is the number of open descriptors; before it is 0 and they are counted.
std::uint64_t fds_in(const std::string& folder_path) noexcept {
  struct stat info{};
  if (::stat(folder_path.c_str(), &info) == 0 && info.st_size > 0) return static_cast<std::uint64_t>(info.st_size);
  const Folder folder(::opendir(folder_path.c_str()));
  if (!folder) return 0;
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder.get()))
    if (entry->d_name[0] != '.') ++count;
  return count;
}

// Threads may have descriptor tables of their own, and the limit is each one's: the fullest tells how near it is.
std::uint64_t open_fds() noexcept {
  const Folder threads(::opendir("/proc/self/task"));
  std::uint64_t most = 0;
  while (const dirent* thread = threads ? ::readdir(threads.get()) : nullptr)
    if (thread->d_name[0] != '.')
      most = std::max(most, fds_in(std::string("/proc/self/task/") + thread->d_name + "/fd"));
  return most;
}

void put_process(std::string& out, double uptime_seconds) {
  const Memory used = memory();
  rlimit fds{};
  ::getrlimit(RLIMIT_NOFILE, &fds);
  put(out, "process_cpu_seconds_total", "counter", "Processor time used, user and system.", cpu_seconds());
  put(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.", used.resident_bytes);
  put(out, "process_virtual_memory_bytes", "gauge", "Address space.", used.virtual_bytes);
  put(out, "process_open_fds", "gauge", "Open file descriptors of the thread that has most.", open_fds());
  put(out, "process_max_fds", "gauge", "Limit on open file descriptors of a thread.",
      static_cast<std::uint64_t>(fds.rlim_cur));
  put(out, "process_start_time_seconds", "gauge", "Start of the process, Unix time.",
      static_cast<double>(wall_ms()) / 1000.0 - uptime_seconds);
}

}  // namespace

void Histogram::record(std::int64_t ns) noexcept {
  const auto taken = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
  const std::uint64_t micros_up = (taken + 999) / 1000;  // a bucket holds what is at most its bound
  const auto bucket = static_cast<std::size_t>(micros_up <= 1 ? 0 : std::bit_width(micros_up - 1));
  ++buckets[std::min(bucket, kBuckets - 1)];
  ++count;
  sum_ns += taken;
}

void Metrics::add(const Metrics& other) noexcept {
#define X(field, name, help) field += other.field;
    RINGLINE_COUNTERS(X) RINGLINE_GAUGES(X)
#undef X
#define X(field, name, help)                                                                        \
  for (std::size_t i = 0; i < Histogram::kBuckets; ++i) field.buckets[i] += other.field.buckets[i]; \
  field.count += other.field.count;                                                                 \
  field.sum_ns += other.field.sum_ns;
        RINGLINE_HISTOGRAMS(X)
#undef X
}

std::string render_prometheus(std::span<const Metrics> cores, double uptime_seconds) {
  constexpr std::size_t kUsualBytes = 24 * 1024;
  Metrics total;
  for (const Metrics& core : cores) total.add(core);
  std::string out;
  out.reserve(kUsualBytes);
#define X(field, name, help) put(out, "ringline_" name, "counter", help, total.field);
  RINGLINE_COUNTERS(X)
#undef X
#define X(field, name, help) put(out, "ringline_" name, "gauge", help, total.field);
  RINGLINE_GAUGES(X)
#undef X
#define X(field, name, help) put_histogram(out, "ringline_" name, help, total.field);
  RINGLINE_HISTOGRAMS(X)
#undef X
  put_head(out, "ringline_core_connections", "gauge", "Open sockets of a core.");
  for (std::size_t core = 0; core < cores.size(); ++core)
    fmt::format_to(std::back_inserter(out), "ringline_core_connections{{core=\"{}\"}} {}\n", core,
                   cores[core].connections);
  put(out, "ringline_cores", "gauge", "Cores that serve.", cores.size());
  put(out, "ringline_uptime_seconds", "gauge", "Time since the start.", uptime_seconds);
  put_head(out, "ringline_build_info", "gauge", "What is running; always 1.");
  fmt::format_to(std::back_inserter(out), "ringline_build_info{{version=\"{}\",compiler=\"{}\"}} 1\n", version(),
                 compiler());
  put_process(out, uptime_seconds);
  return out;
}

}  // namespace ringline::base
