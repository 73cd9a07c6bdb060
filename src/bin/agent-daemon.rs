//! The worker's program; with `shim` as its first argument the shim of one attempt, with `confine` what takes rights
//! from itself and becomes an agent's program, with `acp` the client of an agent that speaks the Agent Client Protocol,
//! with `supervise` what keeps the workers of a project.

use std::process::ExitCode;

use oodatcaa_process::confine;

fn main() -> ExitCode {
    // Where tests slow a worker's disk down or let it fail, by the environment.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    match std::env::args_os().nth(1) {
        Some(mode) if mode == "shim" => oodatcaa_process::shim::main(),
        Some(mode) if mode == confine::MODE => confine::main(),
        Some(mode) if mode == oodatcaa_agent::acp::MODE => oodatcaa_agent::acp::main(),
        Some(mode) if mode == oodatcaa::daemon::supervise::MODE => oodatcaa::daemon::supervise::main(),
        _ => oodatcaa::daemon::main(),
    }
}
