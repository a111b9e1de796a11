// Which files are opened, and what is said of the others.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "backend/schema/sqlite.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

class Open : public SqliteTest {
 protected:
  Open() {
    client_.reset();
    store_.reset();
  }
  std::string refusal(const std::string& file) {
    auto opened = open_sqlite(file);
    return opened ? "opened" : opened.error().message;
  }
};

TEST_F(Open, AFileOfOursAgain) {
  EXPECT_EQ(raw("PRAGMA user_version"), std::to_string(kSqliteMigrations.size()));
  EXPECT_EQ(raw("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(refusal(path()), "opened");
  EXPECT_EQ(raw("SELECT count(*) FROM rooms"), "1");
}

TEST_F(Open, NotOneOfAnotherProgram) {
  std::string file = directory_.file("other.db");
  sqlite3* db = nullptr;
  sqlite3_open(file.c_str(), &db);
  sqlite3_exec(db, "CREATE TABLE users (id INTEGER)", nullptr, nullptr, nullptr);
  sqlite3_close(db);
  EXPECT_EQ(refusal(file), "the database " + file + " belongs to another program");
}

TEST_F(Open, NotOneOfANewerRingline) {
  raw("PRAGMA user_version = 900");
  EXPECT_NE(refusal(path()).find("was written by a newer Ringline (schema 900"), std::string::npos);
}

TEST_F(Open, NotOneThatIsNoDatabase) {
  std::string file = directory_.file("text.db");
  std::ofstream(file) << std::string(9000, 'x');
  EXPECT_EQ(refusal(file), "the database " + file + " is not an SQLite file");
}

TEST_F(Open, NotOneInNoDirectory) {
  EXPECT_NE(refusal(directory_.file("no/such.db")).find("cannot be opened: unable to open database file"),
            std::string::npos);
}

TEST_F(Open, NotADamagedOne) {
  raw("PRAGMA wal_checkpoint(TRUNCATE)");
  std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(8192 * 3);
  file << std::string(8192 * 4, '\x5a');
  file.close();
  EXPECT_NE(refusal(path()).find("is damaged"), std::string::npos) << refusal(path());
}

// A migration that fails leaves the file as it was.
TEST_F(Open, AStepIsTakenWholeOrNotAtAll) {
  std::string file = directory_.file("half.db");
  sqlite3* db = nullptr;
  sqlite3_open(file.c_str(), &db);
  sqlite3_exec(db, "PRAGMA application_id = 0x524e474c; CREATE TABLE sessions (id INTEGER)", nullptr, nullptr, nullptr);
  EXPECT_NE(refusal(file).find("could not be brought from schema 0 to 1"), std::string::npos) << refusal(file);
  int tables = 0;
  auto count = [](void* to, int, char** values, char**) {
    *static_cast<int*>(to) = std::atoi(values[0]);
    return 0;
  };
  sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", count, &tables, nullptr);
  EXPECT_EQ(tables, 1);
  sqlite3_close(db);
}

}  // namespace
}  // namespace ringline::backend::test
