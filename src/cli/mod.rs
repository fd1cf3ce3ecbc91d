//! The command line: what may be typed, and nothing else. What each verb does is in the file of its name.

pub(crate) mod backup;
pub(crate) mod calendar;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod emulate;
pub(crate) mod failure;
pub(crate) mod list;
pub(crate) mod migrate;
pub(crate) mod pause;
pub(crate) mod print;
pub(crate) mod prune;
pub(crate) mod resolve;
pub(crate) mod restored;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod show;
pub(crate) mod submit;
pub(crate) mod verdict;
pub(crate) mod wait;
pub(crate) mod when;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use triggerd::clock::UnixMillis;
use triggerd::request::CallMode;

/// Fires HTTP triggers for rows of a SQLite table, follows the remote jobs to their end, and writes the outcome back.
///
/// Exit codes: 0 done; 1 a request did not end well or was refused, or doctor found something; 2 usage; 65 the database is damaged or from a newer
/// version; 69 the database cannot be used, or an address is taken; 75 another daemon holds the database; 78
/// configuration, or a backup that was put back.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The configuration; else $TRIGGERD_CONFIG, ./triggerd.toml, /etc/triggerd/triggerd.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the daemon, in the foreground
    Run,
    /// Check the configuration, its credentials and the database; list every problem
    Check(Check),
    /// Create or upgrade the database, and register the configured triggers, schedules and calendars
    Migrate(Migrate),
    /// Insert a request and print its id
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(Submit),
    /// List requests, the newest first
    List(List),
    /// Show all there is to know of one request
    Show(Show),
    /// Wait until requests have ended; succeed only if all did well
    Wait(Wait),
    /// Ask for the end of requests
    Cancel(Cancel),
    /// Open a new round for requests that failed, were rejected, expired or cancelled
    #[command(after_help = RETRY_EXAMPLES)]
    Retry(Retry),
    /// Settle an uncertain request, by what you have found out
    #[command(after_help = RESOLVE_EXAMPLES)]
    Resolve(Resolve),
    /// Keep a trigger from being fired
    Pause(Pause),
    /// Let a paused trigger be fired again
    Resume(Resume),
    /// List and look at schedules, try expressions, run, pause and catch up by hand
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Import calendars of excluded dates, and look at them
    #[command(subcommand)]
    Calendar(calendar::Calendar),
    /// Delete what has ended and is past its time, as the daemon does each hour
    Prune(Prune),
    /// Copy the database to a file, while the daemon and producers go on
    Backup(Backup),
    /// Say what becomes of the requests that wait in a backup that was put back
    #[command(after_help = RESTORED_HELP)]
    Restored(Restored),
    /// Find out what is wrong with this installation: one finding a line, each with what to do
    Doctor(Doctor),
    /// Show all of it in a few seconds, in a temporary folder; needs no configuration
    Demo(Demo),
    /// Be a local orchestrator that speaks the three call modes, for tests and development; needs no configuration
    Emulate(Emulate),
    /// Print a script that completes the command line in a shell
    Completions(Completions),
}

const SUBMIT_EXAMPLES: &str = "\
Examples:
  triggerd submit report --arg month=2026-01 --arg count:=3
  triggerd submit report --json-args @arguments.json --in 10m
  triggerd submit report --unique-key 2026-01 --deadline 2h --wait";

const RETRY_EXAMPLES: &str = "\
Examples:
  triggerd retry 17 18
  triggerd retry --state failed --trigger report --since 2h

A new round has a new Idempotency-Key. What is uncertain is settled with `triggerd resolve`.";

const RESOLVE_EXAMPLES: &str = "\
Examples, once the far end has told what became of request 17:
  it ran and did well       triggerd resolve 17 --as succeeded --note 'seen in the far end'
  it ran and failed         triggerd resolve 17 --as failed
  it never ran              triggerd resolve 17 --as retry
  it is running             triggerd resolve 17 --as follow
  the same, lost its URI    triggerd resolve 17 --as follow --status-uri https://host/status/1";

const RESTORED_HELP: &str = "\
They may have been fired after the backup was made. Until this is said, `triggerd run` does not start on the file. What is
polled is polled on in either case: to ask does no harm.";

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Also connect to the host of each trigger, without firing
    #[arg(long)]
    pub(crate) probe: bool,
    /// Print one JSON object a finding
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Submit {
    /// The name of a configured trigger
    #[arg(value_name = "TRIGGER")]
    pub(crate) trigger: String,
    /// An argument: K=V is a string, K:=V any JSON value (count:=3, list:='[1,2]')
    #[arg(long = "arg", value_name = "K=V", value_parser = submit::argument)]
    pub(crate) arguments: Vec<submit::Argument>,
    /// All arguments as one JSON object: its text, @FILE, or - for standard input
    #[arg(long, value_name = "TEXT|@FILE|-")]
    pub(crate) json_args: Option<String>,
    /// AsyncRequestReply, FireAndForget or LongPolling, instead of the trigger's
    #[arg(long, value_name = "MODE")]
    pub(crate) call_mode: Option<CallMode>,
    /// Not before this time: 2026-01-31T08:00:00Z, "2026-01-31 08:00" in local time, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = submit::instant)]
    pub(crate) at: Option<UnixMillis>,
    /// Not before this long from now: 30s, 10m, 24h
    #[arg(long = "in", value_name = "DURATION", value_parser = triggerd::config::units::duration, conflicts_with = "at")]
    pub(crate) wait_first: Option<Duration>,
    /// -100 to 100; higher runs first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-100..=100))]
    pub(crate) priority: Option<i64>,
    /// Refuse if an unfinished request of this trigger has the same key
    #[arg(long, value_name = "KEY")]
    pub(crate) unique_key: Option<String>,
    /// What limits by key count by (max_concurrent_per_key and the like)
    #[arg(long, value_name = "KEY")]
    pub(crate) concurrency_key: Option<String>,
    /// Fire only when this request has succeeded
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<i64>,
    /// With --after: however it ends
    #[arg(long, requires = "after")]
    pub(crate) after_ended: bool,
    /// With --after: the argument that becomes its output, or the part of it that a JSON pointer leads to
    #[arg(long, value_name = "NAME[=POINTER]", requires = "after")]
    pub(crate) after_arg: Option<String>,
    /// The group that it is a member of
    #[arg(long, value_name = "KEY")]
    pub(crate) group: Option<String>,
    /// Give up if it has not ended this long from now: 30s, 10m, 24h
    #[arg(long, value_name = "DURATION", value_parser = triggerd::config::units::duration)]
    pub(crate) deadline: Option<Duration>,
    /// Follow it to its end and print its output (the id goes to standard error)
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The spellings of `requests.state`.
const STATES: [&str; 11] = [
    "pending",
    "triggering",
    "polling",
    "collecting",
    "succeeded",
    "dispatched",
    "failed",
    "rejected",
    "expired",
    "cancelled",
    "uncertain",
];

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    pub(crate) state: Option<String>,
    /// Only those of this trigger
    #[arg(long, value_name = "NAME")]
    pub(crate) trigger: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The request's number
    #[arg(value_name = "ID")]
    pub(crate) id: i64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// The requests' numbers
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<i64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Print one JSON object for each request, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Emulate {
    /// Triggers, knobs and troubles, as TOML; without it any slug is a trigger
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Where to listen, instead of what the file says [default: 127.0.0.1:8700]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Print a line for each call also when standard error is no terminal
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Print one JSON object once it listens
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// The requests' numbers
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<i64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(
    override_usage = "triggerd retry [OPTIONS] <ID>...\n       triggerd retry [OPTIONS] [--state <STATE>] [--trigger <NAME>] [--since <TIME|DURATION>]"
)]
pub(crate) struct Retry {
    /// The requests' numbers; or select them by --state, --trigger and --since
    #[arg(value_name = "ID", required_unless_present_any = ["state", "trigger", "since"], conflicts_with_all = ["state", "trigger", "since"])]
    pub(crate) ids: Vec<i64>,
    /// Those in this state
    #[arg(long, value_name = "STATE", value_parser = ["failed", "rejected", "expired", "cancelled"])]
    pub(crate) state: Option<String>,
    /// Those of this trigger
    #[arg(long, value_name = "NAME")]
    pub(crate) trigger: Option<String>,
    /// Those that ended at or after this time, or so long ago: 2026-01-31T08:00:00Z, 2h
    #[arg(long, value_name = "TIME|DURATION", value_parser = retry::since)]
    pub(crate) since: Option<retry::Since>,
    /// Also where a remote job was accepted and may run on: it may then run twice
    #[arg(long)]
    pub(crate) may_run_twice: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Resolve {
    /// The request's number
    #[arg(value_name = "ID")]
    pub(crate) id: i64,
    /// What you have found out, or want done
    #[arg(long = "as", value_name = "HOW", value_enum)]
    pub(crate) to: resolve::As,
    /// With --as follow: what to ask, instead of the status URI that was kept
    #[arg(long, value_name = "URI")]
    pub(crate) status_uri: Option<String>,
    /// A line for those who come after you
    #[arg(long, value_name = "TEXT", value_parser = verdict::one_line)]
    pub(crate) note: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// The trigger's name
    #[arg(value_name = "TRIGGER")]
    pub(crate) trigger: String,
    /// A line for those who wonder
    #[arg(long, value_name = "TEXT", value_parser = verdict::one_line)]
    pub(crate) reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Resume {
    /// The trigger's name
    #[arg(value_name = "TRIGGER")]
    pub(crate) trigger: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Only count what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Also look through a large database, and compare each index with its table
    #[arg(long)]
    pub(crate) full: bool,
    /// Print one JSON object a finding
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The copy; a file that is not there yet
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Restored {
    #[command(flatten)]
    pub(crate) what: RestoredAs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct RestoredAs {
    /// Those that may not be fired twice become uncertain, for you to settle; the others are fired
    #[arg(long)]
    pub(crate) hold: bool,
    /// All of them are fired, with the Idempotency-Key that they had
    #[arg(long)]
    pub(crate) fire: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: completions::Shell,
}
