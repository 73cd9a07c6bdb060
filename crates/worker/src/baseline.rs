//! Finds out whether a red gate says anything of the work: it is run on the commit that the work began with.
//!
//! Only when a gate is red does anybody need to know, so only then is it asked. Green is remembered for a while in
//! the user's own state directory; red is asked again each time, because a person may have mended it.

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest as _, Sha256};

use crate::{
    gate::{self, Ran},
    run::Run,
};
use oodatcaa_config::{GateConfig, OnBase};
use oodatcaa_core::{Outcome, text, text::chain};
use oodatcaa_git::merge::{Base, MergeDirs};
use oodatcaa_sys::files::{self, Durable};

/// How long green is believed.
const BELIEVED: chrono::Duration = chrono::Duration::hours(1);

/// What a gate says of a commit that nobody has worked on.
pub(crate) enum Verdict {
    /// It is green there, so its red is about the work.
    Green,
    /// It is red there, too, and how.
    Red { commit: String, words: String },
    /// It cannot be asked.
    Unknown,
}

/// The commit that the work began with, and where gates can be run on it.
pub(crate) struct Baseline {
    pub(crate) commit: String,
    pub(crate) dirs: MergeDirs,
    /// The place where the target stood when the attempt began.
    pub(crate) target: Option<String>,
}

/// Runs a gate on the commit that the work began with; `afresh` when what was remembered does not count.
pub(crate) fn ask(
    run: &mut Run,
    baseline: Option<&Baseline>,
    name: &str,
    gate: &GateConfig,
    afresh: bool,
) -> Result<Verdict, Outcome> {
    let Some(baseline) = baseline.filter(|_| gate.baseline == OnBase::Check) else { return Ok(Verdict::Unknown) };
    let key = key(&baseline.commit, gate);
    if !afresh && is_remembered(run, &key) {
        return Ok(Verdict::Green);
    }
    let short: String = baseline.commit.chars().take(12).collect();
    log::info!(task = run.lease().task_id.as_str(); "{}: the gate `{name}` is red; trying it on {short}, where the work began", run.lease().task_id);
    let (shared, dir, env) = (run.shared.clone(), run.assignment.run_dir.clone(), run.env.clone());
    let (stop, setup) = (Arc::clone(&run.halt), &shared.setup);
    let made = run.beside(|| {
        Base::make(&setup.layout, &setup.config.workspace, &baseline.dirs, &baseline.commit, &dir, &env, &stop)
    });
    if let Some(stopped) = run.stop_outcome() {
        return Err(stopped);
    }
    let base = match made {
        Ok(base) => base,
        Err(error) => {
            log::warn!(task = run.lease().task_id.as_str(); "{}: the gate `{name}` cannot be tried on {short}: failed to {}", run.lease().task_id, chain(&error));
            return Ok(Verdict::Unknown);
        }
    };
    let ran = gate::execute(run, name, gate, base.project(), ".before")?;
    if ran.ok {
        remember(run, &key);
        return Ok(Verdict::Green);
    }
    Ok(Verdict::Red { commit: short, words: describe(&ran) })
}

/// Describes in one line how a gate was red.
fn describe(ran: &Ran) -> String {
    match text::telling(&ran.tail) {
        Some(line) => format!("{}: {}", ran.words, text::cut(line, 300)),
        None => ran.words.clone(),
    }
}

/// Returns a name for everything that decides whether a gate is green on a commit.
fn key(commit: &str, gate: &GateConfig) -> String {
    let facts: BTreeMap<&str, &[String]> = BTreeMap::from([("argv", gate.argv.as_slice()), ("env", &gate.env)]);
    let facts = serde_json::to_string(&facts).unwrap_or_default();
    text::hex(&Sha256::digest(format!("{commit}\n{facts}"))[..16])
}

fn is_remembered(run: &Run, key: &str) -> bool {
    let Some(root) = run.shared.setup.layout.user_state() else { return false };
    let Ok(Some(text)) = files::read_text(root, &root.join("baseline").join(key), files::RECORD) else { return false };
    let at = text.trim().parse::<chrono::DateTime<chrono::Utc>>();
    let now = chrono::Utc::now();
    // A time to come is of a clock that was set back: believed, it would hold for as long as that.
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
