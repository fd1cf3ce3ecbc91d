//! The power fails: what was committed is stored, nothing is stored by halves, and what a setting may lose is said in figures.
//!
//! A VFS under SQLite writes down every write, sync and removal of a day's work, which the product's own store does. Then
//! the tape is played up to each of its points, and what a disk may hold at that point is opened, by SQLite and by the product.
//!
//! `POWER_EFFORT=n` tries n times as many images; `-- --nocapture` shows the figures:
//!
//! ```sh
//! POWER_EFFORT=20 cargo test --release --test power -- --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(clippy::print_stdout, reason = "the figures are what the test is for")]

mod disk;
mod engine;
mod faults;
mod survey;
mod table;
mod tape;
mod upgrade;
mod vfs;
mod work;

use disk::Disk;
use survey::{Figures, Promise, Survey, survey};
use triggerd::queue::{Batch, Sign};
use work::{Day, Manner};

/// A day in which the WAL grows beyond 2 MiB again and again, as that of a daemon does.
const LONG: Manner = Manner { full: true, producers_full: true, checkpoint: 0, rounds: 40, output: 60_000 };
/// A few rounds, and a checkpoint after every few commits.
const SHORT: Manner = Manner { full: true, producers_full: true, checkpoint: 16, rounds: 4, output: 3_000 };

/// A day's work, and what a loss of power may leave of it.
async fn figures(name: &str, manner: Manner, plan: Survey) -> Figures {
    let day = Day::work(manner).await;
    let figures = survey(&day, plan).await;
    println!("{name}: {figures}");
    day.end().await;
    figures
}

#[tokio::test]
async fn with_full_what_was_committed_is_stored_whatever_the_disk_has_kept() {
    let found = figures("full", LONG, Survey::new(Disk::Honest, Promise::Kept)).await;
    assert_eq!((found.lost, found.problems), (0, vec![]));
    assert!(found.checkpoints >= 3, "{} checkpoints", found.checkpoints);
}

#[tokio::test]
async fn with_full_the_power_may_fail_at_every_single_operation() {
    let plan = Survey { images: usize::MAX / 1000, ..Survey::new(Disk::Honest, Promise::Kept) };
    let found = figures("full, at every operation", SHORT, plan).await;
    assert_eq!((found.lost, found.problems), (0, vec![]));
    assert!(found.checkpoints >= 3, "{} checkpoints", found.checkpoints);
}

#[tokio::test]
async fn with_normal_the_last_commits_may_be_lost_but_none_of_them_by_halves() {
    let manner = Manner { full: false, producers_full: false, ..LONG };
    let found = figures("normal", manner, Survey::new(Disk::Honest, Promise::Consistent)).await;
    assert_eq!(found.problems, [""; 0]);
    // A sign of life is synced, and there is one in each round.
    assert!((1..=10).contains(&found.lost), "{} lost: is it normal at all?", found.lost);
    // 2 MiB, and the commit that goes beyond, where there is none.
    assert!(found.unsynced < 3 << 20, "{} bytes", found.unsynced);
}

#[tokio::test]
async fn with_normal_for_the_daemon_alone_no_insert_is_lost_nor_what_came_before_it() {
    let manner = Manner { full: false, producers_full: true, ..LONG };
    let found = figures("normal, producers full", manner, Survey::new(Disk::Honest, Promise::Inserts)).await;
    assert_eq!(found.problems, [""; 0]);
    assert!((1..=5).contains(&found.lost), "{} lost", found.lost);
}

#[tokio::test]
async fn with_normal_all_that_came_before_a_sign_of_life_is_stored() {
    let mut day = Day::begin(Manner { full: false, producers_full: false, ..SHORT }).await;
    for n in 0..700 {
        let now = triggerd::clock::UnixMillis(table::NOW.0 + n * 30_000);
        let sign = Some(Sign { now, ready: true, stopped: false });
        day.commit("a sign", Batch { sign, ..Batch::default() }).await;
    }
    let found = survey(&day, Survey { images: 200, ..Survey::new(Disk::Honest, Promise::Consistent) }).await;
    println!("normal, idle: {found}");
    assert_eq!((found.lost, found.problems), (0, vec![]));
    day.end().await;
}

#[tokio::test]
async fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let found = figures("a disk that lies", SHORT, Survey::new(Disk::Lying, Promise::Kept)).await;
    assert!(found.lost > 10, "{} lost", found.lost);
    assert!(found.problems.iter().any(|problem| problem.contains("are lost")), "{:?}", found.problems);
}

#[tokio::test]
async fn a_store_that_answered_before_its_commit_would_be_found_out() {
    let found = figures("a hasty store", SHORT, Survey::new(Disk::Honest, Promise::Early)).await;
    assert_eq!(found.lost, 1);
    assert!(found.problems.iter().any(|problem| problem.contains("are lost")), "{:?}", found.problems);
}
