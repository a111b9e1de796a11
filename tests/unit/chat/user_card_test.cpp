// UserCard: a user's picture in one allocation.
#include "ringline/chat/user_card.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ringline::chat {
namespace {

User ann() {
  return {.id = UserId{7},
          .username = "ann",
          .display_name = "Ann A",
          .avatar_url = "/a",
          .bio = "b",
          .email = "a@b",
          .role = UserRole::admin,
          .guest = true,
          .created_ms = 1,
          .updated_ms = 2,
          .last_seen_ms = 3};
}

template <class Shown>
std::string json(const Shown& user) {
  base::json::Writer out;
  write_user(out, user, Status::away, true);
  return std::string(out.view());
}

TEST(UserCard, shows_all_of_a_user) {
  const UserCard card = UserCard::of(ann());
  EXPECT_EQ(card->id, UserId{7});
  EXPECT_EQ(card->username(), "ann");
  EXPECT_EQ(card->display_name(), "Ann A");
  EXPECT_EQ(card->avatar_url(), "/a");
  EXPECT_EQ(card->bio(), "b");
  EXPECT_EQ(card->email(), "a@b");
  EXPECT_EQ(card->role, UserRole::admin);
  EXPECT_TRUE(card->guest);
  EXPECT_EQ(json(*card), json(ann()));
}

TEST(UserCard, shows_a_name_that_stands_once_and_texts_that_are_not_there) {
  User user{.id = UserId{8}, .username = "bob", .display_name = "bob", .email = "b@c"};
  EXPECT_EQ(UserCard::of(user)->display_name(), "bob");
  EXPECT_EQ(UserCard::of(user)->email(), "b@c");
  EXPECT_EQ(json(*UserCard::of(user)), json(user));
  user.display_name = {};
  EXPECT_EQ(json(*UserCard::of(user)), json(user));
  user.username = {};
  EXPECT_EQ(json(*UserCard::of(user)), json(user));
}

TEST(UserCard, does_not_show_a_text_that_is_too_long) {
  User user = ann();
  user.bio = std::string(UINT16_MAX, 'x');
  EXPECT_EQ(UserCard::of(user)->bio(), user.bio);
  user.bio.push_back('x');
  EXPECT_EQ(UserCard::of(user)->bio(), "");
  EXPECT_EQ(UserCard::of(user)->email(), "a@b");
}

TEST(UserCard, is_shared) {
  UserCard none;
  EXPECT_FALSE(none);
  UserCard card = UserCard::of(ann());
  UserCard other = card;
  EXPECT_EQ(&*card, &*other);
  card = UserCard();
  EXPECT_EQ(other->username(), "ann");
  none = std::move(other);
  EXPECT_EQ(none->username(), "ann");
}

}  // namespace
}  // namespace ringline::chat
