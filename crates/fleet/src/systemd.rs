//! The fleet under the systemd user manager: what it is told, and what it says about our units.

use std::{collections::BTreeMap, process::Command, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::{FleetError, Happened, Host, Mode, Report, Row, State, host::ask, report::Say, units::unit_name};
use oodatcaa_core::Role;

/// For what the manager answers at once.
const SOON: Duration = Duration::from_secs(10);
const ASKED: &str =
    "Id,ActiveState,SubState,Result,ExecMainStatus,MainPID,NRestarts,ActiveEnterTimestampMonotonic,StatusText";

/// Has the manager do something to these units, or something that needs none.
fn tell(host: &Host, doing: &str, verb: &[&str], units: &[String], within: Duration) -> Result<String, FleetError> {
    let mut args = verb.to_vec();
    if !units.is_empty() {
        args.push("--");
        args.extend(units.iter().map(String::as_str));
    }
    let fail = |answer| FleetError::Manager { doing: doing.into(), answer };
    let answer = host.systemctl(&args, within).map_err(fail)?;
    if answer.ok { Ok(answer.out) } else { Err(fail(answer.err)) }
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(unit_name).collect()
}

type Shown = BTreeMap<String, String>;

fn show(host: &Host, roles: &[Role]) -> Result<Vec<Shown>, FleetError> {
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let all = blocks(&tell(host, "show its units", &["show", "--property", ASKED], &names(roles), SOON)?);
    if all.len() == roles.len() {
        return Ok(all);
    }
    Err(FleetError::Manager { doing: "show its units".into(), answer: "it left some out".into() })
}

fn blocks(out: &str) -> Vec<Shown> {
    out.split("\n\n")
        .map(|block| block.lines().filter_map(|line| line.split_once('=')))
        .map(|pairs| pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Shown>())
        .filter(|shown| !shown.is_empty())
        .collect()
}

fn of<'a>(shown: &'a Shown, key: &str) -> &'a str {
    shown.get(key).map_or("", String::as_str)
}

fn row(role: &Role, shown: &Shown) -> Row {
    let state = match (of(shown, "ActiveState"), of(shown, "SubState")) {
        ("active" | "reloading", _) => State::Running,
        ("deactivating", _) => State::Stopping,
        ("activating", "auto-restart") => State::Failed(format!("waits to start again, {}", ending(shown))),
        ("activating", _) => State::Starting,
        ("failed", _) => State::Failed(ending(shown)),
        _ => State::Stopped,
    };
    let pid = of(shown, "MainPID").parse().ok().filter(|pid| *pid != 0);
    let entered = of(shown, "ActiveEnterTimestampMonotonic").parse().ok().filter(|_| state == State::Running);
    let up = entered.and_then(|at: u64| {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
        now.checked_sub(Duration::from_micros(at))
    });
    Row {
        name: role.to_string(),
        state,
        pid,
        up,
        mode: Some(Mode::Systemd),
        says: Some(of(shown, "StatusText").to_owned()).filter(|text| !text.is_empty() && pid.is_some()),
        log: format!("journalctl --user -u {}", unit_name(role)),
    }
}

fn ending(shown: &Shown) -> String {
    match (of(shown, "Result"), of(shown, "ExecMainStatus")) {
        ("exit-code", status) => format!("exit status {status}"),
        ("start-limit-hit", _) => "it failed again and again".into(),
        (result, _) => result.into(),
    }
}

/// Returns how the units of these roles are.
pub(super) fn status(host: &Host, roles: &[Role]) -> Result<Vec<Row>, FleetError> {
    Ok(roles.iter().zip(show(host, roles)?).map(|(role, shown)| row(role, &shown)).collect())
}

/// Returns the roles among these whose unit has something to stop.
pub(super) fn active(host: &Host, roles: &[Role]) -> Result<Vec<Role>, FleetError> {
    let shown = show(host, roles)?;
    Ok(roles.iter().zip(shown).filter(|(_, shown)| is_active(shown)).map(|(role, _)| role.clone()).collect())
}

fn is_active(shown: &Shown) -> bool {
    !matches!(of(shown, "ActiveState"), "inactive" | "failed")
}

/// Starts the units of these roles; each is waited for until it says that it is ready.
pub(super) fn start(host: &Host, roles: &[Role], wait: Duration, say: Say<'_>) -> Result<(), FleetError> {
    let units = names(roles);
    // A unit that has failed too often is not started again before its count is forgotten.
    forget(host, &units);
    let started = tell(host, "start the fleet", &["start"], &units, wait);
    for (role, row) in roles.iter().zip(status(host, roles)?) {
        let what = match (row.state, row.pid, &started) {
            (State::Running, Some(pid), _) => Happened::Started { pid },
            (State::Failed(why), ..) => Happened::failed(why, journal(host, role)),
            (_, _, Err(FleetError::Manager { answer, .. })) => Happened::failed(answer, journal(host, role)),
            _ => Happened::failed("it is not active", journal(host, role)),
        };
        say(&Report { name: role.to_string(), what });
    }
    Ok(())
}

fn journal(host: &Host, role: &Role) -> Vec<String> {
    let mut command = Command::new("journalctl");
    command.args(["--user", "--no-pager", "-q", "-o", "cat", "-n", "8", "-u", &unit_name(role)]);
    command.env("XDG_RUNTIME_DIR", &host.runtime_dir);
    ask(command, SOON).map(|answer| answer.out.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// Stops the units of these roles, all at once.
pub(super) fn stop(host: &Host, roles: &[Role], wait: Duration, say: Say<'_>) -> Result<(), FleetError> {
    if roles.is_empty() {
        return Ok(());
    }
    let stop = |units: &[String], wait| tell(host, "stop the fleet", &["stop"], units, wait);
    let mut told = stop(&names(roles), wait);
    // The manager kills by itself after the unit's own time, which an edit of the unit may have made endless.
    let late = active(host, roles)?;
    if !late.is_empty() {
        let units = names(&late);
        let killed = tell(host, "kill what does not stop", &["kill", "--signal=KILL"], &units, SOON);
        told = killed.and_then(|_| stop(&units, SOON));
    }
    for (role, shown) in roles.iter().zip(show(host, roles)?) {
        let what = match &told {
            _ if !is_active(&shown) => Happened::Stopped {
                killed: late.contains(role) || matches!(of(&shown, "Result"), "timeout" | "signal"),
            },
            Err(error) => Happened::failed(error.to_string(), journal(host, role)),
            Ok(_) => Happened::failed(format!("it is {}", of(&shown, "ActiveState")), Vec::new()),
        };
        say(&Report { name: role.to_string(), what });
    }
    Ok(())
}

/// Stops and disables units that are to be removed.
pub(super) fn discard(host: &Host, units: &[String], wait: Duration, say: Say<'_>) -> Result<(), FleetError> {
    let role =
        |unit: &String| unit.strip_prefix("agent-").and_then(|rest| rest.strip_suffix(".service")).map(Role::new);
    let roles: Vec<Role> = units.iter().filter_map(role).collect();
    stop(host, &active(host, &roles)?, wait, say)?;
    tell(host, "disable the units", &["disable", "--quiet"], units, SOON).map(drop)
}

/// Has the manager read the units again.
pub(super) fn reload(host: &Host) -> Result<(), FleetError> {
    tell(host, "read its units", &["daemon-reload"], &[], SOON).map(drop)
}

/// Has the manager forget that units have ever failed.
pub(super) fn forget(host: &Host, units: &[String]) {
    let _ = tell(host, "forget failures", &["reset-failed"], units, SOON);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> State {
        row(&Role::BUILDER, &blocks(text)[0]).state
    }

    #[test]
    fn what_the_manager_says_becomes_a_state() {
        assert_eq!(shown("ActiveState=active\nSubState=running\nMainPID=7"), State::Running);
        assert_eq!(shown("ActiveState=inactive\nSubState=dead"), State::Stopped);
        assert_eq!(shown("ActiveState=activating\nSubState=start"), State::Starting);
        let failed = shown("ActiveState=failed\nResult=exit-code\nExecMainStatus=78");
        assert_eq!(failed, State::Failed("exit status 78".into()));
        let again = shown("ActiveState=activating\nSubState=auto-restart\nResult=signal");
        assert_eq!(again, State::Failed("waits to start again, signal".into()));
    }

    #[test]
    fn one_block_is_one_unit() {
        let all = blocks("Id=a.service\nStatusText=has = in it\n\nId=b.service\nStatusText=\n");
        assert_eq!(all.len(), 2);
        assert_eq!(of(&all[0], "StatusText"), "has = in it");
        assert_eq!(of(&all[1], "Id"), "b.service");
    }
}
