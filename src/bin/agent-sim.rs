//! `agent-sim`: a program that behaves like a model-driven CLI, and is none.

fn main() -> std::process::ExitCode {
    oodatcaa_testkit::sim::main(oodatcaa::print_refused)
}
