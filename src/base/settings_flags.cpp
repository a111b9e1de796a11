// Flags by CLI11, --help included. Values stay texts here: they are judged together with those of environment and file.
#include "settings_flags.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>

#include "ringline/base/version.hpp"
#include "settings_table.hpp"
#include "settings_text.hpp"

namespace ringline::base {
namespace {

constexpr std::size_t kHelpColumn = 36;

constexpr const char* kFooter =
    "\nEach setting is also an environment variable (PORT for --port) and a line `PORT = 3080` of the file. A flag "
    "goes before the\n"
    "environment, the environment before the file. NAME_FILE, in environment or file, reads the value of NAME from a "
    "file.\n"
    "Durations are seconds or carry ms, s, m, h; sizes K, M, G.";

std::string describe(const SettingRow& row, const Settings& defaults) {
  const std::string value = row.show(defaults);
  std::string text(row.help);
  return value.empty() ? text : text.append(" [").append(value).append("]");
}

bool by_file(const SettingRow& row) noexcept { return row.secrecy == Secrecy::by_file; }

std::string flag_of(const SettingRow& row) { return "--" + flag_name(row.name) + (by_file(row) ? "-file" : ""); }

// The flag nearest to one that is not known.
std::string near(const std::string& wrong) {
  const std::string bare = wrong.substr(0, wrong.find('=')).substr(std::min<std::size_t>(2, wrong.size()));
  if (!wrong.starts_with("--")) return {};
  const std::string_view name = nearest_name(upper_name(bare));
  const SettingRow* row = find_row(name);
  return row ? "; did you mean " + flag_of(*row) + "?" : std::string();
}

// `fallthrough`: a command takes the same flags.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& help) {
  return app.add_subcommand(name, help)->fallthrough();
}

struct DeadLetterCommands {
  CLI::App* all;
  CLI::App* retry;
  CLI::App* drop;
};

DeadLetterCommands add_dead_letters(CLI::App& app, DeadLetterCommand& command, bool& every) {
  CLI::App* all = add_command(app, "dead-letters",
                              "What the database refused of events, with the reason: list, retry or drop it, and end. "
                              "The server may run meanwhile")
                      ->group("Commands")
                      ->require_subcommand(1);
  const auto choose = [&command](CLI::App* one) {
    one->add_option("ROOM", command.room, "Only of the room with this id");
    one->add_option("SEQ", command.seq, "Only of the event with this seq");
    return one;
  };
  choose(add_command(*all, "list", "Print them"));
  CLI::App* retry = choose(add_command(*all, "retry", "Do what they should have done; those that are done are gone"));
  CLI::App* drop = choose(add_command(*all, "drop", "Forget them: those of ROOM, or with --all every one"));
  drop->add_flag("--all", every, "Every one");
  return {.all = all, .retry = retry, .drop = drop};
}

constexpr const char* kDataFooter =
    "\nDATA_DIR and DATABASE_URL are the server's own (--data-dir, --database-url, environment or --config). Progress "
    "goes to standard\n"
    "error, the report to standard output. The exit status is 0 only if everything is there.";

constexpr const char* kMigrateHelp =
    "Copy all data from one store to another, SQLite to PostgreSQL or back, and compare them. The server must not "
    "run. What its journal holds and the store has not is taken in first. A run that was ended goes on where it was; "
    "another one changes nothing";
constexpr const char* kImportHelp =
    "Take in users.json, rooms.json and messages.json of the file store of an older chat. The server must not run. "
    "What cannot be taken is named by file and position, with the reason. A run that was ended goes on where it was; "
    "another one takes only what is new";
constexpr const char* kBackupHelp =
    "Copy the store, the journal and the files in DATA_DIR into a new folder, with their checksums. The server may "
    "run meanwhile. Files in S3 are not in it: S3's own means keep those";
constexpr const char* kRestoreHelp =
    "Put a backup into an empty DATA_DIR and an empty store, checked before and counted after. The server must not "
    "run. Rooms get a new epoch, so that clients reload what may be missing. A run that was ended goes on where it "
    "was";

using DataCommands = std::map<CLI::App*, RunMode>;

DataCommands add_data_commands(CLI::App& app, DataCommand& command) {
  DataCommands all;
  const auto add = [&](const char* name, const char* help, RunMode mode) {
    CLI::App* one = add_command(app, name, help)->group("Commands");
    one->footer(kDataFooter);
    all[one] = mode;
    return one;
  };
  CLI::App* migrate = add("migrate-store", kMigrateHelp, RunMode::migrate_store);
  migrate
      ->add_option("--from", command.from,
                   "sqlite:PATH or postgres:URL; unset: the server's store, or without --to DATA_DIR/ringline.db")
      ->type_name("STORE");
  migrate->add_option("--to", command.to, "likewise; unset: DATABASE_URL")->type_name("STORE");
  CLI::App* import = add("import", kImportHelp, RunMode::import_files);
  import->add_option("PATH", command.path, "The folder of the files, or the one above its `data`")->required();
  CLI::App* backup = add("backup", kBackupHelp, RunMode::backup);
  backup->add_option("DIR", command.path, "The folder to make")->required();
  CLI::App* restore = add("restore", kRestoreHelp, RunMode::restore);
  restore->add_option("DIR", command.path, "The backup")->required();
  restore->add_flag("--force", command.force,
                    "Over what is there: what is in the store goes, files are moved into DATA_DIR/replaced-TIME");
  restore->add_flag("--nothing-since", command.nothing_since,
                    "The server has not run since the backup was made: rooms keep their epochs");
  return all;
}

}  // namespace

Result<Flags> read_flags(int argc, const char* const* argv) {
  const Settings defaults;
  Flags flags;
  CLI::App app("Ringline " + std::string(version()) + ", a chat server", "ringline");
  app.get_formatter()->column_width(kHelpColumn);
  app.allow_extras();
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "Print this and end")->group("Commands");
  app.set_version_flag("--version", "ringline " + std::string(version()), "Print the version and end")
      ->group("Commands");
  const CLI::App* dump = add_command(app, "journal-dump",
                                     "Print what the journals in DATA_DIR hold, for people, and end. The server may "
                                     "run meanwhile")
                             ->group("Commands");
  bool every = false;
  const DeadLetterCommands dead = add_dead_letters(app, flags.dead_letters, every);
  const DataCommands data = add_data_commands(app, flags.data_command);
  bool check = false;
  app.add_flag("--check-config", check, "Check the settings, print them and end")->group("Commands");
  app.add_option("--config", flags.config_path, "Settings file; also RINGLINE_CONFIG")
      ->type_name("PATH")
      ->group("Commands");
  std::map<std::string, std::pair<std::string, CLI::Option*>> texts;  // by the flag's name; stable addresses for CLI11
  for (const SettingRow& row : setting_rows()) {
    const std::string flag = flag_of(row);
    auto& [text, option] = texts[flag];
    option = app.add_option(flag, text, describe(row, defaults))
                 ->type_name(std::string(by_file(row) ? "PATH" : row.hint))
                 ->group(std::string(row.group));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    app.exit(asked);
    return Flags{.mode = RunMode::done, .config_path = {}, .values = {}};
  } catch (const CLI::ParseError& wrong) {
    return fail_field("flags", std::string(wrong.what()) + " (see --help)");
  }
  if (const auto extra = app.remaining(true); !extra.empty())
    return fail_field("flags", "unknown flag " + extra.front() + near(extra.front()) + " (see --help)");
  if (*dump) flags.mode = RunMode::dump_journal;
  for (const auto& [command, mode] : data)
    if (*command) flags.mode = mode;
  if (*dead.all) flags.mode = RunMode::dead_letters;
  if (*dead.retry) flags.dead_letters.action = DeadLetterCommand::Action::retry;
  if (*dead.drop) flags.dead_letters.action = DeadLetterCommand::Action::drop;
  if (*dead.drop && flags.dead_letters.room == 0 && !every)
    return fail_field("flags", "dead-letters drop: say ROOM, ROOM SEQ or --all (see --help)");
  if (check) flags.mode = RunMode::check_config;
  for (const SettingRow& row : setting_rows()) {
    const std::string flag = flag_of(row);
    const auto& [text, option] = texts.at(flag);
    if (option->count() > 0)
      flags.values.push_back({std::string(row.name) + (by_file(row) ? "_FILE" : ""), flag, text});
  }
  return flags;
}

}  // namespace ringline::base
