//! The shim alone, for the tests of this crate: a change of the programs that people run rebuilds none of them.

fn main() -> std::process::ExitCode {
    oodatcaa_process::shim::main()
}
