// How far a command is, for people: on standard error, a line now and then; on a terminal always the same one.
#pragma once

#include <cstdint>
#include <string>

#include "ringline/backend/copy.hpp"
#include "ringline/backend/import.hpp"
#include "ringline/base/result.hpp"

namespace ringline::app {

class Progress final : public backend::ImportWatch {
 public:
  Progress();
  ~Progress() override { end(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void begin(std::string_view what, std::uint64_t total) override;
  void advance(std::uint64_t steps) override;
  // On standard output: it is part of what the command says.
  void say(const std::string& what) override;
  void end();

 private:
  void show(bool last);

  const bool on_terminal_;
  std::string what_;  // empty: nothing is under way
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
  std::int64_t began_ms_ = 0;
  std::int64_t next_ms_ = 0;
};

}  // namespace ringline::app
