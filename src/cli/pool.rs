//! Pools of quota as people see them: which are not open, until when and why; and opening one by hand.

use super::{
    change::{Dry, decide},
    context::Context,
    fail::Done,
};
use oodatcaa_agent as agent;
use oodatcaa_core::{
    event::Actor,
    pool,
    text::{cut, duration, near, one_line},
    time::stamp,
};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{Moment, PoolState, PoolView, ReopenView},
};

/// Flags of `agent reopen`.
#[derive(Debug, clap::Args)]
pub(super) struct Reopen {
    /// The pool, or an agent that draws from it
    #[arg(value_name = "POOL")]
    pool: String,
    #[command(flatten)]
    dry: Dry,
}

/// Says that a pool is open, whatever its provider said last.
pub(super) fn reopen(ctx: &Context, args: &Reopen) -> Done {
    if !matches!(ctx.project.actor(), Actor::Human(_)) {
        return Err(Failure::new(ErrorKind::PermissionDenied, "only a human may open a pool early")
            .hint("do it from a terminal of your own"));
    }
    let config = &ctx.project.loaded()?.config.agents;
    let name = match config.get(&args.pool) {
        Some(named) => agent::open(&args.pool, named).pool(),
        None => args.pool.clone(),
    };
    let known = ctx.read()?.snapshot.history.pools.closed.clone();
    let ours: Vec<String> = config.iter().map(|(name, config)| agent::open(name, config).pool()).collect();
    if !known.contains_key(&name) && !ours.contains(&name) {
        let near = near(&name, known.keys().chain(&ours).map(String::as_str));
        let failure = Failure::new(ErrorKind::NotFound, format!("there is no pool `{}`", cut(&one_line(&name), 200)));
        let hint = |failure: Failure, near: &str| failure.hint(format!("agentctl agent reopen {near}"));
        return Err(near.into_iter().fold(failure, hint).hint("agentctl status"));
    }
    let changed = decide(ctx, args.dry, |snapshot, _, actor| Ok(pool::reopen(snapshot, &name, actor)))?;
    let was = changed.before.history.pools.closed.get(&name);
    let view = ReopenView {
        was: PoolState::of(&changed.before, &name),
        until: was.map(|was| was.until.into()),
        reason: was.map(|was| was.reason.clone()),
        changed: !changed.changes.is_empty(),
        dry_run: args.dry.dry_run,
        pool: name,
    };
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return Ok(0);
    }
    ctx.ui.line(&one_line(&view.pool));
    ctx.ui.say(&match (view.changed, view.dry_run, was) {
        (true, true, Some(was)) => format!("would be open; it is closed until {}", stamp(was.until)),
        (true, false, Some(was)) => {
            format!("open; it was closed until {}, and the next limit closes it again", stamp(was.until))
        }
        _ => "nothing to change: it is open".into(),
    });
    Ok(0)
}

/// Describes a pool that is not open.
pub(super) fn sentence(pool: &PoolView, at: Moment) -> Option<String> {
    let words = match pool.state {
        PoolState::Open => return None,
        PoolState::Closed => {
            let left = (pool.until.0 - at.0).to_std().unwrap_or_default();
            format!("is used up until {} (in {})", stamp(pool.until.0), duration(left))
        }
        PoolState::HalfOpen => "was used up; the next attempt tries whether it is back".into(),
        PoolState::Probed => "was used up, and one attempt tries whether it is back".into(),
    };
    let reason = cut(&one_line(&pool.reason), 200);
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    Some(format!("the quota of `{}` {words}{reason}", one_line(&pool.pool)))
}
