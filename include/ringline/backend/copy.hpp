// All data of a store, moved as a whole: to another store, into the files of a backup and back. For commands of operators: everything here blocks, and
// nothing else may write to the stores meanwhile (a backup excepted, which reads one moment of a store at work).
//
// Both sides are read in the order of their keys, side by side, and what differs is written. So a copy that was ended, or made before, is gone on with by
// making it again, and one that is whole is not changed.
// Invariant: a store with the mark `unfinished` in its table meta is used by nothing but the copy that set it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/result.hpp"

namespace ringline::backend {

// Is told how far things are.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual void begin(std::string_view what, std::uint64_t total) = 0;
  virtual void advance(std::uint64_t steps) = 0;
};

struct TableReport {
  std::string table;
  std::uint64_t from = 0;  // rows of each side in the end
  std::uint64_t to = 0;
  std::uint64_t written = 0;
  std::uint64_t removed = 0;
  // In the end: rows that are on one side alone, or differ.
  std::uint64_t missing = 0;
  std::uint64_t extra = 0;
  std::uint64_t different = 0;
};

struct CopyReport {
  static constexpr std::size_t kNamedMax = 1000;  // of refused rows; all are counted

  struct Refused {
    std::string table;
    std::string row;  // its key
    std::string reason;
  };
  std::vector<TableReport> tables;
  std::vector<Refused> refused;
  std::uint64_t refused_rows = 0;
  std::vector<std::string>
      only_there;  // tables and columns that the target alone has: they stay as a new store has them

  bool same() const noexcept;
};

// Stores are named as by DATABASE_URL, and their schemas are up to date (open_sqlite, open_postgres).
// Conflict: `to` holds something that is no copy of `from`; or a server has written to it since.
base::Result<void> check_copy_target(const std::string& from, const std::string& to);
base::Result<CopyReport> copy_store(const std::string& from, const std::string& to, Watch& watch);

}  // namespace ringline::backend
