use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum ScheduleName {
    Sequential,
    LayerParallel,
}

#[derive(Debug, Clone, PartialEq, Args)]
struct SolverArgs {
    #[arg(long, help_heading = "Solver", value_enum, default_value_t = ScheduleName::LayerParallel)]
    schedule: ScheduleName,
    #[arg(long, help_heading = "Solver", default_value_t = 2)]
    fwd_levels: usize,
    #[arg(long, help_heading = "Solver", default_value_t = true, action = clap::ArgAction::Set)]
    skip_downcycle: bool,
}

/// One option of every kind.
#[derive(Debug, Clone, PartialEq, Parser)]
struct Options {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    solver: SolverArgs,
    #[arg(long, default_value_t = 36, visible_alias = "depth")]
    layers: usize,
    #[arg(long, default_value_t = 1e-2, allow_negative_numbers = true)]
    rate: f64,
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    no_baseline: bool,
    #[arg(long = "no-color", action = clap::ArgAction::SetFalse)]
    color: bool,
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
    #[arg(long, value_delimiter = ',', default_value = "8,16")]
    channels: Vec<usize>,
    #[arg(long)]
    tag: Vec<String>,
    #[arg(long, num_args = 1..)]
    file: Vec<String>,
    #[arg(long, num_args = 2, allow_negative_numbers = true)]
    point: Vec<i64>,
    #[arg(long, num_args = 0..=1, default_missing_value = "progress.txt")]
    progress: Option<Option<String>>,
    #[arg(long, value_parser = duration, default_value = "55m")]
    time_limit: Duration,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    input: Option<String>,
}

/// Parses `flags` with a file of `toml`; error and table name the file without its folder.
fn with_file<O: Parser>(toml: &str, flags: &[&str]) -> Result<Merged<O>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, toml).unwrap();
    let words = ["program", "--config", path.to_str().unwrap()];
    let prefix = format!("{}/", folder.path().display());
    let merged = parse_from::<O>(words.iter().chain(flags)).map_err(|error| error.to_string().replace(&prefix, ""))?;
    Ok(Merged { options: merged.options, table: merged.table.replace(&prefix, "") })
}

fn from_file(toml: &str) -> Options {
    let options = with_file::<Options>(toml, &[]).unwrap().options;
    Options { config: ConfigArgs { config: None }, ..options }
}

fn from_flags(flags: &[&str]) -> Options {
    Options::try_parse_from(["program"].iter().chain(flags)).unwrap()
}

fn refused(toml: &str) -> String {
    with_file::<Options>(toml, &[]).unwrap_err()
}

#[test]
fn every_kind_of_option_means_what_the_flag_means() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("layers = 72", &["--layers=72"]),
        ("depth = 72", &["--layers=72"]),
        ("layers = 1_0", &["--layers=10"]),
        ("layers = 0x10", &["--layers=16"]),
        ("layers = '72'", &["--layers=72"]),
        ("rate = -1.5e-3", &["--rate=-1.5e-3"]),
        ("seed = 18446744073709551615", &["--seed=18446744073709551615"]),
        ("schedule = 'sequential'", &["--schedule", "sequential"]),
        ("[schedule]\nfwd_levels = 3\nschedule = 'sequential'", &["--schedule=sequential", "--fwd-levels=3"]),
        ("a.b.fwd-levels = 3\na.c = { layers = 4 }", &["--fwd-levels=3", "--layers=4"]),
        ("no-baseline = true", &["--no-baseline"]),
        ("no-baseline = false", &[]),
        ("no-color = true", &["--no-color"]),
        ("no-color = false", &[]),
        ("skip-downcycle = false", &["--skip-downcycle=false"]),
        ("verbose = 3", &["-vvv"]),
        ("verbose = 0", &[]),
        ("channels = [1, 2, 3]", &["--channels=1,2,3"]),
        ("channels = 4", &["--channels=4"]),
        ("tag = ['a', '-b', 'c,d']", &["--tag=a", "--tag=-b", "--tag=c,d"]),
        ("file = ['a', 'b']", &["--file", "a", "b"]),
        ("point = [1, -2, 3, 4]", &["--point", "1", "-2", "--point", "3", "4"]),
        ("progress = []", &["--progress"]),
        ("progress = 'p'", &["--progress=p"]),
        ("name = ''", &["--name="]),
        ("name = '--layers'", &["--name=--layers"]),
        ("name = 2026-01-02", &["--name=2026-01-02"]),
        ("name = true", &["--name=true"]),
        ("time-limit = 02:30:00", &["--time-limit=2h30m"]),
        ("time_limit = 90", &["--time-limit=90s"]),
    ];
    for (toml, flags) in cases {
        assert_eq!(from_file(toml), from_flags(flags), "{toml}");
    }
}

#[test]
fn flags_replace_the_file_and_the_file_replaces_defaults() {
    let toml = "layers = 72\nfwd-levels = 3\ntag = ['a', 'b']\nverbose = 2\nchannels = [1, 2]";
    let merged = with_file::<Options>(toml, &["--layers", "9", "--tag", "c", "-v", "--channels=5"]).unwrap().options;
    assert_eq!((merged.layers, merged.solver.fwd_levels, merged.verbose), (9, 3, 1));
    assert_eq!((merged.tag, merged.channels), (vec!["c".to_owned()], vec![5]));
    // The later of two flags wins, with and without a file.
    assert_eq!(parse_from::<Options>(["p", "--layers=1", "--layers=2"]).unwrap().options.layers, 2);
}

#[test]
fn values_of_the_file_end_before_positional_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, "file = ['a', 'b']\npoint = [1, 2]\nprogress = []").unwrap();
    let merged = parse_from::<Options>(["program", "input.txt", "--config", path.to_str().unwrap()]).unwrap();
    assert_eq!(merged.options.input.as_deref(), Some("input.txt"));
    assert_eq!(merged.options.file, ["a", "b"]);
    assert_eq!(merged.options.progress, Some(Some("progress.txt".to_owned())));
}

#[test]
fn all_wrong_keys_are_listed_with_line_and_key() {
    let toml = "layer = 1\n\nlayers = 'many'\nlayers = 2 # twice is not TOML";
    assert_eq!(refused(toml), "run.toml:4: not valid TOML: duplicate key");
    let toml =
        "layer = 1\n\nlayers = 'many'\ndepth = 2\n[a]\nfwd-levels = 1\n[b]\nfwd_levels = 2\nqqq = 1\nconfig = 'x'";
    let expected = "run.toml:1: `layer`: no such option: did you mean `layers`?\n\
        run.toml:3: `layers`: invalid value 'many' for '--layers <LAYERS>': invalid digit found in string\n\
        run.toml:4: `depth`: already set in line 3: keep one of the two\n\
        run.toml:8: `fwd_levels`: already set in line 6: keep one of the two\n\
        run.toml:9: `qqq`: no such option: --help lists all, a key is a long flag without its dashes\n\
        run.toml:10: `config`: a file cannot name another file of options: give it on the command line";
    assert_eq!(refused(toml), expected);
    assert!(refused("a = { fwd-levels = 1, fwd_levels = 2 }").contains("already set in line 1"));
}

#[test]
fn wrong_types_and_values_name_what_is_needed() {
    let cases = [
        ("no-baseline = 1", "`no-baseline`: an integer where true or false is needed"),
        ("no-color = 'yes'", "`no-color`: a string where true or false is needed"),
        ("verbose = true", "`verbose`: true or false where a number from 0 to 255 is needed"),
        ("verbose = 256", "`verbose`: an integer where a number from 0 to 255 is needed"),
        ("layers = [1]", "`layers`: an array where a single value is needed"),
        ("channels = []", "`channels`: an empty array where at least one value is needed"),
        ("channels = [[1]]", "`channels`: an array where a plain value in an array is needed"),
        ("[[channels]]\na = 1", "`channels`: a table where a plain value in an array is needed"),
        ("[layers]\nmany = 1", "`many`: no such option: --help lists all, a key is a long flag without its dashes"),
        ("help = true", "`help`: no such option: --help lists all, a key is a long flag without its dashes"),
        ("input = 'a'", "`input`: no such option: --help lists all, a key is a long flag without its dashes"),
        (
            "skip-downcycle = 1",
            "`skip-downcycle`: invalid value '1' for '--skip-downcycle <SKIP_DOWNCYCLE>' \
            [possible values: true, false]",
        ),
        (
            "schedule = 'layer-paralel'",
            "`schedule`: invalid value 'layer-paralel' for '--schedule <SCHEDULE>' \
            [possible values: sequential, layer-parallel] tip: a similar value exists: 'layer-parallel'",
        ),
        (
            "time-limit = '5x'",
            "`time-limit`: invalid value '5x' for '--time-limit <TIME_LIMIT>': unknown time unit \"x\", \
            supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations): \
            write it like 90s, 55m, 1h30m, 01:30:00 or 2-12:30:00",
        ),
    ];
    for (toml, message) in cases {
        let line = if toml.starts_with("[layers]") { 2 } else { 1 };
        assert_eq!(refused(toml), format!("run.toml:{line}: {message}"), "{toml}");
    }
    assert!(refused("point = [1, 2, 3]").contains("`point`: "), "{}", refused("point = [1, 2, 3]"));
}

#[test]
fn a_wrong_value_is_an_error_even_if_a_flag_replaces_it() {
    assert!(with_file::<Options>("layers = 'many'", &["--layers=1"]).unwrap_err().starts_with("run.toml:1: "));
}

#[test]
fn files_that_cannot_be_read_and_arguments_that_are_wrong() {
    let error = parse_from::<Options>(["p", "--config", "/nowhere/run.toml"]).unwrap_err();
    assert!(matches!(&error, ConfigError::Unreadable { .. }) && error.to_string().contains("/nowhere/run.toml"));
    let kind = |args: &[&str]| match parse_from::<Options>(args) {
        Err(ConfigError::Arguments(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    use clap::error::ErrorKind;
    assert_eq!(kind(&["p", "--help", "--config", "/nowhere"]), ErrorKind::DisplayHelp);
    assert_eq!(kind(&["p", "--layer", "1", "--config", "/nowhere"]), ErrorKind::UnknownArgument);
    assert_eq!(kind(&["p", "--layers", "x"]), ErrorKind::ValueValidation);
    assert!(parse_from::<Options>(Vec::<String>::new()).is_ok());
}

#[test]
fn the_table_shows_every_option_its_value_and_source() {
    let toml = "layers = 36\nno-baseline = false\ntag = ['a']\nrate = 2e-3\nverbose = 1";
    let table = with_file::<Options>(toml, &["--fwd-levels", "3", "--name", "a \"b\"", "-v"]).unwrap().table;
    let expected = "\
# Options
layers         = 36                # run.toml
rate           = 2e-3              # run.toml
# data         = (not given)
name           = 'a \"b\"'           # command line
no-baseline    = false             # run.toml
no-color       = false             # default
verbose        = 1                 # command line
channels       = [8, 16]           # default
tag            = [\"a\"]             # run.toml
# file         = (not given)
# point        = (not given)
# progress     = (not given)
time-limit     = \"55m\"             # default
seed           = 0                 # default

# Solver
schedule       = \"layer-parallel\"  # default
fwd-levels     = 3                 # command line
skip-downcycle = true              # default
";
    assert_eq!(table, expected);
}

#[test]
fn programs_without_the_flag_have_a_table_too() {
    #[derive(Debug, Parser)]
    struct Plain {
        #[arg(long)]
        layers: usize,
    }
    let merged = parse_from::<Plain>(["p", "--layers=1"]).unwrap();
    assert_eq!((merged.options.layers, merged.table.as_str()), (1, "# Options\nlayers = 1  # command line\n"));
}

/// Options that depend on each other.
#[derive(Debug, PartialEq, Parser)]
struct Linked {
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long, default_value_t = 1, conflicts_with = "exact")]
    iterations: usize,
    #[arg(long)]
    exact: bool,
    #[arg(long, default_value_t = 2, default_value_if("exact", "true", "7"))]
    digits: usize,
    #[arg(long, overrides_with = "no_chart")]
    chart: bool,
    #[arg(long)]
    no_chart: bool,
    #[arg(long, required_unless_present = "exact")]
    tolerance: Option<f64>,
}

#[test]
fn defaults_in_a_table_do_not_conflict_with_options() {
    for flags in [&["--exact"][..], &["--exact", "--digits=2"], &["--tolerance=0.1", "--chart"]] {
        let first = parse_from::<Linked>(["p"].iter().chain(flags)).unwrap();
        let second = with_file::<Linked>(&first.table, &[]).unwrap().options;
        assert_eq!(Linked { config: None, ..second }, first.options, "{flags:?}\n{}", first.table);
    }
    // Said by the file and by a flag: a conflict is one, and an override one.
    assert!(with_file::<Linked>("iterations = 3", &["--exact"]).unwrap_err().contains("cannot be used with"));
    let merged = with_file::<Linked>("chart = true\ntolerance = 1", &["--no-chart"]).unwrap();
    assert!(!merged.options.chart && merged.options.no_chart);
    assert!(merged.table.contains("chart      = false  # default"), "{}", merged.table);
    assert!(with_file::<Linked>("digits = 1", &[]).unwrap_err().contains("--tolerance"));
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_a_comment() {
    use std::os::unix::ffi::OsStringExt;
    let path = OsString::from_vec(b"--data=\xff".to_vec());
    let table = parse_from::<Options>([OsString::from("p"), path]).unwrap().table;
    assert!(table.contains("\n# data         = (not UTF-8, give it as a flag)\n"), "{table}");
    assert!(with_file::<Options>(&table, &[]).is_ok());
}

proptest! {
    #[test]
    fn a_table_given_back_means_the_same(
        layers in any::<usize>(), rate in any::<f64>().prop_filter("nan is not equal to itself", |rate| !rate.is_nan()),
        names in prop::collection::vec("(?s).*", 0..3), tags in prop::collection::vec("[-+0-9a-f._,\"'\\\\ \n]*", 0..4),
        point in prop::collection::vec(any::<[i64; 2]>(), 0..3), channels in prop::collection::vec(any::<usize>(), 0..4),
        (no_baseline, no_color, verbose) in (any::<bool>(), any::<bool>(), 0usize..4),
    ) {
        let mut flags = vec!["p".to_owned(), format!("--layers={layers}"), format!("--rate={rate:e}")];
        flags.extend(names.iter().map(|name| format!("--name={name}")));
        flags.extend(tags.iter().map(|tag| format!("--tag={tag}")));
        flags.extend(point.iter().flat_map(|[x, y]| ["--point".to_owned(), x.to_string(), y.to_string()]));
        if !channels.is_empty() {
            let channels: Vec<_> = channels.iter().map(usize::to_string).collect();
            flags.push(format!("--channels={}", channels.join(",")));
        }
        flags.extend(no_baseline.then(|| "--no-baseline".to_owned()));
        flags.extend(no_color.then(|| "--no-color".to_owned()));
        flags.extend(vec!["--verbose".to_owned(); verbose]);
        let first = parse_from::<Options>(&flags).unwrap();
        let second = with_file::<Options>(&first.table, &[]).unwrap();
        prop_assert_eq!(&Options { config: ConfigArgs { config: None }, ..second.options }, &first.options);
        // Only where values come from differs.
        let same = |table: &str| table.replace("# command line\n", "").replace("# run.toml\n", "").replace("# default\n", "");
        prop_assert_eq!(same(&second.table), same(&first.table));
    }

    #[test]
    fn files_of_any_text_never_panic(text in "(?s)([a-z_.-]{0,6}|layers|tag|point|verbose|[\\[\\]{}=\"'#\n, 0-9])*") {
        let _ = with_file::<Options>(&text, &[]);
    }
}
