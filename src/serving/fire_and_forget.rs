//! `FireAndForget`: that the call was taken is all that its caller learns.

use super::Reply;

/// Without a word on the job.
pub(super) const fn started() -> Reply {
    Reply::bare(200)
}
