//! Whether an installed agent CLI keeps what its descriptor promises, as far as that can be seen
//! without a network and without spending a token.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    Agent, Assignment,
    descriptor::Descriptor,
    environment, example, home,
    output::Outputs,
    probe::{self, Fit, Login},
};
use oodatcaa_config::{AgentConfig, AgentKind};
use oodatcaa_core::{Class, Outcome, Role, Workflow};
use oodatcaa_process::{Attempt, Ended, Exit, Limits, Report, Stop};

/// The verdict on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As promised.
    Kept,
    /// Not as promised.
    Broken,
    /// Nothing to complain of, and something to know.
    Note,
    /// It could not be tried.
    NotTried,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// For people.
    pub words: String,
}

fn case(name: &'static str, verdict: Verdict, words: impl Into<String>) -> Case {
    Case { name, verdict, words: words.into() }
}

/// The time that a program has to print its version.
const VERSION: Duration = Duration::from_secs(30);

/// The time that a run against a closed port may take.
const CLOSED_PORT: Duration = Duration::from_secs(120);

/// Runs every case of an agent. `room` is a directory of its own; `shim` our own `agent-daemon`.
pub fn run(name: &str, config: &AgentConfig, room: &Path, shim: Option<&Path>) -> Vec<Case> {
    let agent = super::open(name, config);
    let mut cases = vec![match (agent.problem(), agent.descriptor()) {
        (Some(bad), _) => case("descriptor", Verdict::Broken, format!("cannot {bad}")),
        (None, found) => {
            let words = found.map(|found| format!("{:?}, dialect {:?}", found.evidence, found.dialect));
            case("descriptor", Verdict::Kept, words.unwrap_or_default().to_lowercase())
        }
    }];
    let Some(descriptor) = agent.descriptor() else { return cases };
    cases.extend(command_line(&agent, descriptor, room));
    let path = environment::path(&config.set);
    let wanted = agent.program(&path, room);
    let Some(file) = environment::find_program(&wanted, &path, room) else {
        let wanted = if wanted.is_empty() { "its program" } else { &wanted };
        let install =
            descriptor.program.install.as_deref().map(|how| format!("; install it: {how}")).unwrap_or_default();
        cases.push(case("program", Verdict::Broken, format!("`{wanted}` is not on PATH{install}")));
        cases.extend(["version", "closed-port"].map(|name| case(name, Verdict::NotTried, "without the program")));
        return cases;
    };
    cases.push(case("program", Verdict::Kept, file.display().to_string()));
    cases.push(version(descriptor, &file, &path));
    cases.push(login(descriptor, config));
    cases.push(match shim {
        Some(shim) => closed_port(name, config, descriptor, room, shim),
        None => {
            case("closed-port", Verdict::NotTried, "agent-daemon, which watches the program's processes, is not found")
        }
    });
    cases
}

fn version(descriptor: &Descriptor, file: &Path, path: &str) -> Case {
    let program = &descriptor.program;
    let (verdict, words) = match probe::ask_version(file, program, path, VERSION) {
        Err(why) => (Verdict::Broken, why),
        Ok(found) => match (probe::fit(program, &found), program.tested.as_slice()) {
            (Fit::Tested, _) => (Verdict::Kept, format!("{found}, the one that was tested")),
            (Fit::TooOld, _) => (Verdict::Broken, format!("{found} is too old")),
            (Fit::Untested, []) => (Verdict::Note, format!("{found}; no version was ever tested")),
            (Fit::Untested, tested) => (Verdict::Note, format!("{found}; tested was {}", tested.join(", "))),
        },
    };
    case("version", verdict, words)
}

fn login(descriptor: &Descriptor, config: &AgentConfig) -> Case {
    let variable = |name: &str| config.set.get(name).cloned().or_else(|| std::env::var(name).ok());
    let by = |what: String| (Verdict::Kept, format!("by {what}; whether it is accepted is not tried"));
    let (verdict, words) = match probe::login(descriptor, &variable) {
        Login::Variable(name) => by(name),
        Login::File(file) => by(file.display().to_string()),
        Login::Unknown => (Verdict::NotTried, "its description does not say how to tell".into()),
        Login::Missing(names) => {
            let how = descriptor.program.login.clone().unwrap_or_else(|| format!("set one of {}", names.join(", ")));
            (Verdict::Note, format!("no; {how}"))
        }
    };
    case("signed-in", verdict, words)
}

/// Checks every group of arguments with a value: nothing may be left to fill in.
fn command_line(agent: &Agent, descriptor: &Descriptor, room: &Path) -> [Case; 2] {
    const SESSION: &str = "00000000-session";
    let fresh = assignment(room);
    let resumed = Assignment { resume: Some(SESSION.into()), ..fresh.clone() };
    let argv = agent.invocation(&fresh).argv;
    let names_it = agent.invocation(&resumed).argv.iter().any(|argument| argument.contains(SESSION));
    [
        match argv.as_slice() {
            [] => case("argv", Verdict::Broken, "nothing would be executed"),
            argv => case("argv", Verdict::Kept, argv.join(" ")),
        },
        match (descriptor.args.resume.is_empty(), names_it) {
            (true, _) => case("resume", Verdict::Note, "it cannot resume a session; every attempt starts fresh"),
            (false, true) => case("resume", Verdict::Kept, "the session is named"),
            (false, false) => case("resume", Verdict::Broken, "the session is not in the arguments"),
        },
    ]
}

/// Checks that a run with a service that is not there ends by itself or by a limit, as a trouble of the network.
fn closed_port(name: &str, config: &AgentConfig, descriptor: &Descriptor, room: &Path, shim: &Path) -> Case {
    const NAME: &str = "closed-port";
    let Some(endpoint) = &descriptor.endpoint else {
        return case(NAME, Verdict::NotTried, "its description does not say how to point it at another service");
    };
    let Some(port) = closed() else { return case(NAME, Verdict::NotTried, "no port of the loopback is free") };
    let url = format!("http://127.0.0.1:{port}");
    let assignment = assignment(room);
    let home = room.join("home");
    let slot = room.join("slot");
    let endpoint_set: BTreeMap<String, String> =
        endpoint.set.iter().map(|(name, value)| (name.clone(), value.replace("{url}", &url))).collect();
    let mut set = match home::prepare_home(descriptor, &slot, &home::lookup(&endpoint_set)) {
        Ok(()) => home::redirected(descriptor, &slot),
        Err(error) => return case(NAME, Verdict::NotTried, format!("its home cannot be made: {error}")),
    };
    set.insert("HOME".into(), home.to_string_lossy().into_owned());
    set.extend(endpoint_set);
    let mut args = config.args.clone();
    args.extend(endpoint.args.iter().map(|argument| argument.replace("{url}", &url)));
    let config = AgentConfig {
        kind: AgentKind::Adapter,
        adapter: Some(config.adapter.clone().unwrap_or_else(|| name.into())),
        model: endpoint.model.clone().or_else(|| config.model.clone()),
        set: config.set.clone().into_iter().chain(set).collect(),
        args,
        ..config.clone()
    };
    let began = Instant::now();
    let tried = std::fs::create_dir_all(&home)
        .and_then(|()| std::fs::create_dir_all(assignment.out_dir()))
        .and_then(|()| std::fs::create_dir_all(&assignment.workspace))
        .and_then(|()| std::fs::write(assignment.prompt_file(), "# Task\n\nSay hello.\n"))
        .and_then(|()| execute(&super::open(name, &config), &assignment, shim));
    let seconds = began.elapsed().as_secs();
    match tried {
        Err(error) => case(NAME, Verdict::NotTried, format!("it cannot be started: {error}")),
        Ok(Outcome::Failed { class: Class::Network | Class::Overloaded, .. }) => {
            case(NAME, Verdict::Kept, format!("a service that is not there is `network`, after {seconds} s"))
        }
        Ok(Outcome::Failed { class, reason, .. }) => {
            let reason = oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(&reason), 300);
            // What stalls is ended by a limit; that is slow, and no lie.
            let verdict = if class == Class::Silent { Verdict::Note } else { Verdict::Broken };
            case(NAME, verdict, format!("a service that is not there is `{class}`, after {seconds} s: {reason}"))
        }
        Ok(other) => {
            case(NAME, Verdict::Broken, format!("a service that is not there, and it says `{}`", other.word()))
        }
    }
}

fn execute(agent: &Agent, assignment: &Assignment, shim: &Path) -> std::io::Result<Outcome> {
    let limits = Limits {
        wall: Some(CLOSED_PORT),
        silence: None,
        output: 16 << 20,
        memory: None,
        grace: agent.grace().unwrap_or(Duration::from_secs(2)),
    };
    let invocation = agent.invocation(assignment);
    let mut watcher = agent.watcher(assignment);
    let attempt = Attempt::start(shim, &assignment.run_dir, &invocation, &limits)?;
    let began = Instant::now();
    let mut outputs = Outputs::new(&assignment.run_dir);
    let mut ended_by_us = None;
    loop {
        let report = attempt.reports().recv_timeout(Duration::from_millis(100));
        let now = began.elapsed();
        if let Some(watcher) = &mut watcher {
            outputs.feed(watcher, now);
            if ended_by_us.is_none()
                && let Some((class, words)) = watcher.verdict(now)
            {
                ended_by_us = Some(Outcome::failed(class, words));
                attempt.stop(Stop::Gently);
            }
        }
        let exit = match report {
            Ok(Report::Ended(exit)) => exit,
            Ok(Report::Started { .. }) | Err(crossbeam_channel::RecvTimeoutError::Timeout) => continue,
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => Exit::unknown(),
        };
        if let Ended::NotStarted { error, .. } = &exit.ended {
            return Err(std::io::Error::other(error.clone()));
        }
        return Ok(ended_by_us.unwrap_or_else(|| agent.outcome(assignment, &exit, None)));
    }
}

/// Returns a port that nobody listens on: one that was free a moment ago.
fn closed() -> Option<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok()?;
    Some(listener.local_addr().ok()?.port())
}

/// Returns an attempt for a program to show itself on.
fn assignment(room: &Path) -> Assignment {
    let rule = Workflow::shipped().rule(&Role::BUILDER).expect("ships").clone();
    example::assignment(&rule, &room.join("project"), &room.join("run/1"))
}

/// Returns an agent of an adapter that nobody configured.
pub fn bare(adapter: &str, adapters: &BTreeMap<String, toml::Table>) -> AgentConfig {
    AgentConfig {
        kind: AgentKind::Adapter,
        adapter: Some(adapter.into()),
        adapters: adapters.clone(),
        ..AgentConfig::default()
    }
}
