// The disk seam: what the journal needs beside the ring, blocking, for start-up and for workers. The simulation links another disk.cpp: a disk
// in memory that forgets all that was not synced and tears the last write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::loop::disk {

// create: read_write, must not exist. direct: read_write past the page cache where the file system can; what is written is then aligned to 4 KiB in
// memory, offset and length.
enum class Open : std::uint8_t { read, read_write, create, direct };

base::Result<Fd> open(const std::string& path, Open how);
void close(Fd file) noexcept;
base::Result<std::uint64_t> size(Fd file);
// Fewer bytes than asked: end of file.
base::Result<std::size_t> read_at(Fd file, std::span<std::byte> out, std::uint64_t offset);
base::Result<void> write_at(Fd file, std::span<const std::byte> bytes, std::uint64_t offset);
base::Result<void> sync(Fd file);  // fsync: data and size
// Makes the file `bytes` long, filled with zeros that are written (not a hole), and synced.
base::Result<void> preallocate(Fd file, std::uint64_t bytes);

base::Result<void> make_directories(const std::string& path);  // each new one synced into its parent
base::Result<std::vector<std::string>> list(
    const std::string& directory);  // names, sorted; of a directory that is not there: empty
base::Result<void> rename(const std::string& from, const std::string& to);  // within one directory, which is synced
base::Result<void> remove(const std::string& path);
base::Result<void> sync_directory(const std::string& directory);
base::Result<std::uint64_t> free_bytes(const std::string& directory);

}  // namespace ringline::loop::disk
