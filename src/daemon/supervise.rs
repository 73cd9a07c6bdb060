//! `agent-daemon supervise`: the supervisor from its command line to its exit code. `agentctl fleet start` and `fleet run`
//! start it.

use std::{collections::BTreeMap, env, path::PathBuf, process::ExitCode};

use clap::Parser;

use super::{Asked, LogFormat, complain, failed, find_project, no_core_dumps, serve, signals, start_log, told};
use oodatcaa_config::{Config, Loaded, Overrides};
use oodatcaa_core::{layout::Layout, supervise::Patience};
use oodatcaa_fleet::{
    self as fleet, Reporter, Side,
    pidfile::PidFile,
    supervisor::{self, NAME, Supervisor},
};
use oodatcaa_ops::{ErrorKind, Failure, sysexit};
use oodatcaa_store as store;
use oodatcaa_sys::descriptors;
use oodatcaa_worker as worker;

pub use oodatcaa_process::caller::SUPERVISE as MODE;

/// Keeps the workers of a project where no service manager does.
#[derive(Debug, Parser)]
#[command(name = "agent-daemon supervise", version, max_term_width = 100)]
struct Args {
    /// The project's directory [default: the nearest one above with `.oodatcaa`].
    #[arg(long, value_name = "DIR", env = "OODATCAA_PROJECT")]
    project: Option<PathBuf>,
    /// Workers to keep, ROLE=N; may be repeated. Those that a killed supervisor has left are kept as well.
    #[arg(long, value_name = "ROLE=N", value_parser = supervisor::wanted)]
    want: Vec<(String, u32)>,
    /// Go to the background, with a pid file and a log file.
    #[arg(long)]
    detach: bool,
    /// Say more; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Runs the supervisor with the arguments of the process, without the first one, its mode.
pub fn main() -> ExitCode {
    no_core_dumps();
    descriptors::keep_to_ourselves();
    let args = env::args_os().take(1).chain(env::args_os().skip(2));
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed pipe takes the help text with it; there is nobody left to tell.
            let _ = crate::print_refused(&error);
            return if wrong { ExitCode::from(sysexit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    run(args).unwrap_or_else(|failure| {
        complain(&failure);
        ExitCode::from(failure.kind.sysexit())
    })
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let layout = find_project(args.project.as_deref())?;
    let loaded = Config::load(&layout, &Overrides::default())?;
    let want: BTreeMap<String, u32> = args.want.into_iter().collect();
    for role in want.keys() {
        loaded.role(role)?;
    }
    let daemon = env::current_exe().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    // Before any thread: a fork keeps only the thread that called it.
    let mut reporter: Option<Reporter> = None;
    if args.detach {
        match fleet::detach(&layout, NAME)? {
            Side::Parent(verdict) => return Ok(told(NAME, &verdict)),
            Side::Child(child) => reporter = Some(child),
        }
    }
    start_log(args.verbose, args.detach, LogFormat::Text, NAME);
    let kept = keep(&layout, &loaded, daemon, want, &mut reporter);
    Ok(kept.map_or_else(|failure| failed(&failure, reporter), |()| ExitCode::SUCCESS))
}

/// Keeps workers until nobody is left to keep. The reporter is taken once they can be asked for.
fn keep(
    layout: &Layout,
    loaded: &Loaded,
    daemon: PathBuf,
    want: BTreeMap<String, u32>,
    reporter: &mut Option<Reporter>,
) -> Result<(), Failure> {
    let _pid_file = PidFile::hold(layout, NAME)?;
    let settings = &loaded.config.fleet;
    let patience = Patience {
        restarts: settings.restarts,
        healthy: settings.healthy,
        stop: fleet::patience(settings.shutdown_timeout + settings.grace),
        ..Patience::default()
    };
    let roles = loaded.config.workflow.rules().iter().map(|rule| rule.role.clone()).collect();
    // It takes no lease, so it has no identity among the workers.
    let store = store::open(layout.root(), layout, None, settings.lock_wait)?;
    let signals = signals().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    let Asked { socket: _socket, calls } = serve(layout, NAME)?;
    Supervisor::new(layout, daemon, roles, patience, store).run(want, &signals, calls, || {
        worker::tell_manager(&[sd_notify::NotifyState::Ready]);
        if let Some(reporter) = reporter.take() {
            reporter.ready();
        }
    });
    Ok(())
}
