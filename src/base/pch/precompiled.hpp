// Precompiled for each layer's library and nothing else: what nearly every source takes from outside. A source includes what it uses all the same; the
// tree of the fuzz targets is built without (-Db_pch=false), so that one that does not is found.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>
