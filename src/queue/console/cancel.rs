//! `cancel_requested`, for requests that have not ended.

use sqlx::SqliteConnection;

use super::standing::{Refusal, Standing, Verdict};
use super::{Cell, Console, Error, Record};

impl Console {
    /// Asks for the end of each of `ids`. Each is judged alone. What was judged is in `verdicts`, also after an error.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn cancel(&mut self, ids: &[i64], verdicts: &mut Vec<Verdict>) -> Result<(), Error> {
        self.each(ids, verdicts, cancel).await
    }
}

async fn cancel(connection: &mut SqliteConnection, id: i64) -> Result<Result<Record, Refusal>, sqlx::Error> {
    let standing = match Standing::read(connection, id).await? {
        Ok(standing) => standing,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match standing.state() {
        "pending" | "triggering" | "polling" | "collecting" => {}
        "uncertain" => {
            let why = format!(
                "it is uncertain, and nothing of it runs here: settle it with `triggerd resolve {id}`"
            );
            return Ok(Err(standing.refuse(why)));
        }
        _ => {
            let why = format!("it has ended already: {}; see `triggerd show {id}`", standing.ending());
            return Ok(Err(standing.refuse(why)));
        }
    }
    let already = standing.is("cancel_requested");
    if !already {
        let sql = include_str!("../sqlite/console_cancel.sql");
        if let Err(refusal) = standing.update(connection, sql, &[]).await? {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(Record(vec![
        ("state".to_owned(), standing.get("state").clone()),
        ("cancel_requested".to_owned(), Cell::Int(1)),
        ("already".to_owned(), Cell::Int(already.into())),
    ])))
}
