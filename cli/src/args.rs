//! The command line, defined once: parsing, help texts and shell completions come from here.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{Override, Precision};
use crate::error::{Failure, Result};

/// What stands at the top of the help, and all that a bare `eigenlens` begins with.
const FIRST_STEPS: &str = "\
eigenlens run                      train the built-in example, see every layer's Hessian
eigenlens run my.toml              the same for your own data and network
eigenlens run --set data.name=iris --set model.hidden=[16]
eigenlens check my.toml            check derivatives and spectra on your own network";

const AFTER: &str = "\
Exit codes:
  0  everything went well (also when the reader of a pipe stopped early)
  1  a check of `eigenlens check` failed
  2  bad input or usage, or a run that could not be finished

Data go to standard output, progress and messages to standard error. NO_COLOR is honoured.";

const ANALYZE_EXAMPLES: &str = "\
Examples:
  eigenlens analyze runs/mine/config.toml --weights runs/mine/snapshots/007-epoch-00050.safetensors
  eigenlens analyze my.toml --weights trained.safetensors --layer 'fc*'   only some layers
  eigenlens analyze my.toml --weights trained.safetensors --quantities trace,frobenius
  eigenlens analyze my.toml --weights trained.safetensors --exact --layer head

The config says what the data and the network are; the tensors of the file are
called as in PyTorch's state_dict (fc1.weight, fc1.bias) and laid out so. The
result is a run directory with one snapshot.";

const INTERLAYER_EXAMPLES: &str = "\
Examples:
  eigenlens interlayer examples/residual-mlp.toml
  eigenlens interlayer examples/residual-mlp.toml --set model.skips=false
  eigenlens interlayer my.toml --weights trained.safetensors --format json

A block is a layer with weights and what follows it. Its result is shifted by
the same amount for every sample: R is the Frobenius norm of the second
derivatives of the loss to two such shifts, C = R over the geometric mean of
the two blocks' own, D = (R / spectral norm)^2, GN-Gap the part of R that is
not Gauss-Newton over the part that is, rho the spectral norm of a block's
Jacobian. Definitions: arXiv 2604.11639.";

const RUN_EXAMPLES: &str = "\
Examples:
  eigenlens run                                 digits, a tanh network 64-32-32-10
  eigenlens run --set train.epochs=20 --seed 7  the same, shorter, other weights
  eigenlens run my.toml --out results/a         your own config, into results/a
  eigenlens run my.toml --out results/a --resume   go on after an interruption
  eigenlens run my.toml --dry-run               only say what would be computed
  eigenlens run --format json > result.json     JSON instead of a table

Without --out, a run goes to runs/NAME-HASH: the data set, and 8 digits that
name everything in the config that can change a number. If that directory
exists, -2, -3, ... is appended; nothing is ever overwritten.

A config is TOML. Every run leaves its config, with all options, in the
config.toml of its directory: a good place to start from.";

const DIAGNOSE_EXAMPLES: &str = "\
Examples:
  eigenlens diagnose runs/digits-1a2b3c4d
  eigenlens diagnose runs/mine --format json
  eigenlens diagnose runs/mine --rules my-study/rules.json   rules of your own study

Whether a network over-fits or is too small is said by rules that were learned
from a study, from eigenvalues alone; each answer comes with its evidence, with
how often the rule is wrong on data it has not seen, and with what training
loss, number of parameters and gradient norm say without any Hessian. Dead,
saturated and full layers and unstable steps are read off directly.";

const STUDY_EXAMPLES: &str = "\
Examples:
  eigenlens study                               37 data sets, three capacities each
  eigenlens study --suite small                 18 of them, in a few minutes
  eigenlens study --suite mine.toml --out results/mine
  eigenlens study --suite small --dry-run       only show the design

A suite of your own needs a line, datasets = [\"iris\", \"two-moons\"]; what else
it can say is in the study.toml that every study leaves in its directory.

The same command goes on with a study that was interrupted: finished
experiments are kept, and the tables in the end are the same bit for bit.";

const CHECK_EXAMPLES: &str = "\
Examples:
  eigenlens check                               the built-in example
  eigenlens check my.toml --set model.activation=gelu
  eigenlens check my.toml && eigenlens run my.toml

Every check is an identity that must hold for a right implementation, whatever
the network: Taylor slopes of loss, gradient and Hessian products; symmetry and
linearity; uneven batches against the merged batch; traces of blocks against
the trace of the whole; exact spectra against Lanczos. The exit code is 1 if
one fails.";

/// See what a neural network looks like locally: the Hessian of every layer, its spectrum and its evolution.
#[derive(Debug, Parser)]
#[command(
    name = "eigenlens",
    version,
    disable_help_subcommand = true,
    before_help = FIRST_STEPS,
    after_help = AFTER,
    help_template = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}",
)]
pub struct Cli {
    /// What to do; nothing: show the help.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How much is said on standard error.
    #[command(flatten)]
    pub talk: Talk,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Talk {
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 900)]
    pub quiet: bool,
    /// Say more: every choice that was made, with its reason
    #[arg(short, long, global = true, display_order = 901)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network and compute every layer's Hessian spectrum at moments of its training
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Compute every layer's Hessian spectrum of a trained network, without training
    #[command(after_help = ANALYZE_EXAMPLES)]
    Analyze(AnalyzeArgs),
    /// Show how curvature couples the blocks of a network: resonance, coupling, stable rank, GN-Gap
    #[command(after_help = INTERLAYER_EXAMPLES)]
    Interlayer(InterlayerArgs),
    /// Train many networks on many data sets, compute every layer's Hessian spectrum, and put all numbers into tables
    #[command(after_help = STUDY_EXAMPLES)]
    Study(StudyArgs),
    /// Check derivatives and spectra on a network; exits with 1 if a check fails
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// List, describe or export the data sets that come with the program
    #[command(subcommand, disable_help_subcommand = true)]
    Data(DataCommand),
    /// List the networks that have a name, with their options
    Models {
        /// Form of the list: table, json or csv
        #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
        format: Format,
    },
    /// Say what the spectra of a run tell: over-fitted, too small, dead layers, unstable steps
    #[command(after_help = DIAGNOSE_EXAMPLES)]
    Diagnose(DiagnoseArgs),
    /// Write report.html of a run directory anew, or that of a study with its statistics
    Report(ReportArgs),
    /// Print completions for a shell: bash, zsh, fish, powershell or elvish
    Completions {
        /// The shell, e.g. `eigenlens completions bash > ~/.local/share/bash-completion/completions/eigenlens`
        shell: clap_complete::Shell,
    },
}

/// Arguments of `study`.
#[derive(Clone, Debug, Default, Args)]
pub struct StudyArgs {
    /// What to study: paper (37 data sets, 111 experiments), small (18 and 54), or a TOML file
    #[arg(long, value_name = "NAME", default_value = "paper")]
    pub suite: String,
    /// Directory of the study; without it, studies/NAME
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Experiments at a time (0: one per core); results don't depend on it
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Form of the overview on standard output: table, json (the summary) or csv (the experiments)
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
    /// Show which experiments there would be; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The config of a run or check, and what the command line changes in it.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Run config (TOML); without one, the built-in example
    pub config: Option<PathBuf>,
    /// Change an option of the config: train.lr=0.01, model.activation=relu; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    // The config reads the values of the next three, so that a wrong one is refused in the same words as with --set.
    /// Seed of everything random
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// Threads to compute with (0: one per core); results don't depend on it
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Memory that may be used, in GiB (0: half of the machine's); a run that needs more is refused before it starts
    #[arg(long, value_name = "GIB", allow_negative_numbers = true)]
    pub memory: Option<String>,
    /// Scalar type of the curvature: f32 or f64 (training has its own: train.precision)
    #[arg(long, value_name = "TYPE", hide_possible_values = true)]
    pub precision: Option<Precision>,
}

/// Arguments of `analyze`.
#[derive(Clone, Debug, Default, Args)]
pub struct AnalyzeArgs {
    /// Data, network and what to compute; `[train]` and `[snapshots]` are not read.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Weights: a safetensors file, e.g. a snapshot of a run; without it, the starting weights
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Only these layers (blocks), by name with * and ?; repeatable
    #[arg(long, value_name = "GLOB")]
    pub layer: Vec<String>,
    /// Only these quantities, by their keys in metrics.csv, with commas; gap, ratio, spectrum and phi are names, too
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub quantities: Vec<String>,
    /// All eigenvalues of every block, whatever that takes
    #[arg(long, conflicts_with_all = ["slq", "auto"])]
    pub exact: bool,
    /// Extreme pairs and a density of every block
    #[arg(long, conflicts_with = "auto")]
    pub slq: bool,
    /// All eigenvalues of blocks up to spectra.exact_max (or of as low a rank), the others as with --slq
    #[arg(long)]
    pub auto: bool,
    /// Directory for everything that the analysis leaves; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with an interrupted analysis of the same config in its directory
    #[arg(long)]
    pub resume: bool,
    /// Form of the result on standard output: table, json or csv
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
    /// Check everything and say what would be computed, with its cost; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl AnalyzeArgs {
    /// The same as a run that trains no epoch, with what to change in its config.
    pub fn as_run(&self) -> (RunArgs, Vec<Override>) {
        let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let own = |origin: String, key: &str, value: String| Override { origin, key: key.to_owned(), value };
        let mut more = vec![
            own("analyze".to_owned(), "train", "{ epochs = 0, precision = \"f64\" }".to_owned()),
            own("analyze".to_owned(), "snapshots", "{ epochs = [0] }".to_owned()),
        ];
        more.extend(self.weights.as_deref().map(weights_override));
        if !self.layer.is_empty() {
            let list: Vec<String> = self.layer.iter().map(|l| text(l)).collect();
            more.push(own(
                format!("--layer {}", self.layer.join(" --layer ")),
                "spectra.only",
                format!("[{}]", list.join(", ")),
            ));
        }
        if !self.quantities.is_empty() {
            let list: Vec<String> = self.quantities.iter().map(|q| text(q.trim())).collect();
            let origin = format!("--quantities {}", self.quantities.join(","));
            more.push(own(origin, "spectra.quantities", format!("[{}]", list.join(", "))));
        }
        let methods = [("exact", self.exact), ("slq", self.slq), ("auto", self.auto)];
        let chosen = methods.into_iter().filter(|(_, given)| *given);
        more.extend(chosen.map(|(name, _)| own(format!("--{name}"), "spectra.method", text(name))));
        let run = RunArgs {
            config: self.config.clone(),
            out: self.out.clone(),
            resume: self.resume,
            format: self.format,
            dry_run: self.dry_run,
        };
        (run, more)
    }
}

/// Arguments of `interlayer`.
#[derive(Clone, Debug, Default, Args)]
pub struct InterlayerArgs {
    /// Data, network and probes.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Weights: a safetensors file, e.g. a snapshot of a run; without it, the starting weights
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Form of the result on standard output: table, json (with all matrices) or csv (all pairs)
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
}

/// What `--weights` changes in a config.
pub fn weights_override(path: &Path) -> Override {
    let path = path.to_string_lossy().into_owned();
    let value = toml::Value::String(path.clone()).to_string();
    Override { origin: format!("--weights {path}"), key: "model.weights".to_owned(), value }
}

/// Arguments of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Config and changes to it.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Directory for everything that the run leaves; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with an interrupted run of the same config in its directory
    #[arg(long)]
    pub resume: bool,
    /// Form of the result on standard output: table, json or csv
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
    /// Check everything and say what would be computed, with its cost; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckArgs {
    /// Config and changes to it.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Form of the table on standard output: table, json or csv
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
}

/// The commands of `data`.
#[derive(Clone, Debug, Subcommand)]
pub enum DataCommand {
    /// List the data sets
    List {
        /// Form of the list: table, json or csv
        #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
        format: Format,
    },
    /// Describe one: origin, licence, columns, classes, reference scores
    Show {
        /// Name of the data set
        name: String,
        /// Form of the description: table, json or csv
        #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
        format: Format,
    },
    /// Write one as CSV
    Export {
        /// Name of the data set
        name: String,
        /// File to write; without it, standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Arguments of `diagnose`.
#[derive(Clone, Debug, Args)]
pub struct DiagnoseArgs {
    /// Run directory
    pub dir: PathBuf,
    /// Learned rules: the rules.json of a study; without it, those that come with the program
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Form of the result on standard output: table, json or csv
    #[arg(long, value_name = "FORM", default_value = "table", hide_possible_values = true)]
    pub format: Format,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Run directory, or directory of a study
    pub dir: PathBuf,
}

/// Form of data on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
}

impl ConfigArgs {
    /// The changes in the order in which they apply: `--set` as given, then the flags with a name of their own.
    ///
    /// # Errors
    /// A `--set` without `=`.
    pub fn overrides(&self) -> Result<Vec<Override>> {
        let mut all: Vec<Override> = self.set.iter().map(|text| Override::set(text)).collect::<Result<_>>()?;
        for (flag, given) in [("seed", &self.seed), ("threads", &self.threads), ("memory", &self.memory)] {
            all.extend(given.as_ref().map(|value| Override::flag(flag, flag, value)));
        }
        all.extend(self.precision.map(|p| {
            let name = if p == Precision::F32 { "f32" } else { "f64" };
            Override::flag("precision", "precision", name)
        }));
        Ok(all)
    }
}

/// What parsing the command line led to.
#[derive(Debug)]
pub enum Parsed {
    /// Something to do.
    Command(Box<Command>, Talk),
    /// Only a text to print: help or version.
    Text(String),
}

/// Parses the command line; `argv[0]` is the program.
///
/// # Errors
/// Unknown commands and flags (with the nearest known one), missing or impossible values.
pub fn parse<I, T>(argv: I) -> Result<Parsed>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    match Cli::try_parse_from(argv) {
        Ok(Cli { command: Some(command), talk }) => Ok(Parsed::Command(Box::new(command), talk)),
        Ok(Cli { command: None, .. }) => Ok(Parsed::Text(Cli::command().render_help().to_string())),
        Err(error) => {
            use clap::error::ErrorKind::*;
            match error.kind() {
                DisplayHelp | DisplayVersion => Ok(Parsed::Text(error.render().to_string())),
                DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand => Err(needs_subcommand()),
                _ => Err(one_line(&error)),
            }
        }
    }
}

/// The completions of one shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "eigenlens", &mut text);
    text
}

/// `data` is the only command that needs another one.
fn needs_subcommand() -> Failure {
    Failure::new("`eigenlens data` needs to be told what to do")
        .hint("eigenlens data list, eigenlens data show NAME or eigenlens data export NAME")
}

/// clap's error of several paragraphs as one line and one hint.
fn one_line(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let what = first.trim_start_matches("error:").split_whitespace().collect::<Vec<_>>().join(" ");
    let what = what.replace(" [possible values:", "; it can be [").replace("; it can be [ ", "; it can be [");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip:"));
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let failure = Failure::new(what.trim_end_matches('.').replace('\'', "`"));
    let context = error.context().find(|(kind, _)| *kind == clap::error::ContextKind::InvalidSubcommand);
    if let (None, Some((_, clap::error::ContextValue::String(name)))) = (tip, context) {
        let root = Cli::command();
        let asked = root.get_subcommands().find(|c| usage.is_some_and(|u| u.contains(&format!(" {} ", c.get_name()))));
        let known = asked.unwrap_or(&root).get_subcommands().map(clap::Command::get_name);
        return failure.did_you_mean(name, known);
    }
    match (tip, usage) {
        (Some(tip), _) => failure.hint(tip.trim().replace('\'', "`")),
        (None, Some(usage)) => failure.hint(format!("usage: {}", usage.trim())),
        (None, None) => failure.hint("see eigenlens --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        match parse(line.split(' ')).unwrap() {
            Parsed::Command(command, _) => *command,
            Parsed::Text(text) => panic!("{line}: {text}"),
        }
    }

    fn error(line: &str) -> String {
        parse(line.split(' ')).expect_err(line).to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bare_and_help_begin_with_run() {
        for line in ["eigenlens", "eigenlens --help", "eigenlens -h"] {
            match parse(line.split(' ')).unwrap() {
                Parsed::Text(text) => assert!(text.starts_with("eigenlens run "), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn flags_become_overrides_after_the_sets() {
        let Command::Run(run) = command("eigenlens run a.toml --seed 3 --set train.lr=0.1 --precision f32") else {
            panic!()
        };
        let keys: Vec<_> = run.config.overrides().unwrap().into_iter().map(|o| (o.key, o.value)).collect();
        assert_eq!(
            keys,
            [("train.lr", "0.1"), ("seed", "3"), ("precision", "f32")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn errors_are_one_line_and_one_hint() {
        for line in [
            "eigenlens rnu",
            "eigenlens run --sed 3",
            "eigenlens run --precision f16",
            "eigenlens run --format xml",
            "eigenlens run a b",
            "eigenlens run -q -v",
            "eigenlens data",
            "eigenlens data show",
            "eigenlens report",
            "eigenlens completions tcsh",
        ] {
            let text = error(line);
            assert_eq!(text.lines().count(), 2, "{line}:\n{text}");
            assert!(text.starts_with("error: ") && text.contains("\nhint: "), "{line}:\n{text}");
        }
    }

    #[test]
    fn slips_are_recognised() {
        assert!(error("eigenlens rnu").contains("`run`"), "{}", error("eigenlens rnu"));
        assert!(error("eigenlens run --sed 3").contains("--seed"), "{}", error("eigenlens run --sed 3"));
        assert!(error("eigenlens run --format jsn").contains("json"));
        assert!(error("eigenlens data lst").contains("`list`"), "{}", error("eigenlens data lst"));
    }

    #[test]
    fn every_shell_gets_completions() {
        for shell in clap_complete::Shell::value_variants() {
            let text = String::from_utf8(completions(*shell)).unwrap();
            assert!(text.contains("eigenlens") && text.contains("dry-run"), "{shell}");
        }
    }
}
