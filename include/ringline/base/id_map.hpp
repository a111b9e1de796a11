// IdMap: what std::unordered_map is for ids, in less memory. An entry is one allocation of exactly its size; finding it costs 9 to 20 bytes beside that,
// where a node of the standard's map and its buckets take 24 to 40.
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
#include <tuple>
#include <type_traits>
#include <utility>

#include "ringline/base/assert.hpp"
#include "ringline/base/ids.hpp"

namespace ringline::base {

template <class Key, class T>
class IdMap {
 public:
  using value_type = std::pair<const Key, T>;

  template <class Value>
  class Iterator {
   public:
    using value_type = IdMap::value_type;
    using difference_type = std::ptrdiff_t;
    using reference = Value&;
    using iterator_category = std::forward_iterator_tag;

    Iterator() noexcept = default;
    Iterator(value_type* const* at, value_type* const* end) noexcept : at_(at), end_(end) { skip(); }
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
    value_type* const* at_ = nullptr;
    value_type* const* end_ = nullptr;
  };
  using iterator = Iterator<value_type>;
  using const_iterator = Iterator<const value_type>;

  IdMap() noexcept = default;
  IdMap(const IdMap&) = delete;
  IdMap& operator=(const IdMap&) = delete;
  ~IdMap() { clear(); }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  iterator begin() noexcept { return {slots_.get(), end_slot()}; }
  iterator end() noexcept { return {end_slot(), end_slot()}; }
  const_iterator begin() const noexcept { return {slots_.get(), end_slot()}; }
  const_iterator end() const noexcept { return {end_slot(), end_slot()}; }

  iterator find(Key id) noexcept { return {slots_.get() + slot_of(id), end_slot()}; }
  const_iterator find(Key id) const noexcept { return {slots_.get() + slot_of(id), end_slot()}; }
  bool contains(Key id) const noexcept { return slot_of(id) != capacity_; }
  // The value, or null.
  T* get(Key id) noexcept {
    std::uint32_t slot = slot_of(id);
    return slot == capacity_ ? nullptr : &slots_[slot]->second;
  }

  // Where the id has an entry that stays, and nothing is made.
  template <class... Arguments>
  std::pair<iterator, bool> emplace(Key id, Arguments&&... arguments) {
    if (std::uint32_t slot = slot_of(id); slot != capacity_) return {{slots_.get() + slot, end_slot()}, false};
    if ((size_ + 1) * 8 > capacity_ * 7) grow(capacity_ == 0 ? kCapacityMin : capacity_ * 2);
    auto made = std::make_unique<value_type>(std::piecewise_construct, std::forward_as_tuple(id),
                                             std::forward_as_tuple(std::forward<Arguments>(arguments)...));
    std::uint32_t slot = place(made.release());
    ++size_;
    return {{slots_.get() + slot, end_slot()}, true};
  }
  T& operator[](Key id) { return emplace(id).first->second; }

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
  value_type** end_slot() const noexcept { return slots_.get() + capacity_; }
  std::uint8_t& mark(std::uint32_t slot) const noexcept { return reinterpret_cast<std::uint8_t*>(end_slot())[slot]; }

  // capacity_: none.
  std::uint32_t slot_of(Key id) const noexcept {
    if (capacity_ == 0) return 0;
    std::uint64_t hash = mix(id.value);
    for (std::uint32_t slot = home_of(hash); slots_[slot]; slot = after(slot))
      if (mark(slot) == mark_of(hash) && slots_[slot]->first == id) return slot;
    return capacity_;
  }

  std::uint32_t place(value_type* entry) noexcept {
    std::uint64_t hash = mix(entry->first.value);
    std::uint32_t slot = home_of(hash);
    while (slots_[slot]) slot = after(slot);
    slots_[slot] = entry;
    mark(slot) = mark_of(hash);
    return slot;
  }

  void grow(std::uint32_t capacity) {
    ASSERT(std::has_single_bit(capacity) && capacity > size_);
    constexpr std::uint32_t kMarksASlot = sizeof(value_type*);
    auto old =
        std::exchange(slots_, std::make_unique<value_type*[]>(capacity + (capacity + kMarksASlot - 1) / kMarksASlot));
    std::uint32_t old_capacity = std::exchange(capacity_, capacity);
    for (std::uint32_t slot = 0; slot < old_capacity; ++slot)
      if (old[slot]) place(old[slot]);
  }

  // What follows without a gap moves into the hole, where that brings it no further than its own slot.
  void erase_slot(std::uint32_t hole) {
    std::unique_ptr<value_type> gone(std::exchange(slots_[hole], nullptr));
    --size_;
    for (std::uint32_t slot = after(hole); slots_[slot]; slot = after(slot)) {
      std::uint32_t home = home_of(mix(slots_[slot]->first.value));
      bool may_move = ((slot - home) & (capacity_ - 1)) >= ((slot - hole) & (capacity_ - 1));
      if (!may_move) continue;
      slots_[hole] = std::exchange(slots_[slot], nullptr);
      mark(hole) = mark(slot);
      hole = slot;
    }
  }

  std::unique_ptr<value_type*[]> slots_;  // and behind them a mark for each
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;  // a power of two, at most 7/8 full: an empty slot ends every search
};

}  // namespace ringline::base
