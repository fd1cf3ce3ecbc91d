//! Another program of the machine, asked for one line.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Looks at whether it has ended, and between them: three seconds in all.
const LOOKS: u32 = 150;
const PAUSE: Duration = Duration::from_millis(20);

/// What it prints; none if it is not there, fails, or takes too long.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    for _ in 0..LOOKS {
        match child.try_wait() {
            Ok(Some(status)) => {
                let mut said = String::new();
                child.stdout.take()?.read_to_string(&mut said).ok()?;
                return status.success().then_some(said);
            }
            Ok(None) => std::thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    // It is gone already, or is ended here.
    let _ = child.kill();
    let _ = child.wait();
    None
}
