//! The body of an answer, also of one that breaks off or does not end for a long time.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Sent at once of what is huge.
const PIECE: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);

/// A body.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// As it is.
    Whole(Bytes),
    /// `first`, of something that was announced as longer; then the connection breaks.
    Cut { first: Option<Bytes>, announced: u64, flushed: bool },
    /// Bytes without a meaning.
    Huge { left: u64 },
}

impl Outgoing {
    /// The first half of `body`.
    pub(super) fn half_of(body: &Bytes) -> Self {
        // Also of an empty one a part must be missing.
        let announced = (body.len() as u64).max(2);
        Self::Cut { first: Some(body.slice(..body.len() / 2)), announced, flushed: false }
    }
}

/// The end of a body that is cut.
#[derive(Debug)]
pub(super) struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is cut off, on purpose")
    }
}

impl std::error::Error for CutOff {}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let piece = match &mut *self {
            Self::Whole(body) => std::mem::take(body),
            Self::Cut { first, flushed, .. } => match first.take().filter(|first| !first.is_empty()) {
                Some(first) => first,
                None if *flushed => return Poll::Ready(Some(Err(CutOff))),
                None => {
                    // A turn for the connection to send what it has.
                    *flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
            Self::Huge { left } => {
                let piece = PIECE.slice(..usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE.len()));
                *left -= piece.len() as u64;
                piece
            }
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_empty(),
            Self::Cut { .. } => false,
            Self::Huge { left } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(body) => body.len() as u64,
            Self::Cut { announced, .. } => *announced,
            Self::Huge { left } => *left,
        })
    }
}
