//! The moment at which a firing leaves.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Told right before the first byte of a firing goes out: from then on the far end may have it. If it answers with an
/// error, nothing goes out. It may be told again, as long as not one byte went.
#[derive(Clone)]
pub struct Departure(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl Departure {
    /// What is to be told. It must not wait.
    pub fn new(tell: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The firing leaves now.
    ///
    /// # Errors
    /// It must not.
    pub fn tell(&self) -> io::Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Departure")
    }
}
