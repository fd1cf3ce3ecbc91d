//! What every keeper of the table owes the engine: one suite, run against each of them with a fresh table a test.

use std::sync::Arc;
use std::time::Duration;

use triggerd::clock::UnixMillis;
use triggerd::invocation::{
    AttemptEnd, AttemptOutcome, Code, Invocation, Memory, Outcome, Output, Phase, Trouble,
};
use triggerd::queue::{
    Batch, Change, Committed, HeldBy, Hold, Look, MemoryRow, MemoryStore, PRUNED_AT_ONCE, Polled, Retention,
    Return, Sign, Status, Store, Taken, TriggerStatus, Want,
};
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::support::bounded;
use crate::support::table::SqliteTable;

/// The instant of every look, unless told otherwise.
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) const fn at(after_now: i64) -> UnixMillis {
    UnixMillis(NOW.0 + after_now)
}

/// A request as a producer would insert it: ready since a second, unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) trigger: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) call_mode: Option<CallMode>,
    pub(crate) priority: i64,
    pub(crate) run_at: UnixMillis,
    pub(crate) expires_at: Option<UnixMillis>,
    pub(crate) deadline_at: Option<UnixMillis>,
}

pub(crate) fn new(trigger: &'static str) -> New {
    New {
        trigger,
        arguments: "{}",
        call_mode: None,
        priority: 0,
        run_at: at(-1000),
        expires_at: None,
        deadline_at: None,
    }
}

/// What is stored of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) state: String,
    pub(crate) attempt: u32,
    pub(crate) due_at: Option<UnixMillis>,
    pub(crate) started_at: Option<UnixMillis>,
    pub(crate) deadline_at: Option<UnixMillis>,
    pub(crate) finished_at: Option<UnixMillis>,
    pub(crate) cancel_requested: bool,
    pub(crate) polls: u32,
    pub(crate) status_uri: Option<String>,
    pub(crate) error_code: Option<String>,
    /// The outcome of each firing.
    pub(crate) attempts: Vec<String>,
    pub(crate) output: Option<Output>,
}

/// A table with whoever keeps it, and what others may do to it.
pub(crate) trait Table: Sized {
    type Keeper: Store;
    async fn fresh() -> Self;
    fn store(&self) -> &Self::Keeper;
    async fn insert(&self, row: New) -> i64;
    async fn cancel(&self, id: i64);
    async fn delete(&self, id: i64);
    async fn pause(&self, trigger: &str, paused: bool);
    async fn why_paused(&self, trigger: &str) -> Option<String>;
    /// What the command line does with an uncertain request that is to be followed.
    async fn hand_over(&self, id: i64, status_uri: &str);
    async fn read(&self, id: i64) -> Seen;
    async fn is_ready(&self) -> bool;
    async fn is_stopped(&self) -> bool;
    /// Slots used, and what is waited for.
    async fn status(&self, trigger: &str) -> Option<(i64, Option<String>)>;
    /// The machine goes down: of the flight record nothing is known.
    async fn lose_flights(&self);
    /// The daemon goes, and another one comes.
    async fn reopen(self) -> Self;
}

struct InMemory(MemoryStore);

impl Table for InMemory {
    type Keeper = MemoryStore;

    async fn fresh() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    async fn insert(&self, new: New) -> i64 {
        self.0.edit(|rows| {
            let id = rows.last_key_value().map_or(1, |(id, _)| id + 1);
            let mut row = MemoryRow::new(id, new.trigger, NOW);
            row.priority = new.priority;
            row.run_at = new.run_at;
            row.taken.request.arguments = new.arguments.to_owned();
            row.taken.invocation.requested_mode = new.call_mode;
            row.taken.invocation.expires_at = new.expires_at;
            row.taken.invocation.deadline_at = new.deadline_at;
            rows.insert(id, row);
            id
        })
    }

    async fn cancel(&self, id: i64) {
        self.0.edit(|rows| rows.get_mut(&id).unwrap().taken.invocation.cancel_requested = true);
    }

    async fn delete(&self, id: i64) {
        self.0.edit(|rows| rows.remove(&id));
    }

    async fn pause(&self, trigger: &str, paused: bool) {
        self.0.pause(trigger, paused);
    }

    async fn why_paused(&self, trigger: &str) -> Option<String> {
        self.0.paused(trigger)
    }

    async fn read(&self, id: i64) -> Seen {
        let row = self.0.edit(|rows| rows[&id].clone());
        let invocation = row.taken.invocation;
        Seen {
            state: invocation.phase.as_str().to_owned(),
            attempt: invocation.attempt,
            due_at: row.taken.due_at,
            started_at: invocation.started_at,
            deadline_at: invocation.deadline_at,
            finished_at: row.finished_at,
            cancel_requested: invocation.cancel_requested,
            polls: invocation.polls,
            status_uri: invocation.status_uri.map(String::from),
            error_code: invocation.trouble.map(|trouble| trouble.code.as_str().to_owned()),
            attempts: row.attempts.iter().map(|end| end.outcome.as_str().to_owned()).collect(),
            output: row.output,
        }
    }

    async fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    async fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }

    async fn hand_over(&self, id: i64, status_uri: &str) {
        self.0.edit_unseen(|rows| {
            let invocation = &mut rows.get_mut(&id).unwrap().taken.invocation;
            invocation.status_uri = Some(url(status_uri));
            invocation.phase = Phase::Polling(url(status_uri));
        });
        self.0.hand_over(id);
    }

    async fn status(&self, trigger: &str) -> Option<(i64, Option<String>)> {
        let status = self.0.status(trigger)?;
        let hold = status.hold.map(|hold| match hold.by {
            HeldBy::Slot(key) => format!("slot {key}"),
            HeldBy::Rate => "rate rate".to_owned(),
            HeldBy::Credential(code) => format!("credential {}", code.as_str()),
            HeldBy::Breaker(origin) => format!("breaker {origin}"),
        });
        Some((i64::try_from(status.slots_used).unwrap(), hold))
    }

    async fn lose_flights(&self) {
        self.0.lose_flights();
    }

    async fn reopen(self) -> Self {
        self
    }
}

/// Each test for each keeper.
macro_rules! contract {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::bounded(super::$name::<super::InMemory>()).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::bounded(super::$name::<super::SqliteTable>()).await;
            })*
        }
    };
}

contract! {
    a_start_has_a_new_number_and_the_old_name
    a_start_tells_what_was_being_fired_and_what_waits_for_a_poll
    what_was_to_be_fired_and_never_left_is_told_apart_at_every_start_until_it_is_judged
    without_the_flight_record_every_row_that_was_to_be_fired_is_in_doubt
    a_firing_that_never_left_is_told_in_the_history_until_the_next_one_takes_its_number
    a_start_asks_at_once_whose_origin_was_not_allowed
    a_pause_survives_a_register_and_ends_with_a_resume
    what_the_daemon_pauses_is_not_taken_by_the_look_of_that_commit
    rows_of_a_trigger_that_left_wait_until_it_is_back
    an_intent_is_stored_and_the_row_comes_as_it_was_before
    an_intent_keeps_the_first_start_and_the_deadline_of_its_round
    an_intent_remembers_whose_deadline_it_is
    a_change_is_stored_with_its_firing_and_its_output
    a_change_leaves_alone_what_is_not_its_own
    a_change_that_is_too_late_is_lost_with_all_that_came_with_it
    a_batch_that_is_written_twice_is_stored_once
    a_change_of_another_round_is_lost
    a_change_of_a_row_that_was_handed_over_is_lost_until_that_is_taken_over
    a_poll_writes_its_counters_and_nothing_else
    a_poll_of_another_state_or_attempt_is_dropped
    a_returned_intent_leaves_the_row_as_it_was
    a_return_of_another_attempt_or_state_is_dropped
    a_row_returned_in_a_batch_may_be_intended_by_its_look
    rows_come_by_priority_then_ready_time_then_id
    a_row_is_fired_only_while_it_may_be
    a_retry_waits_for_its_own_time
    a_want_takes_no_more_than_its_limit_and_stays_hungry
    an_open_trigger_without_a_place_stays_hungry
    triggers_of_one_origin_share_its_places_and_leave_what_they_do_not_need
    origins_do_not_share_places
    held_places_are_for_long_polling_whoever_asks_for_it
    a_look_without_a_survey_goes_on_with_the_wants_alone
    a_survey_lists_what_must_end_and_what_cannot_yet
    a_survey_tells_when_time_next_changes_something
    what_is_triggering_is_listed_without_the_new_intents
    a_commit_of_others_is_told_until_a_survey_and_own_ones_are_not
    a_commit_of_others_gives_a_hint
    rows_are_read_by_id_and_those_that_are_gone_are_left_out
    a_daemon_is_ready_once_it_has_said_so_and_only_until_the_next_start
    what_is_handed_over_is_told_until_it_is_taken_over
    ready_rows_are_told_of_a_credential_that_is_shut
    what_triggers_are_doing_is_told_if_it_holds_somebody_back
    what_has_ended_is_deleted_once_its_time_is_over
    what_was_committed_is_there_after_a_restart
}

pub(crate) fn triggers() -> Vec<Arc<Trigger>> {
    let trigger = |name: &str, mode| {
        let mut trigger = Trigger::new(name, Url::parse(&format!("https://{name}.example/x")).unwrap());
        trigger.call_mode = mode;
        Arc::new(trigger)
    };
    vec![
        trigger("alpha", CallMode::AsyncRequestReply),
        trigger("beta", CallMode::AsyncRequestReply),
        trigger("held", CallMode::LongPolling),
    ]
}

/// A table whose daemon has started.
pub(crate) async fn started<T: Table>() -> T {
    let table = T::fresh().await;
    table.store().start(triggers(), NOW).await.unwrap();
    table
}

/// At most `limit` rows of a trigger, whose origin has the places of that number.
pub(crate) fn want(name: &str, origin: usize, limit: usize) -> Want {
    let trigger = triggers().into_iter().find(|trigger| trigger.name == name).unwrap();
    Want { trigger, origin, limit, ordinary: usize::MAX, held: usize::MAX }
}

/// A survey with places for all.
pub(crate) fn look(wants: Vec<Want>) -> Look {
    Look {
        now: NOW,
        survey: true,
        wants,
        places: vec![100; 3],
        held_places: 100,
        held_back: Vec::new(),
        list_triggering: false,
        ageing: Duration::ZERO,
    }
}

fn all() -> Vec<Want> {
    vec![want("alpha", 0, 100), want("beta", 1, 100), want("held", 2, 100)]
}

pub(crate) async fn see(store: &impl Store, look: Look) -> Committed {
    store.commit(Batch { look: Some(look), ..Batch::default() }).await.unwrap()
}

pub(crate) async fn change(store: &impl Store, changes: Vec<Change>) -> Vec<i64> {
    store.commit(Batch { changes, ..Batch::default() }).await.unwrap().lost
}

pub(crate) fn ids(rows: &[Taken]) -> Vec<i64> {
    rows.iter().map(|row| row.invocation.id).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// The invocation once its intent is stored.
pub(crate) fn fired(row: &Taken) -> Invocation {
    let before = row.invocation.clone();
    Invocation { phase: Phase::Triggering, attempt: before.attempt + 1, ..before }
}

pub(crate) fn to(from: &'static str, next: Invocation) -> Change {
    Change { from, next, due_at: None, finished_at: None, attempt: None, output: None }
}

pub(crate) fn ended(fired: Invocation, outcome: Outcome) -> Change {
    let next = Invocation { phase: Phase::Finished(outcome), ..fired };
    Change { finished_at: Some(at(50)), ..to("triggering", next) }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn accepted(fired: Invocation, due_at: UnixMillis) -> Change {
    let status = url("https://alpha.example/status/1?sig=2");
    let next = Invocation {
        phase: Phase::Polling(status.clone()),
        status_uri: Some(status),
        effective_mode: Some(CallMode::AsyncRequestReply),
        accepted_at: Some(at(20)),
        http_status: Some(202),
        ..fired
    };
    Change { due_at: Some(due_at), ..to("triggering", next) }
}

fn firing(outcome: AttemptOutcome) -> AttemptEnd {
    AttemptEnd {
        started_at: NOW,
        ended_at: at(40),
        http_status: Some(200),
        outcome,
        status_uri: Some(url("https://alpha.example/status/1")),
        trouble: Some(Trouble::new(Code::OutputTooLarge, "it's \"long\"")),
    }
}

fn output(body: &[u8]) -> Output {
    Output {
        body: body.to_vec(),
        content_type: Some("text/plain".to_owned()),
        bytes: body.len() as u64,
        truncated: false,
    }
}

/// A row that is being fired.
pub(crate) async fn intended<T: Table>(table: &T, new: New) -> Taken {
    let name = new.trigger;
    let id = table.insert(new).await;
    let committed = see(table.store(), look(vec![want(name, 0, 100)])).await;
    committed.intended.into_iter().find(|row| row.invocation.id == id).unwrap()
}

/// A row that waits for a poll at `due_at`, as it is then.
async fn polling<T: Table>(table: &T, due_at: UnixMillis) -> Invocation {
    let change_to = accepted(fired(&intended(table, new("alpha")).await), due_at);
    let next = change_to.next.clone();
    assert_eq!(change(table.store(), vec![change_to]).await, [] as [i64; 0]);
    next
}

async fn a_start_has_a_new_number_and_the_old_name<T: Table>() {
    let table = T::fresh().await;
    let first = table.store().start(triggers(), NOW).await.unwrap();
    let second = table.store().start(triggers(), at(1)).await.unwrap();
    assert!(!first.instance_id.is_empty());
    assert_eq!((second.instance_id, second.epoch), (first.instance_id, first.epoch + 1));
}

async fn a_start_tells_what_was_being_fired_and_what_waits_for_a_poll<T: Table>() {
    let table = started::<T>().await;
    let late = polling(&table, at(9000)).await;
    let soon = polling(&table, at(3000)).await;
    let collecting =
        Invocation { phase: Phase::Collecting(url("https://alpha.example/out")), ..late.clone() };
    let collecting = Change { due_at: Some(at(2000)), ..to("polling", collecting) };
    assert_eq!(change(table.store(), vec![collecting]).await, [] as [i64; 0]);
    let died = intended(&table, new("beta")).await;
    table.store().note_firing(0, died.invocation.id, 1).unwrap();
    let done = intended(&table, new("beta")).await;
    table.store().note_firing(1, done.invocation.id, 1).unwrap();
    change(table.store(), vec![ended(fired(&done), Outcome::Succeeded)]).await;
    table.insert(new("beta")).await;

    let table = table.reopen().await;
    let found = table.store().start(triggers(), at(1)).await.unwrap();
    assert_eq!((found.interrupted, found.unsent), (vec![died.invocation.id], vec![]));
    let waiting: Vec<_> =
        found.waiting.iter().map(|row| (row.id, row.due_at, row.trigger_name.as_str())).collect();
    assert_eq!(waiting, [(late.id, at(2000), "alpha"), (soon.id, at(3000), "alpha")]);
}

async fn what_was_to_be_fired_and_never_left_is_told_apart_at_every_start_until_it_is_judged<T: Table>() {
    let table = started::<T>().await;
    let sent = intended(&table, new("alpha")).await.invocation.id;
    let unsent = intended(&table, new("alpha")).await.invocation.id;
    // A slot far beyond the first ones, which another firing had before.
    table.store().note_firing(9000, unsent, 9).unwrap();
    table.store().note_firing(9000, sent, 1).unwrap();
    let mut table = table.reopen().await;
    for start in 0..2 {
        let found = table.store().start(triggers(), at(start)).await.unwrap();
        assert_eq!((found.interrupted, found.unsent), (vec![sent], vec![unsent]), "at start {start}");
        table = table.reopen().await;
    }
    // The first slot is that of the firing in doubt: what is noted elsewhere leaves it there.
    table.store().start(triggers(), at(3)).await.unwrap();
    let other = intended(&table, new("beta")).await.invocation.id;
    table.store().note_firing(1, other, 1).unwrap();
    let table = table.reopen().await;
    let found = table.store().start(triggers(), at(4)).await.unwrap();
    assert_eq!((found.interrupted, found.unsent), (vec![sent, other], vec![unsent]));
}

async fn without_the_flight_record_every_row_that_was_to_be_fired_is_in_doubt<T: Table>() {
    let table = started::<T>().await;
    let first = intended(&table, new("alpha")).await.invocation.id;
    let second = intended(&table, new("alpha")).await.invocation.id;
    table.store().note_firing(0, first, 1).unwrap();
    table.lose_flights().await;
    let table = table.reopen().await;
    let found = table.store().start(triggers(), at(1)).await.unwrap();
    assert_eq!((found.interrupted, found.unsent), (vec![first, second], vec![]));
}

async fn a_firing_that_never_left_is_told_in_the_history_until_the_next_one_takes_its_number<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let mut fired_once = fired(&row);
    let unsent = Some(AttemptEnd::unsent(&fired_once, at(2)));
    let returned = vec![Return { before: row.invocation.clone(), due_at: None, unsent }];
    table.store().commit(Batch { returned: returned.clone(), ..Batch::default() }).await.unwrap();
    let seen = table.read(row.invocation.id).await;
    assert_eq!(
        (seen.state.as_str(), seen.attempt, seen.started_at, seen.deadline_at),
        ("pending", 0, None, None)
    );
    assert_eq!(seen.attempts, ["not_sent"]);
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [row.invocation.id]);
    fired_once.phase = Phase::Triggering;
    let end = AttemptEnd { outcome: AttemptOutcome::Answered, ..AttemptEnd::unsent(&fired_once, at(3)) };
    let answered = Change { attempt: Some(end), ..ended(fired_once, Outcome::Succeeded) };
    change(table.store(), vec![answered]).await;
    // What comes a second time finds nothing to give back, and leaves the history alone.
    table.store().commit(Batch { returned, ..Batch::default() }).await.unwrap();
    let seen = table.read(row.invocation.id).await;
    assert_eq!((seen.state.as_str(), seen.attempts), ("succeeded", vec!["answered".to_owned()]));
}

async fn a_start_asks_at_once_whose_origin_was_not_allowed<T: Table>() {
    let table = started::<T>().await;
    let polled = polling(&table, at(3000)).await;
    let trouble = Some(Trouble::new(Code::ForbiddenOrigin, "not there"));
    let forbidden = Change { due_at: Some(at(9000)), ..to("polling", Invocation { trouble, ..polled }) };
    change(table.store(), vec![forbidden]).await;
    let found = table.store().start(triggers(), at(1)).await.unwrap();
    assert!(found.waiting[0].due_at <= at(1), "{:?}", found.waiting);
}

async fn a_pause_survives_a_register_and_ends_with_a_resume<T: Table>() {
    let table = started::<T>().await;
    let (first, second) = (table.insert(new("alpha")).await, table.insert(new("beta")).await);
    table.pause("alpha", true).await;
    table.store().register(triggers()).await.unwrap();
    let committed = see(table.store(), look(all())).await;
    assert_eq!(ids(&committed.intended), [second]);
    assert_eq!(committed.hungry, [] as [String; 0]);
    table.pause("alpha", false).await;
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [first]);
}

async fn what_the_daemon_pauses_is_not_taken_by_the_look_of_that_commit<T: Table>() {
    let table = started::<T>().await;
    let (first, second) = (table.insert(new("alpha")).await, table.insert(new("beta")).await);
    let pauses = |why: &str| vec![("alpha".to_owned(), why.to_owned())];
    let batch = Batch { pauses: pauses("refused"), look: Some(look(all())), ..Batch::default() };
    let committed = table.store().commit(batch).await.unwrap();
    assert_eq!(ids(&committed.intended), [second]);
    assert_eq!(table.why_paused("alpha").await.as_deref(), Some("refused"));
    assert_eq!(table.why_paused("beta").await, None);
    // Who was first is the one who knows.
    table.store().commit(Batch { pauses: pauses("again"), ..Batch::default() }).await.unwrap();
    assert_eq!(table.why_paused("alpha").await.as_deref(), Some("refused"));
    table.pause("alpha", false).await;
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [first]);
}

async fn rows_of_a_trigger_that_left_wait_until_it_is_back<T: Table>() {
    let table = started::<T>().await;
    let id = table.insert(new("alpha")).await;
    let others = triggers().into_iter().filter(|trigger| trigger.name != "alpha").collect();
    table.store().register(others).await.unwrap();
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [] as [i64; 0]);
    let mut unsurveyed = look(all());
    unsurveyed.survey = false;
    assert_eq!(ids(&see(table.store(), unsurveyed).await.intended), [] as [i64; 0]);
    table.store().register(triggers()).await.unwrap();
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [id]);
}

async fn an_intent_is_stored_and_the_row_comes_as_it_was_before<T: Table>() {
    let table = started::<T>().await;
    let id = table
        .insert(New {
            arguments: r#"{"a":1.0,"b":"é"}"#,
            call_mode: Some(CallMode::FireAndForget),
            expires_at: Some(at(5000)),
            ..new("alpha")
        })
        .await;
    let before = table.read(id).await;
    let committed = see(table.store(), look(all())).await;
    let [row] = &committed.intended[..] else { panic!("{committed:?}") };
    assert_eq!((row.trigger_name.as_str(), row.due_at), ("alpha", None));
    assert_eq!((row.request.id, row.request.arguments.as_str()), (id, r#"{"a":1.0,"b":"é"}"#));
    let expected = Invocation {
        requested_mode: Some(CallMode::FireAndForget),
        expires_at: Some(at(5000)),
        ..Invocation::pending(id)
    };
    assert_eq!(row.invocation, expected);
    let deadline = NOW.plus(triggers()[0].deadline(CallMode::FireAndForget));
    let expected = Seen {
        state: "triggering".to_owned(),
        attempt: 1,
        started_at: Some(NOW),
        deadline_at: Some(deadline),
        ..before
    };
    assert_eq!(table.read(id).await, expected);
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [] as [i64; 0], "intended twice");
}

async fn an_intent_keeps_the_first_start_and_the_deadline_of_its_round<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, New { deadline_at: Some(at(77_000)), ..new("alpha") }).await;
    let again = Change {
        due_at: Some(at(10)),
        attempt: Some(firing(AttemptOutcome::NotSent)),
        ..to("triggering", Invocation { phase: Phase::Pending, ..fired(&row) })
    };
    change(table.store(), vec![again]).await;
    let later = Look { now: at(20), ..look(all()) };
    let committed = see(table.store(), later).await;
    assert_eq!(committed.intended[0].due_at, Some(at(10)));
    let seen = table.read(row.invocation.id).await;
    assert_eq!((seen.attempt, seen.started_at, seen.due_at), (2, Some(NOW), None));
    assert_eq!(seen.deadline_at, Some(at(77_000)));
}

async fn an_intent_remembers_whose_deadline_it_is<T: Table>() {
    let table = started::<T>().await;
    let own = intended(&table, New { deadline_at: Some(at(77_000)), ..new("alpha") }).await;
    let counted = intended(&table, new("alpha")).await;
    let rows = table.store().load(vec![own.invocation.id, counted.invocation.id], NOW).await.unwrap().rows;
    let remembered: Vec<_> = rows.iter().map(|row| row.invocation.memory.counted_deadline).collect();
    assert_eq!(remembered, [false, true]);
}

async fn a_change_is_stored_with_its_firing_and_its_output<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let next = Invocation {
        trouble: Some(Trouble::new(Code::OutputTooLarge, "too long")),
        http_status: Some(200),
        ..fired(&row)
    };
    let done = Change {
        attempt: Some(firing(AttemptOutcome::Answered)),
        output: Some(output("{\"é\":\"\u{1F600}\\u0000\"}".as_bytes())),
        ..ended(next, Outcome::Succeeded)
    };
    let before = table.read(row.invocation.id).await;
    assert_eq!(change(table.store(), vec![done.clone()]).await, [] as [i64; 0]);
    let expected = Seen {
        state: "succeeded".to_owned(),
        finished_at: Some(at(50)),
        error_code: Some("output_too_large".to_owned()),
        attempts: vec!["answered".to_owned()],
        output: done.output,
        ..before
    };
    assert_eq!(table.read(row.invocation.id).await, expected);
}

async fn a_change_leaves_alone_what_is_not_its_own<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let id = row.invocation.id;
    // A cancel after the engine has read the row; and the engine may know another deadline.
    table.cancel(id).await;
    let before = table.read(id).await;
    let next = Invocation { deadline_at: Some(at(1)), started_at: Some(at(2)), ..fired(&row) };
    assert_eq!(change(table.store(), vec![accepted(next, at(3000))]).await, [] as [i64; 0]);
    let after = table.read(id).await;
    assert!(after.cancel_requested);
    assert_eq!((after.started_at, after.deadline_at), (before.started_at, before.deadline_at));
}

async fn a_change_that_is_too_late_is_lost_with_all_that_came_with_it<T: Table>() {
    let table = started::<T>().await;
    let (a, b, c, d) = (
        intended(&table, new("alpha")).await,
        intended(&table, new("alpha")).await,
        intended(&table, new("alpha")).await,
        intended(&table, new("alpha")).await,
    );
    let whole = |fired| Change {
        attempt: Some(firing(AttemptOutcome::Answered)),
        output: Some(output(b"x")),
        ..ended(fired, Outcome::Succeeded)
    };
    let wrong_state = Change { from: "polling", ..whole(fired(&a)) };
    let wrong_attempt = whole(Invocation { attempt: 2, ..fired(&b) });
    let gone = whole(Invocation { id: 4711, ..fired(&c) });
    let sound = whole(fired(&d));
    let (a, b, d) = (a.invocation.id, b.invocation.id, d.invocation.id);
    let before = (table.read(a).await, table.read(b).await);
    let mut lost = change(table.store(), vec![wrong_state, wrong_attempt, sound, gone]).await;
    lost.sort_unstable();
    assert_eq!(lost, [a, b, 4711]);
    assert_eq!((table.read(a).await, table.read(b).await), before);
    let seen = table.read(d).await;
    assert_eq!((seen.state.as_str(), seen.attempts.len(), seen.output.is_some()), ("succeeded", 1, true));
}

async fn a_batch_that_is_written_twice_is_stored_once<T: Table>() {
    let table = started::<T>().await;
    let (ends, waits, back) = (
        intended(&table, new("alpha")).await,
        intended(&table, new("alpha")).await,
        intended(&table, new("alpha")).await,
    );
    let batch = || Batch {
        changes: vec![
            Change {
                attempt: Some(firing(AttemptOutcome::Answered)),
                output: Some(output(b"x")),
                ..ended(fired(&ends), Outcome::Succeeded)
            },
            Change { attempt: Some(firing(AttemptOutcome::Accepted)), ..accepted(fired(&waits), at(9)) },
        ],
        returned: vec![Return { before: back.invocation.clone(), due_at: None, unsent: None }],
        ..Batch::default()
    };
    let all = [ends.invocation.id, waits.invocation.id, back.invocation.id];
    assert_eq!(table.store().commit(batch()).await.unwrap().lost, [] as [i64; 0]);
    let mut once = Vec::new();
    for id in all {
        once.push(table.read(id).await);
    }
    assert_eq!(table.store().commit(batch()).await.unwrap().lost, all[..2]);
    for (id, once) in all.into_iter().zip(once) {
        assert_eq!(table.read(id).await, once);
    }
}

async fn a_change_of_another_round_is_lost<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let id = row.invocation.id;
    let other = Invocation { round: row.invocation.round + 1, ..fired(&row) };
    assert_eq!(change(table.store(), vec![ended(other, Outcome::Succeeded)]).await, [id]);
    assert_eq!(table.read(id).await.state, "triggering");
    assert_eq!(change(table.store(), vec![ended(fired(&row), Outcome::Succeeded)]).await, [] as [i64; 0]);
}

/// The engine polls a row, ends it as uncertain by a commit of unknown end, and writes that again after an operator has said
/// that the row is to be followed: his word holds.
async fn a_change_of_a_row_that_was_handed_over_is_lost_until_that_is_taken_over<T: Table>() {
    let table = started::<T>().await;
    let invocation = polling(&table, at(10)).await;
    let id = invocation.id;
    let phase = Phase::Finished(Outcome::Uncertain);
    let doubtful = Change { finished_at: Some(at(50)), ..to("polling", Invocation { phase, ..invocation }) };
    assert_eq!(change(table.store(), vec![doubtful.clone()]).await, [] as [i64; 0]);
    table.hand_over(id, "https://alpha.example/status/7").await;
    let before = table.read(id).await;
    assert_eq!(change(table.store(), vec![doubtful.clone()]).await, [id]);
    assert_eq!(table.read(id).await, before);
    let taken = Batch { taken_over: vec![id], changes: vec![doubtful], ..Batch::default() };
    assert_eq!(table.store().commit(taken).await.unwrap().lost, [] as [i64; 0], "it is followed by then");
    assert_eq!(table.read(id).await.state, "uncertain");
}

async fn a_poll_writes_its_counters_and_nothing_else<T: Table>() {
    let table = started::<T>().await;
    let row = polling(&table, at(3000)).await;
    table.cancel(row.id).await;
    let before = table.read(row.id).await;
    let next = Invocation {
        polls: 7,
        last_polled_at: Some(at(2900)),
        http_status: Some(200),
        memory: Memory { waits: 6, ..Memory::default() },
        deadline_at: None,
        hops: 2,
        ..row
    };
    let polled = vec![Polled { next: next.clone(), due_at: at(4000) }];
    table.store().commit(Batch { polled, ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(row.id).await, Seen { polls: 7, due_at: Some(at(4000)), ..before.clone() });
    let loaded = table.store().load(vec![row.id], NOW).await.unwrap().rows.remove(0);
    let expected = Invocation {
        hops: 0,
        cancel_requested: true,
        started_at: before.started_at,
        deadline_at: before.deadline_at,
        ..next
    };
    assert_eq!((loaded.invocation, loaded.due_at), (expected, Some(at(4000))));
}

async fn a_poll_of_another_state_or_attempt_is_dropped<T: Table>() {
    let table = started::<T>().await;
    let row = polling(&table, at(3000)).await;
    let stale = Polled { next: Invocation { polls: 9, ..row.clone() }, due_at: at(1) };
    let other = Polled { next: Invocation { attempt: 2, polls: 9, ..row.clone() }, due_at: at(1) };
    let before = table.read(row.id).await;
    table.store().commit(Batch { polled: vec![other], ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(row.id).await, before);

    let collecting = Invocation { phase: Phase::Collecting(url("https://alpha.example/out")), ..row.clone() };
    change(table.store(), vec![Change { due_at: Some(at(5000)), ..to("polling", collecting.clone()) }]).await;
    let before = table.read(row.id).await;
    table.store().commit(Batch { polled: vec![stale.clone()], ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(row.id).await, before, "counters from before the job ended");

    let done = Invocation { phase: Phase::Finished(Outcome::Succeeded), ..collecting };
    change(table.store(), vec![Change { finished_at: Some(at(60)), ..to("collecting", done) }]).await;
    let before = table.read(row.id).await;
    table.store().commit(Batch { polled: vec![stale], ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(row.id).await, before);
}

async fn a_returned_intent_leaves_the_row_as_it_was<T: Table>() {
    let table = started::<T>().await;
    let fresh = table.insert(New { expires_at: Some(at(9000)), ..new("alpha") }).await;
    let retried = intended(&table, new("beta")).await;
    let again = Change {
        due_at: Some(at(-5)),
        attempt: Some(firing(AttemptOutcome::NotSent)),
        ..to(
            "triggering",
            Invocation {
                phase: Phase::Pending,
                trouble: Some(Trouble::new(Code::NotSent, "refused")),
                memory: Memory { refusals: 1, ..Memory::default() },
                ..fired(&retried)
            },
        )
    };
    change(table.store(), vec![again]).await;
    let all_ids = [fresh, retried.invocation.id];
    let stored = async || {
        let mut all = Vec::new();
        for id in all_ids {
            all.push((table.read(id).await, table.store().load(vec![id], NOW).await.unwrap().rows));
        }
        all
    };
    let before = stored().await;
    let committed = see(table.store(), look(all())).await;
    let mut found = ids(&committed.intended);
    found.sort_unstable();
    assert_eq!(found, all_ids);
    let returned = committed
        .intended
        .into_iter()
        .map(|row| Return { before: row.invocation, due_at: row.due_at, unsent: None })
        .collect();
    table.store().commit(Batch { returned, ..Batch::default() }).await.unwrap();
    assert_eq!(stored().await, before);
}

async fn a_return_of_another_attempt_or_state_is_dropped<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let id = row.invocation.id;
    let stale =
        Return { before: Invocation { attempt: 1, ..row.invocation.clone() }, due_at: None, unsent: None };
    let before = table.read(id).await;
    table.store().commit(Batch { returned: vec![stale], ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(id).await, before);

    // A cancel that came while the intent was held stays.
    table.cancel(id).await;
    let right = Return { before: row.invocation.clone(), due_at: None, unsent: None };
    table.store().commit(Batch { returned: vec![right.clone()], ..Batch::default() }).await.unwrap();
    let seen = table.read(id).await;
    assert_eq!((seen.state.as_str(), seen.cancel_requested), ("pending", true));

    let ended = intended(&table, new("alpha")).await;
    change(table.store(), vec![self::ended(fired(&ended), Outcome::Succeeded)]).await;
    let before = table.read(ended.invocation.id).await;
    let late = Return { before: ended.invocation.clone(), due_at: None, unsent: None };
    table.store().commit(Batch { returned: vec![late], ..Batch::default() }).await.unwrap();
    assert_eq!(table.read(ended.invocation.id).await, before);
}

async fn a_row_returned_in_a_batch_may_be_intended_by_its_look<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let returned = vec![Return { before: row.invocation.clone(), due_at: None, unsent: None }];
    let batch = Batch { returned, look: Some(look(all())), ..Batch::default() };
    let committed = table.store().commit(batch).await.unwrap();
    assert_eq!(committed.intended, [row]);
    assert_eq!(table.read(committed.intended[0].invocation.id).await.attempt, 1);
}

async fn rows_come_by_priority_then_ready_time_then_id<T: Table>() {
    let table = started::<T>().await;
    let mut expected = Vec::new();
    for (rank, priority, since) in
        [(4, 0, 500), (2, 5, 100), (1, 5, 900), (5, 0, 500), (0, 100, 1), (6, -100, 900), (3, 0, 700)]
    {
        let row = New { priority, run_at: at(-since), ..new("alpha") };
        expected.push((rank, table.insert(row).await));
    }
    expected.sort_unstable();
    let expected: Vec<i64> = expected.into_iter().map(|(_, id)| id).collect();
    let first = see(table.store(), look(vec![want("alpha", 0, 3)])).await;
    assert_eq!(ids(&first.intended), expected[..3]);
    let rest = see(table.store(), look(vec![want("alpha", 0, 100)])).await;
    assert_eq!(ids(&rest.intended), expected[3..]);
}

async fn a_row_is_fired_only_while_it_may_be<T: Table>() {
    let table = started::<T>().await;
    table.insert(New { run_at: at(1), ..new("alpha") }).await;
    table.insert(New { expires_at: Some(NOW), ..new("alpha") }).await;
    table.insert(New { deadline_at: Some(NOW), ..new("alpha") }).await;
    let cancelled = table.insert(new("alpha")).await;
    table.cancel(cancelled).await;
    table.insert(new("beta")).await;
    let good = [
        table.insert(New { run_at: NOW, ..new("alpha") }).await,
        table.insert(New { run_at: NOW, expires_at: Some(at(1)), ..new("alpha") }).await,
        table.insert(New { run_at: NOW, deadline_at: Some(at(1)), ..new("alpha") }).await,
    ];
    let committed = see(table.store(), look(vec![want("alpha", 0, 100)])).await;
    assert_eq!(ids(&committed.intended), good);
    assert_eq!(committed.rejected, [] as [(i64, String); 0]);
}

async fn a_retry_waits_for_its_own_time<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let again = Invocation { phase: Phase::Pending, ..fired(&row) };
    change(table.store(), vec![Change { due_at: Some(at(100)), ..to("triggering", again) }]).await;
    let early = see(table.store(), Look { now: at(99), ..look(all()) }).await;
    assert_eq!(ids(&early.intended), [] as [i64; 0]);
    assert_eq!(early.survey.unwrap().next, Some(at(100)));
    let due = see(table.store(), Look { now: at(100), ..look(all()) }).await;
    assert_eq!(ids(&due.intended), [row.invocation.id]);
}

async fn a_want_takes_no_more_than_its_limit_and_stays_hungry<T: Table>() {
    let table = started::<T>().await;
    for _ in 0..3 {
        table.insert(new("alpha")).await;
    }
    let first = see(table.store(), look(vec![want("alpha", 0, 2)])).await;
    assert_eq!((first.intended.len(), &first.hungry[..]), (2, &["alpha".to_owned()][..]));
    let rest = see(table.store(), look(vec![want("alpha", 0, 2)])).await;
    assert_eq!((rest.intended.len(), rest.hungry.len()), (1, 0));
}

async fn an_open_trigger_without_a_place_stays_hungry<T: Table>() {
    let table = started::<T>().await;
    table.insert(new("alpha")).await;
    table.insert(new("beta")).await;
    let full = Look { places: vec![0; 3], held_places: 0, ..look(vec![want("alpha", 0, 100)]) };
    let committed = see(table.store(), full).await;
    assert_eq!(committed.intended, []);
    assert_eq!(sorted(committed.hungry), ["alpha", "beta"]);
}

async fn triggers_of_one_origin_share_its_places_and_leave_what_they_do_not_need<T: Table>() {
    let table = started::<T>().await;
    for _ in 0..10 {
        table.insert(new("alpha")).await;
    }
    for _ in 0..3 {
        table.insert(new("beta")).await;
    }
    // A long-polling trigger without rows takes no part.
    let wants = || vec![want("alpha", 1, 100), want("beta", 1, 100), want("held", 1, 100)];
    let few = |places| Look { places: vec![0, places, 0], ..look(wants()) };
    let by_trigger = |committed: &Committed| {
        ["alpha", "beta"].map(|name| committed.intended.iter().filter(|row| row.trigger_name == name).count())
    };
    let even = see(table.store(), few(4)).await;
    assert_eq!(by_trigger(&even), [2, 2]);
    assert_eq!(sorted(even.hungry), ["alpha", "beta"]);
    let mut turned = few(6);
    turned.wants.rotate_left(1);
    assert_eq!(by_trigger(&see(table.store(), turned).await), [5, 1], "beta has one and leaves two");
}

async fn origins_do_not_share_places<T: Table>() {
    let table = started::<T>().await;
    for _ in 0..3 {
        table.insert(new("alpha")).await;
        table.insert(new("beta")).await;
    }
    let apart = Look { places: vec![2, 0, 0], held_places: 0, ..look(all()) };
    let committed = see(table.store(), apart).await;
    assert_eq!(ids(&committed.intended), [1, 3]);
    assert_eq!(sorted(committed.hungry), ["alpha", "beta"]);
}

async fn held_places_are_for_long_polling_whoever_asks_for_it<T: Table>() {
    let table = started::<T>().await;
    let held = table.insert(New { call_mode: Some(CallMode::LongPolling), ..new("alpha") }).await;
    let plain = table.insert(new("alpha")).await;
    let short = table.insert(New { call_mode: Some(CallMode::FireAndForget), ..new("held") }).await;
    let blocking = table.insert(new("held")).await;
    let with = |places: usize, held_places| Look { places: vec![places; 3], held_places, ..look(all()) };
    let no_held = see(table.store(), with(100, 0)).await;
    assert_eq!(ids(&no_held.intended), [plain, short]);
    assert_eq!(sorted(no_held.hungry), ["alpha", "held"]);
    let only_held = see(table.store(), with(0, 100)).await;
    assert_eq!(ids(&only_held.intended), [held, blocking]);
}

async fn a_look_without_a_survey_goes_on_with_the_wants_alone<T: Table>() {
    let table = started::<T>().await;
    see(table.store(), look(all())).await;
    let id = table.insert(new("alpha")).await;
    table.insert(new("beta")).await;
    let narrow = Look { survey: false, ..look(vec![want("alpha", 0, 100)]) };
    let committed = see(table.store(), narrow).await;
    assert_eq!(ids(&committed.intended), [id]);
    assert_eq!(committed.hungry, [] as [String; 0]);
    assert!(committed.survey.is_none() && committed.foreign);
}

async fn a_survey_lists_what_must_end_and_what_cannot_yet<T: Table>() {
    let table = started::<T>().await;
    let polled = polling(&table, at(9000)).await;
    let firing = intended(&table, new("alpha")).await;
    let done = intended(&table, new("alpha")).await;
    table.cancel(done.invocation.id).await;
    change(table.store(), vec![ended(fired(&done), Outcome::Succeeded)]).await;
    let expired = table.insert(New { expires_at: Some(NOW), ..new("alpha") }).await;
    let late = table.insert(New { deadline_at: Some(at(-1)), run_at: at(9000), ..new("beta") }).await;
    table.insert(New { expires_at: Some(at(1)), run_at: at(9000), ..new("alpha") }).await;
    let pending = table.insert(New { run_at: at(9000), arguments: r#"{"a":1}"#, ..new("alpha") }).await;
    for id in [polled.id, firing.invocation.id, pending] {
        table.cancel(id).await;
    }
    // Whoever's trigger is paused ends all the same.
    table.pause("alpha", true).await;
    let survey = see(table.store(), look(Vec::new())).await.survey.unwrap();
    let mut ending = ids(&survey.ending);
    ending.sort_unstable();
    assert_eq!(ending, [polled.id, expired, late, pending]);
    assert_eq!(survey.cancelling, [firing.invocation.id]);
    assert!(!survey.more);
    let row = survey.ending.iter().find(|row| row.invocation.id == polled.id).unwrap();
    assert_eq!((row.invocation.phase.clone(), row.invocation.cancel_requested), (polled.phase, true));
}

async fn a_survey_tells_when_time_next_changes_something<T: Table>() {
    let table = started::<T>().await;
    let next = async || see(table.store(), look(Vec::new())).await.survey.unwrap().next;
    assert_eq!(next().await, None);
    table.insert(New { run_at: at(-500), ..new("alpha") }).await;
    assert_eq!(next().await, None, "what is ready already waits for no time");
    table.insert(New { run_at: at(900), ..new("alpha") }).await;
    assert_eq!(next().await, Some(at(900)));
    table.insert(New { run_at: at(-500), expires_at: Some(at(800)), ..new("alpha") }).await;
    assert_eq!(next().await, Some(at(800)));
    table.insert(New { run_at: at(9000), deadline_at: Some(at(700)), ..new("beta") }).await;
    assert_eq!(next().await, Some(at(700)));
}

async fn what_is_handed_over_is_told_until_it_is_taken_over<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let id = row.invocation.id;
    assert_eq!(change(table.store(), vec![ended(fired(&row), Outcome::Uncertain)]).await, [] as [i64; 0]);
    assert_eq!(see(table.store(), look(all())).await.survey.unwrap().uncertain, 1);
    let status = "https://alpha.example/status/7";
    table.hand_over(id, status).await;
    let found = see(table.store(), look(all())).await.survey.unwrap();
    assert_eq!(found.uncertain, 0);
    let told: Vec<_> = found.handed_over.iter().map(|row| (row.id, row.trigger_name.as_str())).collect();
    assert_eq!(told, [(id, "alpha")]);
    let rows = table.store().load(vec![id], NOW).await.unwrap().rows;
    assert_eq!(rows[0].invocation.phase, Phase::Polling(url(status)));
    let again = see(table.store(), look(all())).await.survey.unwrap().handed_over;
    assert_eq!(again.len(), 1, "the answer may have been lost");
    let taken = Batch { taken_over: vec![id], look: Some(look(all())), ..Batch::default() };
    let survey = table.store().commit(taken).await.unwrap().survey.unwrap();
    assert_eq!(survey.handed_over, [], "in the same commit already");

    table.hand_over(id, status).await;
    let found = table.store().start(triggers(), NOW).await.unwrap();
    assert_eq!(found.waiting.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
    let handed_over = see(table.store(), look(all())).await.survey.unwrap().handed_over;
    assert_eq!(handed_over, [], "the start has it already");
}

async fn ready_rows_are_told_of_a_credential_that_is_shut<T: Table>() {
    let table = started::<T>().await;
    let ready = table.insert(new("alpha")).await;
    let later = table.insert(New { run_at: at(1000), ..new("alpha") }).await;
    let other = table.insert(new("beta")).await;
    let shut = |code| Look { held_back: vec![("alpha".to_owned(), code)], ..look(vec![]) };
    let committed = see(table.store(), shut(Code::CredentialRefused)).await;
    assert_eq!(sorted(committed.hungry), ["alpha", "beta"], "both have rows");
    assert_eq!(table.read(ready).await.error_code.as_deref(), Some("credential_refused"));
    assert_eq!(table.read(later).await.error_code, None);
    assert_eq!(table.read(other).await.error_code, None);
    see(table.store(), shut(Code::CredentialUnavailable)).await;
    assert_eq!(table.read(ready).await.error_code.as_deref(), Some("credential_unavailable"));
    let committed = see(table.store(), look(all())).await;
    assert!(ids(&committed.intended).contains(&ready), "it is fired like any other when it may be");
}

async fn what_triggers_are_doing_is_told_if_it_holds_somebody_back<T: Table>() {
    let table = started::<T>().await;
    let tell = async |slots_used, hold| {
        let triggers = ["alpha", "beta"].map(|name| TriggerStatus {
            trigger_name: name.to_owned(),
            slots_used,
            hold: Option::clone(&hold),
        });
        let status = Some(Status { now: NOW, triggers: triggers.to_vec() });
        table.store().commit(Batch { status, ..Batch::default() }).await.unwrap();
    };
    assert_eq!(table.status("alpha").await, None);
    tell(3, None).await;
    assert_eq!(table.status("alpha").await, Some((3, None)));
    table.insert(new("alpha")).await;
    tell(2, Some(Hold { by: HeldBy::Slot("max_concurrent"), since: NOW, until: None })).await;
    assert_eq!(table.status("alpha").await, Some((2, Some("slot max_concurrent".to_owned()))));
    let by = HeldBy::Credential(Code::CredentialRefused);
    tell(2, Some(Hold { by, since: NOW, until: Some(at(5)) })).await;
    assert_eq!(table.status("alpha").await, Some((2, Some("credential credential_refused".to_owned()))));
    let by = HeldBy::Breaker("http://far.example".into());
    tell(1, Some(Hold { by, since: NOW, until: None })).await;
    assert_eq!(table.status("alpha").await, Some((1, Some("breaker http://far.example".to_owned()))));
    table.store().start(triggers(), NOW).await.unwrap();
    assert_eq!(table.status("alpha").await, None, "what it said of the last daemon is forgotten");
}

async fn what_is_triggering_is_listed_without_the_new_intents<T: Table>() {
    let table = started::<T>().await;
    let (old, done) = (intended(&table, new("alpha")).await, intended(&table, new("alpha")).await);
    table.insert(new("alpha")).await;
    let batch = Batch {
        changes: vec![ended(fired(&done), Outcome::Succeeded)],
        look: Some(Look { list_triggering: true, ..look(all()) }),
        ..Batch::default()
    };
    let committed = table.store().commit(batch).await.unwrap();
    assert_eq!(committed.triggering, [old.invocation.id]);
    assert_eq!(committed.intended.len(), 1);
    assert_eq!(see(table.store(), look(all())).await.triggering, [] as [i64; 0], "nobody asked");
}

async fn a_commit_of_others_is_told_until_a_survey_and_own_ones_are_not<T: Table>() {
    let table = started::<T>().await;
    let store = table.store();
    let narrow = || Look { survey: false, ..look(vec![want("alpha", 0, 100)]) };
    assert!(store.changed().await.unwrap(), "nothing was surveyed yet");
    see(store, look(all())).await;
    assert!(!store.changed().await.unwrap());

    table.insert(new("alpha")).await;
    assert!(store.changed().await.unwrap());
    let committed = see(store, narrow()).await;
    assert!(committed.foreign && store.changed().await.unwrap(), "a look is no survey");
    assert!(see(store, look(all())).await.foreign);
    assert!(!store.changed().await.unwrap());

    let next = fired(&committed.intended[0]);
    change(store, vec![ended(next, Outcome::Succeeded)]).await;
    store
        .commit(Batch { sign: Some(Sign { now: NOW, ready: true, stopped: false }), ..Batch::default() })
        .await
        .unwrap();
    assert!(!store.changed().await.unwrap());
    assert!(!see(store, narrow()).await.foreign);
}

async fn a_commit_of_others_gives_a_hint<T: Table>() {
    let table = started::<T>().await;
    see(table.store(), look(all())).await;
    let id = table.insert(new("alpha")).await;
    // Hints may be of something older, or too early: the first one by which the change can be seen counts.
    loop {
        table.store().hint().await;
        if table.store().changed().await.unwrap() {
            break;
        }
    }
    assert_eq!(ids(&see(table.store(), look(all())).await.intended), [id]);
}

async fn rows_are_read_by_id_and_those_that_are_gone_are_left_out<T: Table>() {
    let table = started::<T>().await;
    let pending = table.insert(New { arguments: r#"{"a":1}"#, run_at: at(9000), ..new("beta") }).await;
    let polled = polling(&table, at(3000)).await;
    let gone = intended(&table, new("alpha")).await;
    change(table.store(), vec![ended(fired(&gone), Outcome::Succeeded)]).await;
    table.delete(gone.invocation.id).await;
    let rows =
        table.store().load(vec![polled.id, gone.invocation.id, 4711, pending], NOW).await.unwrap().rows;
    assert_eq!(ids(&rows), [polled.id, pending]);
    let stored = table.read(polled.id).await;
    let expected = Invocation { started_at: stored.started_at, deadline_at: stored.deadline_at, ..polled };
    assert_eq!(rows[0].invocation, expected);
    assert_eq!((rows[0].trigger_name.as_str(), rows[0].due_at), ("alpha", Some(at(3000))));
    assert_eq!((rows[1].request.arguments.as_str(), rows[1].due_at), (r#"{"a":1}"#, None));
    assert_eq!(table.store().load(Vec::new(), NOW).await.unwrap().rows, []);
}

async fn a_daemon_is_ready_once_it_has_said_so_and_only_until_the_next_start<T: Table>() {
    let table = started::<T>().await;
    let sign =
        async |ready| Batch { sign: Some(Sign { now: NOW, ready, stopped: false }), ..Batch::default() };
    table.store().commit(sign(false).await).await.unwrap();
    assert!(!table.is_ready().await);
    table.store().commit(sign(true).await).await.unwrap();
    table.store().commit(sign(false).await).await.unwrap();
    assert!(table.is_ready().await);
    assert!(!table.is_stopped().await);
    let last = Some(Sign { now: NOW, ready: false, stopped: true });
    table.store().commit(Batch { sign: last, ..Batch::default() }).await.unwrap();
    assert!(table.is_stopped().await);
    table.store().start(triggers(), at(1)).await.unwrap();
    assert!(!table.is_ready().await && !table.is_stopped().await);
}

async fn what_has_ended_is_deleted_once_its_time_is_over<T: Table>() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let table = started::<T>().await;
    let mut finished = Vec::new();
    for outcome in Outcome::ALL {
        let row = intended(&table, new("alpha")).await;
        let done = Change { output: Some(output(b"x")), ..ended(fired(&row), outcome) };
        assert_eq!(change(table.store(), vec![done]).await, [] as [i64; 0]);
        finished.push(row.invocation.id);
    }
    let unfinished = [
        table.insert(new("alpha")).await,
        intended(&table, new("beta")).await.invocation.id,
        polling(&table, at(3000)).await.id,
    ];
    let left = async || {
        let rows = table.store().load([&finished[..], &unfinished[..]].concat(), NOW).await.unwrap().rows;
        let (ended, open): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| matches!(row.invocation.phase, Phase::Finished(_)));
        assert_eq!(open.len(), unfinished.len(), "what has not ended stays");
        ended.iter().map(|row| row.invocation.phase.as_str()).collect::<Vec<_>>()
    };
    let over = UnixMillis(at(50).0).plus(DAY);
    let keep = Retention::default();
    let prune = async |retention| table.store().prune(retention, over, PRUNED_AT_ONCE).await.unwrap().rows;
    assert_eq!(prune(keep).await, 0, "without a limit all is kept");
    let all = Retention {
        succeeded: Some(DAY),
        dispatched: Some(DAY),
        others: Some(DAY),
        uncertain: Some(DAY),
        outputs: Some(DAY),
    };
    let early = UnixMillis(over.0 - 1);
    assert_eq!(table.store().prune(all, early, PRUNED_AT_ONCE).await.unwrap().rows, 0, "not before its time");

    assert_eq!(prune(Retention { outputs: Some(DAY), ..keep }).await, 7);
    assert_eq!(table.read(finished[0]).await.output, None);
    assert_eq!(left().await.len(), 7);
    assert_eq!(prune(Retention { succeeded: Some(DAY), ..keep }).await, 1);
    assert_eq!(prune(Retention { dispatched: Some(DAY), ..keep }).await, 1);
    assert_eq!(left().await, ["failed", "rejected", "expired", "cancelled", "uncertain"]);
    assert_eq!(prune(Retention { others: Some(DAY), ..keep }).await, 4);
    assert_eq!(left().await, ["uncertain"], "it waits for an operator");
    assert_eq!(prune(all).await, 1);
    assert_eq!(left().await, [] as [&str; 0]);
}

async fn what_was_committed_is_there_after_a_restart<T: Table>() {
    let table = started::<T>().await;
    let row = intended(&table, new("alpha")).await;
    let done = Change {
        attempt: Some(firing(AttemptOutcome::Answered)),
        output: Some(output(b"\xff\x00")),
        ..ended(fired(&row), Outcome::Failed)
    };
    change(table.store(), vec![done]).await;
    let polled = polling(&table, at(3000)).await;
    let all_ids = [row.invocation.id, polled.id];
    let before = (table.read(all_ids[0]).await, table.read(all_ids[1]).await);
    let loaded = table.store().load(all_ids.to_vec(), NOW).await.unwrap().rows;
    assert_eq!(loaded.len(), 2);
    let table = table.reopen().await;
    assert_eq!((table.read(all_ids[0]).await, table.read(all_ids[1]).await), before);
    assert_eq!(table.store().load(all_ids.to_vec(), NOW).await.unwrap().rows, loaded);
}
