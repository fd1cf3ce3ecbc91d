//! `triggerd completions`: a script that completes the command line in a shell.

use clap::CommandFactory as _;
pub(crate) use clap_complete::Shell;

use super::failure::Failure;
use super::{Cli, print};

pub(crate) fn run(verb: &super::Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut Cli::command(), "triggerd", &mut script);
    print::out(script)
}
