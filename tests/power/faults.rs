//! A disk that is full, or fails, at any write or sync of a change: what was not stored is not answered well, nothing is
//! stored by halves, and once the disk is well again the same store goes on.

use sqlx::Row as _;
use triggerd::queue::console::{Console, NewRequest};
use triggerd::queue::{Batch, Store as _};

use crate::disk::Disk;
use crate::survey::{Promise, Survey, survey};
use crate::table::{FILE, NOW, triggers};
use crate::tape::Fault;
use crate::work::{Day, Manner, accept, survey as look};

const MANNER: Manner = Manner { full: true, producers_full: true, checkpoint: 0, rounds: 0, output: 0 };
const FAULTS: [Fault; 3] = [Fault::Full, Fault::Write, Fault::Sync];

/// Makes a change again and again, with a fault at its first write or sync, its second, and so on, until there is none left to
/// fail. After an error it is tried again, as the engine does. `prepare` makes that there is something to change.
async fn at_each(
    day: &mut Day,
    name: &'static str,
    faults: &[Fault],
    prepare: impl AsyncFn(&mut Day),
    attempt: impl AsyncFn(&mut Day) -> Result<(), String>,
) {
    let mut errors = 0;
    for &fault in faults {
        for nth in 0.. {
            prepare(day).await;
            let before = day.now().await;
            day.tape.fail(fault, nth);
            let seen = day
                .change(name, async |day| {
                    let mut seen = None;
                    let mut answer = attempt(day).await;
                    if answer.is_err() {
                        errors += 1;
                        seen = Some(day.now().await);
                        answer = attempt(day).await;
                    }
                    answer.unwrap_or_else(|error| panic!("{name}, {fault:?} {nth}: does not go on: {error}"));
                    seen
                })
                .await;
            let after = *day.states.last().unwrap();
            assert_ne!(
                after, before,
                "{name}, {fault:?} {nth}: it was answered well, and nothing was stored"
            );
            if let Some(seen) = seen {
                assert!(seen == before || seen == after, "{name}, {fault:?} {nth}: stored by halves");
            }
            if !day.tape.heal() {
                assert!(nth > 0, "{name}, {fault:?}: it met nothing");
                break;
            }
        }
    }
    assert!(errors > 3, "{name}: {errors} errors");
}

/// Whatever the failed syncs are worth: what was answered well survives a loss of power.
async fn survives(day: Day) {
    for disk in [Disk::Honest, Disk::Forgetful] {
        let plan = Survey { images: 60, ..Survey::new(disk, Promise::Kept) };
        let found = survey(&day, plan).await;
        println!("{disk:?}, after faults: {found}");
        assert_eq!(found.problems, [""; 0]);
    }
    day.end().await;
}

async fn nothing(_: &mut Day) {}

#[tokio::test]
async fn a_commit_that_meets_a_fault_is_an_error_and_the_store_goes_on_without_being_opened_again() {
    let mut day = Day::begin(MANNER).await;
    at_each(
        &mut day,
        "intents",
        &FAULTS,
        async |day| day.insert(2).await,
        async |day| {
            let rows = {
                let batch = Batch { look: Some(look(1)), ..Batch::default() };
                day.store.commit(batch).await.map_err(|failed| failed.error.to_string())?.intended
            };
            assert!(!rows.is_empty());
            Ok(())
        },
    )
    .await;
    survives(day).await;
}

#[tokio::test]
async fn a_status_uri_is_stored_with_its_attempt_or_comes_back_to_be_tried_again() {
    let mut day = Day::begin(MANNER).await;
    for fault in FAULTS {
        for nth in 0.. {
            day.insert(2).await;
            let batch = Batch { look: Some(look(2)), ..Batch::default() };
            let rows = day.commit("intents", batch).await.intended;
            let changes: Vec<_> = rows.iter().map(accept).collect();
            day.tape.fail(fault, nth);
            day.change("answers", async |day| {
                let mut batch = Batch { changes: changes.clone(), ..Batch::default() };
                if let Err(failed) = day.store.commit(batch).await {
                    batch = failed.batch;
                    assert_eq!(batch.changes, changes);
                    let lost = day.store.commit(batch).await.unwrap().lost;
                    assert_eq!(lost, [0; 0], "it was stored, though it was answered with an error");
                }
            })
            .await;
            for row in &rows {
                let taken = day.store.load(vec![row.invocation.id], NOW).await.unwrap().rows.remove(0);
                assert!(taken.invocation.status_uri.is_some(), "{fault:?} {nth}");
            }
            if !day.tape.heal() {
                break;
            }
        }
    }
    survives(day).await;
}

#[tokio::test]
async fn a_prune_that_meets_a_fault_is_an_error_or_has_deleted() {
    let mut day = Day::begin(MANNER).await;
    at_each(
        &mut day,
        "a prune",
        // Not on a full disk: there it waits for room, see below.
        &FAULTS[1..],
        async |day| day.round(0).await,
        async |day| day.delete_ended().await.map(drop).map_err(|error| error.to_string()),
    )
    .await;
    survives(day).await;
}

#[tokio::test]
async fn a_prune_on_a_full_disk_is_an_error_and_deletes_nothing_until_there_is_room() {
    let mut day = Day::begin(MANNER).await;
    day.round(0).await;
    let before = day.now().await;
    day.tape.fail(Fault::Full, 1);
    day.delete_ended().await.unwrap_err();
    assert!(day.tape.heal());
    assert_eq!(day.delete_ended().await.unwrap(), 0);
    assert_eq!(day.now().await, before);
    day.end().await;
}

#[tokio::test]
async fn a_start_that_meets_a_fault_is_an_error_and_can_be_tried_again() {
    let mut day = Day::begin(MANNER).await;
    at_each(&mut day, "a start", &FAULTS, nothing, async |day| {
        day.store.start(triggers(), NOW).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    survives(day).await;
}

#[tokio::test]
async fn a_request_that_was_submitted_is_stored_although_the_disk_fails() {
    let mut day = Day::begin(MANNER).await;
    let path = day.folder.path().join(FILE);
    at_each(&mut day, "a submission", &FAULTS, nothing, async |_| {
        // A command line has one try, and a console of its own.
        let mut console = Console::open(&path).await.map_err(|error| error.to_string())?;
        let request = NewRequest { trigger_name: "alpha".to_owned(), ..NewRequest::default() };
        console.submit(&request).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    survives(day).await;
}

/// Why every write of the product is in a transaction whose COMMIT is checked. Should this fail after an update of sqlx, the
/// driver has learned to tell, and the product may believe it.
#[tokio::test]
async fn an_insert_with_returning_that_commits_by_itself_would_be_believed_and_lost() {
    let mut day = Day::begin(MANNER).await;
    let before = day.now().await;
    day.tape.fail(Fault::Full, 0);
    let answer = sqlx::query("INSERT INTO requests (trigger_name) VALUES ('alpha') RETURNING id")
        .fetch_one(&mut day.producer)
        .await;
    assert!(day.tape.heal());
    assert_eq!(day.now().await, before);
    assert_eq!(answer.unwrap().get::<i64, _>(0), 1, "it is told that it was stored");
    day.end().await;
}

#[tokio::test]
async fn a_checkpoint_that_meets_a_fault_costs_no_commit_that_was_answered_well() {
    let mut day = Day::begin(MANNER).await;
    for (fault, nth) in [(Fault::Full, 3), (Fault::Sync, 0)] {
        let before = day.tape.len();
        // The WAL grows, until the daemon writes some of it into the database file.
        day.tape.fail_on(FILE, fault, nth);
        while !day.tape.is_met() {
            day.insert(60).await;
            let batch = Batch { look: Some(look(100)), ..Batch::default() };
            let rows = day.commit("intents", batch).await.intended;
            assert_eq!(rows.len(), 60);
            let changes = rows.iter().map(accept).collect();
            let lost = day.commit("answers", Batch { changes, ..Batch::default() }).await.lost;
            assert_eq!(lost, [0; 0]);
            assert!(day.tape.len() - before < 5_000, "{fault:?}: there is no checkpoint");
        }
        day.tape.heal();
    }
    survives(day).await;
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_is_stored_whole() {
    let mut day = Day::begin(MANNER).await;
    day.insert(3).await;
    let before = day.now().await;
    day.tape.hold();
    let (tape, store) = (day.tape.clone(), day.store.clone());
    day.change("intents", async |_| {
        let commit = tokio::spawn(async move {
            let batch = Batch { look: Some(look(10)), ..Batch::default() };
            store.commit(batch).await.map(drop)
        });
        // The COMMIT waits for the disk; whoever asked for it goes.
        let waiting = tape.clone();
        tokio::task::spawn_blocking(move || waiting.wait_for_sync()).await.unwrap();
        commit.abort();
        assert!(commit.await.unwrap_err().is_cancelled());
        tape.release();
    })
    .await;
    // The writer takes one after the other.
    day.store.changed().await.unwrap();
    let after = day.now().await;
    assert_ne!(after, before, "a dropped commit is no rollback");
    *day.states.last_mut().unwrap() = after;
    let again = Batch { look: Some(look(10)), ..Batch::default() };
    assert_eq!(day.commit("the same again", again).await.intended.len(), 0);
    day.end().await;
}
