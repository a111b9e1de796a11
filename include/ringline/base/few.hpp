// Few: a vector of what there is mostly one of. The first lies in it, more are allocated; so one costs nothing beside itself and eight bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "ringline/base/assert.hpp"

namespace ringline::base {

template <class T>
class Few {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  Few() noexcept {}
  Few(const Few& other) { append(other); }
  Few(Few&& other) noexcept { swap(other); }
  Few& operator=(Few other) noexcept {
    swap(other);
    return *this;
  }
  ~Few() {
    if (capacity_ > 1) delete[] place_.many;
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T* begin() noexcept { return capacity_ > 1 ? place_.many : &place_.one; }
  T* end() noexcept { return begin() + size_; }
  const T* begin() const noexcept { return capacity_ > 1 ? place_.many : &place_.one; }
  const T* end() const noexcept { return begin() + size_; }
  T& operator[](std::size_t index) noexcept { return begin()[index]; }
  const T& operator[](std::size_t index) const noexcept { return begin()[index]; }
  T& back() noexcept { return begin()[size_ - 1]; }

  void push_back(T value) {
    if (size_ == capacity_) grow(capacity_ * 2);
    begin()[size_++] = value;
  }
  void pop_back() noexcept {
    ASSERT(size_ > 0);
    --size_;
  }
  // How many went.
  template <class Gone>
  std::size_t erase_if(Gone gone) {
    std::size_t kept = 0;
    for (const T& value : *this)
      if (!gone(value)) begin()[kept++] = value;
    std::size_t before = std::exchange(size_, static_cast<std::uint32_t>(kept));
    return before - kept;
  }
  std::size_t erase(const T& value) {
    return erase_if([&](const T& other) { return other == value; });
  }

 private:
  union Place {
    Place() noexcept {}
    T one;
    T* many;
  };

  void append(const Few& other) {
    if (other.size_ > 1) grow(other.size_);
    for (const T& value : other) push_back(value);
  }
  void grow(std::uint32_t capacity) {
    T* many = new T[capacity];
    std::copy(begin(), end(), many);
    if (capacity_ > 1) delete[] place_.many;
    place_.many = many;
    capacity_ = capacity;
  }
  void swap(Few& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  Place place_;
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 1;  // 1: it lies here
};

}  // namespace ringline::base
