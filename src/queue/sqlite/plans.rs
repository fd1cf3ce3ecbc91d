//! The schedules and calendars of the configuration become rows, which look like those that SQL inserts.
//!
//! A row that says already what the configuration says is not touched, so that a start or a reload changes nothing that the
//! scheduler has settled. In the schema, a `revision` that counts up is what tells this program's changes from those of others.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::statements::{
    PLANS_ADJUST, PLANS_CALENDAR_CHANGE, PLANS_CALENDAR_DELETE, PLANS_CALENDAR_INSERT, PLANS_CALENDAR_LEAVE,
    PLANS_CHANGE, PLANS_DATES_DELETE, PLANS_DATES_INSERT, PLANS_INSERT, PLANS_LEAVE, json,
};
use crate::clock::UnixMillis;
use crate::schedule::{CalendarPlan, Plan, Plans};

/// A schedule as the statements read it: by the names of its columns.
#[derive(Serialize)]
struct ScheduleRow<'p> {
    name: &'p str,
    trigger_name: &'p str,
    arguments: &'p str,
    call_mode: Option<&'static str>,
    priority: i64,
    expression: &'p str,
    time_zone: &'p str,
    calendar: Option<&'p str>,
    on_excluded: &'static str,
    starts_at: Option<UnixMillis>,
    ends_at: Option<UnixMillis>,
    overlap: &'static str,
    misfire: &'static str,
    catch_up_window: i64,
    max_catch_up: u32,
    dst_gap: &'static str,
    dst_overlap: &'static str,
    jitter: i64,
    disable_after_launches: Option<u32>,
    disable_after_faults: Option<u32>,
    disable_grace: i64,
    description: Option<&'p str>,
}

impl<'p> From<&'p Plan> for ScheduleRow<'p> {
    fn from(plan: &'p Plan) -> Self {
        let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self {
            name: &plan.name,
            trigger_name: &plan.trigger_name,
            arguments: &plan.arguments,
            call_mode: plan.call_mode.map(crate::request::CallMode::as_str),
            priority: plan.priority,
            expression: &plan.expression,
            time_zone: &plan.time_zone,
            calendar: plan.calendar.as_deref(),
            on_excluded: plan.on_excluded.as_str(),
            starts_at: plan.starts_at,
            ends_at: plan.ends_at,
            overlap: plan.overlap.as_str(),
            misfire: plan.misfire.as_str(),
            catch_up_window: ms(plan.catch_up_window),
            max_catch_up: plan.max_catch_up,
            dst_gap: plan.dst_gap.as_str(),
            dst_overlap: plan.dst_overlap.as_str(),
            jitter: ms(plan.jitter),
            disable_after_launches: plan.disable_after_launches,
            disable_after_faults: plan.disable_after_faults,
            disable_grace: ms(plan.disable_grace),
            description: plan.description.as_deref(),
        }
    }
}

/// A calendar without its dates.
#[derive(Serialize)]
struct CalendarRow<'p> {
    name: &'p str,
    time_zone: Option<&'p str>,
    description: Option<&'p str>,
}

impl<'p> From<&'p CalendarPlan> for CalendarRow<'p> {
    fn from(plan: &'p CalendarPlan) -> Self {
        Self {
            name: &plan.name,
            time_zone: plan.time_zone.as_deref(),
            description: plan.description.as_deref(),
        }
    }
}

/// Makes the tables `schedules`, `calendars` and `calendar_dates` say what the configuration says. Within a transaction that was
/// begun to write, after the triggers are registered: a schedule names one.
pub(super) async fn register_plans(
    c: &mut SqliteConnection,
    plans: &Plans,
    now: UnixMillis,
) -> Result<(), sqlx::Error> {
    let calendars = json(&plans.calendars.iter().map(CalendarRow::from).collect::<Vec<_>>());
    let calendar_names = json(&plans.calendars.iter().map(|plan| &plan.name).collect::<Vec<_>>());
    let dates: Vec<_> = plans
        .calendars
        .iter()
        .flat_map(|plan| plan.dates.iter().map(|date| (&plan.name, date.to_string())))
        .collect();
    let dates = json(&dates);
    let schedules = json(&plans.schedules.iter().map(ScheduleRow::from).collect::<Vec<_>>());
    let names = json(&plans.schedules.iter().map(|plan| &plan.name).collect::<Vec<_>>());

    // Calendars before the schedules that name them, and the other way round where they go.
    sqlx::query(PLANS_CALENDAR_CHANGE).bind(calendars.clone()).execute(&mut *c).await?;
    sqlx::query(PLANS_CALENDAR_INSERT).bind(calendars).execute(&mut *c).await?;
    sqlx::query(PLANS_CHANGE).bind(schedules.clone()).bind(now.0).execute(&mut *c).await?;
    sqlx::query(PLANS_ADJUST).bind(schedules.clone()).execute(&mut *c).await?;
    sqlx::query(PLANS_INSERT).bind(schedules).bind(now.0).execute(&mut *c).await?;
    sqlx::query(PLANS_LEAVE).bind(names).execute(&mut *c).await?;
    for row in sqlx::query(PLANS_CALENDAR_LEAVE).bind(calendar_names.clone()).fetch_all(&mut *c).await? {
        let name: String = row.try_get(0)?;
        tracing::info!(
            "calendar {name} has left the configuration; its row stays, and is yours to change, since a schedule names it"
        );
    }
    sqlx::query(PLANS_DATES_DELETE).bind(dates.clone()).execute(&mut *c).await?;
    sqlx::query(PLANS_DATES_INSERT).bind(dates).execute(&mut *c).await?;
    sqlx::query(PLANS_CALENDAR_DELETE).bind(calendar_names).execute(&mut *c).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::civil::{Date, date};
    use sqlx::{AssertSqlSafe, Connection as _};
    use url::Url;

    use super::super::{Options, migrate};
    use super::*;
    use crate::request::CallMode;
    use crate::schedule::{DstGap, DstOverlap, Misfire, OnExcluded, Overlap};
    use crate::trigger::Trigger;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const LATER: UnixMillis = UnixMillis(1_800_000_600_000);

    struct Place {
        c: SqliteConnection,
        _folder: tempfile::TempDir,
    }

    impl Place {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
            let trigger =
                |name: &str| Arc::new(Trigger::new(name, Url::parse("https://a.example/").unwrap()));
            migrate(&options, &[trigger("t"), trigger("u")]).await.unwrap();
            let c = SqliteConnection::connect_with(&options.writing()).await.unwrap();
            Self { c, _folder: folder }
        }

        async fn run(&mut self, sql: impl Into<String>) {
            sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut self.c).await.unwrap();
        }

        async fn register(&mut self, plans: &Plans, now: UnixMillis) {
            let mut tx = self.c.begin_with("BEGIN IMMEDIATE").await.unwrap();
            register_plans(&mut tx, plans, now).await.unwrap();
            tx.commit().await.unwrap();
        }

        /// The rows of a query as texts, parts with | between.
        async fn see(&mut self, sql: &str) -> Vec<String> {
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.c).await.unwrap();
            let cell = |row: &sqlx::sqlite::SqliteRow, n| row.get_unchecked::<Option<String>, _>(n);
            let line = |row: &sqlx::sqlite::SqliteRow| {
                (0..row.len()).map(|n| cell(row, n).unwrap_or("-".to_owned())).collect::<Vec<_>>().join("|")
            };
            rows.iter().map(line).collect()
        }

        /// All of both tables.
        async fn everything(&mut self) -> Vec<String> {
            let mut all = self.see("SELECT * FROM schedules").await;
            all.extend(self.see("SELECT * FROM calendars").await);
            all.extend(self.see("SELECT * FROM calendar_dates").await);
            all
        }

        /// What the scheduler does when it has looked at all of it.
        async fn settled(&mut self) {
            self.run(
                "UPDATE schedules SET revision = revision + 1, words = 'w', last_at = 1799999999000, next_at = 1800003600000,
                   look_at = 1800003600000, last_request_id = 7, failed_launches = 2, launched_at = 5, faults = 3, well_at = 6;
                 UPDATE calendars SET seen_revision = revision",
            )
            .await;
        }
    }

    fn plan(name: &str) -> Plan {
        Plan::new(name, "t", "0 3 * * *", "Europe/Berlin")
    }

    fn full() -> Plan {
        Plan {
            arguments: r#"{"a":"x\u0000y","b":[1.5,null]}"#.to_owned(),
            call_mode: Some(CallMode::LongPolling),
            priority: -7,
            calendar: Some("c".to_owned()),
            on_excluded: OnExcluded::NextWorkingDay,
            starts_at: Some(UnixMillis(1_700_000_000_000)),
            ends_at: Some(UnixMillis(1_900_000_000_000)),
            overlap: Overlap::CancelRunning,
            misfire: Misfire::RunAll,
            catch_up_window: Duration::from_secs(60),
            max_catch_up: 3,
            dst_gap: DstGap::Skip,
            dst_overlap: DstOverlap::Both,
            jitter: Duration::from_millis(1500),
            disable_after_launches: Some(4),
            disable_after_faults: Some(5),
            disable_grace: Duration::from_secs(1),
            description: Some("d".to_owned()),
            ..plan("full")
        }
    }

    fn calendar(name: &str, dates: &[Date]) -> CalendarPlan {
        CalendarPlan {
            name: name.to_owned(),
            time_zone: None,
            description: None,
            dates: dates.iter().copied().collect(),
        }
    }

    fn plans(schedules: &[Plan], calendars: &[CalendarPlan]) -> Plans {
        Plans { schedules: schedules.to_vec(), calendars: calendars.to_vec() }
    }

    const DEFINITION: &str = "SELECT name, trigger_name, arguments, call_mode, priority, expression, time_zone, calendar, on_excluded,
        starts_at, ends_at, overlap, misfire, catch_up_window, max_catch_up, dst_gap, dst_overlap, jitter, disable_after_launches,
        disable_after_faults, disable_grace, description FROM schedules ORDER BY name";
    const STATE: &str = "SELECT name, owner, active, last_at, next_at, look_at, words, created_at FROM schedules ORDER BY name";

    #[tokio::test]
    async fn all_that_a_plan_says_is_in_its_row() {
        let mut place = Place::new().await;
        let calendar = CalendarPlan {
            time_zone: Some("Asia/Tokyo".to_owned()),
            description: Some("h".to_owned()),
            ..calendar("c", &[date(2026, 12, 25), date(2027, 1, 1)])
        };
        place.register(&plans(&[full(), plan("plain")], &[calendar]), NOW).await;
        assert_eq!(
            place.see(DEFINITION).await,
            [
                r#"full|t|{"a":"x\u0000y","b":[1.5,null]}|LongPolling|-7|0 3 * * *|Europe/Berlin|c|next_working_day|1700000000000|1900000000000|cancel_running|run_all|60000|3|skip|both|1500|4|5|1000|d"#,
                "plain|t|{}|-|0|0 3 * * *|Europe/Berlin|-|skip|-|-|skip|run_once|3600000|100|run_after|first|0|-|-|86400000|-",
            ]
        );
        assert_eq!(
            place.see(STATE).await,
            ["full|configuration|1|-|-|0|-|1800000000000", "plain|configuration|1|-|-|0|-|1800000000000"]
        );
        assert_eq!(
            place
                .see("SELECT name, time_zone, description, owner, revision > seen_revision FROM calendars")
                .await,
            ["c|Asia/Tokyo|h|configuration|1"]
        );
        assert_eq!(place.see("SELECT * FROM calendar_dates").await, ["c|2026-12-25", "c|2027-01-01"]);
        // The defaults are those of the table.
        place.run("INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES ('sql', 't', '0 3 * * *', 'Europe/Berlin')").await;
        let rows = place.see(DEFINITION).await;
        assert_eq!(rows[1].replacen("plain", "sql", 1), rows[2]);
    }

    #[tokio::test]
    async fn what_is_the_same_is_not_touched() {
        let mut place = Place::new().await;
        let both = plans(&[full(), plan("plain")], &[calendar("c", &[date(2026, 12, 25)])]);
        place.register(&both, NOW).await;
        place.settled().await;
        place.run("UPDATE schedules SET paused = 1, paused_reason = 'x' WHERE name = 'plain'").await;
        let before = place.everything().await;
        place.register(&both, LATER).await;
        assert_eq!(place.everything().await, before);
    }

    #[tokio::test]
    async fn what_fires_something_else_or_at_another_time_counts_from_now_on() {
        let changes: [fn(&mut Plan); 13] = [
            |plan| plan.trigger_name = "u".to_owned(),
            |plan| plan.arguments = "{\"a\":2}".to_owned(),
            |plan| plan.call_mode = None,
            |plan| plan.priority = 1,
            |plan| plan.expression = "@daily".to_owned(),
            |plan| plan.time_zone = "UTC".to_owned(),
            |plan| plan.calendar = None,
            |plan| plan.on_excluded = OnExcluded::Skip,
            |plan| plan.starts_at = None,
            |plan| plan.ends_at = None,
            |plan| plan.dst_gap = DstGap::RunAfter,
            |plan| plan.dst_overlap = DstOverlap::First,
            |plan| plan.jitter = Duration::ZERO,
        ];
        let calendars = [calendar("c", &[])];
        let mut place = Place::new().await;
        for change in changes {
            place.register(&plans(&[full()], &calendars), NOW).await;
            place.settled().await;
            place.run("UPDATE schedules SET paused = 1, paused_reason = 'x', problem = 'p', revision = revision + 1").await;
            let mut changed = full();
            change(&mut changed);
            place.register(&plans(std::slice::from_ref(&changed), &calendars), LATER).await;
            assert_eq!(
                place.see(STATE).await,
                ["full|configuration|1|1800000600000|-|0|-|1800000000000"],
                "{changed:?}"
            );
            let kept = "SELECT problem, paused, paused_reason, last_request_id, failed_launches, launched_at, faults, well_at FROM schedules";
            assert_eq!(place.see(kept).await, ["-|1|x|7|2|5|3|6"]);
            let row = place.see(DEFINITION).await;
            let mut anew = Place::new().await;
            anew.register(&plans(&[changed], &calendars), NOW).await;
            assert_eq!(row, anew.see(DEFINITION).await);
        }
    }

    #[tokio::test]
    async fn what_it_does_otherwise_may_change_and_it_goes_on_where_it_was() {
        let changes: [fn(&mut Plan); 8] = [
            |plan| plan.overlap = Overlap::Skip,
            |plan| plan.misfire = Misfire::Skip,
            |plan| plan.catch_up_window = Duration::ZERO,
            |plan| plan.max_catch_up = 4,
            |plan| plan.disable_after_launches = None,
            |plan| plan.disable_after_faults = None,
            |plan| plan.disable_grace = Duration::ZERO,
            |plan| plan.description = None,
        ];
        let calendars = [calendar("c", &[])];
        let mut place = Place::new().await;
        place.register(&plans(&[full()], &calendars), NOW).await;
        place.settled().await;
        let state = place.see(STATE).await;
        for change in changes {
            let mut changed = full();
            change(&mut changed);
            let before = place.see(DEFINITION).await;
            place.register(&plans(&[changed], &calendars), LATER).await;
            assert_ne!(place.see(DEFINITION).await, before);
            assert_eq!(place.see(STATE).await, state);
        }
    }

    #[tokio::test]
    async fn a_time_that_is_settled_beyond_now_stays_settled() {
        let mut place = Place::new().await;
        place.register(&plans(&[plan("s")], &[]), LATER).await;
        place.run(format!("UPDATE schedules SET last_at = {}, revision = revision + 1", LATER.0)).await;
        place.register(&plans(&[Plan { priority: 1, ..plan("s") }], &[]), NOW).await;
        assert_eq!(place.see("SELECT last_at FROM schedules").await, ["1800000600000"]);
    }

    #[tokio::test]
    async fn what_sql_inserted_is_taken_over_and_counts_anew_if_it_differs() {
        let mut place = Place::new().await;
        place
            .run(
                "INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES
                   ('other', 't', '0 4 * * *', 'Europe/Berlin'), ('same', 't', '0 3 * * *', 'Europe/Berlin'),
                   ('theirs', 't', '@daily', 'UTC');
                 INSERT INTO calendars (name) VALUES ('c'), ('d');
                 INSERT INTO calendar_dates VALUES ('c', '2026-01-01'), ('c', '2026-01-02'), ('d', '2026-01-01');
                 UPDATE schedules SET created_at = 1799990000000, revision = 1",
            )
            .await;
        place.settled().await;
        let both =
            plans(&[plan("other"), plan("same")], &[calendar("c", &[date(2026, 1, 2), date(2026, 1, 3)])]);
        place.register(&both, LATER).await;
        assert_eq!(
            place.see(STATE).await,
            [
                "other|configuration|1|1800000600000|-|0|-|1799990000000",
                "same|configuration|1|1799999999000|1800003600000|1800003600000|w|1799990000000",
                "theirs|sql|1|1799999999000|1800003600000|1800003600000|w|1799990000000",
            ]
        );
        assert_eq!(place.see("SELECT name, owner FROM calendars").await, ["c|configuration", "d|sql"]);
        assert_eq!(
            place.see("SELECT * FROM calendar_dates").await,
            ["c|2026-01-02", "c|2026-01-03", "d|2026-01-01"]
        );
        // From now on it is the configuration's to change.
        let refused =
            sqlx::query("UPDATE schedules SET priority = 1 WHERE name = 'same'").execute(&mut place.c).await;
        assert!(refused.unwrap_err().to_string().contains("fixed_column"));
    }

    #[tokio::test]
    async fn what_leaves_stays_as_a_row_and_comes_back_without_the_times_between() {
        let mut place = Place::new().await;
        let both = plans(&[plan("a"), plan("b")], &[]);
        place.register(&both, NOW).await;
        place.settled().await;
        place.run("UPDATE schedules SET paused = 1 WHERE name = 'b'").await;
        place.register(&plans(&[plan("a")], &[]), NOW).await;
        let state = "SELECT name, active, last_at, next_at, look_at, paused, failed_launches FROM schedules";
        let a = "a|1|1799999999000|1800003600000|1800003600000|0|2";
        assert_eq!(place.see(state).await, [a, "b|0|1799999999000|-|-|1|2"]);
        let gone = place.everything().await;
        place.register(&plans(&[plan("a")], &[]), LATER).await;
        assert_eq!(place.everything().await, gone);
        place.register(&both, LATER).await;
        assert_eq!(place.see(state).await, [a, "b|1|1800000600000|-|0|1|2"]);
    }

    #[tokio::test]
    async fn the_dates_of_a_calendar_are_replaced_and_its_revision_counts_only_then() {
        let mut place = Place::new().await;
        let first = [date(2026, 1, 1), date(2026, 12, 25)];
        place.register(&plans(&[], &[calendar("c", &first)]), NOW).await;
        place.settled().await;
        let seen = "SELECT revision = seen_revision, description FROM calendars";
        let described = CalendarPlan { description: Some("x".to_owned()), ..calendar("c", &first) };
        place.register(&plans(&[], std::slice::from_ref(&described)), LATER).await;
        assert_eq!(place.see(seen).await, ["1|x"]);
        for other in [
            CalendarPlan { time_zone: Some("UTC".to_owned()), ..described.clone() },
            CalendarPlan { dates: BTreeSet::from([first[0]]), ..described.clone() },
            CalendarPlan {
                dates: BTreeSet::from([first[0], first[1], date(2027, 1, 1)]),
                ..described.clone()
            },
            CalendarPlan { dates: BTreeSet::new(), ..described },
        ] {
            place.register(&plans(&[], std::slice::from_ref(&other)), LATER).await;
            assert_eq!(place.see(seen).await, ["0|x"], "{other:?}");
            let dates: Vec<_> = other.dates.iter().map(Date::to_string).collect();
            assert_eq!(place.see("SELECT excluded_date FROM calendar_dates").await, dates);
            place.settled().await;
        }
    }

    #[tokio::test]
    async fn a_calendar_that_leaves_goes_unless_a_schedule_names_it() {
        let mut place = Place::new().await;
        let dates = [date(2026, 1, 1)];
        let named = Plan { calendar: Some("kept".to_owned()), ..plan("s") };
        let moved = Plan { calendar: Some("left".to_owned()), ..plan("m") };
        let all = [calendar("kept", &dates), calendar("left", &dates), calendar("stays", &dates)];
        place.register(&plans(&[moved.clone(), named], &all), NOW).await;
        // `s` leaves with its calendar, and its row goes on naming it.
        let moved = Plan { calendar: Some("stays".to_owned()), ..moved };
        place.register(&plans(&[moved], &[calendar("stays", &dates)]), LATER).await;
        assert_eq!(place.see("SELECT name, owner FROM calendars").await, ["kept|sql", "stays|configuration"]);
        assert_eq!(place.see("SELECT calendar FROM calendar_dates").await, ["kept", "stays"]);
        assert_eq!(
            place.see("SELECT name, active, calendar FROM schedules").await,
            ["m|1|stays", "s|0|kept"]
        );
    }

    #[tokio::test]
    async fn ten_thousand_schedules_are_registered_and_each_change_is_found() {
        let mut place = Place::new().await;
        let name = |n: usize| format!("s{n:05}");
        let mut many: Vec<_> =
            (0..10_000).map(|n| Plan { calendar: Some("c".to_owned()), ..plan(&name(n)) }).collect();
        let day = |n: i64| date(2000, 1, 1) + jiff::Span::new().days(n);
        let dates: Vec<_> = (0..3_000).map(day).collect();
        let calendars = [calendar("c", &dates)];
        place.register(&plans(&many, &calendars), NOW).await;
        place.settled().await;
        place.register(&plans(&many, &calendars), LATER).await;
        assert_eq!(
            place.see("SELECT count(*) FROM schedules WHERE look_at = 1800003600000").await,
            ["10000"]
        );
        many[77].priority = 1;
        many.remove(9_000);
        place.register(&plans(&many, &calendars), LATER).await;
        let changed = "SELECT name, active FROM schedules WHERE look_at IS NOT 1800003600000";
        assert_eq!(place.see(changed).await, [format!("{}|1", name(77)), format!("{}|0", name(9_000))]);
    }
}
