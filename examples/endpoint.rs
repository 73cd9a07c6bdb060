//! The scripted model provider of the tests as a program, for trying an agent program by hand:
//! `cargo run --example endpoint -- [--script FILE] [--log FILE] [--idle SECONDS]`.
//!
//! Its first line is its address. It ends when its standard input ends, or after a time without a request.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::{
    io::Read as _,
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use oodatcaa_testkit::endpoint::{Endpoint, Script};

#[derive(clap::Parser)]
struct Flags {
    /// Rules in TOML; without, only markers in the prompt count.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Where each request becomes a line of JSON.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Seconds without a request after which it ends.
    #[arg(long, default_value_t = 600)]
    idle: u64,
}

fn main() -> ExitCode {
    match run(&<Flags as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), String> {
    let script = match &flags.script {
        Some(file) => Script::parse(&std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?)?,
        None => Script::default(),
    };
    let endpoint = Endpoint::start(script, flags.log.as_deref()).map_err(|error| error.to_string())?;
    println!("{}", endpoint.url());
    let (gone, ended) = channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    // Between two requests an agent may think, or run a tool; a hanging one is not idle.
    let most = Duration::from_secs(flags.idle);
    let mut quiet = Instant::now();
    let mut known = 0;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(500)) {
        let requests = endpoint.seen().len();
        if requests != known || endpoint.open() > 0 {
            (known, quiet) = (requests, Instant::now());
        }
        if quiet.elapsed() > most {
            eprintln!("nothing was asked for {} s", flags.idle);
            break;
        }
    }
    eprintln!("{} requests, refused to the outside: {:?}", endpoint.seen().len(), endpoint.outside());
    Ok(())
}
