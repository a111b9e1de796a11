// Settings as a whole: which source wins, and what is said about what is wrong.
#include "ringline/base/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ringline::base {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "ringline-settings-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name) << content;
    return (folder_ / name).string();
  }
  static Result<Settings> load(std::vector<std::string> flags, const std::vector<std::string>& environment = {}) {
    flags.insert(flags.begin(), "ringline");
    std::vector<const char*> argv;
    for (const std::string& flag : flags) argv.push_back(flag.c_str());
    std::vector<const char*> variables;
    for (const std::string& variable : environment) variables.push_back(variable.c_str());
    variables.push_back(nullptr);
    return load_settings(static_cast<int>(argv.size()), argv.data(), variables.data());
  }
  static std::string error_of(const std::vector<std::string>& flags, const std::vector<std::string>& environment = {}) {
    const auto loaded = load(flags, environment);
    return loaded ? "no error" : loaded.error().message;
  }

  std::filesystem::path folder_;
};

TEST_F(SettingsTest, nothing_need_be_set) {
  const auto settings = load({});
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->mode, RunMode::serve);
  EXPECT_EQ(settings->port, 3080);
  EXPECT_EQ(settings->data_dir, "ringline-data");
  EXPECT_EQ(settings->durability, Durability::strict);
  EXPECT_TRUE(settings->jwt_secret.empty());
}

TEST_F(SettingsTest, flags_go_before_environment_before_file) {
  const std::string config = file("conf", "PORT=1\nCORES=1\nBCRYPT_COST=5\n");
  const auto settings = load({"--config", config, "--port", "3"}, {"PORT=2", "CORES=2", "UNRELATED=x"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->port, 3);
  EXPECT_EQ(settings->cores, 2U);
  EXPECT_EQ(settings->bcrypt_cost, 5U);
}

TEST_F(SettingsTest, the_file_may_be_named_by_the_environment) {
  const std::string config = file("conf", "# comment\n; other\n\n  data-dir = \"/var/lib/x y\"\r\nlog_level='debug'\n");
  const auto settings = load({}, {"RINGLINE_CONFIG=" + config});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->data_dir, "/var/lib/x y");
  EXPECT_EQ(settings->log_level, LogLevel::debug);
}

TEST_F(SettingsTest, every_kind_is_read) {
  const auto settings = load({"--host=::", "--admin-port=0", "--env=production", "--durability", "relaxed",
                              "--allow-guests", "off", "--send-queue", "2M", "--rate-limit-window", "1500ms",
                              "--client-origin", "https://a.example, https://*.b.example", "--journal-segment=16M",
                              "--rate-limit-messages=0", "--database-url=sqlite:///srv/x.db"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->host, "::");
  EXPECT_EQ(settings->admin_port, 0);
  EXPECT_TRUE(settings->production);
  EXPECT_EQ(settings->durability, Durability::relaxed);
  EXPECT_FALSE(settings->allow_guests);
  EXPECT_EQ(settings->send_queue_bytes, 2U * 1024 * 1024);
  EXPECT_EQ(settings->rate_limit_window, 1500ms);
  EXPECT_THAT(settings->client_origin, ElementsAre("https://a.example", "https://*.b.example"));
  EXPECT_EQ(settings->journal_segment_bytes, 16U * 1024 * 1024);
  EXPECT_EQ(settings->rate_limit_messages, 0U);
  EXPECT_EQ(settings->database_url, "sqlite:/srv/x.db");
}

TEST_F(SettingsTest, a_variable_that_is_empty_is_not_set) {
  const auto settings = load({}, {"PORT=", "REDIS_URL=", "HOST"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->port, 3080);
}

TEST_F(SettingsTest, trust_proxy_has_three_forms) {
  EXPECT_THAT(load({}, {"TRUST_PROXY=true"})->trust_proxy, ElementsAre("0.0.0.0/0", "::/0"));
  EXPECT_TRUE(load({}, {"TRUST_PROXY=false"})->trust_proxy.empty());
  EXPECT_EQ(load({}, {"TRUST_PROXY=2"})->trust_proxy_hops, 2U);
  EXPECT_THAT(load({}, {"TRUST_PROXY=10.0.0.0/8,::1"})->trust_proxy, ElementsAre("10.0.0.0/8", "::1"));
  EXPECT_THAT(error_of({}, {"TRUST_PROXY=nginx"}), HasSubstr("TRUST_PROXY (environment)"));
}

TEST_F(SettingsTest, secrets_come_from_files) {
  const std::string one(32, 'a');
  const std::string two(32, 'b');
  const std::string secret = file("secret", one + "," + two + "\n");
  EXPECT_THAT(load({}, {"JWT_SECRET_FILE=" + secret})->jwt_secret, ElementsAre(one, two));
  EXPECT_THAT(load({"--jwt-secret-file", secret})->jwt_secret, ElementsAre(one, two));
  EXPECT_THAT(load({"--config", file("conf", "JWT_SECRET_FILE = " + secret)})->jwt_secret, ElementsAre(one, two));
  EXPECT_THAT(error_of({}, {"JWT_SECRET_FILE=/nowhere"}),
              AllOf(HasSubstr("JWT_SECRET_FILE"), HasSubstr("cannot read /nowhere")));
  EXPECT_THAT(error_of({}, {"JWT_SECRET=" + one, "JWT_SECRET_FILE=" + secret}), HasSubstr("set twice"));
}

TEST_F(SettingsTest, a_weak_secret_is_refused_in_production) {
  EXPECT_EQ(error_of({}, {"JWT_SECRET=short"}), "no error");
  const std::string error = error_of({}, {"JWT_SECRET=short", "RINGLINE_ENV=production"});
  EXPECT_THAT(error, HasSubstr("at least 32 characters"));
  EXPECT_EQ(error.find("short"), std::string::npos);
}

TEST_F(SettingsTest, errors_name_the_setting_its_source_and_what_is_right) {
  EXPECT_EQ(error_of({}, {"PORT=99999"}),
            "PORT (environment): \"99999\" is not right; expected a number from 0 to 65535");
  EXPECT_THAT(error_of({"--cores", "65"}), AllOf(HasSubstr("CORES (--cores)"), HasSubstr("from 0 to 64")));
  EXPECT_THAT(error_of({"--host", "example.org"}), HasSubstr("HOST (--host)"));
  EXPECT_THAT(error_of({}, {"LOG_LEVEL=loud"}), HasSubstr("debug, info, warn or error"));
  EXPECT_THAT(error_of({}, {"DRAIN_TIME=2d"}), HasSubstr("a duration such as"));
  EXPECT_THAT(error_of({}, {"SEND_QUEUE=1"}), HasSubstr("a size such as"));
  EXPECT_THAT(error_of({}, {"CREATE_ON_JOIN=maybe"}), HasSubstr("on or off"));
  EXPECT_THAT(error_of({}, {"ADMIN_PORT=x"}), HasSubstr("0 to 65535"));
  EXPECT_THAT(error_of({}, {"RINGLINE_ENV=test"}), HasSubstr("production or development"));
  EXPECT_THAT(error_of({}, {"DURABILITY=fast"}), HasSubstr("strict or relaxed"));
  EXPECT_THAT(error_of({}, {"CLIENT_ORIGIN=example.org"}), HasSubstr("a comma list of origins"));
  EXPECT_THAT(error_of({"--data-dir", ""}), HasSubstr("a folder is needed"));
}

TEST_F(SettingsTest, a_wrong_flag_is_answered_with_the_nearest) {
  EXPECT_THAT(error_of({"--prot", "1"}), AllOf(HasSubstr("unknown flag --prot"), HasSubstr("did you mean --port?")));
  EXPECT_THAT(error_of({"--jwt-secrets=x"}), HasSubstr("did you mean --jwt-secret-file?"));
  EXPECT_THAT(error_of({"stray"}), HasSubstr("unknown flag stray"));
  EXPECT_THAT(error_of({"--port"}), HasSubstr("--port"));
}

TEST_F(SettingsTest, a_wrong_line_is_named) {
  const std::string config = file("conf", "PORT=1\n\nLOGLEVEL=debug\n");
  EXPECT_EQ(error_of({"--config", config}), config + ":3: there is no setting LOGLEVEL; did you mean LOG_LEVEL?");
  EXPECT_THAT(error_of({"--config", file("other", "[server]\n")}), HasSubstr(":1: a line is NAME = value"));
  EXPECT_THAT(error_of({"--config", file("twice", "PORT=1\nport=2\n")}),
              AllOf(HasSubstr("set twice"), HasSubstr(":1"), HasSubstr(":2")));
  EXPECT_THAT(error_of({"--config", "/nowhere"}), HasSubstr("cannot read /nowhere"));
  EXPECT_THAT(error_of({"--config", folder_.string()}), HasSubstr("cannot read"));
  EXPECT_THAT(error_of({"--config", file("odd", "ZZZZZZZZZZ=1\n")}),
              testing::EndsWith("there is no setting ZZZZZZZZZZ"));
  EXPECT_THAT(error_of({"--config", file("large", std::string(300'000, '#'))}), HasSubstr("larger than 256K"));
}

TEST_F(SettingsTest, what_is_not_built_yet_is_said) {
  EXPECT_THAT(error_of({}, {"DATABASE_URL=mysql://u:hidden@h/d"}),
              AllOf(HasSubstr("postgresql://USER@HOST/DATABASE"), testing::Not(HasSubstr("hidden"))));
  EXPECT_EQ(error_of({}, {"DATABASE_URL=postgres://u:hidden@h/d"}), "no error");
  EXPECT_EQ(error_of({}, {"WEBRTC_STUN=stun:h"}), "no error");
}

TEST_F(SettingsTest, several_hosts_share_a_database_and_a_secret) {
  const std::string secret = "JWT_SECRET=" + std::string(32, 'a');
  const std::string database = "DATABASE_URL=postgresql://u@h/d";
  EXPECT_THAT(error_of({}, {"REDIS_URL=redis://h", database}), HasSubstr("JWT_SECRET: set it together with REDIS_URL"));
  EXPECT_THAT(error_of({}, {"REDIS_URL=redis://h", secret}), HasSubstr("DATABASE_URL: name a PostgreSQL together"));
  EXPECT_THAT(error_of({}, {"REDIS_HOST=h", secret, "DATABASE_URL=sqlite:/x"}), HasSubstr("DATABASE_URL: name a"));
  EXPECT_THAT(error_of({}, {"REDIS_HOST=h", "REDIS_URL=redis://h"}), HasSubstr("take one of them away"));
  EXPECT_FALSE(load({}, {database})->several_hosts());
  EXPECT_TRUE(load({}, {"REDIS_URL=redis://h", secret, database})->several_hosts());
  const auto settings =
      load({}, {"REDIS_HOST=h", "REDIS_PORT=1", "REDIS_TLS=on", "REDIS_PASSWORD=p", secret, database});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_TRUE(settings->several_hosts());
  EXPECT_EQ(settings->redis_port, 1);
  EXPECT_TRUE(settings->redis_tls);
  EXPECT_EQ(settings->redis_password, "p");
}

TEST_F(SettingsTest, a_database_by_its_parts) {
  const auto url = [](const std::vector<std::string>& environment) { return load({}, environment)->database_url; };
  EXPECT_EQ(url({"PGHOST=db1,db2", "PGPORT=5432", "PGUSER=ann", "PGPASSWORD=a b/&?", "PGDATABASE=chat"}),
            "postgresql:///chat?host=db1%2Cdb2&port=5432&user=ann&password=a%20b%2F%26%3F");
  EXPECT_EQ(url({"DB_HOST=/run/postgresql", "DB_NAME=chat", "DB_SSL=on"}),
            "postgresql:///chat?host=%2Frun%2Fpostgresql&sslmode=require");
  EXPECT_EQ(url({"DB_HOST=a", "PGHOST=b", "PGSSLMODE=verify-full"}), "postgresql:///?host=b&sslmode=verify-full");
  EXPECT_EQ(url({"DB_HOST=a", "DATABASE_URL=postgresql://b/c"}), "postgresql://b/c");
  EXPECT_EQ(url({"PGUSER=ann", "PGPASSWORD=x"}), "") << "of a tool beside us";
  EXPECT_THAT(error_of({}, {"DB_HOST=a", "DB_PORT=70000"}), HasSubstr("DB_PORT is not right"));
  EXPECT_THAT(error_of({}, {"PGHOST=a", "PGSSLMODE=maybe"}), HasSubstr("PGSSLMODE is not right"));
  const std::string password = file("password", "hidden\n");
  EXPECT_EQ(url({"DB_HOST=a", "DB_PASSWORD_FILE=" + password}), "postgresql:///?host=a&password=hidden");
}

TEST_F(SettingsTest, a_replica_follows_a_postgresql) {
  const auto settings = load({}, {"DATABASE_URL=postgresql://a/d", "MARIADB_HOST_BACKUP=b", "MARIADB_DB_BACKUP=d"});
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->database_replica_url, "postgresql:///d?host=b");
  EXPECT_THAT(error_of({}, {"DATABASE_REPLICA_URL=postgresql://a/d"}), HasSubstr("set DATABASE_URL"));
  EXPECT_THAT(error_of({}, {"DATABASE_URL=postgresql://a/d", "DATABASE_REPLICA_URL=b:5432"}),
              HasSubstr("expected postgresql://USER@HOST/DATABASE"));
}

TEST_F(SettingsTest, s3_is_named_as_a_whole) {
  EXPECT_THAT(error_of({}, {"S3_ENDPOINT=http://h"}), HasSubstr("S3_BUCKET: name it too"));
  EXPECT_THAT(error_of({}, {"S3_BUCKET=b", "S3_ACCESS_KEY=a"}), HasSubstr("S3_SECRET_KEY: set both"));
  EXPECT_THAT(error_of({}, {"S3_ENDPOINT=h:9000"}), HasSubstr("https://s3.example.org"));
  EXPECT_THAT(error_of({}, {"S3_ENDPOINT=http://h/s3", "S3_BUCKET=b", "S3_ACCESS_KEY=a", "S3_SECRET_KEY=hidden"}),
              AllOf(HasSubstr("S3_ENDPOINT: without a path"), testing::Not(HasSubstr("hidden"))));
  EXPECT_EQ(error_of({}, {"USE_MINIO=false", "S3_REGION=x"}), "no error");
  const auto settings =
      load({}, {"USE_MINIO=on", "S3_ACCESS_KEY=a", "S3_SECRET_KEY=s", "S3_PUBLIC_URL_BASE=http://h/minio/"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->s3_endpoint, "http://127.0.0.1:9000");
  EXPECT_EQ(settings->s3_public_url_base, "http://h/minio");
  EXPECT_TRUE(settings->s3_path_style);
}

TEST_F(SettingsTest, old_names_are_taken_and_the_new_one_is_named) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of({}, {"MARIADB_HOST=h"}), "no error");
  EXPECT_EQ(error_of({}, {"MONGO_ROOT_USER=u"}), "no error");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), AllOf(HasSubstr(R"("old":"MARIADB_HOST","new":"DB_HOST")"),
                                                            HasSubstr(R"("old":"MONGO_ROOT_USER","new":"DB_USER")")));
}

TEST_F(SettingsTest, help_has_groups_and_defaults) {
  testing::internal::CaptureStdout();
  const auto settings = load({"--help"});
  const std::string help = testing::internal::GetCapturedStdout();
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->mode, RunMode::done);
  EXPECT_THAT(help, AllOf(HasSubstr("Listening:"), HasSubstr("--port NUMBER"), HasSubstr("[3080]"),
                          HasSubstr("--check-config")));
}

TEST_F(SettingsTest, commands_take_their_own_flags_and_those_of_settings) {
  auto settings = load({"migrate-store", "--from", "sqlite:a", "--data-dir", "d", "--to=postgres:b"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->mode, RunMode::migrate_store);
  EXPECT_EQ(settings->data_command.from, "sqlite:a");
  EXPECT_EQ(settings->data_command.to, "postgres:b");
  EXPECT_EQ(settings->data_dir, "d");
  settings = load({"restore", "kept", "--force"});
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->mode, RunMode::restore);
  EXPECT_EQ(settings->data_command.path, "kept");
  EXPECT_TRUE(settings->data_command.force);
  EXPECT_FALSE(settings->data_command.nothing_since);
  EXPECT_EQ(load({"backup", "kept"})->mode, RunMode::backup);
  EXPECT_EQ(load({"import", "old"})->mode, RunMode::import_files);
  EXPECT_THAT(error_of({"restore"}, {}), HasSubstr("DIR is required"));
  EXPECT_THAT(error_of({"restore", "kept", "--forse"}, {}), HasSubstr("unknown flag --forse"));
}

TEST_F(SettingsTest, version_is_one_line) {
  testing::internal::CaptureStdout();
  const auto settings = load({"--version"});
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::MatchesRegex("ringline [0-9.]+\n"));
  EXPECT_EQ(settings->mode, RunMode::done);
}

TEST_F(SettingsTest, check_config_shows_values_and_sources_but_no_secret) {
  testing::internal::CaptureStdout();
  const auto settings = load({"--check-config", "--port=1"}, {"JWT_SECRET=" + std::string(32, 'a')});
  const std::string shown = testing::internal::GetCapturedStdout();
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->mode, RunMode::check_config);
  EXPECT_THAT(shown, AllOf(HasSubstr("PORT = 1  # --port\n"), HasSubstr("JWT_SECRET = (set)  # environment\n"),
                           HasSubstr("HOST = 0.0.0.0  # default\n")));
  EXPECT_EQ(shown.find("aaaa"), std::string::npos);
}

}  // namespace
}  // namespace ringline::base
