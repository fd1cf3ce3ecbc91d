//! One row taken up: ask the rules, store what they say, act on it when it is stored.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::{AbortHandle, JoinError};
use url::Url;

use super::breaker::{News, Ticket, Turn};
use super::lanes::{Lanes, Seat};
use super::{Dispatcher, Exchanged};
use crate::client::{Admission, Client, Departure, Order, Wish};
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{Action, AttemptEnd, Break, Call, Code, Context, Event, Outcome, Phase, Step, step};
use crate::queue::{Change, Polled, Return, Store, Taken};
use crate::request::{CallMode, Request};
use crate::trigger::Trigger;

/// An exchange that is cut short by the deadline still gets this long.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// A row in the hands of the engine: queued, on the wire, or on its way into the table.
pub(super) struct Flight {
    trigger: Arc<Trigger>,
    pub(super) row: Taken,
    request: Arc<Request>,
    /// The row as it was before its intent, while it is being fired.
    pub(super) before: Option<Box<Taken>>,
    /// Whether the row is on its trigger's count of those with the far end; one that ends unfired is not.
    pub(super) counted: bool,
    /// The place of a firing, until its end is stored.
    pub(super) place: Option<Seat>,
    /// Where the flight record has its firing, until the end of that is stored.
    pub(super) slot: Option<usize>,
    /// Its firing, to the breaker of the origin, from when it leaves.
    ticket: Option<Ticket>,
    pub(super) stage: Stage,
}

impl Flight {
    /// Whether it is a firing whose end is not known.
    fn is_firing(&self) -> bool {
        self.before.is_some() && !matches!(self.stage, Stage::Storing(_))
    }
}

pub(super) enum Stage {
    /// Waits for its turn.
    Queued(Call),
    /// On the wire.
    Sent { seat: Seat, asked_at: UnixMillis, abort: AbortHandle },
    /// In the next commit, or in the one under way; then this.
    Storing(Action),
}

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// Starts what may start.
    pub(super) fn start_exchanges(&mut self, now: UnixMillis) {
        if self.is_swamped() {
            return;
        }
        while let Some((id, seat)) = self.lanes.next(now) {
            self.start_exchange(id, seat);
        }
    }

    fn start_exchange(&mut self, id: i64, seat: Seat) {
        let now = self.clock.now();
        let Some(flight) = self.flights.get_mut(&id) else {
            self.lanes.leave(seat);
            return;
        };
        let Stage::Queued(call) = &flight.stage else {
            self.lanes.leave(seat);
            return;
        };
        let call = call.clone();
        // Its deadline counts from its firing, but may have passed in the queue.
        let invocation = &flight.row.invocation;
        if flight.before.is_some() && (invocation.is_late(now) || invocation.is_stale(now)) {
            self.lanes.leave(seat);
            return self.take_back(id);
        }
        let lane = matches!(call, Call::Fire)
            .then(|| self.lanes.seat(&flight.trigger.origin(), &flight.trigger.name).lane);
        if lane.is_some_and(|lane| !self.breakers.admits(lane, id, now)) {
            self.lanes.leave(seat);
            return self.fire_later(id, now);
        }
        let gated = !matches!(call, Call::Ask { credential: false, .. });
        if gated && let Admission::Shut { until, code } = self.client.admission(&flight.trigger, now) {
            self.lanes.leave(seat);
            return self.shut_out(id, until, code);
        }
        let invocation = &flight.row.invocation;
        let (wish, timeout) = match &call {
            Call::Fire => {
                let key = format!(
                    "{}-{}-{}-{}",
                    self.instance_id, id, flight.request.created_at.0, invocation.round
                );
                let call_mode = invocation.firing_mode(&flight.trigger);
                let slot = *flight.slot.get_or_insert_with(|| self.slots.take());
                let (store, attempt) = (self.store.clone(), invocation.attempt);
                let departure =
                    Departure::new(move || store.note_firing(slot, id, attempt).map_err(io::Error::other));
                let request = Arc::clone(&flight.request);
                let wish = Wish::Fire { request, call_mode, idempotency_key: key, departure };
                (wish, flight.trigger.response_timeout)
            }
            Call::Ask { url, credential, .. } => {
                let left = invocation.time_left(now).unwrap_or(Duration::MAX).max(LEAST_TIMEOUT);
                let wish = Wish::Ask { url: url.clone(), credential: *credential };
                (wish, flight.trigger.response_timeout.min(left))
            }
        };
        let order = Order { trigger: Arc::clone(&flight.trigger), wish, timeout };
        let client = self.client.clone();
        let abort = self.exchanges.spawn(async move {
            let exchange = AssertUnwindSafe(client.exchange(order)).catch_unwind();
            let result = exchange.await.unwrap_or_else(|_| {
                Err(Break::MaybeSent {
                    code: Code::ConnectionLost,
                    why: "the exchange failed within".to_owned(),
                })
            });
            (id, result)
        });
        flight.ticket = lane.map(|lane| self.breakers.begin(lane, id, now));
        flight.stage = Stage::Sent { seat, asked_at: now, abort };
    }

    /// Breakers whose probe has come to nothing wait for another one.
    pub(super) fn forget_probes(&mut self) {
        self.breakers.forget_probes(|id| self.flights.get(&id).is_some_and(Flight::is_firing));
    }

    /// A firing that must not leave now: it goes back to where it came from.
    fn fire_later(&mut self, id: i64, now: UnixMillis) {
        if let Some(flight) = self.flights.get(&id) {
            self.intake.pending_again(&flight.row.trigger_name, &flight.row.invocation, now, now);
        }
        self.give_up_turn(id);
    }

    /// The credential is refused or missing: nothing is sent. A firing goes back; a poll waits.
    fn shut_out(&mut self, id: i64, until: UnixMillis, code: Code) {
        let now = self.clock.now();
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if flight.before.is_some() {
            return self.fire_later(id, now);
        }
        if flight.row.invocation.is_late(now) {
            let why = "the credential was refused or cannot be had, and the deadline has passed".to_owned();
            return self.advance(id, Event::Broke(Break::NotSent { code, why }), now);
        }
        let until = flight.row.invocation.deadline_at.map_or(until, |deadline| deadline.min(until));
        self.flights.remove(&id);
        self.waiting.push(id, until.max(UnixMillis(now.0 + 1)));
        self.waiting.park(id);
    }

    /// An exchange ended.
    pub(super) fn exchanged(&mut self, done: Result<Exchanged, JoinError>) {
        // An error is one of the exchanges that we hung up on; its flight is gone.
        let Ok((id, result)) = done else { return };
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Stage::Sent { seat, asked_at, .. } = flight.stage else { return };
        self.lanes.leave(seat);
        let event = match result {
            Ok(reply) => Event::Replied(reply),
            Err(broke) => Event::Broke(broke),
        };
        self.advance(id, event, asked_at);
    }

    /// An event for a row in flight: decide, and store or act.
    fn advance(&mut self, id: i64, event: Event, asked_at: UnixMillis) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let now = self.clock.now();
        let cx = Context { now, asked_at, chance: fastrand::f64(), trigger: &flight.trigger };
        let before = flight.row.invocation.clone();
        let stepped = match step(&before, event, &cx) {
            Ok(stepped) => stepped,
            Err(e) => {
                tracing::error!(request.id = id, error = %e, "request {id}: {e}");
                self.lost.insert(id, (Some(before.attempt), flight.slot));
                self.drop_flight(id);
                return;
            }
        };
        report(&flight.row, &stepped);
        let mut paused = None;
        if let (Some(ticket), Some(end)) = (flight.ticket.take(), &stepped.attempt) {
            let name = &flight.row.trigger_name;
            let newest = self.intake.trigger(name);
            let most = newest.as_ref().unwrap_or(&flight.trigger).pause_after_refusals;
            let count = (ticket.serial, self.breakers.begun());
            if let Some(why) = self.refusals.end((name, most), count, &stepped.next, end) {
                tracing::warn!(trigger.name = %name, refusals = most, "the trigger {name} is {why}");
                paused = Some(name.clone());
            }
            let origin = || flight.trigger.origin();
            if let Some(turn) = self.breakers.end(ticket, News::of(end), origin, now) {
                self.board.broke();
                tell_breaker(&turn, end, now);
            }
        }
        let Step { next, action, attempt, output, .. } = stepped;
        flight.row.invocation = next.clone();
        let narrow = attempt.is_none()
            && next.phase == before.phase
            && next.status_uri == before.status_uri
            && next.trouble.as_ref().map(|t| t.code) == before.trouble.as_ref().map(|t| t.code);
        match action {
            Action::Await => {}
            Action::Call(Call::Ask { .. }) if narrow => self.act(id, action),
            Action::Snooze(due_at) if narrow => {
                self.waiting.note(Polled { next, due_at }, now);
                self.act(id, action);
            }
            action => {
                let due_at = match action {
                    Action::Snooze(at) => Some(at),
                    Action::Call(Call::Ask { .. }) => Some(now),
                    Action::Call(Call::Fire) | Action::Await | Action::Finish => None,
                };
                // In their order also where the clock was set back in between.
                let last = next.accepted_at.or(next.started_at);
                let finished_at =
                    matches!(next.phase, Phase::Finished(_)).then(|| last.map_or(now, |last| last.max(now)));
                self.waiting.forget(id);
                let from = before.phase.as_str();
                self.changes.push(Change { from, next, due_at, finished_at, attempt, output });
                flight.stage = Stage::Storing(action);
            }
        }
        if let Some(name) = paused {
            self.take_back_all(&name);
        }
    }

    /// The trigger is being paused: nothing of it leaves any more.
    fn take_back_all(&mut self, trigger: &str) {
        let is_queued = |flight: &Flight| {
            flight.row.trigger_name == trigger
                && flight.before.is_some()
                && matches!(flight.stage, Stage::Queued(_))
        };
        let ids: Vec<i64> =
            self.flights.iter().filter(|(_, flight)| is_queued(flight)).map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up_turn(id);
        }
    }

    /// What was decided is stored, or needs no storing.
    pub(super) fn act(&mut self, id: i64, action: Action) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        match action {
            Action::Call(Call::Ask { .. }) if self.intake.trigger(&flight.row.trigger_name).is_none() => {
                self.flights.remove(&id);
                self.waiting.park(id);
            }
            Action::Call(call) if self.stopping.is_none() => {
                if let (Call::Ask { .. }, Some(newest)) =
                    (&call, self.intake.trigger(&flight.row.trigger_name))
                {
                    flight.trigger = newest;
                }
                let name = &flight.trigger.name;
                let seat = match (&call, flight.place) {
                    (Call::Ask { url, held, .. }, _) => ask_seat(&mut self.lanes, name, url, *held),
                    (Call::Fire, Some(place)) => place,
                    (Call::Fire, None) => self.lanes.held_seat(name),
                };
                let firing = call == Call::Fire;
                flight.stage = Stage::Queued(call);
                self.lanes.queue(id, seat, firing);
            }
            Action::Snooze(at) => {
                let forbidden =
                    flight.row.invocation.trouble.as_ref().map(|t| t.code) == Some(Code::ForbiddenOrigin);
                if flight.row.invocation.phase == Phase::Pending {
                    let (name, row) = (&flight.row.trigger_name, &flight.row.invocation);
                    self.intake.pending_again(name, row, at, self.clock.now());
                    if flight.counted {
                        self.board.leave(name);
                    }
                } else {
                    self.waiting.push(id, at);
                    if forbidden {
                        self.waiting.park(id);
                    }
                }
                self.flights.remove(&id);
            }
            Action::Finish => {
                if flight.row.invocation.phase == Phase::Finished(Outcome::Uncertain) {
                    self.board.doubt();
                }
                self.drop_flight(id);
            }
            Action::Call(_) | Action::Await => {
                self.flights.remove(&id);
            }
        }
    }

    /// A row that leaves the hands of the engine for good.
    pub(super) fn drop_flight(&mut self, id: i64) {
        if let Some(flight) = self.flights.remove(&id) {
            if let Some(place) = flight.place {
                self.lanes.free_place(place);
            }
            if flight.counted {
                self.board.leave(&flight.row.trigger_name);
            }
        }
    }

    /// A row that is now `triggering`: to be fired. `now` is when it was looked at: its round began then, as the table has it, and
    /// so did its deadline, whatever the clock says since.
    pub(super) fn fire(&mut self, row: Taken, trigger: Arc<Trigger>, now: UnixMillis) {
        let id = row.invocation.id;
        let cx = Context { now, asked_at: now, chance: 0.0, trigger: &trigger };
        let Ok(Step { next, action: Action::Call(Call::Fire), .. }) = step(&row.invocation, Event::Due, &cx)
        else {
            // It expired between the look and now. It goes back, and the survey in the same commit ends it.
            self.returned.push(Return { before: row.invocation, due_at: row.due_at, unsent: None });
            return self.intake.survey_soon();
        };
        let origin = self.lanes.seat(&trigger.origin(), &trigger.name);
        let place = match next.firing_mode(&trigger) {
            CallMode::LongPolling => self.lanes.held_seat(&trigger.name),
            CallMode::AsyncRequestReply | CallMode::FireAndForget => origin,
        };
        self.lanes.take_place(place);
        self.breakers.intend(origin.lane, id, now);
        self.board.enter(&row.trigger_name);
        tracing::debug!(
            request.id = id, trigger.name = %trigger.name, attempt = next.attempt,
            "request {id} ({}): to be fired", trigger.name
        );
        let request = Arc::new(row.request.clone());
        let mut fired = row.clone();
        fired.invocation = next;
        let flight = Flight {
            trigger,
            row: fired,
            request,
            before: Some(Box::new(row)),
            counted: true,
            place: Some(place),
            slot: None,
            ticket: None,
            stage: Stage::Queued(Call::Fire),
        };
        self.find(id);
        self.flights.insert(id, flight);
        self.lanes.queue(id, place, true);
    }

    /// A row whose poll is due.
    pub(super) fn follow(&mut self, row: Taken) {
        let id = row.invocation.id;
        let Some(trigger) = self.intake.trigger(&row.trigger_name) else {
            self.waiting.park(id);
            return;
        };
        if let Phase::Polling(url) | Phase::Collecting(url) = &row.invocation.phase
            && trigger.allows(url)
        {
            let seat = ask_seat(&mut self.lanes, &trigger.name, url, row.invocation.is_held());
            if self.lanes.is_full(seat) {
                return self.lanes.put_aside(id, seat);
            }
        }
        self.take(row, trigger);
        let now = self.clock.now();
        self.advance(id, Event::Due, now);
    }

    /// A row to be decided on although no exchange of its own is under way: its end is due, or its firing was interrupted.
    pub(super) fn judge(&mut self, row: Taken, event: Event) {
        let id = row.invocation.id;
        // Rows of a trigger that left the configuration may end, but nothing is sent for them.
        let trigger =
            self.intake.trigger(&row.trigger_name).unwrap_or_else(|| Arc::new(absent(&row.trigger_name)));
        self.take(row, trigger);
        let now = self.clock.now();
        self.advance(id, event, now);
    }

    fn take(&mut self, row: Taken, trigger: Arc<Trigger>) {
        let request = Arc::new(row.request.clone());
        let stage = Stage::Storing(Action::Await);
        let id = row.invocation.id;
        let counted = row.invocation.phase != Phase::Pending;
        self.waiting.remove(id);
        if self.find(id) && counted {
            self.board.enter(&row.trigger_name);
        }
        let (place, slot, ticket) = (None, None, None);
        let flight = Flight { trigger, row, request, before: None, counted, place, slot, ticket, stage };
        self.flights.insert(id, flight);
    }

    /// What is known of the row now is newer than what a read under way will tell. Whether it was to be read because a
    /// write of ours had found it changed; it is off its trigger's count then.
    pub(super) fn find(&mut self, id: i64) -> bool {
        self.reading.remove(&id);
        let Some(count) = self.astray.remove(&id) else { return false };
        if let Some(name) = count {
            self.board.leave(&name);
        }
        true
    }
}

fn ask_seat(lanes: &mut Lanes, trigger: &str, url: &Url, held: bool) -> Seat {
    if held { lanes.held_seat(trigger) } else { lanes.seat(&url.origin().ascii_serialization(), trigger) }
}

/// What stands in for a trigger that is not configured any more: nothing is sent to it.
fn absent(name: &str) -> Trigger {
    Trigger::new(name, Url::parse("http://not-configured.invalid/").expect("it is a URL"))
}

/// One line for each turn of a breaker.
fn tell_breaker(turn: &Turn, end: &AttemptEnd, now: UnixMillis) {
    let code = end.trouble.as_ref().map_or("", |trouble| trouble.code.as_str());
    match turn {
        Turn::Opened { origin, failures, until } => {
            let wait_ms = until.since(now).as_millis();
            tracing::warn!(
                breaker.origin = %origin, failures, code, http.status = end.http_status, retry_in_ms = wait_ms,
                "{failures} firings in a row at {origin} were not answered well (last: {code}): fires nothing there, first probe \
                 in {wait_ms} ms"
            );
        }
        Turn::Failed { origin, until } => {
            let wait_ms = until.since(now).as_millis();
            tracing::info!(
                breaker.origin = %origin, code, http.status = end.http_status, retry_in_ms = wait_ms,
                "the probe at {origin} was not answered well ({code}): next probe in {wait_ms} ms"
            );
        }
        Turn::Closed { origin } => {
            tracing::info!(breaker.origin = %origin, "{origin} answers again: fires there again");
        }
    }
}

/// One line for each change of state.
fn report(row: &Taken, step: &Step) {
    let (id, trigger) = (row.invocation.id, &row.trigger_name);
    if let Some(warning) = step.warning {
        tracing::warn!(request.id = id, trigger.name = %trigger, "request {id} ({trigger}): {warning}");
    }
    let (from, to) = (row.invocation.phase.as_str(), step.next.phase.as_str());
    if from == to {
        tracing::debug!(request.id = id, trigger.name = %trigger, state = to, "request {id} ({trigger}): {}", step.reason);
        return;
    }
    let code = step.next.trouble.as_ref().map_or("", |t| t.code.as_str());
    let message = step.next.trouble.as_ref().map_or("", |t| t.message.as_str());
    if step.next.phase == Phase::Finished(Outcome::Uncertain) {
        tracing::warn!(
            request.id = id, trigger.name = %trigger, attempt = step.next.attempt, state.from = from, state.to = to, code,
            http.status = step.next.http_status,
            "request {id} ({trigger}) is uncertain ({code}): {message}"
        );
    } else {
        tracing::info!(
            request.id = id, trigger.name = %trigger, attempt = step.next.attempt, state.from = from, state.to = to, code,
            http.status = step.next.http_status,
            "request {id} ({trigger}): {from} to {to}, {}", step.reason
        );
    }
}
