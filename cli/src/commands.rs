//! The commands: each reads its arguments, has the work done, and prints the outcome.

use std::path::Path;

use crate::args::{self, CheckArgs, Command, ConfigArgs, DataCommand, Format, Parsed, RunArgs, Talk};
use crate::config::{Config, Override};
use crate::error::{Exit, Failure, Result};
use crate::numbers::{duration, grouped, significant};
use crate::pipeline::{self, Plan, PlannedPairs};
use crate::progress::Progress;
use crate::rundir::RunDir;
use crate::study::conclude::conclude;
use crate::study::diagnosis::diagnose;
use crate::study::findings::questions::Effort;
use crate::study::tables::{self, Tables};
use crate::table::{Kind, Table};
use crate::{interlayer, models, output, report, show, study};

/// Runs the program on a command line and returns its exit code. Prints everything, failures included.
pub fn main(argv: Vec<std::ffi::OsString>) -> Exit {
    let outcome = args::parse(argv.clone()).and_then(|parsed| match parsed {
        Parsed::Text(text) => output::data(text.as_bytes()).map(|()| Exit::Fine),
        Parsed::Command(command, talk) => {
            let argv: Vec<String> = argv.iter().map(|a| a.to_string_lossy().into_owned()).collect();
            dispatch(&command, talk, &argv)
        }
    });
    outcome.unwrap_or_else(|failure| {
        output::failure(&failure);
        Exit::BadInput
    })
}

fn dispatch(command: &Command, talk: Talk, argv: &[String]) -> Result<Exit> {
    let progress = Progress::new(talk);
    match command {
        Command::Run(args) => run(args, Vec::new(), argv, &progress),
        Command::Analyze(args) => {
            let (args, more) = args.as_run();
            run(&args, more, argv, &progress)
        }
        Command::Interlayer(args) => {
            let more = args.weights.as_deref().map(args::weights_override).into_iter().collect();
            let found = pipeline::interlayer(&config(&args.config, more, None)?, &progress)?;
            fine(&interlayer::show(&found, args.format, output::width())?)
        }
        Command::Study(args) => fine(&study::run(args, argv, &progress)?),
        Command::Check(args) => check(args, &progress),
        Command::Data(command) => data(command, &progress),
        Command::Models { format } => fine(&models::list(*format, output::width())?),
        Command::Diagnose(args) => {
            let found = diagnose(&args.dir, args.rules.as_deref())?;
            fine(&found.show(args.format, output::width())?)
        }
        Command::Report(args) if args.dir.join(tables::EXPERIMENTS).is_file() => {
            let found = conclude(&Tables::read(&args.dir)?, &args.dir, Effort::default())?;
            fine(&format!("{}\n", found.report.display()))
        }
        Command::Report(args) => {
            let path = report::write(&RunDir::open(&args.dir)?)?;
            fine(&format!("{}\n", path.display()))
        }
        Command::Completions { shell } => output::data(&args::completions(*shell)).map(|()| Exit::Fine),
    }
}

fn fine(text: &str) -> Result<Exit> {
    output::data(text.as_bytes()).map(|()| Exit::Fine)
}

/// The config that the arguments describe, checked. Sets the number of threads, which is the whole process's.
fn config(args: &ConfigArgs, more: Vec<Override>, out: Option<&Path>) -> Result<Config> {
    let mut overrides = args.overrides()?;
    overrides.extend(more);
    if let Some(out) = out {
        // As a TOML string: a directory named 7 is no number.
        let text = out.to_string_lossy();
        let value = toml::Value::String(text.clone().into_owned()).to_string();
        overrides.push(Override { origin: format!("--out {text}"), key: "out".to_owned(), value });
    }
    let config = Config::load(args.config.as_deref(), &overrides, &pipeline::dataset_names())?;
    rayon::ThreadPoolBuilder::new().num_threads(config.threads).build_global().map_err(|e| {
        Failure::new(format!("cannot start {} threads: {e}", config.threads)).hint("use fewer --threads")
    })?;
    Ok(config)
}

fn run(args: &RunArgs, more: Vec<Override>, argv: &[String], progress: &Progress) -> Result<Exit> {
    let config = config(&args.config, more, args.out.as_deref())?;
    if args.dry_run {
        let plan = pipeline::plan(&config, progress)?;
        return fine(&show_plan(&plan, args.format, output::width()));
    }
    let done = pipeline::run(&config, argv, args.resume, progress)?;
    let report = done.directory.file(report::REPORT);
    let (directory, report) = (done.directory.path().display().to_string(), report.display().to_string());
    if args.format != Format::Table {
        progress.say(&format!("report  {report}"));
    }
    fine(&show::run(&done.result, &directory, &report, args.format, output::width()))
}

fn check(args: &CheckArgs, progress: &Progress) -> Result<Exit> {
    let rows = pipeline::check(&config(&args.config, Vec::new(), None)?, progress)?;
    output::data(show::checks(&rows, args.format, output::width())?.as_bytes())?;
    Ok(if rows.iter().all(|r| r.passed) { Exit::Fine } else { Exit::CheckFailed })
}

fn data(command: &DataCommand, progress: &Progress) -> Result<Exit> {
    let known = |name: &str| {
        let names = pipeline::dataset_names();
        if names.contains(&name) {
            return Ok(());
        }
        Err(Failure::new(format!("unknown data set `{name}`")).did_you_mean(name, names))
    };
    match command {
        DataCommand::List { format } => fine(&show::datasets(&pipeline::catalogue()?, *format, output::width())?),
        DataCommand::Show { name, format } => {
            known(name)?;
            let catalogue = pipeline::catalogue()?;
            let found = catalogue.iter().find(|d| d.name == *name);
            let found = found.ok_or_else(|| Failure::new("the data set has no entry in the catalogue").at(name))?;
            fine(&show::dataset(found, *format, output::width())?)
        }
        DataCommand::Export { name, out } => {
            known(name)?;
            let csv = pipeline::export_csv(name)?;
            let Some(path) = out else { return fine(&csv) };
            if path.exists() {
                return Err(Failure::new("the file exists").at(path.display()).hint("choose another --out FILE"));
            }
            crate::files::write_atomic(path, csv.as_bytes())?;
            progress.say(&format!("wrote {}", path.display()));
            Ok(Exit::Fine)
        }
    }
}

/// What a run would do, for `--dry-run`.
fn show_plan(plan: &Plan, format: Format, width: usize) -> String {
    if format == Format::Json {
        return serde_json::to_string_pretty(plan).expect("plain data have a JSON form") + "\n";
    }
    let mut table = Table::new()
        .column("block", Kind::Name, 255)
        .column("what", Kind::Name, 200)
        .column("p", Kind::Number, 254)
        .column("route", Kind::Text, 253)
        .column("memory", Kind::Number, 180)
        .column("GFLOP", Kind::Number, 170)
        .column("time", Kind::Number, 190);
    for l in &plan.layers {
        let memory = format!("{} MB", significant(l.bytes as f64 / 1e6, 3));
        let (flops, time) = (significant(l.flops / 1e9, 3), duration(l.seconds));
        table.row(vec![l.name.clone(), l.kind.clone(), grouped(l.parameters), l.route.clone(), memory, flops, time]);
    }
    let mut stages = Table::new()
        .column("block", Kind::Name, 255)
        .column("stage", Kind::Name, 254)
        .column("gives", Kind::Text, 180)
        .column("memory", Kind::Number, 190)
        .column("GFLOP", Kind::Number, 185)
        .column("time", Kind::Number, 253);
    for (l, s) in plan.layers.iter().flat_map(|l| l.stages.iter().map(move |s| (l, s))) {
        let memory = format!("{} MB", significant(s.bytes as f64 / 1e6, 3));
        let (flops, time) = (significant(s.flops / 1e9, 3), duration(s.seconds));
        stages.row(vec![l.name.clone(), s.stage.clone(), s.gives.clone(), memory, flops, time]);
    }
    if format == Format::Csv {
        let header = "layer,parameters,route,stage,gives,bytes,flops,seconds\n".to_owned();
        let stages = plan.layers.iter().flat_map(|l| l.stages.iter().map(move |s| (l, s)));
        return stages.fold(header, |text, (l, s)| {
            let (own, work) = (format!("{},{},{}", l.name, l.parameters, l.route), (s.bytes, s.flops, s.seconds));
            text + &format!("{own},{},\"{}\",{},{},{}\n", s.stage, s.gives, work.0, work.1, work.2)
        });
    }
    let pairs = |planned: &Option<PlannedPairs>| match planned {
        Some(pairs) => format!("{} products, {}", grouped(pairs.products), duration(pairs.seconds)),
        None => "left out".to_owned(),
    };
    let (phi, interlayer) = (pairs(&plan.phi), pairs(&plan.interlayer));
    let snapshots: Vec<String> = plan.snapshots.iter().map(ToString::to_string).collect();
    format!(
        "{}\n\n{}\n{}\nsnapshots  after epochs {}\nmemory     at once; GFLOP per snapshot; time for all {} of them\nΦ          {phi}\n\
         results    {interlayer}\nin all     {} by trial products, and the training\ndirectory  {}\n\nNothing was written.\n",
        plan.model,
        table.render(width),
        stages.render(width),
        snapshots.join(", "),
        snapshots.len(),
        duration(plan.seconds()),
        plan.directory,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{PlannedLayer, PlannedStage};

    #[test]
    fn a_plan_is_shown_in_every_form() {
        let layer = PlannedLayer {
            name: "1".into(),
            kind: "linear 64→32 + bias".into(),
            parameters: 2080,
            route: "exact (Kronecker assembly)".into(),
            bytes: 34_611_200,
            flops: 2.5e9,
            seconds: 1.25,
            stages: vec![PlannedStage {
                stage: "eigenvalues".into(),
                gives: "all others".into(),
                flops: 2.5e9,
                bytes: 34_611_200,
                seconds: 1.25,
            }],
        };
        let plan = Plan {
            model: "digits: 64-32-10 tanh".into(),
            directory: "runs/digits-1".into(),
            snapshots: vec![0, 1, 50],
            layers: vec![layer],
            phi: Some(PlannedPairs { products: 90, seconds: 0.5 }),
            interlayer: None,
        };
        let table = show_plan(&plan, Format::Table, 80);
        assert!(table.contains("34.6 MB") && table.contains("after epochs 0, 1, 50"), "{table}");
        assert!(table.contains("90 products, 0.50 s") && table.contains("1.8 s by trial products"), "{table}");
        assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
        assert!(show_plan(&plan, Format::Json, 80).contains("\"parameters\": 2080"));
        assert_eq!(show_plan(&plan, Format::Csv, 80).lines().count(), 2);
    }
}
