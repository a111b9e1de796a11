#include "procfs.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

namespace ringline::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// utime and stime are fields 14 and 15; the second, the name, may contain spaces and ends with the last parenthesis.
std::int64_t cpu_of_process(const std::string& directory) {
  const std::string stat = slurp(directory + "/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return -1;
  std::istringstream fields(stat.substr(name_end + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  std::int64_t user = 0;
  std::int64_t system = 0;
  fields >> user >> system;
  return (user + system) * (kSecond / ::sysconf(_SC_CLK_TCK));
}

void add_threads(const std::string& directory, std::map<std::string, std::int64_t>& out) {
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(directory + "/task", error)) {
    std::string name = slurp(thread.path() / "comm");
    if (name.ends_with('\n')) name.pop_back();
    std::istringstream fields(slurp(thread.path() / "schedstat"));
    std::int64_t on_cpu_ns = 0;
    if (fields >> on_cpu_ns) out[name] += on_cpu_ns;
  }
}

// The sum of the lines that begin with one of the names, in bytes.
std::uint64_t kilobytes_of(const std::string& text, std::initializer_list<std::string_view> names) {
  std::istringstream lines(text);
  std::uint64_t sum = 0;
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view name : names) {
      if (!line.starts_with(name)) continue;
      std::istringstream fields(line.substr(name.size()));
      std::uint64_t kilobytes = 0;
      fields >> kilobytes;
      sum += kilobytes * 1024;
    }
  }
  return sum;
}

}  // namespace

ServerUse ServerUse::operator-(const ServerUse& before) const {
  ServerUse use{
      .cpu_ns = cpu_ns - before.cpu_ns,
      .threads_ns = threads_ns,
      .resident_bytes = resident_bytes > before.resident_bytes ? resident_bytes - before.resident_bytes : 0,
      .anonymous_bytes = anonymous_bytes > before.anonymous_bytes ? anonymous_bytes - before.anonymous_bytes : 0};
  for (const auto& [name, ns] : before.threads_ns) use.threads_ns[name] -= ns;
  return use;
}

base::Result<ServerUse> ServerProbe::ask(bool memory) const {
  ServerUse use;
  for (const pid_t pid : pids_) {
    const std::string directory = fmt::format("/proc/{}", pid);
    const std::int64_t cpu_ns = cpu_of_process(directory);
    if (cpu_ns < 0) return base::fail(base::Errc::not_found, fmt::format("process {} is not there (any more)", pid));
    use.cpu_ns += cpu_ns;
    add_threads(directory, use.threads_ns);
    if (!memory) continue;
    use.resident_bytes += kilobytes_of(slurp(directory + "/status"), {"VmRSS:"});
    use.anonymous_bytes += kilobytes_of(slurp(directory + "/smaps_rollup"), {"Anonymous:"});
  }
  return use;
}

std::int64_t own_cpu_ns() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  const auto ns = [](const timeval& time) { return time.tv_sec * kSecond + time.tv_usec * 1000; };
  return ns(use.ru_utime) + ns(use.ru_stime);
}

}  // namespace ringline::bench
