// Import: the files of an older chat, in their shapes, with what is wrong in them, on both engines.
#include <gmock/gmock.h>

#include <fstream>

#include "backend/import_json.hpp"
#include "backend/import_rows.hpp"
#include "ringline/backend/import.hpp"
#include "ringline/chat/passwords.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> rows_of(std::string_view text, std::string_view kind = "users") {
  std::vector<std::string> found;
  JsonRows rows(text, kind);
  while (auto row = rows.next())
    found.push_back(std::string(row->key) + (row->in_list ? "|" : ":") + std::string(row->text) + "@" +
                    std::to_string(row->line));
  if (!rows.error().empty()) found.push_back("error " + rows.error());
  return found;
}

TEST(ImportRows, AreCutOutOfAllShapes) {
  EXPECT_THAT(rows_of("[]"), IsEmpty());
  EXPECT_THAT(rows_of("\xef\xbb\xbf [ {\"a\": [1, \"]\"]} ,\n \"x\\\"\" , 3 ]\n"),
              ElementsAre("|{\"a\": [1, \"]\"]}@1", "|\"x\\\"\"@2", "|3@2"));
  EXPECT_THAT(rows_of(R"({"1":{"n":{}},"2":5})"), ElementsAre("\"1\":{\"n\":{}}@1", "\"2\":5@1"));
  EXPECT_THAT(rows_of(R"({"users":[{}, {}]})"), ElementsAre("|{}@1", "|{}@1"));
  EXPECT_THAT(rows_of(R"({"users":{"a":{}}})"), ElementsAre("\"a\":{}@1"));
  EXPECT_THAT(rows_of(R"({"general":[{},{}],"other":[]})", "messages"),
              ElementsAre("\"general\"|{}@1", "\"general\"|{}@1"));
}

TEST(ImportRows, WhatIsBrokenIsSaidAndWhatIsBeforeItIsTaken) {
  EXPECT_THAT(rows_of("5"), ElementsAre("error line 1: a list or an object is expected here"));
  EXPECT_THAT(rows_of("[{},\n{\"a\":"), ElementsAre("|{}@1", "error line 2: the file ends within a row"));
  EXPECT_THAT(rows_of("[{} {}]"), ElementsAre("|{}@1", "error line 1: a comma, or the end, is expected here"));
  EXPECT_THAT(rows_of("[] x"), ElementsAre("error line 1: there is more behind the end"));
  const std::string whole = R"({"users":[{"a":"b\"]"},5],"x":{"y":[1]}})";
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    EXPECT_THAT(rows_of(whole.substr(0, cut)), Contains(testing::StartsWith("error "))) << cut;
  EXPECT_EQ(rows_of(whole).size(), 3U);
}

std::int64_t time_of(const std::string& json) {
  base::json::Reader reader;
  return json_time(*reader.parse(json));
}

TEST(ImportTimes, AreReadInAllForms) {
  constexpr std::int64_t kTime = 1'620'000'000'123;  // 2021-05-03T00:00:00.123Z
  for (const char* text :
       {"1620000000123", "\"1620000000123\"", "1620000000.123", "\"2021-05-03T00:00:00.123Z\"",
        "\"2021-05-03T02:00:00.123456+02:00\"", "\"2021-05-02T19:30:00.123-0430\"", "\"2021-05-03 00:00:00.123\"",
        R"({"$date":"2021-05-03T00:00:00.123Z"})", R"({"$date":{"$numberLong":"1620000000123"}})"})
    EXPECT_EQ(time_of(text), kTime) << text;
  EXPECT_EQ(time_of("\"2021-05-03\""), kTime - 123);
  for (const char* text : {"0", "-5", "true", "\"\"", "\"soon\"", "\"2021-02-30\"", "\"2021-05-03T25:00\"",
                           "\"2021-05-03T00:00:00.123Zx\"", "[]", "{}", "1e300"})
    EXPECT_EQ(time_of(text), 0) << text;
}

TEST(ImportNames, BecomeWhatIsAllowed) {
  EXPECT_EQ(allowed_name(" ann ", "user"), "ann");
  EXPECT_EQ(allowed_name("a\nb\xe2\x80\xae", "user"), "a b");
  EXPECT_EQ(allowed_name("12345", "user"), "user-12345");
  EXPECT_EQ(allowed_name(" ", "room"), "room-");
  EXPECT_EQ(allowed_name(std::string(80, 'x'), "user"), std::string(64, 'x'));
}

class Said final : public ImportWatch {
 public:
  void begin(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
  void say(const std::string& what) override { lines.push_back(what); }
  std::vector<std::string> lines;
};

class Import : public StoreTest {
 protected:
  void write(const char* name, std::string_view text) const {
    std::ofstream(old_.file(name), std::ios::binary) << text;
  }
  ImportReport take() {
    said_.lines.clear();
    const std::string place = schema_ ? schema_->url() : "sqlite:" + path();
    auto report = import_files(*store_, place, old_.file("."), {.bcrypt_cost = 4, .threads = 2}, said_);
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(ImportReport{});
  }
  std::vector<std::string> history(const std::string& room) {
    auto id = run(store().find_room_by_name(room));
    EXPECT_TRUE(id) << room;
    std::vector<std::string> texts;
    for (const Message& m : run(store().history({.room = id.value_or(RoomId{})}))->messages)
      texts.push_back(m.sender_username + ": " + m.text);
    return texts;
  }
  bool signs_in(const std::string& name, const std::string& password) {
    auto account = run(store().find_account_by_name(name));
    return account && chat::check_password(account->password_hash, password, 4).ok;
  }

  Directory old_;
  Said said_;
};

constexpr const char* kSha256OfSecret1 =
    "5b11618c2e44027877d0cd0921ed166b9f176f50587fc91e7534dd2946db77d6";  // "secret1"

TEST_P(Import, ListsOfObjects) {
  const std::string bcrypt = chat::hash_password("of ann's", 5);
  write("users.json", R"([{"id":1,"username":"ann","passwordHash":")" + bcrypt +
                          R"(","email":"ann@example.org","createdAt":"2021-01-01T00:00:00Z","theme":"dark"},)"
                          R"({"_id":{"$oid":"b0b"},"name":"Bob","password":")" +
                          kSha256OfSecret1 +
                          R"("},)"
                          R"({"id":"3","username":"carl","password":"in the clear"}])");
  write("rooms.json",
        R"([{"id":"r1","name":"General","members":[1,"b0b",{"userId":"3","role":"admin"}],"createdBy":1},)"
        R"({"id":"r2","name":"Hidden","private":true,"members":["ann"]}])");
  write("messages.json",
        R"([{"id":"m2","roomId":"r1","senderId":"b0b","text":"second","timestamp":1620000002000},)"
        R"({"id":"m1","roomId":"r1","senderId":1,"text":"first\u0000","timestamp":1620000001000,"reactions":["x"]},)"
        R"({"id":"m3","roomId":"r2","senderId":1,"content":"in hiding","createdAt":"2019-05-03T00:00:03Z"}])");
  const ImportReport report = take();
  EXPECT_TRUE(report.complete());
  EXPECT_EQ(report.users.taken, 3U);
  EXPECT_EQ(report.rooms.taken, 2U);
  EXPECT_EQ(report.messages.taken, 3U);
  EXPECT_THAT(report.not_carried,
              ElementsAre(testing::Pair("messages.json: reactions", 1U), testing::Pair("users.json: theme", 1U)));
  EXPECT_THAT(said_.lines, IsEmpty());
  EXPECT_THAT(history("general"), ElementsAre("ann: first", "Bob: second"));
  EXPECT_TRUE(signs_in("ann", "of ann's") && signs_in("bob", "secret1") && signs_in("carl", "in the clear"));
  EXPECT_FALSE(signs_in("carl", kSha256OfSecret1));
  EXPECT_EQ(raw("SELECT count(*) FROM users WHERE password_hash LIKE '%clear%'"), "0");
  auto ann = run(store().find_account_by_name("ann"));
  EXPECT_EQ(ann->user.created_ms, 1'609'459'200'000);
  EXPECT_EQ(ann->user.email, "ann@example.org");
  auto room = run(store().load_room(*run(store().find_room_by_name("general"))));
  ASSERT_EQ(room->members.size(), 3U);
  for (const auto& [member, user] : room->members) {
    EXPECT_EQ(member.read_count, room->room.message_count) << "what is imported has been read";
    EXPECT_EQ(member.role, user.username == "ann"    ? chat::MemberRole::owner
                           : user.username == "carl" ? chat::MemberRole::admin
                                                     : chat::MemberRole::member);
  }
  EXPECT_EQ(raw("SELECT text FROM messages WHERE created_ms = 1556841603000"), "in hiding");
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters"), "0");

  const std::string rows = raw("SELECT count(*) FROM users") + raw("SELECT count(*) FROM rooms") +
                           raw("SELECT count(*) FROM members") + raw("SELECT count(*) FROM messages");
  const ImportReport again = take();
  EXPECT_TRUE(again.complete());
  EXPECT_EQ(again.users.taken + again.rooms.taken + again.messages.taken, 0U);
  EXPECT_EQ(again.users.known + again.rooms.known + again.messages.known, 8U);
  EXPECT_EQ(rows, raw("SELECT count(*) FROM users") + raw("SELECT count(*) FROM rooms") +
                      raw("SELECT count(*) FROM members") + raw("SELECT count(*) FROM messages"));
}

TEST_P(Import, ObjectsByIdsNamesAndRooms) {
  write("users.json", R"({"ann":{"password":"anns-word"},"bob":"bobs-word"})");
  write("rooms.json", R"(["lobby","tea"])");
  write(
      "messages.json",
      R"({"tea":[{"user":"ann","message":"one","time":"1620000001"},{"user":{"username":"bob"},"text":"two","time":1620000002}],)"
      R"("lobby":[{"username":"ann","text":"same","timestamp":1620000001000},{"username":"ann","text":"same","timestamp":1620000001000}]})");
  EXPECT_TRUE(take().complete());
  EXPECT_THAT(history("tea"), ElementsAre("ann: one", "bob: two"));
  EXPECT_THAT(history("lobby"), ElementsAre("ann: same", "ann: same"));
  EXPECT_TRUE(signs_in("ann", "anns-word") && signs_in("bob", "bobs-word"));
  EXPECT_EQ(run(store().load_room(*run(store().find_room_by_name("tea"))))->members.size(), 2U) << "who wrote is in it";
  EXPECT_EQ(take().messages.known, 4U);
}

TEST_P(Import, WhatCannotBeTakenIsNamed) {
  write("users.json",
        "[{\"id\":1,\"username\":\"ann\",\"password\":\"anns-word\"},\n"
        " 5,\n"
        " {\"id\":2},\n"
        " {\"id\":1,\"username\":\"other\"},\n"
        " {\"id\":4,\"username\":\"ANN\",\"passwordHash\":\"$argon2id$x\",\"email\":\"none\"},\n"
        " {\"id\":5,\"username\":\"77\",\"password\":\"\\ud800\"}]");
  write("rooms.json", R"([{"id":"r","name":"r","members":[1,99]},{"type":"group"}])");
  write("messages.json", R"([{"id":1,"room":"r","user":1,"text":"good","timestamp":1620000001000},)"
                         R"({"id":2,"room":"none","user":1,"text":"x","timestamp":1},)"
                         R"({"id":3,"room":"r","user":"nobody","text":"x","timestamp":1},)"
                         R"({"id":4,"room":"r","user":1,"text":" ","timestamp":1},)"
                         R"({"id":5,"room":"r","user":1,"text":"x"},)"
                         R"({"id":6,"room":"r","user":1,"text":"x","timestamp":"never"},)"
                         R"({"id":1,"room":"r","user":1,"text":"twice","timestamp":1620000001000},)"
                         R"({"id":8)");
  const ImportReport report = take();
  EXPECT_FALSE(report.complete());
  EXPECT_EQ(report.users.refused, 4U);
  EXPECT_EQ(report.users.taken, 2U);
  EXPECT_EQ(report.rooms.refused, 1U);
  EXPECT_EQ(report.messages.refused, 6U);
  EXPECT_EQ(report.messages.taken, 1U);
  EXPECT_TRUE(report.broken);
  EXPECT_THAT(history("r"), ElementsAre("ann: good"));
  for (const char* line :
       {"users.json: row 2 (line 2): not taken: it is not an object",
        "users.json: row 3 (line 3): not taken: it has no name",
        "users.json: row 4 (line 4): not taken: an earlier row has the same id 1",
        "users.json: row 5 (line 5): its password's hash is of a kind that is not known",
        "users.json: row 5 (line 5): \"none\" is no mail address",
        "users.json: row 5 (line 5): the name \"ANN\" is taken, the user is called \"ANN-2\" now",
        "users.json: row 6 (line 6): not taken: it is not in UTF-8", "rooms.json: row 1 (line 1): \"99\" is no user",
        "rooms.json: row 2 (line 1): not taken: it has neither an id nor a name",
        "messages.json: row 2 (line 1): not taken: its room \"none\" is not in rooms.json",
        "messages.json: row 3 (line 1): not taken: its sender \"nobody\" is not in users.json",
        "row 4 (line 1): not taken: it has no text", "row 5 (line 1): not taken: it has no time",
        "row 6 (line 1): not taken: its time is none",
        "row 7 (line 1): not taken: an earlier row of this room has the same id 1",
        "messages.json: line 1: the file ends within a row: what is behind it cannot be read"})
    EXPECT_THAT(said_.lines, Contains(HasSubstr(line)));
}

TEST_P(Import, WhatCameLaterIsAddedBehind) {
  write("users.json",
        R"([{"id":1,"username":"ann","password":"anns-word"},{"id":2,"username":"bob","password":"bobs-word"}])");
  write("rooms.json", R"([{"id":"r","name":"r","members":[1,2]},{"id":"d","type":"direct","members":[1,2]}])");
  write("messages.json", R"([{"id":2,"room":"r","user":1,"text":"two","timestamp":1620000002000}])");
  EXPECT_TRUE(take().complete());
  EXPECT_EQ(raw("SELECT count(*) FROM rooms WHERE type = 0 AND direct_key IS NOT NULL"), "1");
  write("messages.json", R"([{"id":1,"room":"r","user":2,"text":"one","timestamp":1620000001000},)"
                         R"({"id":2,"room":"r","user":1,"text":"two","timestamp":1620000002000},)"
                         R"({"id":3,"room":"d","user":1,"text":"psst","timestamp":1620000003000,"deleted":true}])");
  const ImportReport report = take();
  EXPECT_TRUE(report.complete());
  EXPECT_EQ(report.messages.taken, 2U);
  EXPECT_EQ(report.messages.known, 1U);
  EXPECT_THAT(history("r"), ElementsAre("ann: two", "bob: one"));
  EXPECT_EQ(raw("SELECT text FROM messages WHERE deleted_ms <> 0"), "");
}

TEST_P(Import, WhatIsThereAndCannotBeReadIsNoSuccess) {
  write("users.json", "[]");
  std::filesystem::create_directories(old_.file("rooms.json"));
  EXPECT_FALSE(take().complete());
  EXPECT_THAT(said_.lines, ElementsAre("rooms.json cannot be read", "messages.json is not there"));
}

TEST_P(Import, AFolderWithoutTheFilesIsSaid) {
  const std::string place = schema_ ? schema_->url() : "sqlite:" + path();
  auto refused = import_files(*store_, place, old_.file("nowhere"), {}, said_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("there is no users.json"));
}

ON_EVERY_ENGINE(Import);

}  // namespace
}  // namespace ringline::backend::test
