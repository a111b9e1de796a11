// See user_card.hpp.
#include "ringline/chat/user_card.hpp"

#include <new>
#include <numeric>

namespace ringline::chat {

static_assert(sizeof(Person) == 48);

Person::Texts Person::texts_of(const User& user) noexcept {
  Texts texts{user.username, user.display_name, user.avatar_url, user.bio, user.email};
  for (std::string_view& text : texts)
    if (text.size() > kTextBytes) text = {};
  if (user.display_name == user.username) texts[std::to_underlying(Text::display_name)] = {};
  return texts;
}

Person::Person(const User& user, const Texts& texts) noexcept
    : id(user.id),
      created_ms(user.created_ms),
      updated_ms(user.updated_ms),
      last_seen_ms(user.last_seen_ms),
      role(user.role),
      guest(user.guest),
      shown_as_named_(user.display_name == user.username) {
  char* place = reinterpret_cast<char*>(this + 1);
  for (std::size_t i = 0; i < kTexts; ++i) {
    sizes_[i] = static_cast<std::uint16_t>(texts[i].size());
    place += texts[i].copy(place, texts[i].size());
  }
}

std::string_view Person::text(Text which) const noexcept {
  auto index = std::to_underlying(which);
  auto begin = std::accumulate(sizes_.begin(), sizes_.begin() + index, std::size_t{0});
  return {reinterpret_cast<const char*>(this + 1) + begin, sizes_[index]};
}

UserCard UserCard::of(const User& user) {
  Person::Texts texts = Person::texts_of(user);
  std::size_t bytes = sizeof(Person);
  for (std::string_view text : texts) bytes += text.size();
  UserCard card;
  card.person_ = new (::operator new(bytes)) Person(user, texts);
  return card;
}

void UserCard::destroy(const Person* person) noexcept {
  person->~Person();
  ::operator delete(const_cast<Person*>(person));
}

}  // namespace ringline::chat
