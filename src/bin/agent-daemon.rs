//! The worker's program; with `keeper` as its first argument the keeper of one attempt.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|mode| mode == "keeper") {
        return oodatcaa::process::keeper::main();
    }
    // Where tests slow a worker's disk down or let it fail, by the environment.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    oodatcaa::daemon::main()
}
