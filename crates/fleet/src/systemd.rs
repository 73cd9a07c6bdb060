//! The fleet under the systemd user manager: what it is told, and what it says about our units.

use std::{collections::BTreeMap, process::Command, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::{FleetError, Happened, Host, Mode, Report, Row, State, host::ask, units::unit_name};
use oodatcaa_core::Role;

/// For what the manager answers at once.
const SOON: Duration = Duration::from_secs(10);
const ASKED: &str =
    "Id,ActiveState,SubState,Result,ExecMainStatus,MainPID,NRestarts,ActiveEnterTimestampMonotonic,StatusText";

fn tell(host: &Host, doing: &str, args: &[&str], within: Duration) -> Result<String, FleetError> {
    let fail = |answer| FleetError::Manager { doing: doing.into(), answer };
    let answer = host.systemctl(args, within).map_err(fail)?;
    if answer.ok { Ok(answer.out) } else { Err(fail(answer.err)) }
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(unit_name).collect()
}

fn with<'a>(verb: &[&'a str], units: &'a [String]) -> Vec<&'a str> {
    verb.iter().copied().chain(units.iter().map(String::as_str)).collect()
}

type Shown = BTreeMap<String, String>;

fn show(host: &Host, roles: &[Role]) -> Result<Vec<Shown>, FleetError> {
    let units = names(roles);
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let out = tell(host, "show its units", &with(&["show", "--property", ASKED, "--"], &units), SOON)?;
    let all = blocks(&out);
    if all.len() == units.len() {
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
    let stops = |shown: &Shown| !matches!(of(shown, "ActiveState"), "inactive" | "failed");
    Ok(roles.iter().zip(shown).filter(|(_, shown)| stops(shown)).map(|(role, _)| role.clone()).collect())
}

/// Starts the units of these roles; each is waited for until it says that it is ready.
pub(super) fn start(
    host: &Host,
    roles: &[Role],
    wait: Duration,
    say: &mut dyn FnMut(&Report),
) -> Result<(), FleetError> {
    let units = names(roles);
    // A unit that has failed too often is not started again before its count is forgotten.
    let _ = host.systemctl(&with(&["reset-failed", "--"], &units), SOON);
    let started = tell(host, "start the fleet", &with(&["start", "--"], &units), wait);
    for (role, shown) in roles.iter().zip(show(host, roles)?) {
        let row = row(role, &shown);
        let what = match (row.state, row.pid) {
            (State::Running, Some(pid)) => Happened::Started { pid },
            (state, _) => Happened::Failed {
                why: match (state, &started) {
                    (State::Failed(why), _) => why,
                    (_, Err(FleetError::Manager { answer, .. })) => answer.clone(),
                    _ => "it is not active".into(),
                },
                lines: journal(host, role),
                human: false,
            },
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
pub(super) fn stop(
    host: &Host,
    roles: &[Role],
    wait: Duration,
    say: &mut dyn FnMut(&Report),
) -> Result<(), FleetError> {
    if roles.is_empty() {
        return Ok(());
    }
    let units = names(roles);
    let mut told = tell(host, "stop the fleet", &with(&["stop", "--"], &units), wait);
    let late = active(host, roles)?;
    if !late.is_empty() {
        let units = names(&late);
        told = tell(host, "kill what does not stop", &with(&["kill", "--signal=KILL", "--"], &units), SOON)
            .and_then(|_| tell(host, "stop the fleet", &with(&["stop", "--"], &units), SOON));
    }
    for (role, shown) in roles.iter().zip(show(host, roles)?) {
        let gone = matches!(of(&shown, "ActiveState"), "inactive" | "failed");
        let killed = late.contains(role) || matches!(of(&shown, "Result"), "timeout" | "signal");
        let what = match &told {
            _ if gone => Happened::Stopped { killed },
            Err(error) => Happened::Failed { why: error.to_string(), lines: journal(host, role), human: false },
            Ok(_) => Happened::Failed {
                why: format!("it is {}", of(&shown, "ActiveState")),
                lines: Vec::new(),
                human: false,
            },
        };
        say(&Report { name: role.to_string(), what });
    }
    Ok(())
}

/// Stops and disables units that are to be removed.
pub(super) fn discard(
    host: &Host,
    units: &[String],
    wait: Duration,
    say: &mut dyn FnMut(&Report),
) -> Result<(), FleetError> {
    let role =
        |unit: &String| unit.strip_prefix("agent-").and_then(|rest| rest.strip_suffix(".service")).map(Role::new);
    let roles: Vec<Role> = units.iter().filter_map(role).collect();
    stop(host, &active(host, &roles)?, wait, say)?;
    tell(host, "disable the units", &with(&["disable", "--quiet", "--"], units), SOON).map(|_| ())
}

/// Has the manager read the units again.
pub(super) fn reload(host: &Host) -> Result<(), FleetError> {
    tell(host, "read its units", &["daemon-reload"], SOON).map(|_| ())
}

/// Has the manager forget that units that are gone have ever failed.
pub(super) fn forget(host: &Host, units: &[String]) {
    let _ = host.systemctl(&with(&["reset-failed", "--"], units), SOON);
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
