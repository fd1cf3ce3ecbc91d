//! The process edge: arguments in, exit code out.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::failure::Failure;
use crate::cli::{Cli, Verb};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = runtime(&cli).and_then(|runtime| {
        let result = runtime.block_on(execute(cli));
        // A look-up of a name that was given up may take long to end, and nobody waits for it.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

/// Threads for the daemon only; the other verbs wait for one connection, and the emulator's jobs do nothing. Half the
/// cores, since SQLite has its own threads: on two cores a second HTTP thread was measured to make it slower; beyond four
/// there is nothing left to share out.
fn runtime(cli: &Cli) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match cli.verb {
        Verb::Run => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    builder.worker_threads((cores / 2).clamp(1, 4));
    builder.enable_all().build().map_err(|error| Failure::new(1, format!("cannot start: {error}")))
}

async fn execute(cli: Cli) -> Result<(), Failure> {
    let file = cli.config.as_deref();
    match cli.verb {
        Verb::Run => cli::run::run(file).await,
        Verb::Check(verb) => cli::check::run(file, &verb).await,
        Verb::Migrate(verb) => cli::migrate::run(file, &verb).await,
        Verb::Submit(verb) => cli::submit::run(file, verb).await,
        Verb::List(verb) => cli::list::run(file, verb).await,
        Verb::Show(verb) => cli::show::run(file, &verb).await,
        Verb::Wait(verb) => cli::wait::run(file, &verb).await,
        Verb::Cancel(verb) => cli::cancel::run(file, &verb).await,
        Verb::Retry(verb) => cli::retry::run(file, verb).await,
        Verb::Resolve(verb) => cli::resolve::run(file, &verb).await,
        Verb::Pause(verb) => cli::pause::pause(file, &verb).await,
        Verb::Resume(verb) => cli::pause::resume(file, &verb).await,
        Verb::Schedule(verb) => cli::schedule::run(file, verb).await,
        Verb::Calendar(verb) => cli::calendar::run(file, verb).await,
        Verb::Prune(verb) => cli::prune::run(file, &verb).await,
        Verb::Backup(verb) => cli::backup::run(file, &verb).await,
        Verb::Restored(verb) => cli::restored::run(file, &verb).await,
        Verb::Doctor(verb) => cli::doctor::run(file, &verb).await,
        Verb::Demo(verb) => cli::demo::run(&verb).await,
        Verb::Emulate(verb) => cli::emulate::run(verb).await,
        Verb::Completions(verb) => cli::completions::run(&verb),
    }
}
