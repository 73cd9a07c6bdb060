//! The operator's command: flags in, exit code out; everything else is [`oodatcaa::cli`]. With `confine` as its first
//! argument it is what takes rights from itself and becomes a command of the project.

use std::process::ExitCode;

use oodatcaa_process::confine;

fn main() -> ExitCode {
    // Where tests let it panic while it draws, by the environment.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    match std::env::args_os().nth(1) {
        Some(mode) if mode == confine::MODE => confine::main(),
        _ => oodatcaa::cli::main(std::env::args_os()),
    }
}
