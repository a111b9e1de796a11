// A store copied into another, backed up and restored: between all pairs of the engines that are there.
#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "backend/copy_text.hpp"
#include "backend/table_copy.hpp"
#include "ringline/backend/backup.hpp"
#include "ringline/backend/journal_format.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::StartsWith;

class Silent final : public Watch {
 public:
  void begin(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
};

TEST(CopyText, AnyTextComesBack) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  std::string line;
  copy_text::append(line, all);
  EXPECT_EQ(line.find_first_of("\n\t"), line.npos);
  line += "\t\\N\t";
  copy_text::append(line, "\\N");
  EXPECT_THAT(copy_text::split(line), ElementsAre(Optional(all), std::nullopt, Optional(std::string("\\N"))));
  EXPECT_EQ(copy_text::cell_at(line, 1), "\\N");
  EXPECT_EQ(copy_text::cell_at(line, 3), "");
}

// A place for a store.
class Place {
 public:
  explicit Place(Engine engine) : engine_(engine) {
    if (engine == Engine::postgres) schema_.emplace();
  }
  std::string url() const { return schema_ ? schema_->url() : "sqlite:" + path(); }
  std::string path() const { return directory_.file("ringline.db"); }
  Engine engine() const { return engine_; }
  std::unique_ptr<Database> open() const {
    auto opened = schema_ ? open_postgres(url(), {.connections = 1}) : open_sqlite(path(), {.readers = 1});
    if (opened) return std::move(*opened);
    ADD_FAILURE() << opened.error().message;
    return nullptr;
  }
  std::unique_ptr<Tables> tables() const {
    auto opened = open_tables(url());
    if (opened) return std::move(*opened);
    ADD_FAILURE() << opened.error().message;
    return nullptr;
  }
  void run(const std::string& sql) const {
    auto done = tables()->run(sql);
    EXPECT_TRUE(done) << done.error().message;
  }
  std::int64_t number(const std::string& sql) const {
    auto number = tables()->number(sql);
    EXPECT_TRUE(number) << number.error().message;
    return number ? number->value_or(-1) : -1;
  }

 private:
  Engine engine_;
  std::optional<Schema> schema_;
  Directory directory_;
};

struct Pair {
  Engine from;
  Engine to;
};
std::vector<Pair> pairs() {
  std::vector<Pair> all;
  for (Engine from : engines())
    for (Engine to : engines()) all.push_back({from, to});
  return all;
}
std::string pair_name(const testing::TestParamInfo<Pair>& info) {
  const auto name = [](Engine engine) { return std::string(engine == Engine::sqlite ? "Sqlite" : "Postgres"); };
  return name(info.param.from) + "To" + name(info.param.to);
}

// The source is the fixture's own store, with something in every table.
class StoreCopy : public StoreFixture, public testing::WithParamInterface<Pair> {
 protected:
  StoreCopy() : StoreFixture(GetParam().from), target_(GetParam().to) {
    Account ann = account(5, "ann");
    ann.user.bio = "tab\t, backslash \\, line\nand \xc3\xa9";
    EXPECT_TRUE(run(store().create_account(ann)));
    add_user(6, "Bob");
    for (std::uint64_t id = 20; id < 23; ++id) EXPECT_TRUE(run(store().create_guest(account(id, "guest", true))));
    EXPECT_TRUE(run(store().create_session({.id = SessionId{9},
                                            .user = UserId{5},
                                            .created_ms = kNow,
                                            .expires_ms = base::wall_ms() + 1'000'000,
                                            .user_agent = "agent",
                                            .address = "::1"})));
    add_room(100, "Team", UserId{5});
    add_room(200, "Brief", UserId{6}, true);
    EXPECT_TRUE(run(store().create_file(
        {.id = base::FileId{40}, .owner = UserId{5}, .name = "a.txt", .mime_type = "text/plain", .size = 3}, 9)));
    std::vector<Event> events{
        message(RoomId{100}, 1, UserId{5}, "one\ttwo\n", "key"),
        event(RoomId{100}, 2, EventKind::role_changed, UserId{5}, R"(,"userId":"5","role":"owner")"),
        message(RoomId{100}, 3, UserId{404}, "of nobody")};
    for (std::uint64_t seq = 4; seq < 40; ++seq)
      events.push_back(message(RoomId{100}, seq, UserId{6}, "text " + std::to_string(seq)));
    events.push_back(message(RoomId{200}, 1, UserId{6}, "gone", "kept"));
    EXPECT_TRUE(ingest(std::move(events)));
    raw("INSERT INTO imported VALUES (0, 'old', 5), (1, '', 100), (0, 'Z', 6), (0, 'a', 20), (0, '\xc3\xa9', 21)");
  }
  std::string source() const { return schema_ ? schema_->url() : "sqlite:" + path(); }
  Result<CopyReport> copy() { return copy_store(source(), target_.url(), silent_); }

  // Both sides row by row, past what a report says.
  void expect_same() {
    auto from = open_tables(source());
    auto to = open_tables(target_.url());
    ASSERT_TRUE(from && to);
    auto plan = plan_copy(**from, **to);
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_THAT(plan->only_there, IsEmpty());
    CopyReport report;
    report.tables.resize(plan->tables.size());
    auto compared = compare_tables(*plan, **from, **to, silent_, report);
    ASSERT_TRUE(compared) << compared.error().message;
    EXPECT_TRUE(report.same());
    for (std::size_t i = 0; i < plan->tables.size(); ++i)
      EXPECT_GT(report.tables[i].to, 0U) << plan->tables[i].name << ": this test has nothing in it";
  }

  Place target_;
  Silent silent_;
};

TEST_P(StoreCopy, AllIsThereAndAnotherRunChangesNothing) {
  auto server = target_.open();
  auto report = copy();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->same());
  expect_same();
  EXPECT_EQ(target_.number("SELECT value FROM meta WHERE name = 'highest_id'"),
            std::stoll(raw("SELECT value FROM meta WHERE name = 'highest_id'")));
  // What search is still to take in; SQLite counts the one that was set aside.
  EXPECT_GE(target_.number("SELECT sum(messages) FROM text_queue"), 37);
  auto again = copy();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->same());
  for (const TableReport& table : again->tables) EXPECT_EQ(table.written + table.removed, 0U) << table.table;
}

// What a run that was ended leaves, and what a server on the source has changed before the next.
TEST_P(StoreCopy, ARunThatWasEndedGoesOn) {
  auto server = target_.open();
  ASSERT_TRUE(copy());
  const auto number = target_.number("SELECT value FROM meta WHERE name = 'copied_from'");
  target_.run("DELETE FROM meta WHERE name = 'copied_from'");
  target_.run("INSERT INTO meta (name, value) VALUES ('unfinished', " + std::to_string(number) + ")");
  target_.run("DELETE FROM messages WHERE seq > 20");
  target_.run("DELETE FROM room_events");
  target_.run("UPDATE users SET bio = 'before' WHERE id = 6");
  target_.run(
      "INSERT INTO members (room_id, user_id, role, joined_ms, read_seq, read_count, delivered_seq)"
      " VALUES (1, 22, 0, 1, 0, 0, 0)");
  auto report = copy();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->same());
  expect_same();
  EXPECT_EQ(target_.number("SELECT count(*) FROM meta WHERE name = 'unfinished'"), 0);
}

TEST_P(StoreCopy, WhatIsNoCopyIsLeftAsItIs) {
  auto server = target_.open();
  target_.run("INSERT INTO guest_names VALUES ('x', 3)");
  ASSERT_TRUE(copy());
  EXPECT_EQ(target_.number("SELECT count(*) FROM guest_names WHERE folded = 'x'"), 0)
      << "an empty place is all the copy's";
  ASSERT_TRUE(server->highest_id());  // as a server does when it starts
  auto refused = copy();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("the target is not empty"));
  EXPECT_FALSE(check_copy_target(source(), target_.url()));
  EXPECT_FALSE(check_copy_target(source(), source()));
}

TEST_P(StoreCopy, WhatIsHalfCopiedIsNotUsed) {
  auto server = target_.open();
  target_.run("INSERT INTO meta (name, value) VALUES ('unfinished', 7)");
  auto used = server->highest_id();
  ASSERT_FALSE(used);
  EXPECT_THAT(used.error().message, HasSubstr("was not finished"));
  EXPECT_FALSE(copy()) << "it is of another source";
  Manifest manifest;
  Directory kept;
  auto backed_up = backup_store(target_.url(), kept.file("backup"), silent_, manifest);
  ASSERT_FALSE(backed_up);
  EXPECT_THAT(backed_up.error().message, HasSubstr("was not finished"));
  EXPECT_FALSE(check_copy_target(target_.url(), source()));
}

TEST_P(StoreCopy, ARowThatIsRefusedIsNamedAndTheOthersGoOn) {
  auto server = target_.open();
  target_.run(
      target_.engine() == Engine::postgres
          ? "ALTER TABLE messages ADD CONSTRAINT not_seven CHECK (seq <> 7)"
          : "CREATE TRIGGER not_seven BEFORE INSERT ON messages WHEN new.seq = 7 BEGIN SELECT RAISE(ABORT, 'no'); END");
  auto report = copy();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(report->same());
  ASSERT_EQ(report->refused.size(), 1U);
  EXPECT_EQ(report->refused[0].table, "messages");
  EXPECT_THAT(report->refused[0].row, StartsWith("room_id 100, seq 7"));
  EXPECT_EQ(target_.number("SELECT count(*) FROM messages"), std::stoll(raw("SELECT count(*) FROM messages")) - 1);
  target_.run(target_.engine() == Engine::postgres ? "ALTER TABLE messages DROP CONSTRAINT not_seven"
                                                   : "DROP TRIGGER not_seven");
  auto again = copy();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->same());
  expect_same();
}

TEST_P(StoreCopy, WhatTheTargetAloneHasIsNamedAndWhatItHasNoPlaceForRefused) {
  auto server = target_.open();
  target_.run("ALTER TABLE users ADD COLUMN later INTEGER NOT NULL DEFAULT 7");
  target_.run("CREATE TABLE later (id INTEGER PRIMARY KEY)");
  auto report = copy();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->same());
  EXPECT_THAT(report->only_there, ElementsAre("column later of table users", "table later"));
  EXPECT_EQ(target_.number("SELECT min(later) FROM users"), 7);
  raw("ALTER TABLE users ADD COLUMN newer INTEGER");
  auto refused = copy();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("table users has no column newer"));
  raw("CREATE TABLE newest (id INTEGER PRIMARY KEY)");
  refused = copy();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("no table newest"));
}

TEST_P(StoreCopy, ABackupIsRestoredRowByRow) {
  Directory kept;
  const std::string dir = kept.file("backup");
  Manifest made;
  ASSERT_TRUE(backup_store(source(), dir, silent_, made));
  ASSERT_TRUE(write_manifest(dir, made));
  auto manifest = read_manifest(dir);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->files.size(), made.files.size());
  ASSERT_TRUE(verify_backup(dir, *manifest, silent_));
  const bool as_file = GetParam().from == Engine::sqlite && GetParam().to == Engine::sqlite;
  auto server = as_file ? nullptr : target_.open();
  for (bool again : {false, true}) {
    auto report = restore_store(dir, *manifest, target_.url(), false, false, silent_);
    ASSERT_TRUE(report) << report.error().message << again;
    EXPECT_TRUE(report->same());
    expect_same();
  }
}

TEST_P(StoreCopy, ARestoreBeginsNewEpochsAndMayReplaceWhatIsThere) {
  Directory kept;
  const std::string dir = kept.file("backup");
  Manifest made;
  ASSERT_TRUE(backup_store(source(), dir, silent_, made));
  ASSERT_TRUE(write_manifest(dir, made));
  auto manifest = read_manifest(dir);
  ASSERT_TRUE(manifest) << manifest.error().message;
  auto server = target_.open();
  target_.run(
      "INSERT INTO rooms (id, type, name, description, avatar_url, private, ephemeral, created_ms, updated_ms)"
      " VALUES (7, 1, 'Old', '', '', 1, 0, 1, 1)");
  const bool as_file = GetParam().from == Engine::sqlite && GetParam().to == Engine::sqlite;
  if (!as_file) EXPECT_FALSE(restore_store(dir, *manifest, target_.url(), false, true, silent_));
  if (as_file) server.reset();
  auto report = restore_store(dir, *manifest, target_.url(), true, true, silent_);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->same());
  EXPECT_EQ(target_.number("SELECT count(*) FROM rooms"), 3);
  EXPECT_GE(target_.number("SELECT min(epoch) FROM rooms"), base::wall_ms() / 1000 - 60);
  EXPECT_GE(*target_.open()->highest_id(), manifest->highest_id);
}

INSTANTIATE_TEST_SUITE_P(Engines, StoreCopy, testing::ValuesIn(pairs()), pair_name);

// Of what a copy of rows would not do: virtual tables, and columns that are counted up.
std::string not_copied() {
  std::string names;
  for (const NotCopied& table : kNotCopied) names += (names.empty() ? "'" : ", '") + std::string(table.table) + "'";
  return names;
}
std::string unnamed_on_sqlite() {
  return "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual' AND name NOT IN (" +
         not_copied() + ")";
}
std::string unnamed_on_postgres() {
  return "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()"
         " AND (is_identity = 'YES' OR column_default LIKE 'nextval%') AND table_name NOT IN (" +
         not_copied() + ")";
}

// A table that neither is copied nor is named as not copied would be forgotten.
TEST(TablesOfTheSchema, AreTheSameOnBothEnginesOrNamed) {
  std::vector<std::vector<Table>> sides;
  for (Engine engine : engines()) {
    Place place(engine);
    auto server = place.open();
    auto tables = place.tables()->describe();
    ASSERT_TRUE(tables) << tables.error().message;
    std::erase_if(*tables, [](const Table& table) { return !is_copied(table.name); });
    EXPECT_GE(tables->size(), 9U);
    for (const Table& table : *tables) {
      EXPECT_THAT(table.key, testing::Not(IsEmpty()))
          << table.name << " has no primary key: name it in kNotCopied, or give it one";
      for (const Column& column : table.columns)
        EXPECT_NE(column.kind, ColumnKind::other)
            << table.name << "." << column.name
            << ": its type is not known to sqlite_tables.cpp or postgres_tables.cpp";
    }
    EXPECT_EQ(place.number(engine == Engine::sqlite ? unnamed_on_sqlite() : unnamed_on_postgres()), 0)
        << "a virtual table is made of others: kNotCopied says how; or numbers that the engine counts up would begin "
           "again";
    sides.push_back(std::move(*tables));
  }
  if (sides.size() < 2) GTEST_SKIP() << "no RINGLINE_TEST_POSTGRES: one engine alone was looked at";
  const auto names = [](const auto& all) {
    std::set<std::string> found;
    for (const auto& one : all) found.insert(one.name);
    return found;
  };
  ASSERT_EQ(names(sides[0]), names(sides[1]))
      << "a table of one engine alone: name it in kNotCopied (backend/tables.hpp)";
  for (const Table& table : sides[0]) {
    const auto other = std::ranges::find(sides[1], table.name, &Table::name);
    EXPECT_EQ(names(table.columns), names(other->columns)) << table.name;
    for (const Column& column : table.columns)
      EXPECT_EQ(column.kind, other->columns[other->column(column.name)].kind) << table.name << "." << column.name;
  }
}

class Backup : public testing::Test {
 protected:
  Backup() { std::filesystem::create_directories(kept_.file("data")); }
  std::string data() const { return kept_.file("data"); }
  std::string dir() const { return kept_.file("backup"); }
  void write(const std::string& path, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }
  std::string read(const std::string& path) const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Directory kept_;
  Silent silent_;
};

TEST_F(Backup, FilesComeBackAndDamageIsFound) {
  write(data() + "/secret", "hidden");
  write(data() + "/files/ab/one", std::string(3'000'000, 'x'));
  write(data() + "/files/empty", "");
  write(data() + "/lock", "1");
  Manifest manifest{.engine = "sqlite", .tables = {{.name = "users", .columns = {}, .key = {}}}, .files = {}};
  const auto skip = [](std::string_view path) { return path == "lock"; };
  ASSERT_TRUE(backup_folder(data(), skip, dir(), silent_, manifest));
  ASSERT_TRUE(write_manifest(dir(), manifest));
  auto known = read_manifest(dir());
  ASSERT_TRUE(known) << known.error().message;
  EXPECT_EQ(known->files.size(), 3U);
  ASSERT_TRUE(verify_backup(dir(), *known, silent_));
  for (int time = 0; time < 2; ++time) ASSERT_TRUE(restore_files(dir(), *known, kept_.file("new"), silent_));
  EXPECT_EQ(read(kept_.file("new") + "/secret"), "hidden");
  EXPECT_EQ(read(kept_.file("new") + "/files/ab/one").size(), 3'000'000U);
  EXPECT_TRUE(std::filesystem::exists(kept_.file("new") + "/files/empty"));
  EXPECT_FALSE(std::filesystem::exists(kept_.file("new") + "/lock"));

  write(dir() + "/data/secret", "hidde?");
  auto damaged = verify_backup(dir(), *known, silent_);
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message, HasSubstr("data/secret is not what the manifest says"));
  std::filesystem::remove(dir() + "/data/secret");
  EXPECT_THAT(verify_backup(dir(), *known, silent_).error().message, HasSubstr("data/secret"));
}

TEST_F(Backup, OfAManifestOnlyWhatItMaySayIsTaken) {
  EXPECT_THAT(read_manifest(dir()).error().message, HasSubstr("no backup, or one that was not finished"));
  const std::string path = dir() + "/manifest.json";
  for (const char* text : {"", "[]", "{\"form\":1", R"({"form":1,"engine":"sqlite","tables":[]})",
                           R"({"form":1,"engine":"other","tables":[{"name":"users"}]})",
                           R"({"form":1,"engine":"sqlite","tables":[{"name":"users"}],"files":[{"path":"../x"}]})",
                           R"({"form":1,"engine":"sqlite","tables":[{"name":"users"}],"files":[{"path":"/etc/x"}]})"}) {
    write(path, text);
    auto refused = read_manifest(dir());
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr("damaged")) << text;
  }
  write(path, R"({"form":2})");
  EXPECT_THAT(read_manifest(dir()).error().message, HasSubstr("form that this Ringline does not know"));
}

// Of a segment, what was written to it; nothing of one that waits for its first use.
TEST_F(Backup, OfTheJournalWhatWasWritten) {
  const std::string core = data() + "/journal/core-0/";
  std::string written(3 * 1024 * 1024, '\0');
  for (std::size_t i = 0; i < 1024 * 1024 + 5000; ++i) written[i] = static_cast<char>('a' + i % 7);
  write(core + journal::segment_name(1), written);
  write(core + journal::segment_name(2), std::string(1024 * 1024, '\0'));
  write(core + journal::segment_name(3) + ".tmp", "x");
  Manifest manifest;
  ASSERT_TRUE(backup_journal(data(), dir(), silent_, manifest));
  ASSERT_EQ(manifest.files.size(), 1U);
  EXPECT_EQ(manifest.files[0].path, "data/journal/core-0/" + journal::segment_name(1));
  EXPECT_EQ(read(dir() + "/" + manifest.files[0].path), written.substr(0, 1024 * 1024 + 8192));
}

}  // namespace
}  // namespace ringline::backend::test
