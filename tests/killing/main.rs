//! Kills: the real daemon is killed at random instants while producers insert and a far end keeps its ledger. Nothing is
//! lost, nothing that may not be repeated is fired twice, and what is in doubt was really on its way.
//!
//! ```sh
//! cargo test --release --test killing -- --kills 1000 --seed 42 --noticed-ms 250
//! ```
//!
//! With `--noticed-ms`, also an answer that was out so long before the kill and is not known is a finding. Without it that is only
//! told: a busy machine may leave the daemon alone without its turn, and nothing here sees that.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../it/support/arguments.rs"]
mod arguments;
mod far_end;
mod judge;
mod kills;
mod migration;
mod producers;
mod site;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use arguments::Wish;
use far_end::FarEnd;
use fastrand::Rng;
use judge::{Ledgers, judge};
use kills::{End, Run, Stage, Story};
use producers::Producers;
use site::Site;
use triggerd::clock::{UnixMillis, monotonic};

/// So many as every change must pass.
const KILLS: u32 = 50;

/// What a run is told.
struct Wishes {
    kills: u32,
    seed: u64,
    /// An answer that was out so long before the daemon was killed must be in the table.
    noticed: Option<Duration>,
}

fn main() -> ExitCode {
    const OPTIONS: [&str; 3] = ["--kills", "--seed", "--noticed-ms"];
    let wishes = match arguments::read("killing", &OPTIONS, std::env::args().skip(1)) {
        Ok(Wish::Run(numbers)) => Wishes {
            kills: numbers
                .get("--kills")
                .map_or(KILLS, |&kills| u32::try_from(kills).expect("nobody waits for so many")),
            seed: numbers.get("--seed").copied().unwrap_or_else(|| fastrand::u64(..)),
            noticed: numbers.get("--noticed-ms").copied().map(Duration::from_millis),
        },
        Ok(Wish::List) => {
            println!("killing: test");
            return ExitCode::SUCCESS;
        }
        Ok(Wish::Nothing) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    // It stays unless all is well, also after a panic.
    let folder = tempfile::tempdir().expect("the temporary folder is writable").keep();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the system has threads");
    let (kills, seed) = (wishes.kills, wishes.seed);
    println!("\nkilling: {kills} kills, seed {seed}, in {}", folder.display());
    let begun = monotonic();
    let found = runtime.block_on(run(&folder, &wishes));
    runtime.shutdown_timeout(Duration::from_secs(1));
    println!("took {:.1?}", begun.elapsed());
    if found > 0 {
        println!("FAILED with seed {seed}; database and logs are in {}", folder.display());
        return ExitCode::FAILURE;
    }
    std::fs::remove_dir_all(folder).expect("the folder is ours");
    ExitCode::SUCCESS
}

/// How many things were found.
async fn run(folder: &Path, wishes: &Wishes) -> usize {
    let Wishes { kills, seed, noticed } = *wishes;
    let far = FarEnd::start().await;
    let site = Site::new(folder, "kills", &kills::configuration(&far));
    let made = site.spawn("migrate", false).ended().await;
    assert!(made.is_some_and(|status| status.success()), "the database cannot be made: {made:?}");
    let producers = Producers::start(&site, seed).await;
    let inserted = std::sync::Arc::clone(&producers.ledger);
    let mut stage = Stage { site: &site, far: &far, rng: Rng::with_seed(seed) };
    let story = stage.play(kills, producers).await;
    let mut table = site.connect().await;
    let verdict = {
        let far = std::mem::take(&mut *far.ledger());
        let ledgers = Ledgers { producers: &inserted, far: &far, story: &story };
        judge(&ledgers, noticed, &mut table).await
    };
    tell(&story);
    print!("{verdict}");
    let upgrades = migration::interrupt(folder, kills.div_ceil(5), &mut stage.rng).await;
    println!("upgrades interrupted: {}, of which {} had the old schema still", upgrades.kills, upgrades.old);
    upgrades.findings.iter().for_each(|finding| println!("FOUND: {finding}"));
    verdict.findings.len() + upgrades.findings.len()
}

fn tell(story: &Story) {
    let ends = |end| story.runs.iter().filter(move |run| run.end == end);
    let early = ends(End::Kill).filter(|run| run.ready.is_none()).count();
    println!(
        "{} kills ({early} before READY), {} SIGTERM, {} SIGTERM twice, {} SIGSTOP",
        ends(End::Kill).count(),
        ends(End::Stop).count(),
        ends(End::StopTwice).count(),
        story.pauses
    );
    let since = |at: fn(&Run) -> Option<UnixMillis>| {
        let times = story.runs.iter().filter_map(|run| at(run).map(|at| (run.spawned, at)));
        times.map(|(from, to)| to.since(from).saturating_sub(story.still(from, to))).collect()
    };
    let polled = story.runs.iter().map(|run| run.polled).max().unwrap_or(0);
    println!("from start to READY: {}", spread(since(|run| run.ready)));
    println!(
        "from start to all polls running again, of up to {polled}: {}",
        spread(since(|run| run.polling))
    );
    println!("from SIGTERM to the end: {}", spread(ends(End::Stop).map(|run| run.took).collect()));
    println!(
        "from the second SIGTERM to the end: {}",
        spread(ends(End::StopTwice).map(|run| run.took).collect())
    );
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    match times.as_slice() {
        [] => "never".to_owned(),
        [.., longest] => format!("p50 {:?}, max {longest:?} ({} times)", times[times.len() / 2], times.len()),
    }
}
