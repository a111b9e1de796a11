// One allocation for count, size and bytes.
#include "ringline/base/blob.hpp"

#include <cstring>
#include <limits>
#include <new>

#include "ringline/base/assert.hpp"
#include "ringline/base/memory.hpp"

namespace ringline::base {

Blob Blob::copy_of(std::string_view bytes) {
  ASSERT(bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  Blob blob;
  blob.head_ = new (allocate_apart(sizeof(Head) + bytes.size())) Head;
  blob.head_->size = static_cast<std::uint32_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(blob.head_ + 1, bytes.data(), bytes.size());
  return blob;
}

void Blob::destroy(Head* head) noexcept {
  head->~Head();
  ::operator delete(head);
}

}  // namespace ringline::base
