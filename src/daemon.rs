//! `agent-daemon` from its command line to its exit code; the binary only calls [`main`].

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use crossbeam_channel::{Receiver, Sender};

use oodatcaa_agent::{self as agent, Agent, sandbox};
use oodatcaa_config::{AgentConfig, Config, Loaded, Overrides, RoleConfig, World, secrets, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Class, Role, control::Signal, text};
use oodatcaa_fleet::{
    self as fleet, Reporter, Side, Verdict,
    pidfile::{self, PidFile},
};
use oodatcaa_ops::{ErrorKind, Failure, sysexit};
use oodatcaa_process::{Shims, caller};
use oodatcaa_store as store;
use oodatcaa_sys::{
    descriptors,
    socket::{self, Call, Served},
};
use oodatcaa_worker::{self as worker, Exit, Setup, Worker};

pub mod supervise;

/// One worker of an unattended fleet of coding agents: serves one role of the queue
/// `.oodatcaa/work/SPRINT_QUEUE.json`.
///
/// Exit codes (sysexits): 0 ok, also `--once` with nothing to do; 64 usage; 65 queue invalid;
/// 69 agent program missing; 70 bug; 73, 74 cannot write; 75 try later; 77 permission or trust;
/// 78 configuration.
#[derive(Debug, Parser)]
#[command(name = "agent-daemon", version, max_term_width = 100)]
pub struct Args {
    /// The role to serve, e.g. builder.
    #[arg(long)]
    role: String,
    /// Seconds between two looks when no file change wakes it [default: 60, or `interval` of the configuration].
    #[arg(long, value_parser = duration)]
    interval: Option<Duration>,
    /// Look once: claim, run, settle, and leave.
    #[arg(long)]
    once: bool,
    /// The tag that stands in leases [default: agent-daemon-ROLE].
    #[arg(long)]
    owner: Option<String>,
    /// Claim beyond the WIP limit (for tests).
    #[arg(long)]
    ignore_wip: bool,
    /// Attempts at once [default: the role's WIP limit; 1 with --once].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    slots: Option<u32>,
    /// Go to the background, with a pid file and a log file.
    #[arg(long, conflicts_with = "once")]
    detach: bool,
    /// A supervisor keeps it: with a pid file of its own or not at all, and lines for a log file.
    #[arg(long, hide = true, conflicts_with_all = ["once", "detach"])]
    supervised: bool,
    /// The project's directory [default: the nearest one above with `.oodatcaa`].
    #[arg(long, value_name = "DIR", env = "OODATCAA_PROJECT")]
    project: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Say more; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// `time | LEVEL | message`
    Text,
    /// One JSON object a line.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let interval = text::parse_duration(text)?;
    if interval < Duration::from_millis(100) { Err("an interval must be at least 100ms".into()) } else { Ok(interval) }
}

/// Forbids core dumps: memory holds secrets. Agents inherit the limit and may ask for more themselves.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // It only ever lowers a limit, which the system does not refuse.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) });
}

/// Runs the daemon with the arguments of the process.
pub fn main() -> ExitCode {
    no_core_dumps();
    descriptors::keep_to_ourselves();
    if std::env::var_os(trust::TRUST_ALL).is_some() && caller::started_by().is_some() {
        World::is_within_an_attempt();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed pipe takes the help text with it; there is nobody left to tell.
            let _ = crate::print_refused(&error);
            return if wrong { ExitCode::from(sysexit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    run(&args).unwrap_or_else(|failure| {
        complain(&failure);
        ExitCode::from(failure.kind.sysexit())
    })
}

fn complain(failure: &Failure) {
    // A closed pipe leaves nobody to tell; the exit code says it as well.
    let _ = std::io::stderr().write_all(failure.human().as_bytes());
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let layout = find_project(args.project.as_deref())?;
    let mut overrides = Overrides::default();
    if let Some(interval) = args.interval {
        overrides = overrides.with("fleet.interval", &format!("{}ms", interval.as_millis()), "--interval");
    }
    let loaded = Config::load(&layout, &overrides)?;
    let role = loaded.role(&args.role)?;
    let setup = setup(args, layout, &loaded, &role)?;
    let layout = setup.layout.clone();
    let name = setup.name.clone();
    // Before any thread: a fork keeps only the thread that called it.
    let mut reporter = None;
    if args.detach {
        match fleet::detach(&layout, &name)? {
            Side::Parent(verdict) => return Ok(told(&name, &verdict)),
            Side::Child(child) => reporter = Some(child),
        }
    }
    start_log(args.verbose, args.detach || args.supervised, args.log_format, role.as_str());
    let worked = work(setup, args.supervised, &mut reporter);
    Ok(worked.unwrap_or_else(|failure| failed(&failure, reporter)))
}

/// Tells the log, and whoever waits for a daemon to become ready, that it ends with a failure.
fn failed(failure: &Failure, reporter: Option<Reporter>) -> ExitCode {
    // The line says already that it is an error.
    log::error!("{}", failure.human().trim_start_matches("error: ").trim_end());
    if let Some(reporter) = reporter {
        reporter.failed(failure.kind.sysexit());
    }
    ExitCode::from(failure.kind.sysexit())
}

/// Tells, in the process that was started, what became of the daemon that it left behind.
fn told(name: &str, verdict: &Verdict) -> ExitCode {
    let mut out = std::io::stderr();
    let (code, words) = match verdict {
        Verdict::Ready { pid } => (sysexit::OK, format!("{name} runs in the background, pid {pid}")),
        Verdict::Failed { code, tail, log } => {
            let tail: String = tail.iter().map(|line| format!("  {}\n", text::one_line(line))).collect();
            (*code, format!("error: {name} did not become ready; the end of {}:\n{tail}", log.display()))
        }
    };
    let _ = writeln!(out, "{}", words.trim_end());
    ExitCode::from(code)
}

/// Runs a worker to its exit code. The reporter is taken once it is ready.
fn work(setup: Setup, is_supervised: bool, reporter: &mut Option<Reporter>) -> Result<ExitCode, Failure> {
    // Who we are is known after the fork only.
    let setup = Setup { owner: store::identity(&setup.owner.tag), ..setup };
    let (layout, name) = (setup.layout.clone(), setup.name.clone());
    let (layout, name) = (&layout, name.as_str());
    let _pid_file = match reporter {
        Some(_) => Some(PidFile::hold(layout, name)?),
        None if is_supervised => Some(PidFile::hold(layout, name)?),
        None if setup.once => None,
        // In the foreground and under systemd the file only tells that somebody serves the role.
        None => PidFile::hold(layout, name).ok(),
    };
    let lock_wait = setup.config.fleet.lock_wait;
    let store = store::open(layout.root(), layout, Some(setup.owner.clone()), lock_wait)?;
    let signals = signals().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    let Asked { socket: _socket, calls } = match setup.once {
        true => Asked { socket: None, calls: crossbeam_channel::never() },
        // A worker that nobody can ask works all the same.
        false => serve(layout, name).unwrap_or_else(|failure| {
            log::warn!("nobody can ask this worker how it is: {}", failure.sentence());
            Asked { socket: None, calls: crossbeam_channel::never() }
        }),
    };
    let mail = store::open_mail(layout.root(), layout, lock_wait)?;
    let left = Worker::new(setup, store, mail, signals, calls).run(|| {
        worker::tell_manager(&[sd_notify::NotifyState::Ready]);
        if let Some(reporter) = reporter.take() {
            reporter.ready();
        }
    });
    match left {
        Exit::Done => Ok(ExitCode::SUCCESS),
        Exit::Store(error) => Err(error.into()),
        Exit::Mend(Class::AgentNotFound) => Ok(ExitCode::from(sysexit::UNAVAILABLE)),
        Exit::Mend(Class::Config) => Ok(ExitCode::from(sysexit::CONFIG)),
        Exit::Mend(_) => Ok(ExitCode::from(sysexit::NO_PERMISSION)),
        Exit::AtOnce => leave(),
    }
}

/// A control socket, and what is asked on it.
struct Asked {
    socket: Option<Served>,
    calls: Receiver<Call>,
}

/// Serves the control socket of this name.
fn serve(layout: &Layout, name: &str) -> Result<Asked, Failure> {
    // More than are asked at once; whoever finds it full gets no answer in time.
    let (tell, calls) = crossbeam_channel::bounded(64);
    let path = layout.socket(name);
    let served = socket::serve(layout.root(), &path, move |call| drop(tell.try_send(call)));
    let socket = Some(served.map_err(|error| Failure::io("serve", &path, &error))?);
    Ok(Asked { socket, calls })
}

/// Leaves without waiting for the threads of attempts; their shims see that and end the agents.
#[expect(clippy::exit, reason = "a third signal means now: the run threads are not waited for")]
fn leave() -> ! {
    std::process::exit(i32::from(sysexit::TEMPORARY))
}

fn find_project(named: Option<&Path>) -> Result<Layout, Failure> {
    let from = match named {
        Some(dir) => dir.to_owned(),
        None => env::current_dir().map_err(|error| Failure::of(ErrorKind::NoProject, &error))?,
    };
    let missing = || {
        Failure::new(ErrorKind::NoProject, format!("there is no .oodatcaa directory in {} or above", from.display()))
            .hint("agentctl init")
    };
    let from = from.canonicalize().map_err(|_| missing())?;
    Layout::find(&from, Path::is_dir).map(|layout| World::of_process().at_home(layout)).ok_or_else(missing)
}

fn setup(args: &Args, layout: Layout, loaded: &Loaded, role: &Role) -> Result<Setup, Failure> {
    let mut config = loaded.config.clone();
    config.workflow = config.workflow.read_at(chrono::Utc::now());
    sandbox::confine_hooks(&mut config, &layout);
    let rule = config.workflow.rule(role).expect("a role of the table").clone();
    let how = config.roles.get(role).cloned().expect("every role of the table has its settings");
    let chain = loaded.agents(role)?;
    // A gate that is not there or not trusted is said before the first attempt, not after it.
    loaded.gates(role, &[])?;
    let mut agents = Vec::new();
    let mut missing: Vec<(&str, Failure)> = Vec::new();
    for (name, described) in chain {
        match open(name, described, &layout)? {
            Ok(agent) => agents.push(agent),
            Err(failure) => missing.push((name, failure)),
        }
    }
    if agents.is_empty() && !rule.duty.agentless {
        return Err(missing.swap_remove(0).1);
    }
    confined(&config, role, &how, &agents)?;
    if rule.duty.agentless {
        agents.push(agent::nobody());
    }
    let lacks: Vec<_> = missing.into_iter().map(|(name, failure)| (name.to_owned(), failure.sentence())).collect();
    let lacking = lacks.iter().map(|(name, why)| format!("warning: {why}; `{role}` works without `{name}`"));
    let warnings = loaded.warnings.iter().map(|warning| format!("warning: {warning}"));
    let hints = loaded.hints.iter().map(|hint| format!("hint: {hint}"));
    for line in lacking.chain(warnings).chain(hints) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    let shims = Shims::new(env::current_exe().map_err(|error| Failure::of(ErrorKind::Bug, &error))?);
    let host = store::identity("").host;
    let tag = match &args.owner {
        Some(tag) if tag.is_empty() || tag.contains('#') || tag.chars().any(char::is_control) => {
            let message = "an owner tag must not be empty, and must hold neither `#` nor control characters";
            return Err(Failure::new(ErrorKind::Usage, message));
        }
        Some(tag) => format!("{tag}@{host}"),
        None => format!("agent-daemon-{role}@{host}"),
    };
    Ok(Setup {
        agents,
        lacks,
        interval: config.fleet.interval,
        slots: args.slots,
        once: args.once,
        ignore_wip: args.ignore_wip,
        name: pidfile::name(role, args.owner.as_deref()),
        owner: store::identity(&tag),
        role: how,
        rule,
        shims,
        layout,
        config,
    })
}

/// Checks that this machine can keep agents, gates and hooks to their sandboxes: said before the first attempt, and
/// nothing runs with less.
fn confined(config: &Config, role: &Role, how: &RoleConfig, agents: &[Agent]) -> Result<(), Failure> {
    let exe = env::current_exe().map_err(|error| Failure::of(ErrorKind::Bug, &error))?;
    let mut tried = Vec::new();
    let of_agents =
        agents.iter().map(|agent| (format!("the agent `{}`", agent.name()), config.sandbox(agent.name(), role)));
    let of_gates = how.gates.iter().map(|gate| (format!("the gate `{gate}`"), config.sandbox_of_gate(role, gate)));
    let of_hooks = [("`setup` and `teardown`".to_owned(), config.sandbox_of_hooks())];
    for (who, sandbox) in of_agents.chain(of_gates).chain(of_hooks) {
        if tried.contains(&sandbox) {
            continue;
        }
        if let Some(why) = sandbox::unable(&sandbox, &exe) {
            let message = format!("{who} cannot be confined as the configuration asks: {why}");
            return Err(Failure::new(ErrorKind::ConfigInvalid, message)
                .hint("see what this machine can keep: agentctl doctor")
                .hint("or ask for less: `require` in [sandbox] of .oodatcaa/config.toml")
                .see("sandbox"));
        }
        tried.push(sandbox);
    }
    Ok(())
}

/// Opens one agent of a chain; the inner error says what it lacks here, its program or a secret.
fn open(name: &str, described: &AgentConfig, layout: &Layout) -> Result<Result<Agent, Failure>, Failure> {
    let mut described = described.clone();
    let resolved = secrets::resolve(&described.set, &World::of_process(), layout.root()).map(|set| described.set = set);
    let agent = agent::open(name, &described);
    if let Some(bad) = agent.problem() {
        return Err(bad.clone().into());
    }
    if let Err(error) = resolved {
        return Ok(Err(error.into()));
    }
    let Some(missing) = agent.missing_program(layout.root()) else { return Ok(Ok(agent)) };
    let message = format!("the program of the agent `{name}` is missing: {missing}");
    let correct = || format!("install it, or correct argv of [agents.{name}] in .oodatcaa/config.toml");
    Ok(Err(Failure::new(ErrorKind::AgentNotFound, message).hint(agent.install().unwrap_or_else(correct))))
}

/// Takes the signals that mean stop or wake from now on.
pub(crate) fn signals() -> std::io::Result<Receiver<Signal>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let (tell, told): (Sender<Signal>, _) = crossbeam_channel::unbounded();
    let mut iterator = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(move || {
        for signal in iterator.forever() {
            let meant = if signal == SIGHUP { Signal::Wake } else { Signal::Stop };
            if tell.send(meant).is_err() {
                return;
            }
        }
    })?;
    Ok(told)
}

fn start_log(verbose: u8, to_file: bool, format: LogFormat, role: &str) {
    let level = match verbose {
        0 => log::LevelFilter::Info,
        1 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Warn).filter_module("oodatcaa", level);
    let role = role.to_owned();
    // The journal stamps lines itself and reads the level from a prefix (sd-daemon(3)).
    let journal = env::var_os("JOURNAL_STREAM").is_some() && !to_file;
    builder.format(move |out, record| match format {
        LogFormat::Json => json_line(out, &role, record),
        LogFormat::Text if journal => {
            let level = match record.level() {
                log::Level::Error => 3,
                log::Level::Warn => 4,
                log::Level::Info => 6,
                log::Level::Debug | log::Level::Trace => 7,
            };
            writeln!(out, "<{level}>{}", text::many_lines(&record.args().to_string()))
        }
        LogFormat::Text => {
            let time = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
            writeln!(out, "{time} | {:<5} | {}", record.level(), text::many_lines(&record.args().to_string()))
        }
    });
    builder.init();
}

fn json_line(out: &mut env_logger::fmt::Formatter, role: &str, record: &log::Record<'_>) -> std::io::Result<()> {
    struct Facts(serde_json::Map<String, serde_json::Value>);
    impl<'kv> log::kv::VisitSource<'kv> for Facts {
        fn visit_pair(&mut self, key: log::kv::Key<'kv>, value: log::kv::Value<'kv>) -> Result<(), log::kv::Error> {
            let value = value.to_u64().map_or_else(|| value.to_string().into(), Into::into);
            self.0.insert(key.to_string(), value);
            Ok(())
        }
    }
    let head = [
        ("time", oodatcaa_core::time::stamp(chrono::Utc::now())),
        ("level", record.level().as_str().to_ascii_lowercase()),
        ("role", role.to_owned()),
        ("message", text::many_lines(&record.args().to_string())),
    ];
    let mut facts = Facts(head.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect());
    // A fact that cannot be shown is left out of its line.
    let _ = record.key_values().visit(&mut facts);
    writeln!(out, "{}", serde_json::Value::Object(facts.0))
}
