//! Limits at the far end's own count: the real binary, killed again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use triggerd::clock::monotonic;

use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

const KILLS: usize = 60;
const REQUESTS: i64 = 400;
const ALL_ENDED: &str = "SELECT count(*) FROM results WHERE is_final = 1";
const KEYS: i64 = 8;
const IN_ALL: usize = 10;
const PER_KEY: usize = 2;
/// Firings in a second.
const RATE: usize = 60;
/// A remote job that nobody asks for ends by itself after this; `hold_uncertain` is longer.
const LIFE: Duration = Duration::from_millis(500);

struct Job {
    key: String,
    begun: Instant,
    polls: usize,
    ended: bool,
}

/// What the far end knows: it counts for itself, and a job runs until it has said that it has ended.
#[derive(Default)]
struct Books {
    jobs: Vec<Job>,
    most: usize,
    most_of_a_key: usize,
}

impl Books {
    fn fired(&mut self, key: &str) -> Answer {
        let now = monotonic();
        for job in self.jobs.iter_mut().filter(|job| now.duration_since(job.begun) > LIFE) {
            job.ended = true;
        }
        self.jobs.push(Job { key: key.to_owned(), begun: now, polls: 0, ended: false });
        let running: Vec<&str> =
            self.jobs.iter().filter(|job| !job.ended).map(|job| job.key.as_str()).collect();
        let mut of_keys: BTreeMap<&str, usize> = BTreeMap::new();
        for key in &running {
            *of_keys.entry(key).or_default() += 1;
        }
        self.most = self.most.max(running.len());
        self.most_of_a_key = self.most_of_a_key.max(of_keys.into_values().max().unwrap_or(0));
        Answer::status(202).header("Location", &format!("/status/{}", self.jobs.len() - 1))
    }

    fn asked(&mut self, target: &str) -> Answer {
        let Some(n) = target.strip_prefix("/status/") else { return Answer::status(200).body("done") };
        let job = &mut self.jobs[n.parse::<usize>().unwrap()];
        job.polls += 1;
        job.ended |= job.polls >= 2;
        if job.ended { Answer::status(303).header("Location", "/output") } else { Answer::status(200) }
    }
}

#[tokio::test]
async fn over_sixty_kills_the_far_end_never_has_more_than_it_is_meant_to() {
    // Sixty starts take their time.
    let test = async {
        let books = Arc::new(Mutex::new(Books::default()));
        let own = Arc::clone(&books);
        let far = FarEnd::start(move |seen| {
            let mut books = own.lock().unwrap();
            match seen.target.as_str() {
                "/fire" => {
                    let key =
                        seen.text().split("\"k\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
                    books.fired(&key)
                }
                target => books.asked(target),
            }
        })
        .await;
        let site = Site::new(&format!(
            "[triggers.t]\nurl = \"{}\"\nmax_concurrent = {IN_ALL}\nmax_concurrent_per_key = {PER_KEY}\n\
             hold_uncertain = \"2s\"\nrate = \"{RATE}/1s\"\nrate_per_key = \"20/1s\"\n\
             poll = {{ initial = \"5ms\", factor = 1.0, max = \"5ms\" }}\n",
            far.url("/fire"),
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let begun = monotonic();
        table
            .run(format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {REQUESTS})
                 INSERT INTO requests (trigger_name, concurrency_key, priority, arguments)
                 SELECT 't', 'key ' || (i * i % {KEYS}), i % 3, json_object('k', 'key ' || (i * i % {KEYS})) FROM n"
            ))
            .await;
        let mut daemon = Some(daemon);
        for kill in 1..=KILLS {
            // At some point of some request: the next one that the far end sees.
            let next = far.all().len() + 1 + kill % 5;
            tokio::select! {
                _ = far.seen(next) => {}
                () = table.until(ALL_ENDED, REQUESTS) => {}
            }
            daemon.take().unwrap().kill().await;
            daemon = Some(site.start().await);
        }
        table.until(ALL_ENDED, REQUESTS).await;
        daemon.take().unwrap().stop().await;
        let uncertain = table.number("SELECT count(*) FROM requests WHERE state = 'uncertain'").await;
        let succeeded = table.number("SELECT count(*) FROM requests WHERE state = 'succeeded'").await;
        assert_eq!(uncertain + succeeded, REQUESTS);
        assert_eq!(table.number("SELECT count(*) FROM requests WHERE held_by IS NOT NULL").await, 0);

        let books = books.lock().unwrap();
        assert!(books.jobs.len() <= usize::try_from(REQUESTS).unwrap(), "each is fired once at most");
        assert!(books.jobs.len() + usize::try_from(uncertain).unwrap() >= usize::try_from(REQUESTS).unwrap());
        assert!(books.most <= IN_ALL, "{} at once", books.most);
        assert!(books.most_of_a_key <= PER_KEY, "{} at once of a key", books.most_of_a_key);
        assert!(books.most_of_a_key == PER_KEY, "the limit was never reached: the test shows nothing");
        // Whatever is late, so many cannot have come by then.
        for (n, job) in books.jobs.iter().enumerate() {
            let seconds = job.begun.duration_since(begun).as_secs_f64();
            let most = RATE * (1 + seconds.floor() as usize);
            assert!(n < most, "{} firings after {seconds} s", n + 1);
        }
    };
    tokio::time::timeout(Duration::from_secs(300), test).await.expect("the test hangs");
}

#[tokio::test]
async fn a_trigger_that_was_fired_as_often_as_it_may_says_until_when_its_requests_wait() {
    bounded(async {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[triggers.t]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\nrate = \"1/1h\"\n",
            far.url("/fire")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('t'), ('t')").await;
        far.seen(1).await;
        table
            .until(
                "SELECT count(*) FROM request_why
                 WHERE id = 2 AND why LIKE 'the trigger was fired as often as rate allows%'
                   AND until BETWEEN (SELECT started_at FROM requests WHERE id = 1) + 3600000
                     AND (SELECT started_at FROM requests WHERE id = 1) + 3700000",
                1,
            )
            .await;
        assert_eq!(
            table.text("SELECT waiting_for || ' ' || waiting_on FROM trigger_status").await,
            "rate rate"
        );
        // What waits for its rate is not forgotten by a start, and not fired by it.
        daemon.kill().await;
        let daemon = site.start().await;
        table.until("SELECT count(*) FROM trigger_status WHERE waiting_for = 'rate'", 1).await;
        assert_eq!(far.all().len(), 1);
        daemon.stop().await;
    })
    .await;
}
