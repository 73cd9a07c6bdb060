//! Tries whether an installed agent CLI keeps what its descriptor promises, also inside our sandbox, as far as that can be
//! seen without a network and without spending a token.

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
use oodatcaa_config::{AgentConfig, AgentKind, Sandbox, SandboxMode};
use oodatcaa_core::{Class, Outcome, Role, Workflow};
use oodatcaa_process::{Attempt, Ended, Exit, Invocation, Limits, Report, Stop};

use self::stage::Stage;

mod stage;

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

/// Runs every case of an agent. `room` is a directory of its own; `shim` our own `agent-daemon`; `sandbox` how its
/// attempts are confined.
pub fn run(name: &str, config: &AgentConfig, room: &Path, shim: Option<&Path>, sandbox: &Sandbox) -> Vec<Case> {
    let agent = super::open(name, config);
    let mut cases = vec![match (agent.problem(), agent.descriptor()) {
        (Some(bad), _) => case("descriptor", Verdict::Broken, format!("cannot {bad}")),
        (None, found) => {
            let words = found.map(|found| format!("{:?}, dialect {:?}", found.evidence, found.dialect));
            case("descriptor", Verdict::Kept, words.unwrap_or_default().to_lowercase())
        }
    }];
    let Some(descriptor) = agent.descriptor() else { return cases };
    let sandboxed = sandbox.mode != SandboxMode::Off && !sandbox.nested;
    cases.extend(command_line(&agent, descriptor, room, sandboxed));
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
    let Some(shim) = shim else {
        let words = "agent-daemon, which watches the program's processes, is not found";
        cases.push(case("closed-port", Verdict::NotTried, words));
        return cases;
    };
    let at = At { name, descriptor, room, shim, sandbox };
    cases.push(own_sandbox(&agent, &at));
    cases.extend(closed_port(config, &at));
    cases.extend(inside(config, &at));
    cases
}

/// The program to try, and the place for it.
struct At<'a> {
    name: &'a str,
    descriptor: &'a Descriptor,
    room: &'a Path,
    shim: &'a Path,
    sandbox: &'a Sandbox,
}

/// Says what becomes of a sandbox of the program's own.
fn own_sandbox(agent: &Agent, at: &At<'_>) -> Case {
    const NAME: &str = "own-sandbox";
    let args = &at.descriptor.args;
    let off = at.sandbox.mode == SandboxMode::Off;
    match agent.problem_sandboxed().filter(|_| !off && !at.sandbox.nested) {
        Some(bad) => case(NAME, Verdict::Broken, format!("cannot {bad}")),
        None if args.own_sandbox.is_empty() => case(NAME, Verdict::Kept, "its description knows of none"),
        None if off => case(NAME, Verdict::Kept, "as it is: nothing of ours is around it (mode = \"off\")"),
        None if at.sandbox.nested => case(NAME, Verdict::Kept, "it stays on (nested = true)"),
        None => {
            let group = args.permitted(agent.config.permissions.as_deref(), true).unwrap_or_default();
            case(NAME, Verdict::Kept, format!("it is off inside ours: {}", group.join(" ")))
        }
    }
}

/// Tries, with the rights of the agent, what it needs and what it must not reach.
fn inside(config: &AgentConfig, at: &At<'_>) -> Vec<Case> {
    let not_tried = |why: String| vec![case("inside", Verdict::NotTried, why)];
    let (config, links) = match stage::signed_in(at.descriptor, config, at.room) {
        Ok(signed_in) => signed_in,
        Err(error) => return not_tried(format!("a sign-in cannot be made up: {error}")),
    };
    let agent = super::open(at.name, &adapter(at.name, config));
    let slot = at.room.join("slot");
    let prepared = std::fs::create_dir_all(&slot).and_then(|()| agent.prepare_home(&slot));
    if let Err(error) = prepared {
        return not_tried(format!("its home cannot be made: {error}"));
    }
    let stage = match Stage::new(at.room, 2, &agent, at.sandbox) {
        Ok(stage) if stage.is_confined() => stage,
        Ok(_) => return Vec::new(),
        // Said with the program's own run.
        Err(why) => return not_tried(why),
    };
    let mut invocation = agent.invocation(&stage.assignment);
    invocation.argv = ["sh", "-c", &stage::script()].map(String::from).to_vec();
    invocation.env.extend(stage::places(&stage, &links));
    invocation.stdin = None;
    let ran = stage.confine(invocation).and_then(|invocation| attempt(&stage.assignment, &invocation, at.shim, None));
    match ran {
        Err(error) => not_tried(format!("a shell cannot be started: {error}")),
        Ok(_) => match stage.report() {
            Err(why) => vec![case("inside", Verdict::Broken, why)],
            Ok(report) => {
                let output = std::fs::read_to_string(stage.assignment.run_dir.join("stdout.log")).unwrap_or_default();
                stage::tried(&output, &report, links.iter().any(|(link, _)| link.exists()))
            }
        },
    }
}

/// Returns a configuration of an agent as one of its adapter.
fn adapter(name: &str, config: AgentConfig) -> AgentConfig {
    AgentConfig {
        kind: AgentKind::Adapter,
        adapter: Some(config.adapter.clone().unwrap_or_else(|| name.into())),
        ..config
    }
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
fn command_line(agent: &Agent, descriptor: &Descriptor, room: &Path, sandboxed: bool) -> [Case; 2] {
    const SESSION: &str = "00000000-session";
    let fresh = Assignment { sandboxed, ..assignment(room) };
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

/// Checks that a run with a service that is not there, confined as attempts are, ends by itself or by a limit, as a
/// trouble of the network; and says how it was confined.
fn closed_port(config: &AgentConfig, at: &At<'_>) -> Vec<Case> {
    const NAME: &str = "closed-port";
    let (descriptor, room) = (at.descriptor, at.room);
    let not_tried = |why: String| vec![case(NAME, Verdict::NotTried, why)];
    let Some(endpoint) = &descriptor.endpoint else {
        return not_tried("its description does not say how to point it at another service".into());
    };
    let Some(port) = closed() else { return not_tried("no port of the loopback is free".into()) };
    let url = format!("http://127.0.0.1:{port}");
    let slot = room.join("slot");
    let mut set: BTreeMap<String, String> =
        endpoint.set.iter().map(|(name, value)| (name.clone(), value.replace("{url}", &url))).collect();
    set.insert("HOME".into(), room.join("home").to_string_lossy().into_owned());
    let prepared = std::fs::create_dir_all(room.join("home"))
        .and_then(|()| home::prepare_home(descriptor, &slot, &home::lookup(&set)));
    match prepared {
        Ok(()) => set.extend(home::redirected(descriptor, &slot)),
        Err(error) => return not_tried(format!("its home cannot be made: {error}")),
    }
    let mut args = config.args.clone();
    args.extend(endpoint.args.iter().map(|argument| argument.replace("{url}", &url)));
    let config = AgentConfig {
        model: endpoint.model.clone().or_else(|| config.model.clone()),
        set: config.set.clone().into_iter().chain(set).collect(),
        args,
        ..adapter(at.name, config.clone())
    };
    let agent = super::open(at.name, &config);
    let stage = match Stage::new(room, 1, &agent, at.sandbox) {
        Ok(stage) => stage,
        Err(why) => return vec![case("confined", Verdict::Broken, format!("it cannot {why}"))],
    };
    let began = Instant::now();
    let tried = std::fs::write(stage.assignment.prompt_file(), "# Task\n\nSay hello.\n")
        .and_then(|()| stage.confine(agent.invocation(&stage.assignment)))
        .and_then(|invocation| attempt(&stage.assignment, &invocation, at.shim, Some(&agent)));
    let seconds = began.elapsed().as_secs();
    let (verdict, words) = match tried {
        Err(error) => (Verdict::NotTried, format!("it cannot be started: {error}")),
        Ok(Outcome::Failed { class: Class::Network | Class::Overloaded, .. }) => {
            (Verdict::Kept, format!("a service that is not there is `network`, after {seconds} s"))
        }
        Ok(Outcome::Failed { class, reason, .. }) => {
            let reason = oodatcaa_core::text::cut(&oodatcaa_core::text::one_line(&reason), 300);
            // What stalls is ended by a limit; that is slow, and no lie.
            let verdict = if class == Class::Silent { Verdict::Note } else { Verdict::Broken };
            (verdict, format!("a service that is not there is `{class}`, after {seconds} s: {reason}"))
        }
        Ok(other) => (Verdict::Broken, format!("a service that is not there, and it says `{}`", other.word())),
    };
    [stage.confined(), case(NAME, verdict, words)].into_iter().chain(stage::refused(&stage)).collect()
}

/// Runs something as an attempt; what the end means, an agent says, if one is named.
fn attempt(
    assignment: &Assignment,
    invocation: &Invocation,
    shim: &Path,
    agent: Option<&Agent>,
) -> std::io::Result<Outcome> {
    let limits = Limits {
        wall: Some(CLOSED_PORT),
        silence: None,
        output: 16 << 20,
        memory: None,
        grace: agent.and_then(Agent::grace).unwrap_or(Duration::from_secs(2)),
    };
    let mut watcher = agent.and_then(|agent| agent.watcher(assignment));
    let attempt = Attempt::start(shim, &assignment.run_dir, invocation, &limits)?;
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
        let said = || agent.map(|agent| agent.outcome(assignment, &exit, None));
        return Ok(ended_by_us
            .or_else(said)
            .unwrap_or_else(|| Outcome::Done { summary: String::new(), tasks: Vec::new() }));
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
