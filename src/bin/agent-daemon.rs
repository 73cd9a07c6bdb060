//! The worker's program; with `keeper` as its first argument the keeper of one attempt, with `acp` the
//! client of an agent that speaks the Agent Client Protocol.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(mode) if mode == "keeper" => oodatcaa_process::keeper::main(),
        Some(mode) if mode == oodatcaa_agent::acp::MODE => oodatcaa_agent::acp::main(),
        _ => {
            // Where tests slow a worker's disk down or let it fail, by the environment.
            #[cfg(feature = "failpoints")]
            let _points = fail::FailScenario::setup();
            oodatcaa::daemon::main()
        }
    }
}
