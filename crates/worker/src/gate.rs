//! Gates: commands whose exit decides whether a task may go on.

use std::path::Path;

use crate::{follow::Child, run::Run, sandbox::Confined, setup::Shared};
use oodatcaa_agent::record::GateRecord;
use oodatcaa_config::GateConfig;
use oodatcaa_core::{
    ChangeSet, Class, Data, EventDraft, Outcome, Task, TaskId, environment, event::payload::GateRun, layout::Layout,
    text,
};
use oodatcaa_process::{Ended, Invocation, Limits, StopCause};
use oodatcaa_sys::{files, tail};

/// Bytes of a gate's log.
const GATE_OUTPUT: u64 = 16 << 20;

/// Returns the gates of an attempt: the role's, then the task's own, each once.
pub(crate) fn names(shared: &Shared, task: &Task) -> Vec<String> {
    let mut names = shared.setup.role.gates.clone();
    for name in &task.gates {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Returns the message about a gate that nobody configured.
pub(crate) fn unknown(name: &str) -> String {
    let name = text::cut(&text::one_line(name), 100);
    format!(
        "the gate `{name}` is not configured; add [gates.{name}] to .oodatcaa/config.toml, or take it out of the task"
    )
}

/// How a gate ended.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    /// It could not be run at all.
    pub(crate) cannot: bool,
    /// In words.
    pub(crate) words: String,
    /// Its last lines.
    pub(crate) tail: String,
    /// It ran confined.
    pub(crate) confined: bool,
}

/// Runs a gate in a directory; `suffix` keeps what it leaves apart from another run of it. Only a stop is an error.
pub(crate) fn execute(run: &mut Run, name: &str, gate: &GateConfig, cwd: &Path, suffix: &str) -> Result<Ran, Outcome> {
    // A gate has a directory of its own below the run's, so that its exit status and its tag are its own.
    let dir = run
        .assignment
        .run_dir
        .join("gates")
        .join(TaskId::parse(name).map_or("unnamed".into(), |id| id.to_string()) + suffix);
    let broken = |error: std::io::Error| {
        Outcome::failed(Class::AgentCrashed, format!("the gate `{name}` cannot be started: {error}"))
    };
    files::make_dir(run.shared.setup.layout.root(), &dir).map_err(|error| broken(error.into()))?;
    let log =
        run.assignment.run_dir.join(format!("gate-{}.log", dir.file_name().unwrap_or_default().to_string_lossy()));
    let mut sandbox = Confined::gate(run, name, cwd, &dir)?;
    let mut invocation = Invocation {
        argv: gate.argv.clone(),
        env: run.environment(&gate.env),
        cwd: cwd.to_owned(),
        stdin: None,
        stdout: log.clone(),
        stderr: log.clone(),
        confine: None,
    };
    sandbox.dress(&mut invocation)?;
    let limits = Limits {
        wall: Some(gate.timeout).filter(|limit| !limit.is_zero()),
        silence: None,
        output: GATE_OUTPUT,
        memory: run.shared.setup.role.memory,
        grace: run.shared.setup.config.fleet.grace,
    };
    // Touched by the shim when we die, which wakes the other workers.
    let wake = run.shared.setup.layout.lease(&run.assignment.task.id);
    let shim = run.shared.setup.shims.take().map_err(broken)?;
    let attempt = shim.run(&dir, &invocation, &limits, Some(&wake)).map_err(broken)?;
    let exit = run.follow(&attempt, Child::Gate);
    if let Some(stopped) = run.stopped_outcome(&exit) {
        return Err(stopped);
    }
    sandbox.report(&exit)?;
    let ok = exit.ended == Ended::Exited(0) && exit.stopped.is_none();
    let words = match (&exit.stopped, &exit.ended) {
        (Some(StopCause::Wall), _) => format!("ran longer than {}", text::duration(gate.timeout)),
        (Some(StopCause::Output), _) => format!("wrote more than {GATE_OUTPUT} bytes"),
        (Some(StopCause::Memory), _) => "held more memory than the limit `memory` of its role".into(),
        (Some(_), _) => "was stopped".into(),
        (None, Ended::Exited(code)) => format!("ended with exit status {code}"),
        (None, Ended::Signalled(signal)) => format!("was ended by signal {signal}"),
        (None, Ended::NotStarted { error, .. }) => format!("cannot be started: {error}"),
        (None, Ended::Unknown) => "ended in an unknown way".into(),
    };
    let shown = if suffix.is_empty() { name.to_owned() } else { format!("{name} ({suffix})") };
    run.record.found.gates.push(GateRecord { name: shown, ok, words: words.clone(), millis: exit.millis });
    run.save();
    let ran = GateRun {
        gate: Some(text::cut(name, 100)),
        ok: Some(ok),
        tried: Some(suffix.to_owned()).filter(|suffix| !suffix.is_empty()),
        exit: Some(words.clone()),
        ..GateRun::default()
    };
    let event = EventDraft::new(Data::GateFinished(ran), run.shared.actor()).lease(&run.assignment.lease);
    run.shared.note(&format!("the gate `{name}`"), |snapshot| match snapshot.supersedes(run.lease()) {
        true => ChangeSet::none(),
        false => ChangeSet { events: vec![event.clone()], ..ChangeSet::none() },
    });
    // A gate that cannot run says nothing of the work, so it is not held against it.
    let cannot = match exit.ended {
        Ended::NotStarted { .. } => true,
        Ended::Exited(code) => environment::CANNOT_RUN.contains(&code),
        Ended::Signalled(_) | Ended::Unknown => false,
    };
    let content = tail::text(Layout::root_of(&log), &log, 4_000);
    let tail = text::many_lines(&tail::last(&content, 40, |_| true).join("\n"));
    Ok(Ran { ok, cannot, words, tail, confined: sandbox.is_on() })
}
