//! `triggerd demo`: all of it on one machine, in a few seconds: a local orchestrator, the daemon, a producer, a kill in the
//! middle, and what became of each request.

mod scene;
mod show;
mod stage;

use std::time::Duration;

use serde::Serialize;
use triggerd::clock::monotonic;
use triggerd::queue::console::{Error, Producer, Record};
use triggerd::shutdown::Signals;

use self::scene::{BAD_INSERT, SCENES, STANDING, Scene};
use self::show::Show;
use self::stage::{LOOK, Stage};
use super::failure::{Failure, NOT_WELL};
use super::print;

/// More than the slowest machine needs; then something has gone wrong.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) async fn run(verb: &super::Demo) -> Result<(), Failure> {
    let mut stage = Stage::build().await?;
    let mut signals =
        Signals::new().map_err(|error| Failure::new(NOT_WELL, format!("no signals: {error}")))?;
    let ended = tokio::select! {
        ended = play(&mut stage, verb.json) => ended,
        _ = signals.next() => Err(Failure::new(NOT_WELL, "stopped before the end")),
        () = tokio::time::sleep(LONGEST) => Err(Failure::new(NOT_WELL, "this takes too long")),
    };
    let mut failure = match ended {
        // A program has no use for the files, and nobody would tell it where they are.
        Ok(()) if verb.json => return stage.remove(),
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    failure.lines.push(format!("the files are in {}", stage.folder.display()));
    Err(failure)
}

async fn play(stage: &mut Stage, json: bool) -> Result<(), Failure> {
    let mut show = Show::new(monotonic(), json);
    show.say(&format!("A local orchestrator, the daemon and a producer, in {}", stage.folder.display()))?;
    let mut producer = stage.start_daemon().await?;
    show.tell("the daemon is ready; the producer inserts, in plain SQL:")?;
    insert(&mut producer, &show).await?;
    show.tell("what becomes of them:")?;

    // Killed where it hurts: remote jobs run, and no call is under way whose answer would be lost with it.
    let rows = until(stage, &mut producer, &mut show, |rows| {
        let follows = |scene: usize| rows.get(scene).is_some_and(|row| row.text("state") == Some("polling"));
        let is_quiet = rows.iter().all(|row| !matches!(row.text("state"), Some("pending" | "triggering")));
        (is_quiet && follows(1) && follows(3)) || all_final(rows)
    })
    .await?;
    let running: Vec<String> = open(&rows).map(|id| id.to_string()).collect();
    stage.kill_daemon();
    let fired = stage.emulator.firings().firings;
    show.tell(&format!("kill -9: the daemon is dead, the remote jobs of {} run on", running.join(", ")))?;
    producer = stage.start_daemon().await?;
    show.tell("started again: it goes on where the table says it is")?;

    let rows = until(stage, &mut producer, &mut show, all_final).await?;
    show.end();
    drop(producer);
    stage.stop_daemon().await;
    let ends: Vec<End> = SCENES.iter().zip(&rows).map(|(scene, row)| End::of(scene, row, stage)).collect();
    if json {
        for end in &ends {
            print::out(print::json(end)?)?;
        }
    } else {
        print::out(closing(&ends, &running, fired, stage))?;
    }
    let mut lines: Vec<String> = ends.iter().filter_map(|end| end.wrong.clone()).collect();
    if lines.is_empty() && ends.len() == SCENES.len() && !running.is_empty() {
        return Ok(());
    }
    if running.is_empty() {
        lines.push("every job had ended before the daemon was killed: is this machine very busy?".to_owned());
    }
    Err(Failure { code: NOT_WELL, lines })
}

/// What the producer does, and what it is told.
async fn insert(producer: &mut Producer, show: &Show) -> Result<(), Failure> {
    for scene in &SCENES {
        let id = producer.insert(scene.sql).await?;
        show.quote(scene.sql, &format!("request {id}: {}", scene.shows))?;
    }
    match producer.insert(BAD_INSERT).await {
        Err(Error::Refused(message)) => show.quote(BAD_INSERT, &format!("refused at once: {message}")),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::new(NOT_WELL, "a request for a trigger that does not exist was taken")),
    }
}

/// The rows, once they are `so`.
async fn until(
    stage: &mut Stage,
    producer: &mut Producer,
    show: &mut Show,
    so: impl Fn(&[Record]) -> bool,
) -> Result<Vec<Record>, Failure> {
    loop {
        stage.check_daemon()?;
        let rows = producer.rows(STANDING).await?;
        show.update(&rows)?;
        if so(&rows) {
            return Ok(rows);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn all_final(rows: &[Record]) -> bool {
    open(rows).next().is_none()
}

fn open(rows: &[Record]) -> impl Iterator<Item = i64> {
    rows.iter().filter(|row| row.int("is_final") != Some(1)).filter_map(|row| row.int("id"))
}

/// How one request ended.
#[derive(Serialize)]
struct End {
    id: Option<i64>,
    trigger: &'static str,
    call_mode: Option<String>,
    state: Option<String>,
    /// Calls that the far end counted.
    firings: u64,
    /// Jobs that it started for them.
    jobs: u64,
    duration_ms: Option<i64>,
    output: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
    /// What is not as it should be.
    wrong: Option<String>,
}

impl End {
    fn of(scene: &Scene, row: &Record, stage: &Stage) -> Self {
        let text = |column| row.text(column).map(str::to_owned);
        let keys = stage.emulator.firings().keys;
        let counts = keys.iter().filter(|fired| &*fired.trigger == scene.trigger).map(|fired| &fired.count);
        let (firings, jobs) = counts.fold((0, 0), |(f, j), count| (f + count.firings, j + count.jobs));
        let mut end = Self {
            id: row.int("id"),
            trigger: scene.trigger,
            call_mode: text("call_mode"),
            state: text("state"),
            firings,
            jobs,
            duration_ms: row.int("duration_ms"),
            output: text("output"),
            error_code: text("error_code"),
            error_message: text("error_message"),
            wrong: None,
        };
        let found = (end.state.as_deref(), end.error_code.as_deref(), firings, jobs);
        let wanted = (Some(scene.state), scene.code, scene.firings, scene.jobs);
        if found != wanted {
            end.wrong = Some(format!("{}: should be {wanted:?}, is {found:?}", scene.trigger));
        }
        end
    }

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), print::plain);
        let took = self.duration_ms.map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
        vec![
            self.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            self.trigger.to_owned(),
            text(&self.call_mode),
            text(&self.state),
            self.firings.to_string(),
            self.jobs.to_string(),
            text(&took),
            text(if self.error_code.is_some() { &self.error_code } else { &self.output }),
        ]
    }
}

/// The table, what it shows, and where to look further. `fired`: calls that the far end had counted when the daemon was killed.
fn closing(ends: &[End], running: &[String], fired: u64, stage: &Stage) -> String {
    const HEADERS: [&str; 8] =
        ["ID", "TRIGGER", "CALL MODE", "STATE", "FIRED", "JOBS", "TOOK", "OUTPUT OR ERROR"];
    let rows: Vec<_> = ends.iter().map(End::cells).collect();
    let folder = stage.folder.display();
    let again = stage.emulator.firings().firings - fired;
    let program = std::env::current_exe().unwrap_or_else(|_| "triggerd".into());
    format!(
        "\n{table}\n\
         FIRED and JOBS are the far end's own count. The daemon was killed while the jobs of {running} ran; the next one followed\n\
         them to their ends, and fired {again} of them again. From a 502 nobody can know whether the job was started (that of 6 was):\n\
         what may not be repeated is not fired again, and a person finds out.\n\n\
         Look further:\n\n  \
         cd {folder}\n  \
         sqlite3 -box queue.db \"SELECT id, state, output, error_message FROM results\"\n  \
         sqlite3 -box queue.db \"SELECT id, why FROM request_why\"\n  \
         sqlite3 -box queue.db \"SELECT * FROM attempts\"\n  \
         {program} --config triggerd.toml show 7\n  \
         {program} --config triggerd.toml resolve 6 --as succeeded --note 'found it at the far end'\n\n\
         The daemon's log is triggerd.log there, its configuration triggerd.toml. Done with it? rm -r {folder}\n",
        table = print::table(&HEADERS, &rows),
        running = running.join(", "),
        program = program.display(),
    )
}
