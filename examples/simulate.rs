//! Plays many histories of the simulation in tests/simulation, or one of them aloud.
//!
//! `cargo run --release --example simulate -- --seeds 100000` looks for a seed that breaks a law; `--first N` is where it
//! begins. `--seed S` replays one and tells all that happens; `--log` adds what the engine says to it. `--broken NAME` plays it
//! in a world that is broken on purpose.

#[path = "../tests/simulation/world/mod.rs"]
mod world;

use std::process::ExitCode;

use clap::Parser;
use world::{Variant, simulate, simulate_all};

#[derive(Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// One history, told aloud.
    #[arg(long)]
    seed: Option<u64>,
    /// With the engine's own words.
    #[arg(long)]
    log: bool,
    /// In a world that is broken in this way.
    #[arg(long)]
    broken: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let variant = match &arguments.broken {
        None => None,
        Some(name) => match Variant::ALL.into_iter().find(|variant| format!("{variant:?}") == *name) {
            Some(variant) => Some(variant),
            None => {
                eprintln!("--broken is one of {:?}", Variant::ALL);
                return ExitCode::from(2);
            }
        },
    };
    if let Some(variant) = variant {
        eprintln!("{variant:?}: to be found by the law {}", variant.law());
    }
    if arguments.log {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    if let Some(seed) = arguments.seed {
        let told = simulate(seed, variant, true);
        eprintln!("{}\nthe history's hash: {:016x}", told.figures, told.hash);
        for (law, what) in &told.broken {
            eprintln!("BROKEN {law}: {what}");
        }
        return ExitCode::from(u8::from(!told.broken.is_empty()));
    }
    search(arguments.first..arguments.first.saturating_add(arguments.seeds), variant)
}

/// Plays all of them; tells of the first that breaks a law.
fn search(seeds: std::ops::Range<u64>, variant: Option<Variant>) -> ExitCode {
    let (broken, figures) = simulate_all(seeds, variant);
    eprintln!("{figures}\n{} histories", figures.get("all", "histories"));
    let seeds: Vec<u64> = broken.iter().map(|told| told.seed).collect();
    let Some(first) = broken.first() else { return ExitCode::SUCCESS };
    eprintln!("{} seeds break a law: {seeds:?}\n{first}", seeds.len());
    ExitCode::FAILURE
}
