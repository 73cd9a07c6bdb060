//! Whether a red gate says anything of the work: it is tried on the commit that the work began with (R34).
//!
//! Only when a gate is red does anybody need to know, so only then is it asked. Green is remembered for a while in
//! the user's own state directory; red is asked again each time, because a person may have mended it.

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{
    chain,
    evidence::{self, Ran},
    run::Run,
};
use oodatcaa_config::GateConfig;
use oodatcaa_core::{Outcome, text};
use oodatcaa_git::merge::{Base, MergeDirs};
use oodatcaa_sys::files::{self, Durable};

/// How long green is believed.
const BELIEVED: chrono::Duration = chrono::Duration::hours(1);

/// What a gate says of a commit that nobody has worked on.
pub(super) enum Verdict {
    /// It is green there, so its red is about the work.
    Green,
    /// It is red there, too, and how.
    Red { commit: String, words: String },
    /// It cannot be asked.
    Unknown,
}

/// Where gates are tried.
pub(super) struct Ground {
    pub(super) commit: String,
    pub(super) dirs: MergeDirs,
    /// Where the target stood when the attempt began.
    pub(super) target: Option<String>,
}

/// Asks a gate about the commit that the work began with; `afresh` when what was remembered does not count.
pub(super) fn ask(run: &mut Run, name: &str, gate: &GateConfig, afresh: bool) -> Result<Verdict, Outcome> {
    let Some(ground) = run.ground.take().filter(|_| gate.baseline) else { return Ok(Verdict::Unknown) };
    let answer = try_on(run, name, gate, &ground, afresh);
    run.ground = Some(ground);
    answer
}

fn try_on(run: &mut Run, name: &str, gate: &GateConfig, ground: &Ground, afresh: bool) -> Result<Verdict, Outcome> {
    let key = key(&ground.commit, gate);
    if !afresh && is_remembered(run, &key) {
        return Ok(Verdict::Green);
    }
    let short: String = ground.commit.chars().take(12).collect();
    log::info!(task = run.lease().task_id.as_str(); "{}: the gate `{name}` is red; trying it on {short}, where the work began", run.lease().task_id);
    let (shared, dir, env) = (run.shared.clone(), run.assignment.run_dir.clone(), run.env.clone());
    let (stop, setup) = (Arc::clone(&run.halt), &shared.setup);
    let made = run
        .beside(|| Base::make(&setup.layout, &setup.config.workspace, &ground.dirs, &ground.commit, &dir, &env, &stop));
    if let Some(stopped) = run.is_stopped() {
        return Err(stopped);
    }
    let base = match made {
        Ok(base) => base,
        Err(error) => {
            log::warn!(task = run.lease().task_id.as_str(); "{}: the gate `{name}` cannot be tried on {short}: failed to {}", run.lease().task_id, chain(&error));
            return Ok(Verdict::Unknown);
        }
    };
    let ran = evidence::execute(run, name, gate, base.project(), ".before")?;
    if ran.ok {
        remember(run, &key);
        return Ok(Verdict::Green);
    }
    Ok(Verdict::Red { commit: short, words: told(&ran) })
}

/// How a gate was red, in one line.
fn told(ran: &Ran) -> String {
    match text::telling(&ran.tail) {
        Some(line) => format!("{}: {}", ran.words, text::cut(line, 300)),
        None => ran.words.clone(),
    }
}

/// What decides whether a gate is green on a commit, as a name.
fn key(commit: &str, gate: &GateConfig) -> String {
    let facts: BTreeMap<&str, &[String]> = BTreeMap::from([("argv", gate.argv.as_slice()), ("env", &gate.env)]);
    let facts = serde_json::to_string(&facts).unwrap_or_default();
    Sha256::digest(format!("{commit}\n{facts}")).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn is_remembered(run: &Run, key: &str) -> bool {
    let Some(root) = run.shared.setup.layout.user_state() else { return false };
    let Ok(Some(text)) = files::read_text(root, &root.join("baseline").join(key), files::RECORD) else { return false };
    let at = text.trim().parse::<chrono::DateTime<chrono::Utc>>();
    let now = chrono::Utc::now();
    at.is_ok_and(|at| at <= now && now - at < BELIEVED)
}

fn remember(run: &Run, key: &str) {
    let Some(root) = run.shared.setup.layout.user_state() else { return };
    let dir = root.join("baseline");
    let now = chrono::Utc::now().to_rfc3339();
    let kept = files::make_dir(root, &dir)
        .and_then(|()| files::write_atomic(root, &dir.join(key), now.as_bytes(), Durable::No));
    if let Err(error) = kept {
        log::debug!("cannot remember that a gate is green: failed to {error}");
    }
}
