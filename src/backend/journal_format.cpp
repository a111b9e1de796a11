// See journal_format.hpp.
#include "ringline/backend/journal_format.hpp"

#include <libdeflate.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "ringline/base/assert.hpp"

namespace ringline::backend::journal {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::array<char, 8> kSegmentMagic{'R', 'L', 'J', 'S', 'E', 'G', '\0', '\1'};
constexpr std::array<char, 4> kBatchMagic{'R', 'L', 'J', 'B'};
constexpr std::uint8_t kEventType = 1;
constexpr std::uint8_t kVoidType = 2;
constexpr std::size_t kSegmentDigits = 20;
constexpr std::string_view kSegmentEnding = ".log";

template <class T>
void put(std::span<std::byte> out, std::size_t at, T value) noexcept {
  std::memcpy(out.subspan(at, sizeof value).data(), &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> in, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, in.subspan(at, sizeof value).data(), sizeof value);
  return value;
}

std::uint32_t checksum(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept {
  return ::libdeflate_crc32(before, bytes.data(), bytes.size());
}

std::uint32_t segment_checksum(std::span<const std::byte> head) noexcept {
  return checksum(head.subspan(16), checksum(head.first(12)));
}

void write_record_head(std::span<std::byte> out, std::uint8_t type, std::uint8_t kind) noexcept {
  put(out, 0, static_cast<std::uint32_t>(out.size()));
  put(out, 4, type);
  put(out, 5, kind);
  put(out, 6, std::uint16_t{0});
}

// Of any version: magic, version, checksum and the head's length stay where they are.
bool is_segment_head(std::span<const std::byte> block) noexcept {
  if (block.size() < kSegmentHeadBytes) return false;
  const auto head = block.first(kSegmentHeadBytes);
  return std::memcmp(head.data(), kSegmentMagic.data(), kSegmentMagic.size()) == 0 &&
         get<std::uint32_t>(head, 12) == segment_checksum(head);
}

std::optional<Record> read_event(std::span<const std::byte> record) {
  const auto kind = chat::event_kind(get<std::uint8_t>(record, 5));
  if (record.size() < kEventHeadBytes || !kind) return std::nullopt;
  const auto body = record.subspan(kEventHeadBytes);
  return chat::Event{.room = {get<std::uint64_t>(record, 8)},
                     .seq = get<std::uint64_t>(record, 16),
                     .epoch = get<std::uint64_t>(record, 24),
                     .id = {get<std::uint64_t>(record, 32)},
                     .at_ms = get<std::int64_t>(record, 40),
                     .actor = {get<std::uint64_t>(record, 48)},
                     .kind = *kind,
                     .body = base::Blob::copy_of({reinterpret_cast<const char*>(body.data()), body.size()})};
}

std::optional<Record> read_void(std::span<const std::byte> record) noexcept {
  if (record.size() != kVoidBytes) return std::nullopt;
  return VoidRecord{.segment = get<std::uint64_t>(record, 8),
                    .batch = get<std::uint64_t>(record, 16),
                    .offset = get<std::uint64_t>(record, 24)};
}

}  // namespace

void write_head(std::span<std::byte> block, const SegmentHead& head) noexcept {
  const auto out = block.first(kSegmentHeadBytes);
  std::memcpy(out.data(), kSegmentMagic.data(), kSegmentMagic.size());
  put(out, 8, kVersion);
  put(out, 16, head.segment);
  put(out, 24, head.run);
  put(out, 32, head.first_batch);
  put(out, 40, head.previous);
  put(out, 48, head.previous_segment);
  put(out, 56, head.core);
  put(out, 60, static_cast<std::uint32_t>(kBlockBytes));
  put(out, 12, segment_checksum(out));
}

std::optional<SegmentHead> read_segment_head(std::span<const std::byte> block) noexcept {
  if (!is_segment_head(block) || get<std::uint32_t>(block, 8) != kVersion) return std::nullopt;
  return SegmentHead{.segment = get<std::uint64_t>(block, 16),
                     .run = get<std::uint64_t>(block, 24),
                     .first_batch = get<std::uint64_t>(block, 32),
                     .previous = get<std::uint64_t>(block, 40),
                     .previous_segment = get<std::uint64_t>(block, 48),
                     .core = get<std::uint32_t>(block, 56)};
}

bool of_other_version(std::span<const std::byte> block) noexcept {
  return is_segment_head(block) && get<std::uint32_t>(block, 8) != kVersion;
}

void write_head(std::span<std::byte> batch, BatchHead head) noexcept {
  const auto payload = batch.subspan(kBatchHeadBytes);
  ASSERT(payload.size() <= kPayloadBytesMax);
  const auto out = batch.first(kBatchHeadBytes);
  std::memcpy(out.data(), kBatchMagic.data(), kBatchMagic.size());
  put(out, 8, checksum(payload));
  put(out, 12, static_cast<std::uint32_t>(payload.size()));
  put(out, 16, head.number);
  put(out, 24, head.previous);
  put(out, 32, head.segment);
  put(out, 40, head.run);
  put(out, 48, head.offset);
  put(out, 56, head.core);
  put(out, 60, head.records);
  put(out, 64, head.previous_segment);
  put(out, 4, checksum(out.subspan(8)));
}

std::optional<BatchHead> read_batch_head(std::span<const std::byte> block) noexcept {
  if (block.size() < kBatchHeadBytes) return std::nullopt;
  const auto in = block.first(kBatchHeadBytes);
  if (std::memcmp(in.data(), kBatchMagic.data(), kBatchMagic.size()) != 0) return std::nullopt;
  if (get<std::uint32_t>(in, 4) != checksum(in.subspan(8))) return std::nullopt;
  const BatchHead head{.number = get<std::uint64_t>(in, 16),
                       .previous = get<std::uint64_t>(in, 24),
                       .previous_segment = get<std::uint64_t>(in, 64),
                       .segment = get<std::uint64_t>(in, 32),
                       .run = get<std::uint64_t>(in, 40),
                       .offset = get<std::uint64_t>(in, 48),
                       .core = get<std::uint32_t>(in, 56),
                       .records = get<std::uint32_t>(in, 60),
                       .bytes = get<std::uint32_t>(in, 12),
                       .payload_crc = get<std::uint32_t>(in, 8)};
  if (head.bytes > kPayloadBytesMax || head.number == 0 || head.previous >= head.number) return std::nullopt;
  return head;
}

bool payload_intact(const BatchHead& head, std::span<const std::byte> payload) noexcept {
  return payload.size() == head.bytes && checksum(payload) == head.payload_crc;
}

std::size_t bytes_of(const chat::Event& event) noexcept { return kEventHeadBytes + event.body.size(); }

void write_record(std::span<std::byte> out, const chat::Event& event) noexcept {
  ASSERT(out.size() == bytes_of(event));
  write_record_head(out, kEventType, static_cast<std::uint8_t>(event.kind));
  put(out, 8, event.room.value);
  put(out, 16, event.seq);
  put(out, 24, event.epoch);
  put(out, 32, event.id.value);
  put(out, 40, event.at_ms);
  put(out, 48, event.actor.value);
  const std::string_view body = event.body.view();
  if (!body.empty()) std::memcpy(out.subspan(kEventHeadBytes).data(), body.data(), body.size());
}

void write_record(std::span<std::byte> out, const VoidRecord& record) noexcept {
  ASSERT(out.size() == kVoidBytes);
  write_record_head(out, kVoidType, 0);
  put(out, 8, record.segment);
  put(out, 16, record.batch);
  put(out, 24, record.offset);
}

std::optional<Record> take_record(std::span<const std::byte>& payload) {
  static constexpr std::size_t kHead = 8;
  if (payload.size() < kHead) return std::nullopt;
  const std::size_t length = get<std::uint32_t>(payload, 0);
  if (length < kHead || length > payload.size() || length > base::limits::kJournalRecordBytes) return std::nullopt;
  const auto record = payload.first(length);
  payload = payload.subspan(length);
  switch (get<std::uint8_t>(record, 4)) {
    case kEventType:
      return read_event(record);
    case kVoidType:
      return read_void(record);
    default:
      return std::nullopt;
  }
}

std::string segment_name(std::uint64_t segment) {
  std::string digits = std::to_string(segment);
  digits.insert(0, kSegmentDigits - digits.size(), '0');
  return digits.append(kSegmentEnding);
}

std::optional<std::uint64_t> segment_number(std::string_view name) noexcept {
  if (name.size() != kSegmentDigits + kSegmentEnding.size() || !name.ends_with(kSegmentEnding)) return std::nullopt;
  std::uint64_t number = 0;
  const char* digits_end = name.data() + kSegmentDigits;
  const auto [end, error] = std::from_chars(name.data(), digits_end, number);
  if (error != std::errc{} || end != digits_end || number == 0) return std::nullopt;
  return number;
}

std::string journal_directory(const std::string& data_dir) { return data_dir + "/journal"; }

std::string core_directory(const std::string& data_dir, unsigned core) {
  return journal_directory(data_dir).append("/").append(kCorePrefix).append(std::to_string(core));
}

}  // namespace ringline::backend::journal
