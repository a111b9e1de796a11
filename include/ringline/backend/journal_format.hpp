// The journal on disk, version 1. All numbers little-endian, all checksums zlib's CRC-32.
//
//   DATA_DIR/journal/clean-stop                          there: the last run stopped cleanly (empty file)
//   DATA_DIR/journal/core-N/00000000000000000001.log     segment 1 of core N; numbers only grow, also over runs
//
// A segment is a file of fixed size, made of zeros that were written and synced before its first use, never used twice, and written front to back in
// blocks of 4096 bytes: the segment head in block 0, then batches, each padded with zeros to whole blocks. No block is written twice, so a torn write
// can hurt nothing that was committed before it.
//
//   segment head   0 magic "RLJSEG\0\1"   8 version u32   12 crc u32 (of all but itself)   16 segment u64   24 run u64
//                  32 first batch u64   40 previous u64   48 previous's segment u64   56 core u32   60 block bytes u32
//   batch head     0 magic "RLJB"   4 head crc u32 (of bytes 8..72)   8 payload crc u32   12 payload bytes u32   16 number u64   24 previous u64
//                  32 segment u64   40 run u64   48 offset in the file u64   56 core u32   60 records u32   64 previous's segment u64
//   record         0 length u32 (whole record)   4 type u8   5 kind u8   6 zero u16   8 …
//     type 1, event: 8 room u64   16 seq u64   24 epoch u64   32 id u64   40 at_ms i64   48 actor u64   56 body
//     type 2, void:  8 segment u64   16 batch u64   24 offset u64: that batch was never committed, whatever lies there
//
// A batch is one group commit: it was committed if a later batch or segment head names it, or one behind it, as `previous`. The last batch of all may or
// may not have been; intact it is kept. A failed commit ends its segment: the next one starts with a void batch, and its head's `previous` is the
// batch before the failed one. What is in a segment behind the `previous` of the segment after it was never committed: voided, or torn by a crash.
//
// `run` counts starts of the server, the same for all cores. A room's home core changes between runs only, so reading run by run, core by core,
// segment by segment gives each room's events in seq order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "ringline/base/limits.hpp"
#include "ringline/chat/event.hpp"

namespace ringline::backend::journal {

inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kSegmentHeadBytes = 64;
inline constexpr std::size_t kBatchHeadBytes = 72;
inline constexpr std::size_t kEventHeadBytes = 56;
inline constexpr std::size_t kVoidBytes = 32;
inline constexpr std::size_t kPayloadBytesMax = base::limits::kJournalBatchBytes;

constexpr std::uint64_t whole_blocks(std::uint64_t bytes) noexcept {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

struct SegmentHead {
  std::uint64_t segment = 0;
  std::uint64_t run = 0;
  std::uint64_t first_batch = 0;
  std::uint64_t previous = 0;          // the last batch committed before this segment; 0: none
  std::uint64_t previous_segment = 0;  // where that one is
  std::uint32_t core = 0;
  bool operator==(const SegmentHead&) const = default;
};

struct BatchHead {
  std::uint64_t number = 0;
  std::uint64_t previous = 0;
  std::uint64_t previous_segment = 0;
  std::uint64_t segment = 0;
  std::uint64_t run = 0;
  std::uint64_t offset = 0;
  std::uint32_t core = 0;
  std::uint32_t records = 0;
  std::uint32_t bytes = 0;  // of the payload
  std::uint32_t payload_crc = 0;
  bool operator==(const BatchHead&) const = default;
};

struct VoidRecord {
  std::uint64_t segment = 0;
  std::uint64_t batch = 0;
  std::uint64_t offset = 0;
  bool operator==(const VoidRecord&) const = default;
};

// `block` is at least kSegmentHeadBytes.
void write_head(std::span<std::byte> block, const SegmentHead& head) noexcept;
std::optional<SegmentHead> read_segment_head(std::span<const std::byte> block) noexcept;
// An intact segment head of a version that this program does not know.
bool of_other_version(std::span<const std::byte> block) noexcept;

// `batch`: kBatchHeadBytes of room and the payload behind them. Fills in `bytes` and the checksums.
void write_head(std::span<std::byte> batch, BatchHead head) noexcept;
// Says nothing about the payload.
std::optional<BatchHead> read_batch_head(std::span<const std::byte> block) noexcept;
bool payload_intact(const BatchHead& head, std::span<const std::byte> payload) noexcept;

std::size_t bytes_of(const chat::Event& event) noexcept;
// `out` is exactly as large as the record.
void write_record(std::span<std::byte> out, const chat::Event& event) noexcept;
void write_record(std::span<std::byte> out, const VoidRecord& record) noexcept;

using Record = std::variant<chat::Event, VoidRecord>;
// Takes one record off the front of `payload`; nothing if it is not well-formed. Copies the body.
std::optional<Record> take_record(std::span<const std::byte>& payload);

// "00000000000000000001.log" and back.
std::string segment_name(std::uint64_t segment);
std::optional<std::uint64_t> segment_number(std::string_view name) noexcept;
std::string journal_directory(const std::string& data_dir);
std::string core_directory(const std::string& data_dir, unsigned core);
inline constexpr std::string_view kCorePrefix = "core-";
inline constexpr std::string_view kCleanStop = "clean-stop";
inline constexpr std::string_view kUnfinished = ".tmp";  // ending of a segment that is being made

}  // namespace ringline::backend::journal
