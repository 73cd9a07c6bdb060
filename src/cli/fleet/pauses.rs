//! Roles that claim nothing for a while, because a person says so.

use super::super::{
    context::Context,
    fail::{Done, exit},
};
use super::{Names, Pause};
use oodatcaa_core::{Role, event::Actor};
use oodatcaa_fleet::{self as fleet, Fleet, FleetError};
use oodatcaa_ops::{ErrorKind, Failure, view::PauseView};
use oodatcaa_store::StoreError;

/// Returns the name of the person who gives the command; an agent is none.
fn person(ctx: &Context) -> Result<String, Failure> {
    match ctx.project.actor() {
        Actor::Human(human) => Ok(human),
        actor => Err(Failure::new(ErrorKind::Refused, format!("only a person may do this, and this is {actor}"))),
    }
}

pub(super) fn pause(ctx: &Context, fleet: &Fleet, args: &Pause) -> Done {
    let (human, store) = (person(ctx)?, ctx.project.store()?);
    for role in fleet.roles(&args.names.roles)? {
        let changed = fleet::pause(store, &role, &human, args.reason.as_deref())?;
        let words = match changed {
            true => format!("{role} claims nothing until: agentctl fleet resume {role}"),
            false => format!("{role} is paused already"),
        };
        tell(ctx, &PauseView { role, paused: true, changed }, &words);
    }
    Ok(exit::OK)
}

fn tell(ctx: &Context, view: &PauseView, words: &str) {
    if ctx.ui.json() { ctx.ui.record(view) } else { ctx.ui.say(words) }
}

pub(super) fn resume(ctx: &Context, fleet: &Fleet, names: &Names) -> Done {
    let (human, store) = (person(ctx)?, ctx.project.store()?);
    for role in fleet.roles(&names.roles)? {
        let changed = fleet::resume(store, &role, &human)?;
        let words = if changed { format!("{role} works again") } else { format!("{role} was not paused") };
        tell(ctx, &PauseView { role, paused: false, changed }, &words);
    }
    Ok(exit::OK)
}

/// Ends the pauses of roles: a person who starts one has seen why it was paused. An agent is no person.
pub(super) fn forgive(ctx: &Context, roles: &[Role]) {
    let Actor::Human(human) = ctx.project.actor() else { return };
    let store = match ctx.project.store() {
        Ok(store) => store,
        Err(failure) => return ctx.ui.warn(&format!("cannot look at the pauses: {}", failure.sentence())),
    };
    for role in roles {
        match fleet::resume(store, role, &human) {
            Ok(true) => ctx.ui.say(&format!("{role} was paused and works again")),
            Ok(false) => {}
            // A project without a queue has no pauses; its workers say what is missing.
            Err(FleetError::Store(StoreError::Missing(_))) => return,
            Err(error) => {
                return ctx.ui.warn(&format!("cannot look at the pauses: {}", Failure::from(error).sentence()));
            }
        }
    }
}
