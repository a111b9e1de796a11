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
  // `fallthrough`: it takes the same flags.
  const CLI::App* dump = app.add_subcommand("journal-dump",
                                            "Print what the journals in DATA_DIR hold, for people, and end. The server "
                                            "may run meanwhile")
                             ->fallthrough()
                             ->group("Commands");
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
  if (const auto extra = app.remaining(); !extra.empty())
    return fail_field("flags", "unknown flag " + extra.front() + near(extra.front()) + " (see --help)");
  if (*dump) flags.mode = RunMode::dump_journal;
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
