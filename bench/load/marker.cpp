#include "marker.hpp"

#include <fmt/format.h>

#include <iterator>

#include "ringline/base/assert.hpp"

namespace ringline::bench {
namespace {

constexpr std::string_view kFilling = " the quick brown fox jumps over the lazy dog";

}  // namespace

void append_text(std::string& out, const Marker& marker, std::size_t size) {
  ASSERT(size >= kMarkerBytes);
  const std::size_t end = out.size() + size;
  fmt::format_to(std::back_inserter(out), "{}{:08x}{:08x}{:08x}{:08x}{:016x}", kMarkerByte, marker.run, marker.room,
                 marker.sender, marker.counter, static_cast<std::uint64_t>(marker.intended_ns));
  while (out.size() < end) out.append(kFilling.substr(0, end - out.size()));
}

}  // namespace ringline::bench
