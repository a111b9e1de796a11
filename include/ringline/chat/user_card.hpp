// UserCard: a user as he is shown, shared by all that hold him: his connections, his home, the rooms he is in, on any core. A card never changes; a user
// who does gets a new one.
//
// One allocation: the numbers, then the texts. There may be a million, so empty texts take nothing, and a name that is shown as it is stands once.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "ringline/chat/objects.hpp"

namespace ringline::chat {

class Person {
 public:
  Person(const Person&) = delete;
  Person& operator=(const Person&) = delete;

  std::string_view username() const noexcept { return text(Text::username); }
  std::string_view display_name() const noexcept { return shown_as_named_ ? username() : text(Text::display_name); }
  std::string_view avatar_url() const noexcept { return text(Text::avatar_url); }
  std::string_view bio() const noexcept { return text(Text::bio); }
  std::string_view email() const noexcept { return text(Text::email); }

  const UserId id;
  const std::int64_t created_ms;
  const std::int64_t updated_ms;
  const std::int64_t last_seen_ms;

 private:
  friend class UserCard;
  enum class Text : std::uint8_t { username, display_name, avatar_url, bio, email };
  static constexpr std::size_t kTexts = 5;
  using Texts = std::array<std::string_view, kTexts>;
  static constexpr std::size_t kTextBytes = UINT16_MAX;  // of one; a longer one is not shown

  Person(const User& user, const Texts& texts) noexcept;
  static Texts texts_of(const User& user) noexcept;
  std::string_view text(Text which) const noexcept;

  mutable std::atomic<std::uint32_t> references_{1};
  std::array<std::uint16_t, kTexts> sizes_;  // of the texts, which lie behind this object

 public:
  const UserRole role;
  const bool guest : 1;

 private:
  const bool shown_as_named_ : 1;  // the display name is the username
};

class UserCard {
 public:
  UserCard() noexcept = default;
  static UserCard of(const User& user);

  UserCard(const UserCard& other) noexcept : person_(other.person_) {
    if (person_) person_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  UserCard(UserCard&& other) noexcept : person_(std::exchange(other.person_, nullptr)) {}
  UserCard& operator=(UserCard other) noexcept {
    std::swap(person_, other.person_);
    return *this;
  }
  ~UserCard() {
    if (person_ && person_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(person_);
  }

  const Person& operator*() const noexcept { return *person_; }
  const Person* operator->() const noexcept { return person_; }
  explicit operator bool() const noexcept { return person_ != nullptr; }

 private:
  static void destroy(const Person* person) noexcept;
  const Person* person_ = nullptr;
};

// See write_user of objects.hpp.
void write_user(base::json::Writer& out, const Person& user, Status status, bool own);

}  // namespace ringline::chat
