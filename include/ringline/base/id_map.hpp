// IdMap: what std::unordered_map is for ids, in less memory. Entries know their id (`T::id()`, which never changes) and are one allocation each; finding
// one costs 9 to 20 bytes beside that, where a node of the standard's map, its key and its buckets take 32 to 48.
//
// Open addressing: an entry stands in the first free slot from its id's own one on, so a search ends at an empty slot. A byte of the hash lies beside
// each slot, and an entry is looked at only where that agrees. Erasing closes the hole, so that no search ends too early.
//
// Entries do not move while they live; iterators end with any insertion or erasure.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include "ringline/base/assert.hpp"
#include "ringline/base/fetch.hpp"
#include "ringline/base/ids.hpp"

namespace ringline::base {

template <class Key, class T>
class IdMap {
 public:
  using value_type = T;

  template <class Value>
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = Value&;
    using iterator_category = std::forward_iterator_tag;

    Iterator() noexcept = default;
    Iterator(T* const* at, T* const* end) noexcept : at_(at), end_(end) { skip(); }
    Value& operator*() const noexcept { return **at_; }
    Value* operator->() const noexcept { return *at_; }
    Iterator& operator++() noexcept {
      ++at_;
      skip();
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const noexcept { return at_ == other.at_; }

   private:
    void skip() noexcept {
      while (at_ != end_ && !*at_) ++at_;
    }
    T* const* at_ = nullptr;
    T* const* end_ = nullptr;
  };
  using iterator = Iterator<T>;
  using const_iterator = Iterator<const T>;

  IdMap() noexcept = default;
  IdMap(const IdMap&) = delete;
  IdMap& operator=(const IdMap&) = delete;
  IdMap(IdMap&& other) noexcept { swap(other); }
  IdMap& operator=(IdMap&&) = delete;
  void swap(IdMap& other) noexcept {
    std::swap(slots_, other.slots_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  ~IdMap() { clear(); }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  iterator begin() noexcept { return {slots_.get(), end_slot()}; }
  iterator end() noexcept { return {end_slot(), end_slot()}; }
  const_iterator begin() const noexcept { return {slots_.get(), end_slot()}; }
  const_iterator end() const noexcept { return {end_slot(), end_slot()}; }

  bool contains(Key id) const noexcept { return slot_of(id) != capacity_; }
  // Null: there is none.
  T* find(Key id) noexcept {
    std::uint32_t slot = slot_of(id);
    return slot == capacity_ ? nullptr : slots_[slot];
  }
  const T* find(Key id) const noexcept { return const_cast<IdMap&>(*this).find(id); }

  // Into the cache, for a `find` that comes soon: what most likely is the entry of that id.
  void fetch(Key id) const noexcept {
    if (capacity_ == 0) return;
    std::uint64_t hash = mix(id.value);
    std::uint32_t slot = home_of(hash);
    while (slots_[slot] && mark(slot) != mark_of(hash)) slot = after(slot);
    fetch_lines(slots_[slot], sizeof(T));
  }

  // The entry of that id, made of the arguments if there was none; and whether it was made.
  template <class... Arguments>
  std::pair<T&, bool> emplace(Key id, Arguments&&... arguments) {
    if (T* there = find(id)) return {*there, false};
    if ((size_ + 1) * 8 > capacity_ * 7) grow(capacity_ == 0 ? kCapacityMin : capacity_ * 2);
    auto made = std::make_unique<T>(std::forward<Arguments>(arguments)...);
    ASSERT(made->id() == id);
    place(made.get());
    ++size_;
    return {*made.release(), true};
  }

  // Whether there was one.
  bool erase(Key id) {
    std::uint32_t slot = slot_of(id);
    if (slot == capacity_) return false;
    erase_slot(slot);
    return true;
  }
  void clear() noexcept {
    for (std::uint32_t slot = 0; slot < capacity_; ++slot) delete slots_[slot];
    slots_.reset();
    size_ = capacity_ = 0;
  }
  void reserve(std::size_t count) {
    auto wanted = static_cast<std::uint32_t>(std::bit_ceil(count + count / 7 + 1));  // 7/8 of it hold them
    if (wanted > capacity_ && count > 0) grow(wanted < kCapacityMin ? kCapacityMin : wanted);
  }

  // `gone` may be asked twice about an entry.
  template <class Gone>
  friend void erase_if(IdMap& map, Gone gone) {
    for (std::uint32_t slot = 0; slot < map.capacity_;) {
      if (map.slots_[slot] && gone(std::as_const(*map.slots_[slot]))) {
        map.erase_slot(slot);  // another entry may stand there now
      } else {
        ++slot;
      }
    }
  }

 private:
  static constexpr std::uint32_t kCapacityMin = 4;
  static constexpr unsigned kMarkShift = 57;  // the mark: seven bits of the hash that do not choose the slot
  static constexpr unsigned kSlotShift =
      24;  // nor do its low bits: they choose the core, and are the same for all of a core's ids

  static std::uint8_t mark_of(std::uint64_t hash) noexcept { return static_cast<std::uint8_t>(hash >> kMarkShift); }
  std::uint32_t home_of(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(hash >> kSlotShift) & (capacity_ - 1);
  }
  std::uint32_t after(std::uint32_t slot) const noexcept { return (slot + 1) & (capacity_ - 1); }
  T** end_slot() const noexcept { return slots_.get() + capacity_; }
  std::uint8_t& mark(std::uint32_t slot) const noexcept { return reinterpret_cast<std::uint8_t*>(end_slot())[slot]; }

  // capacity_: none.
  std::uint32_t slot_of(Key id) const noexcept {
    if (capacity_ == 0) return 0;
    std::uint64_t hash = mix(id.value);
    for (std::uint32_t slot = home_of(hash); slots_[slot]; slot = after(slot))
      if (mark(slot) == mark_of(hash) && slots_[slot]->id() == id) return slot;
    return capacity_;
  }

  void place(T* entry) noexcept {
    std::uint64_t hash = mix(entry->id().value);
    std::uint32_t slot = home_of(hash);
    while (slots_[slot]) slot = after(slot);
    slots_[slot] = entry;
    mark(slot) = mark_of(hash);
  }

  void grow(std::uint32_t capacity) {
    ASSERT(std::has_single_bit(capacity) && capacity > size_);
    constexpr std::uint32_t kMarksASlot = sizeof(T*);
    auto old = std::exchange(slots_, std::make_unique<T*[]>(capacity + (capacity + kMarksASlot - 1) / kMarksASlot));
    std::uint32_t old_capacity = std::exchange(capacity_, capacity);
    for (std::uint32_t slot = 0; slot < old_capacity; ++slot)
      if (old[slot]) place(old[slot]);
  }

  // What follows without a gap moves into the hole, where that brings it no further than its own slot.
  void erase_slot(std::uint32_t hole) {
    std::unique_ptr<T> gone(std::exchange(slots_[hole], nullptr));
    --size_;
    for (std::uint32_t slot = after(hole); slots_[slot]; slot = after(slot)) {
      std::uint32_t home = home_of(mix(slots_[slot]->id().value));
      bool may_move = ((slot - home) & (capacity_ - 1)) >= ((slot - hole) & (capacity_ - 1));
      if (!may_move) continue;
      slots_[hole] = std::exchange(slots_[slot], nullptr);
      mark(hole) = mark(slot);
      hole = slot;
    }
  }

  std::unique_ptr<T*[]> slots_;  // and behind them a mark for each
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;  // a power of two, at most 7/8 full: an empty slot ends every search
};

}  // namespace ringline::base
