// DATA_DIR: the one place for what this process keeps. One process at a time; files of it are readable by their owner only.
#pragma once

#include <string>
#include <vector>

#include "ringline/backend/database.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::app {

class DataDir {
 public:
  // Makes the directory where it is missing and locks it: a second process is told which one holds it.
  static base::Result<DataDir> open(const std::string& path);
  DataDir(DataDir&& other) noexcept;
  DataDir(const DataDir&) = delete;
  DataDir& operator=(DataDir&&) = delete;
  ~DataDir();  // unlocks

  const std::string& path() const noexcept { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  // JWT_SECRET, or the one made on first start and kept in `jwt-secret` (0600).
  base::Result<std::vector<std::string>> jwt_secrets(const base::Settings& settings) const;
  // Who this host is to a database that several may reach: made on first start and kept in `host-token`.
  base::Result<std::string> host_token() const { return kept_token("host-token"); }
  // The number of this host among several, kept in `host` with who held it for the last run: see backend::HostNumber.
  backend::HostNumber host_number() const;
  base::Result<void> keep(const backend::HostNumber& host) const;
  // Writes `name` whole or not at all.
  base::Result<void> write_file(std::string_view name, std::string_view content) const;
  // Gone for good when it answers.
  base::Result<void> remove_file(std::string_view name) const;

 private:
  base::Result<std::string> kept_token(std::string_view name) const;
  DataDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_ = -1;
};

}  // namespace ringline::app
