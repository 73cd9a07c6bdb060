//! `agentctl fleet status`: which workers run, and how.

use super::super::{
    cells::seconds_item,
    context::Context,
    fail::Done,
    ui::{Item, Table, Tone},
};
use super::{Which, told::tell_choice};
use oodatcaa_core::{Role, text};
use oodatcaa_fleet::{self as fleet, Backend, Choice, Fleet, Mode, Row, State};
use oodatcaa_ops::{
    Failure,
    view::{FleetView, WorkerView},
};

pub(super) fn status(ctx: &Context, fleet: &Fleet, which: &Which) -> Done {
    let roles = fleet.roles(&which.names.roles)?;
    let choice = fleet.found(which.backend)?;
    let mut rows = fleet.status(&roles)?;
    match which.backend {
        Backend::Auto => {}
        Backend::Systemd => rows.retain(|row| row.mode != Some(Mode::PidFile)),
        Backend::Process => rows.retain(|row| row.mode != Some(Mode::Systemd)),
    }
    if ctx.ui.json() {
        ctx.ui.value(&view(fleet, &choice, &rows, &roles)?);
        return Ok(0);
    }
    tell_choice(ctx, &choice);
    match fleet.supervisor()? {
        Some(pid) => ctx.ui.say(&format!("the supervisor, process {pid}, starts again what crashes")),
        None if rows.iter().any(|row| row.mode == Some(Mode::PidFile)) => {
            ctx.ui.say("no supervisor keeps them, so what crashes stays down; to have one: agentctl fleet start");
        }
        None => {}
    }
    let mut table = Table::new("ROLE | STATE | PID? | FOR? | MODE? | SAYS~ | LOG~");
    let below = format!("{}/", ctx.project.layout()?.root().display());
    for row in &rows {
        let (word, tone, why) = state(&row.state);
        let log = row.log.strip_prefix(&below).unwrap_or(&row.log);
        table.row([
            Item::new(&row.name).tone(Tone::Strong),
            Item::new(why.map_or(word.into(), |why| format!("{word}: {why}"))).tone(tone),
            Item::of(row.pid),
            seconds_item(row.up.map(|up| up.as_secs_f64().floor())),
            Item::of(row.mode.map(Mode::as_str)),
            Item::of(row.says.as_deref()),
            Item::new(log).or_piped(&row.log).tone(Tone::Faint),
        ]);
    }
    ctx.ui.table(&table);
    ctx.ui.say(&summary(&rows, &roles));
    Ok(0)
}

/// Returns the word of a state, how it is painted, and why it is so where that is known.
fn state(state: &State) -> (&'static str, Tone, Option<&str>) {
    match state {
        State::Running => ("running", Tone::Good, None),
        State::Starting => ("starting", Tone::Busy, None),
        State::Stopping => ("stopping", Tone::Busy, None),
        State::Stopped => ("stopped", Tone::Faint, None),
        State::Waiting(why) => ("waiting", Tone::Warn, Some(why)),
        State::Failed(why) => ("failed", Tone::Bad, Some(why)),
    }
}

/// Roles with a worker, not workers: a further instance of a role makes no other role run.
fn running(rows: &[Row], roles: &[Role]) -> usize {
    let runs = |role: &&Role| {
        rows.iter().any(|row| row.state == State::Running && fleet::pidfile::role_of(&row.name) == role.as_str())
    };
    roles.iter().filter(runs).count()
}

pub(super) fn summary(rows: &[Row], roles: &[Role]) -> String {
    let (served, workers) = (running(rows, roles), working(rows));
    let more = if workers > served { format!(", by {}", text::many(workers, "worker")) } else { String::new() };
    format!("Running: {served}/{}{more}", roles.len())
}

fn working(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.state == State::Running).count()
}

pub(super) fn view(fleet: &Fleet, choice: &Choice, rows: &[Row], roles: &[Role]) -> Result<FleetView, Failure> {
    let worker = |row: &Row| WorkerView {
        name: row.name.clone(),
        role: fleet::pidfile::role_of(&row.name).into(),
        state: state(&row.state).0,
        reason: state(&row.state).2.map(Into::into),
        pid: row.pid,
        up_seconds: row.up.map(|up| up.as_secs()),
        mode: row.mode.map(Mode::as_str),
        says: row.says.clone(),
        log: row.log.clone(),
    };
    Ok(FleetView {
        mode: choice.mode.as_str(),
        why: choice.why.clone(),
        notes: choice.notes.clone(),
        supervisor: fleet.supervisor()?,
        workers: rows.iter().map(worker).collect(),
        running: running(rows, roles),
        workers_running: working(rows),
        roles: roles.len(),
        results: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_instance_makes_no_other_role_run() {
        let row = |name: &str, state| Row {
            name: name.into(),
            state,
            pid: None,
            up: None,
            mode: None,
            says: None,
            log: String::new(),
        };
        let rows = [row("builder", State::Running), row("builder@two", State::Running), row("tester", State::Stopped)];
        assert_eq!(summary(&rows, &[Role::BUILDER, Role::TESTER]), "Running: 1/2, by 2 workers");
        assert_eq!(summary(&rows[1..], &[Role::BUILDER, Role::TESTER]), "Running: 1/2");
    }
}
