//! The whole dispatcher, simulated: thousands of histories under a seed, in which everything goes wrong that can.

mod world;

use triggerd::invocation::{Code, Outcome};
use world::{Variant, simulate, simulate_all};

const SEEDS: u64 = 2_000;

#[test]
fn two_thousand_histories_break_no_law_and_reach_every_end() {
    let (broken, figures) = simulate_all(0..SEEDS, None);
    eprintln!("{figures}");
    if let Some(first) = broken.first() {
        let seeds: Vec<u64> = broken.iter().map(|told| told.seed).collect();
        panic!("{} of {SEEDS} seeds break a law: {seeds:?}\n{first}", broken.len());
    }
    for outcome in Outcome::ALL {
        assert!(figures.get("outcome", outcome.as_str()) > 0, "none ends as {}", outcome.as_str());
    }
    // Nobody waits for another in a table in memory.
    for code in Code::ALL.into_iter().filter(|code| *code != Code::DependencyFailed) {
        assert!(figures.get("code", code.as_str()) > 0, "no {} is seen", code.as_str());
    }
}

#[test]
fn the_same_seed_makes_the_same_history() {
    for seed in 0..40 {
        let (one, two) = (simulate(seed, None, false), simulate(seed, None, false));
        let differs = one.lines.iter().zip(&two.lines).find(|(one, two)| one != two);
        assert!(differs.is_none() && one.hash == two.hash, "seed {seed}: {differs:#?}");
    }
}

#[test]
fn each_broken_variant_is_caught() {
    const PATIENCE: u64 = 500;
    let mut missed = Vec::new();
    for variant in Variant::ALL {
        let law = variant.law();
        let caught = (0..PATIENCE).find_map(|seed| {
            let told = simulate(seed, Some(variant), false);
            let (_, what) = told.broken.into_iter().find(|(broken, _)| *broken == law)?;
            Some((seed, what))
        });
        match caught {
            Some((seed, what)) => {
                let what: String = what.chars().take(120).collect();
                eprintln!("{variant:?}: seed {seed}, {law}: {what}");
            }
            None => missed.push((variant, law)),
        }
    }
    assert!(missed.is_empty(), "not caught within {PATIENCE} seeds: {missed:?}");
}
