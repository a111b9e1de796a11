// The witness: each thing that can go wrong between hosts is found, and nothing where all went well. What it is told of is read as the server writes it.
#include "witness.hpp"

#include <gtest/gtest.h>

#include <string>

#include "heard.hpp"

namespace ringline::bench {
namespace {

constexpr std::uint32_t kRun = 7;
constexpr std::uint32_t kPeople = 3;

class WitnessTest : public testing::Test {
 protected:
  // Three people, the third at another host, in two rooms; each has got event 1 of both.
  void SetUp() override {
    for (std::uint32_t person = 0; person < kPeople; ++person) {
      witness.on_connected(person, person / 2, false);
      for (std::uint32_t room = 0; room < 2; ++room) get(person, room, {1, 1}, 100 + room);
    }
  }

  void get(std::uint32_t person, std::uint32_t room, Point at, std::uint64_t id) {
    witness.on_event(person, room, {.at = at, .id = id, .message = {}}, 0);
  }
  void get(std::uint32_t person, const Sent& sent, Point at, std::uint64_t id) {
    witness.on_event(person, sent.marker.room, {.at = at, .id = id, .message = sent.marker}, 50);
  }
  void all_get(const Sent& sent, Point at, std::uint64_t id) {
    for (std::uint32_t person = 0; person < kPeople; ++person) get(person, sent, at, id);
  }
  Sent say(std::uint32_t person, std::uint32_t room = 0) {
    const Sent sent = witness.send(person, room, 10);
    witness.on_asked(person, sent.marker.counter, 0);
    return sent;
  }
  void ask_again(const Sent& sent) { witness.on_asked(sent.marker.sender, sent.marker.counter, 1); }
  void answer(const Sent& sent, const Taken& taken) {
    witness.on_taken(sent.marker.sender, sent.marker.counter, taken, 20);
  }
  void come_back(std::uint32_t person) { witness.on_connected(person, 1, true); }
  void resumed(std::uint32_t person, Point to, bool complete = true) {
    witness.on_resumed(person,
                       {{.room = 0, .to = to, .complete = complete}, {.room = 1, .to = {1, 1}, .complete = true}});
  }
  // What is wrong, and nothing else is.
  std::string wrong() {
    witness.conclude();
    return witness.wrong_count() == 1 ? witness.wrong().front() : std::to_string(witness.wrong_count()) + " are wrong";
  }
  void is_wrong(std::string_view with) {
    const std::string found = wrong();
    EXPECT_NE(found.find(with), std::string::npos) << found;
  }
  void is_well() {
    EXPECT_EQ(witness.unrest(), "");
    witness.conclude();
    EXPECT_EQ(witness.wrong_count(), 0U) << witness.wrong().front();
  }

  Witness witness{kRun, kPeople, 2};
};

TEST_F(WitnessTest, WhatComesToAllAsItWasAckedIsWell) {
  const Sent first = say(0);
  const Sent second = say(2);
  answer(first, {.id = 200, .seq = 2});
  all_get(first, {1, 2}, 200);
  all_get(second, {1, 3}, 201);
  answer(second, {.id = 201, .seq = 3});
  is_well();
  EXPECT_EQ(witness.counts().acked, 2U);
}

// Order.

TEST_F(WitnessTest, AHoleIsFound) {
  get(0, 0, {1, 3}, 201);
  is_wrong("person 0: room 0, epoch 1, seq 3 after epoch 1, seq 1");
}

TEST_F(WitnessTest, TwoThatAreSwappedAreFound) {
  get(0, 0, {1, 3}, 201);
  get(0, 0, {1, 2}, 200);
  EXPECT_EQ(witness.wrong_count(), 2U);
}

TEST_F(WitnessTest, OneThatComesTwiceIsFound) {
  get(0, 0, {1, 2}, 200);
  get(0, 0, {1, 2}, 200);
  is_wrong("seq 2 after epoch 1, seq 2");
}

TEST_F(WitnessTest, AnotherIdAtTheSameSeqIsFound) {
  get(0, 0, {1, 2}, 200);
  get(2, 0, {1, 2}, 201);
  is_wrong("room 0, epoch 1, seq 2 was 200, and is 201");
}

TEST_F(WitnessTest, AnotherEpochWithoutAWordIsFound) {
  get(0, 0, {2, 2}, 200);
  is_wrong("epoch 2, seq 2 after epoch 1, seq 1");
}

TEST_F(WitnessTest, AfterAResetItGoesOnFromThere) {
  witness.on_reset(0, 0, {2, 7});
  get(0, 0, {2, 8}, 200);
  EXPECT_EQ(witness.wrong_count(), 0U);
  EXPECT_EQ(witness.counts().reloads, 1U);
  get(0, 0, {2, 10}, 201);
  is_wrong("seq 10 after epoch 2, seq 8");
}

// Coming back.

TEST_F(WitnessTest, WhoComesBackGetsWhatHeMissed) {
  get(0, 0, {1, 2}, 200);
  come_back(2);
  get(2, 0, {1, 2}, 200);
  resumed(2, {1, 2});
  get(1, 0, {1, 2}, 200);
  is_well();
}

TEST_F(WitnessTest, ResumedTooShortIsFound) {
  come_back(2);
  resumed(2, {1, 2});
  is_wrong("person 2: resumed to room 0, epoch 1, seq 2, has got epoch 1, seq 1");
}

TEST_F(WitnessTest, ResumedInAnotherEpochThanWasSaidIsFound) {
  come_back(2);
  resumed(2, {2, 1});
  is_wrong("person 2: resumed to room 0, epoch 2, seq 1");
}

TEST_F(WitnessTest, AHoleInWhatWasMissedIsFoundWhereItIsCalledComplete) {
  come_back(2);
  get(2, 0, {1, 3}, 201);
  EXPECT_EQ(witness.wrong_count(), 0U);
  resumed(2, {1, 3});
  is_wrong("person 2: room 0, epoch 1, seq 3 after");
}

TEST_F(WitnessTest, WhoIsToldToReloadMayMissSome) {
  come_back(2);
  get(2, 0, {1, 30}, 201);
  resumed(2, {1, 30}, false);
  get(2, 0, {1, 31}, 202);
  EXPECT_EQ(witness.wrong_count(), 0U);
}

TEST_F(WitnessTest, WhoIsToldToReloadAndGetsNothingGoesOnFromTheEnd) {
  come_back(2);
  resumed(2, {2, 30}, false);
  get(2, 0, {2, 31}, 202);
  EXPECT_EQ(witness.wrong_count(), 0U);
  get(2, 0, {2, 33}, 203);
  is_wrong("seq 33 after epoch 2, seq 31");
}

TEST_F(WitnessTest, AHoleIsNotForgottenByAConnectionThatIsLostBeforeItIsJudged) {
  come_back(2);
  get(2, 0, {1, 3}, 201);
  witness.on_left(2);
  EXPECT_EQ(witness.point(2, 0), (Point{1, 1}));
  come_back(2);
  get(2, 0, {1, 3}, 201);
  resumed(2, {1, 3});
  is_wrong("person 2: room 0, epoch 1, seq 3 after epoch 1, seq 1");
}

TEST_F(WitnessTest, ARoomThatIsLeftOutOfResumedIsFound) {
  come_back(2);
  witness.on_resumed(2, {{.room = 0, .to = {1, 1}, .complete = true}});
  is_wrong("person 2: resumed without a word of room 1");
}

TEST_F(WitnessTest, ResumedThatNeverComesIsUnrest) {
  come_back(2);
  EXPECT_EQ(witness.unrest(), "person 2 is not told that all has come");
  resumed(2, {1, 1});
  EXPECT_EQ(witness.unrest(), "");
}

TEST_F(WitnessTest, WhoIsBehindIsUnrest) {
  get(0, 0, {1, 2}, 200);
  get(1, 0, {1, 2}, 200);
  EXPECT_NE(witness.unrest().find("person 2 at epoch 1, seq 1"), std::string::npos) << witness.unrest();
}

// Answers.

TEST_F(WitnessTest, ALostAnswerIsUnrest) {
  const Sent sent = say(1);
  all_get(sent, {1, 2}, 200);
  EXPECT_EQ(witness.unrest(), "person 1 has no answer to 00000007-1-1");
}

TEST_F(WitnessTest, WhatWasAckedAndComesToNobodyIsUnrestAndFound) {
  answer(say(0), {.id = 200, .seq = 2});
  EXPECT_EQ(witness.unrest(), "room 0: 1 that were acked have come to nobody");
  is_wrong("was acked as 200, and has come to nobody");
}

TEST_F(WitnessTest, WhatWasAckedMayBeMissingWhereEverybodyWasToldToReload) {
  answer(say(0), {.id = 200, .seq = 2});
  for (std::uint32_t person = 0; person < kPeople; ++person) {
    EXPECT_NE(witness.unrest(), "") << person;
    witness.on_reset(person, 0, {2, 7});
  }
  is_well();
}

TEST_F(WitnessTest, AnAnswerWithAnotherTextOrWithoutAnIdIsFound) {
  answer(say(0), {.id = 200, .pending = true, .same_text = false});
  answer(say(0), {.id = 0, .seq = 2});
  ASSERT_EQ(witness.wrong_count(), 2U);
  EXPECT_NE(witness.wrong()[0].find("with another text"), std::string::npos);
  EXPECT_NE(witness.wrong()[1].find("without an id"), std::string::npos);
}

TEST_F(WitnessTest, ASecondAnswerIsFound) {
  const Sent sent = say(0);
  answer(sent, {.id = 200, .seq = 2});
  all_get(sent, {1, 2}, 200);
  answer(sent, {.id = 200, .seq = 2});
  is_wrong("was answered twice");
}

TEST_F(WitnessTest, ADuplicateThatNamesAnotherIdIsFoundWhicheverComesFirst) {
  const Sent first = say(0);
  ask_again(first);
  all_get(first, {1, 2}, 200);
  answer(first, {.id = 300, .seq = 2, .duplicate = true});
  is_wrong("was acked as 300, and has come as 200");
  const Sent second = say(0, 1);
  answer(second, {.id = 301, .seq = 2, .duplicate = true});
  all_get(second, {1, 2}, 201);
  EXPECT_NE(witness.wrong().back().find("was acked as 301, and has come as 201"), std::string::npos);
}

TEST_F(WitnessTest, AnAnswerWithAnotherSeqIsFound) {
  const Sent sent = say(0);
  answer(sent, {.id = 200, .seq = 3});
  all_get(sent, {1, 2}, 200);
  is_wrong("was acked at seq 3, and has come at 2");
}

TEST_F(WitnessTest, AnErrorThatDoesNotAskToSendAgainIsFound) {
  witness.on_refused("unavailable", true);
  EXPECT_EQ(witness.wrong_count(), 0U);
  witness.on_refused("forbidden", false);
  is_wrong("a send was answered: forbidden");
}

// Messages.

TEST_F(WitnessTest, AMessageThatStandsAtTwoPlacesIsFound) {
  const Sent sent = say(0);
  answer(sent, {.id = 200, .seq = 2});
  all_get(sent, {1, 2}, 200);
  get(0, sent, {1, 3}, 200);
  EXPECT_NE(witness.wrong().front().find("is there twice"), std::string::npos) << witness.wrong().front();
}

TEST_F(WitnessTest, AMessageThatIsThereUnderTwoIdsIsFound) {
  const Sent sent = say(0);
  get(0, sent, {1, 2}, 200);
  get(0, sent, {1, 3}, 201);
  EXPECT_NE(witness.wrong().front().find("is there as 200 and as 201"), std::string::npos) << witness.wrong().front();
}

TEST_F(WitnessTest, AMessageThatNobodySentThereIsFound) {
  const auto what = [&](std::uint32_t room, const Marker& marker) {
    const std::uint64_t before = witness.wrong_count();
    witness.on_event(0, room, {.at = {1, witness.point(0, room)->seq + 1}, .id = 200, .message = marker}, 0);
    return witness.wrong_count() > before ? witness.wrong().back() : "";
  };
  const Marker marker = say(0).marker;
  Marker unknown = marker, changed = marker;
  unknown.counter = 2;
  changed.intended_ns = 11;
  for (const std::string& found : {what(1, marker), what(0, unknown), what(0, changed)})
    EXPECT_NE(found.find("nobody has sent there"), std::string::npos) << found;
}

TEST_F(WitnessTest, APendingOneIsReplacedById) {
  const Sent sent = say(0);
  get(0, sent, {1, 0}, 200);
  answer(sent, {.id = 200, .pending = true});
  EXPECT_NE(witness.unrest(), "");
  all_get(sent, {1, 2}, 200);
  is_well();
  EXPECT_EQ(witness.counts().pending, 1U);
}

TEST_F(WitnessTest, APendingOneThatComesUnderAnotherIdIsFound) {
  const Sent sent = say(0);
  answer(sent, {.id = 200, .pending = true});
  all_get(sent, {1, 2}, 201);
  is_wrong("was acked as 200, and has come as 201");
}

TEST_F(WitnessTest, APendingOneThatWasShownUnderAnotherIdIsFound) {
  const Sent sent = say(0);
  get(0, sent, {1, 0}, 199);
  answer(sent, {.id = 200, .seq = 2});
  all_get(sent, {1, 2}, 200);
  is_wrong("was shown as 199, and has come as 200");
}

TEST_F(WitnessTest, OfAPendingOneThatTwoHostsWereAskedEitherIdMayWin) {
  const Sent sent = say(0);
  ask_again(sent);
  answer(sent, {.id = 200, .pending = true});
  all_get(sent, {1, 2}, 201);
  is_well();
}

TEST_F(WitnessTest, WhatIsForgottenMayComeOrNot) {
  const Sent lost = say(0);
  const Sent kept = say(0);
  const Sent later = say(0);
  answer(lost, {.id = 200, .pending = true});
  answer(kept, {.id = 201, .pending = true});
  witness.forget_pending();
  all_get(kept, {1, 2}, 301);
  answer(later, {.id = 202, .pending = true});
  EXPECT_EQ(witness.unrest(), "room 0: 1 that were acked have come to nobody");
  all_get(later, {1, 3}, 202);
  is_well();
}

// Times.

TEST_F(WitnessTest, LatenciesAreOfTheHostAndOfQuietTimes) {
  witness.set_quiet(true, 5);
  const Sent first = say(0);
  answer(first, {.id = 200, .seq = 2});
  all_get(first, {1, 2}, 200);
  witness.set_quiet(false, 100);
  all_get(say(0), {1, 3}, 201);
  witness.set_quiet(true, 200);  // the next one was sent before
  all_get(say(0), {1, 4}, 202);
  EXPECT_EQ(witness.quiet().ack.max(), 10);
  EXPECT_EQ(witness.quiet().same_host.count(), 1U);   // person 1, but not the sender
  EXPECT_EQ(witness.quiet().other_host.count(), 1U);  // person 2
  EXPECT_EQ(witness.all().same_host.count(), 3U);
  EXPECT_EQ(witness.all().other_host.count(), 3U);
  EXPECT_EQ(witness.all().other_host.max(), 40);
}

TEST_F(WitnessTest, WhatWasKeptForWhoWasAwayIsNotTimed) {
  const Sent sent = say(0);
  come_back(1);
  get(1, sent, {1, 2}, 200);
  EXPECT_EQ(witness.all().same_host.count() + witness.all().other_host.count(), 0U);
}

// What is heard.

TEST(HeardTest, RoomEventsAreReadWhereverTheirFieldsStand) {
  Ear ear;
  for (const std::string_view text :
       {R"({"event":"member_joined","data":{"roomId":"12","seq":3,"epoch":4,"id":"56","at":"x"}})",
        R"({"event":"member_joined","data":{"id":"56","at":"x","epoch":4,"seq":3,"roomId":"12"}})"}) {
    const Heard heard = ear.hear(text);
    EXPECT_EQ(heard.kind, Heard::Kind::event);
    EXPECT_EQ(heard.room, 12U);
    EXPECT_EQ(heard.event.at, (Point{4, 3}));
    EXPECT_EQ(heard.event.id, 56U);
  }
  const Heard pending =
      ear.hear(R"({"event":"message_created","data":{"roomId":"12","seq":null,"epoch":4,"id":"56"}})");
  EXPECT_EQ(pending.kind, Heard::Kind::event);
  EXPECT_EQ(pending.event.at.seq, 0U);
}

TEST(HeardTest, Answers) {
  Ear ear;
  const Heard taken = ear.hear(
      R"({"id":9,"ok":true,"data":{"message":{"id":"56","seq":7,"text":"hello"},"duplicate":true,"pending":true}})");
  EXPECT_EQ(taken.kind, Heard::Kind::answer);
  EXPECT_EQ(taken.id, 9U);
  EXPECT_TRUE(taken.ok && taken.taken.duplicate && taken.taken.pending);
  EXPECT_EQ(taken.taken.id, 56U);
  EXPECT_EQ(taken.taken.seq, 7U);
  EXPECT_EQ(taken.text, "hello");
  const Heard refused =
      ear.hear(R"({"id":9,"ok":false,"error":{"code":"unavailable","message":"m","retryAfterMs":30}})");
  EXPECT_FALSE(refused.ok);
  EXPECT_EQ(refused.code, "unavailable");
  EXPECT_EQ(refused.retry_after_ms, 30);
}

TEST(HeardTest, WhatIsSaidOfRooms) {
  Ear ear;
  const Heard resumed = ear.hear(
      R"({"event":"resumed","data":{"rooms":{"12":{"from":1,"to":7,"epoch":2,"complete":true},"13":{"to":0}}}})");
  EXPECT_EQ(resumed.kind, Heard::Kind::resumed);
  ASSERT_EQ(resumed.rooms.size(), 2U);
  EXPECT_EQ(resumed.rooms[0].room, 12U);
  EXPECT_EQ(resumed.rooms[0].to, (Point{2, 7}));
  EXPECT_TRUE(resumed.rooms[0].complete);
  EXPECT_FALSE(resumed.rooms[1].complete);
  const Heard reset = ear.hear(R"({"event":"room_reset","data":{"roomId":"12","epoch":3,"lastSeq":9}})");
  EXPECT_EQ(reset.kind, Heard::Kind::reset);
  EXPECT_EQ(reset.point, (Point{3, 9}));
  EXPECT_EQ(ear.hear(R"({"event":"ready","data":{"tokens":{"accessToken":"secret"}}})").token, "secret");
  EXPECT_EQ(ear.hear(R"({"event":"typing_started","data":{"roomId":"12","userId":"5"}})").kind, Heard::Kind::other);
  for (const std::string_view text : {"", "{", "[]", R"({"event":"resumed"})", R"({"event":"resumed","data":{}})"})
    EXPECT_EQ(ear.hear(text).kind, Heard::Kind::nonsense) << text;
}

}  // namespace
}  // namespace ringline::bench
