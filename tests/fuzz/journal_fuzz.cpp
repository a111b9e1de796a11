// Recovery and dump of arbitrary bytes as segment files. The first byte says how many segments the rest is cut into, and whether checksums are put right
// first: otherwise nothing would ever get past them.
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <span>
#include <streambuf>
#include <string>

#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"

namespace {

namespace backend = ringline::backend;
namespace journal = ringline::backend::journal;

constexpr std::size_t kBytesMax = 64 * 1024;
constexpr unsigned kCores = 2;

// In memory where there is a place for it. Goes with the process.
struct DataDir {
  std::string path = (std::filesystem::exists("/dev/shm") ? std::string("/dev/shm")
                                                          : std::filesystem::temp_directory_path().string()) +
                     "/journal-fuzz-XXXXXX";
  DataDir() {
    ASSERT(::mkdtemp(path.data()) != nullptr);
    for (unsigned core = 0; core < kCores; ++core)
      std::filesystem::create_directories(journal::core_directory(path, core));
    ringline::base::Settings settings;
    settings.log_file = "/dev/null";
    ASSERT(ringline::base::log::start(settings).has_value());
  }
  ~DataDir() { std::filesystem::remove_all(path); }
};

const std::string& data_dir() {
  static const DataDir directory;
  return directory.path;
}

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) number |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return number;
}

// Rewrites heads with right checksums, keeping what their fields say.
void mend(std::span<std::byte> file, std::uint64_t segment) {
  if (file.size() >= journal::kSegmentHeadBytes) {
    journal::write_head(file, journal::SegmentHead{.segment = segment,
                                                   .run = number_at(file, 24) % 8,
                                                   .first_batch = number_at(file, 32),
                                                   .previous = number_at(file, 40) % 64,
                                                   .previous_segment = number_at(file, 48) % 8});
  }
  for (std::size_t at = journal::kBlockBytes; at + journal::kBatchHeadBytes <= file.size();
       at += journal::kBlockBytes) {
    const std::size_t bytes = number_at(file, at + 8) >> 32;
    const std::size_t fits = std::min(bytes % (2 * journal::kBlockBytes), file.size() - at - journal::kBatchHeadBytes);
    const std::uint64_t previous = number_at(file, at + 24) % 64;
    journal::write_head(file.subspan(at, journal::kBatchHeadBytes + fits),
                        journal::BatchHead{.number = previous + 1 + number_at(file, at + 16) % 4,
                                           .previous = previous,
                                           .previous_segment = number_at(file, at + 64) % 8,
                                           .segment = segment,
                                           .run = number_at(file, at + 40) % 8,
                                           .offset = at,
                                           .records = static_cast<std::uint32_t>(number_at(file, at + 56) >> 32) % 8});
  }
}

class Nowhere final : public std::streambuf {
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }
};

void recover() {
  auto recovery = backend::recover_journals(data_dir());
  if (!recovery) return;
  std::size_t events = 0;
  for (;;) {
    const auto batch = (*recovery)->next();
    ASSERT(batch.has_value());
    if (batch->empty()) break;
    events += batch->size();
  }
  const backend::JournalReport& report = (*recovery)->report();
  ASSERT(report.events == events);
  ASSERT(report.damages.size() <= backend::JournalReport::kNamedMax);
  for (unsigned core = 0; core < kCores; ++core) {
    const backend::JournalStart start = (*recovery)->start_of(core);
    ASSERT(start.segment > 0 && start.batch > start.previous && start.run > 0);
  }
  Nowhere nowhere;
  std::ostream out(&nowhere);
  ASSERT(backend::dump_journal(journal::journal_directory(data_dir()), out).has_value());
  ASSERT((*recovery)->remove_recovered().has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > kBytesMax) return 0;
  const unsigned segments = 1 + data[0] % 4;
  const bool mended = (data[0] & 4) != 0;
  const std::size_t piece = (size - 1) / segments;
  for (unsigned i = 0; i < segments; ++i) {
    std::string file(reinterpret_cast<const char*>(data) + 1 + i * piece, piece);
    const std::uint64_t segment = 1 + i / kCores;
    if (mended) mend(std::as_writable_bytes(std::span(file)), segment);
    std::ofstream(journal::core_directory(data_dir(), i % kCores) + "/" + journal::segment_name(segment),
                  std::ios::binary)
        << file;
  }
  recover();
  return 0;
}
