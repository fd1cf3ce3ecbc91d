//! Who waits for a request that has ended: is let go, with its output if that is wanted, or ends too.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{End, Followed, Result, splice, statements, text};
use crate::clock::UnixMillis;
use crate::queue::arguments_problem;

/// One that waits.
struct Waiter {
    id: i64,
    after_id: i64,
    /// Any end will do.
    any: bool,
    /// It gets the output as an argument.
    has_argument: bool,
    trigger_name: String,
}

impl Waiter {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get(0)?,
            after_id: row.try_get(1)?,
            any: row.try_get::<i64, _>(2)? != 0,
            has_argument: row.try_get::<i64, _>(3)? != 0,
            trigger_name: text(row, 4)?.unwrap_or_default(),
        })
    }
}

/// What became of the output of a request.
enum Output {
    None,
    Truncated,
    Binary,
    Text(String),
}

/// Lets those go that wait for `ends`, or ends them; `left` is for how many there is room in this commit. Answers who ended.
pub(super) async fn judge(
    c: &mut SqliteConnection,
    ends: &[End],
    left: &mut usize,
    now: UnixMillis,
    out: &mut Followed,
) -> Result<Vec<i64>> {
    let (mut over, mut later) = (Vec::new(), Vec::new());
    for end in ends.iter().filter(|end| end.is_awaited) {
        match (end.is_uncertain(), end.deadline_at) {
            (false, _) => over.push((end.id, true)),
            // As long as its remote job may take, it may be running.
            (true, Some(at)) if at > now.0 => later.push((end.id, false, at)),
            (true, Some(_)) => over.push((end.id, false)),
            (true, None) => {}
        }
    }
    if !later.is_empty() {
        statements::endings_put(c, &later).await?;
        // A survey sees by when.
        out.more = true;
    }
    if over.is_empty() {
        return Ok(Vec::new());
    }
    let rows = if *left == 0 { Vec::new() } else { statements::waiters(c, &over, *left).await? };
    if rows.len() == *left {
        // Looked at again, whether there are more or not.
        out.more = true;
        let again: Vec<_> = over.iter().map(|(id, _)| (*id, false, 0)).collect();
        statements::endings_put(c, &again).await?;
    }
    *left -= rows.len();
    let ends: HashMap<i64, &End> = ends.iter().map(|end| (end.id, end)).collect();
    let mut outputs = HashMap::new();
    let (mut released, mut cancelled, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let waiter = Waiter::read(row)?;
        let Some(end) = ends.get(&waiter.after_id) else { continue };
        if let Some(why) = why_not(end, &waiter) {
            cancelled.push((waiter.id, why));
            continue;
        }
        if waiter.has_argument {
            if let std::collections::hash_map::Entry::Vacant(place) = outputs.entry(end.id) {
                place.insert(output(c, end.id).await?);
            }
            if let Err(problem) = fill(c, &waiter, &outputs[&end.id]).await? {
                rejected.push((waiter.id, problem));
                continue;
            }
        } else {
            released.push(waiter.id);
        }
        out.released.insert(waiter.trigger_name);
    }
    if !released.is_empty() {
        statements::waiters_release(c, &released).await?;
    }
    let mut ended = Vec::new();
    if !cancelled.is_empty() {
        let ids = statements::waiters_cancel(c, &cancelled, now).await?;
        cancelled.retain(|(id, _)| ids.contains(id));
        ended.extend(ids);
        out.cancelled.extend(cancelled);
    }
    if !rejected.is_empty() {
        let ids = statements::reject(c, &rejected, now).await?;
        rejected.retain(|(id, _)| ids.contains(id));
        ended.extend(ids);
        out.rejected.extend(rejected);
    }
    Ok(ended)
}

/// Why a request that waits for `end` will never be fired, if that is so.
fn why_not(end: &End, waiter: &Waiter) -> Option<String> {
    let id = end.id;
    let state = match end.state.as_deref() {
        None => return Some(format!("request {id}, which it waits for, is gone")),
        Some("succeeded" | "dispatched") => return None,
        Some(_) if waiter.any => return None,
        Some(state) => state,
    };
    let code = end.error_code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    Some(format!("request {id}, which it waits for, has ended as {state}{code}"))
}

async fn output(c: &mut SqliteConnection, id: i64) -> Result<Output> {
    let Some(row) = statements::waiter_output(c, id).await? else { return Ok(Output::None) };
    Ok(match text(&row, 2)? {
        Some(text) => Output::Text(text),
        None if row.try_get::<i64, _>(0)? != 0 => Output::Truncated,
        None => Output::Binary,
    })
}

/// Lets `waiter` go with the output among its arguments; or says what is wrong: `column: rule`.
async fn fill(
    c: &mut SqliteConnection,
    waiter: &Waiter,
    output: &Output,
) -> Result<std::result::Result<(), String>> {
    let Some(row) = statements::waiter(c, waiter.id).await? else { return Ok(Ok(())) };
    let (argument, pointer) = (text(&row, 0)?.unwrap_or_default(), text(&row, 1)?);
    let most: i64 = row.try_get(2)?;
    let Some(arguments) = text(&row, 3)? else {
        return Ok(Err("arguments: is missing, or longer than max_arguments".to_owned()));
    };
    let filled = value(waiter.after_id, output, pointer.as_deref()).and_then(|value| {
        let filled = splice::set(&arguments, &argument, &value).ok_or("arguments: is not a JSON object")?;
        let bytes = filled.len();
        if i64::try_from(bytes).is_ok_and(|bytes| bytes <= most) {
            return arguments_problem(&filled).map_or(Ok(filled), |problem| Err(format!("arguments: {problem}")));
        }
        Err(format!(
            "after_argument: with the output of request {} the arguments have {bytes} bytes, and max_arguments is {most}; with \
             after_pointer a part of it becomes the argument",
            waiter.after_id
        ))
    });
    let filled = match filled {
        Ok(filled) => filled,
        Err(problem) => return Ok(Err(problem)),
    };
    if statements::waiter_fill(c, waiter.id, &filled).await? {
        Ok(Ok(()))
    } else {
        Ok(Err(format!("after_argument: the output of request {} is nested too deep", waiter.after_id)))
    }
}

/// The text of the JSON value that a waiting request gets.
fn value(id: i64, output: &Output, pointer: Option<&str>) -> std::result::Result<String, String> {
    let text = match (output, pointer) {
        (Output::Text(text), _) => text,
        (Output::None, None) => return Ok("null".to_owned()),
        (Output::None, Some(_)) => return Err(format!("after_pointer: request {id} has no output")),
        (Output::Truncated, _) => {
            return Err(format!(
                "after_argument: the output of request {id} is larger than max_output of its trigger, and was cut"
            ));
        }
        (Output::Binary, _) => return Err(format!("after_argument: the output of request {id} is not text")),
    };
    match (splice::value(text), pointer) {
        (Some(json), None) => Ok(json.to_owned()),
        (None, None) => Ok(splice::string(text)),
        (None, Some(_)) => Err(format!("after_pointer: the output of request {id} is not JSON")),
        (Some(json), Some(pointer)) => splice::find(json, pointer)
            .map(str::to_owned)
            .ok_or_else(|| format!("after_pointer: leads to nothing in the output of request {id}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_becomes_a_value_or_a_problem_that_names_its_column() {
        let text = |text: &str| Output::Text(text.to_owned());
        for (output, pointer, expected) in [
            (text(" {\"a\":[1e400]} "), None, Ok("{\"a\":[1e400]}")),
            (text("{\"a\":[1e400]}"), Some("/a/0"), Ok("1e400")),
            (text("{\"a\":[1e400]}"), Some(""), Ok("{\"a\":[1e400]}")),
            (text("plain \"text\""), None, Ok(r#""plain \"text\"""#)),
            (Output::None, None, Ok("null")),
            (text("{}"), Some("/a"), Err("after_pointer: leads to nothing in the output of request 7")),
            (text("plain"), Some(""), Err("after_pointer: the output of request 7 is not JSON")),
            (Output::None, Some("/a"), Err("after_pointer: request 7 has no output")),
            (Output::Binary, None, Err("after_argument: the output of request 7 is not text")),
            (
                Output::Truncated,
                None,
                Err(
                    "after_argument: the output of request 7 is larger than max_output of its trigger, and was cut",
                ),
            ),
        ] {
            let value = value(7, &output, pointer);
            assert_eq!(value.as_deref().map_err(String::as_str), expected);
        }
    }
}
