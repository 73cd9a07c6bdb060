//! The words that an agent gets: its role's template and the facts of its task, or what its session does not know yet.

use crate::{
    gate,
    prepare::{Prepared, cannot_write},
    resume::Resume,
    run::Run,
};
use oodatcaa_agent::{
    prompt::{self, Handed, Message, PromptError, PromptFacts, Related},
    record::Record,
};
use oodatcaa_config::{Trust, trust};
use oodatcaa_core::{Class, Outcome, Task, text::chain};
use oodatcaa_sys::files::{self, Durable};

/// How many earlier attempts are looked through for what the role before said.
const BACK: usize = 20;

fn wrong(reason: String) -> Outcome {
    Outcome::failed(Class::Config, reason)
}

/// Renders the prompt and writes it to the attempt's directory, with the letters for the role at its end; `writable` is
/// where the agent may write beside its workspace, where it is confined.
pub(crate) fn write(
    run: &Run,
    prepared: &Prepared,
    resume: Option<&Resume>,
    writable: &[String],
    letters: &[Message],
) -> Result<(), Outcome> {
    let facts = || facts(run, prepared).map(|facts| PromptFacts { writable: writable.to_vec(), ..facts });
    let rendered = match resume {
        None => {
            // What is wrong with the template is said before what is wrong with the facts.
            let template = template(run)?;
            prompt::render(&template, &run.assignment, &facts()?).map_err(|error| {
                let path = run.shared.setup.layout.prompt(run.shared.role());
                wrong(format!("{}: failed to {}", path.display(), chain(&error)))
            })?
        }
        Some(resume) => prompt::go_on(&run.assignment, &facts()?, &resume.words)
            .map_err(|error| wrong(format!("failed to {}", chain(&error))))?,
    };
    let mail = prompt::messages(letters).map_err(|error| wrong(format!("failed to {}", chain(&error))))?;
    let path = run.assignment.prompt_file();
    files::write_atomic(run.shared.setup.layout.root(), &path, (rendered + &mail).as_bytes(), Durable::No)
        .map_err(|error| cannot_write(&path.display().to_string(), &error.into()))
}

/// Returns the role's template: the project's, where the user trusts it, else the one that ships.
fn template(run: &Run) -> Result<String, Outcome> {
    let role = run.shared.role();
    let path = run.shared.setup.layout.prompt(role);
    match (prompt::load(&path), prompt::shipped(role)) {
        (Ok(template), _) if is_allowed(run, &template)? => Ok(template),
        // Nobody looked at the project's words: those that ship are used.
        (Ok(_) | Err(PromptError::Missing(_)), Some(shipped)) => Ok(shipped.into()),
        (Ok(_), None) => Err(wrong(format!("{} is not trusted: agentctl config trust", path.display()))),
        (Err(error), _) => Err(wrong(format!("failed to {}", chain(&error)))),
    }
}

/// Tells whether the user lets this text instruct agents.
///
/// What changes under a worker that was started with a trusted project is no reason for other words: the role waits until
/// the user has looked.
fn is_allowed(run: &Run, template: &str) -> Result<bool, Outcome> {
    let (setup, role) = (&run.shared.setup, run.shared.role());
    let path = || setup.layout.prompt(role).display().to_string();
    match (trust::allows_prompt(&setup.layout, role.as_str(), template), setup.config.trust) {
        (Ok(true), _) => Ok(true),
        (Ok(false), Trust::Trusted) => {
            let what = "or the configuration has changed since you trusted the project";
            Err(wrong(format!("{} {what}: agentctl config trust", path())))
        }
        (Err(error), Trust::Trusted) => Err(wrong(format!("{}: failed to {}", path(), chain(&error)))),
        (Ok(false) | Err(_), _) => Ok(false),
    }
}

/// Gathers what the prompt says of the task, of those around it, and of what was before.
fn facts(run: &Run, prepared: &Prepared) -> Result<PromptFacts, Outcome> {
    let (queue, task) = (&run.snapshot.queue, &run.assignment.task);
    let last_summary = |other: &Task| {
        let (_, newest) = run.snapshot.history.task(&other.id)?.runs.last_key_value()?;
        let record = Record::load(&run.shared.setup.layout.run(&other.id, newest))?;
        record.found.summary.filter(|_| record.state == "finished")
    };
    let related = |other: &Task, summary: Option<String>| Related {
        id: other.id.to_string(),
        title: other.title.clone(),
        status: other.status.to_string(),
        summary: summary.unwrap_or_default(),
    };
    let dependencies = task.dependencies.iter().filter_map(|name| queue.find(name));
    let known = run.snapshot.history.task(&task.id);
    let failures = known.into_iter().flat_map(|known| &known.failures);
    let mut failures: Vec<String> = failures.map(|(role, reason)| format!("{role}: {reason}")).collect();
    if let Some(reason) = &task.blocked_reason
        && !failures.iter().any(|failure| failure.ends_with(reason.as_str()))
    {
        failures.push(reason.clone());
    }
    // Of use only to a role that can take it up again.
    if run.commits() {
        failures.extend(prepared.saved.iter().cloned());
    }
    let mut gates = Vec::new();
    for name in gate::names(&run.shared, task) {
        let gate = run.shared.gate(&name).ok_or_else(|| wrong(gate::unknown(&name)))?;
        gates.push((name, gate.argv.join(" ")));
    }
    Ok(PromptFacts {
        dependencies: dependencies.map(|other| related(other, last_summary(other))).collect(),
        children: queue.children(&task.id).map(|child| related(child, None)).collect(),
        failures,
        answers: known.map(|known| known.answers.clone()).unwrap_or_default(),
        handed: handed(run),
        gates,
        ..PromptFacts::default()
    })
}

/// Returns what the role that had the task before said of its work.
fn handed(run: &Run) -> Option<Handed> {
    let mut earlier = Record::earlier(&run.shared.setup.layout, &run.snapshot, run.lease()).take(BACK);
    let last = earlier.find(|record| matches!(record.found.outcome.as_deref(), Some("done" | "no_change")))?;
    (last.role != run.lease().role).then(|| Handed {
        role: last.role.to_string(),
        nothing: last.found.outcome.as_deref() == Some("no_change"),
        summary: last.found.summary.unwrap_or_default(),
        said: last.found.decisions.iter().chain(&last.found.messages).cloned().collect(),
        risky: last.found.risky,
    })
}
