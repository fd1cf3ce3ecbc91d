//! Groups: when the last member has ended, the request that somebody wants then is inserted.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnection;

use super::{End, Followed, Result, insert, statements};
use crate::clock::UnixMillis;

/// Completes the groups whose last member is among `ends`.
pub(super) async fn ended(
    c: &mut SqliteConnection,
    ends: &[End],
    now: UnixMillis,
    out: &mut Followed,
) -> Result<()> {
    let keys = ends.iter().filter(|end| !end.is_uncertain()).filter_map(|end| end.group_key.clone());
    let keys: BTreeSet<String> = keys.collect();
    if keys.is_empty() {
        return Ok(());
    }
    complete(c, &Vec::from_iter(keys), now, out).await
}

/// Completes those of `keys` all of whose members have ended.
pub(super) async fn complete(
    c: &mut SqliteConnection,
    keys: &[String],
    now: UnixMillis,
    out: &mut Followed,
) -> Result<()> {
    for (key, trigger, arguments) in statements::groups_done(c, keys).await? {
        let mut request = None;
        if let Some(trigger) = trigger {
            request = insert(c, &trigger, &arguments, Some(&key), 0, now, out).await?;
            if request.is_none() {
                tracing::warn!(
                    trigger.name = trigger,
                    "the members of group {key} have ended, but its request of trigger {trigger} cannot be inserted: the trigger \
                     has left the configuration, or its arguments are too long; is tried again at the next reload or start"
                );
                continue;
            }
        }
        statements::group_complete(c, &key, now, request).await?;
    }
    Ok(())
}
