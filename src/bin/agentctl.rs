//! The operator's command: flags in, exit code out; everything else is [`oodatcaa::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    oodatcaa::cli::main(std::env::args_os())
}
