//! The PID-file mode: detached daemons, found and ended by pid files that cannot lie.
//!
//! Nothing is ever signalled but a process that holds its pid file and is the one that the file
//! describes: pid, start time and boot.

use std::time::{Duration, Instant};

use chrono::Utc;
use rustix::process::Signal;

use super::{
    FleetError, Happened, Mode, Report, Row, State, kept,
    pidfile::{self, Handle},
    report::Say,
    supervisor::NAME,
};
use oodatcaa_core::Role;
use oodatcaa_core::layout::Layout;

/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Variables by which a manager speaks to one service; the daemons are not that service.
pub(super) const OF_A_SERVICE: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM", "INVOCATION_ID"];

/// How long a worker of a project that was moved may take to leave.
const MOVED: Duration = Duration::from_secs(10);

/// Ends a daemon that came along with a project which was moved: it serves the place where that was, and is about to
/// leave by itself.
pub(super) fn make_way(layout: &Layout, name: &str) -> Result<(), FleetError> {
    if let pidfile::State::Running(holder) = pidfile::inspect(layout, name)?
        && holder.is_elsewhere(layout.root())
        && let Ok(Some(handle)) = holder.handle()
    {
        let _ = handle.signal(Signal::TERM);
        let _ = end(&handle, Instant::now() + MOVED);
    }
    Ok(())
}

/// Stops every daemon of these roles, all at once; answers the roles that had something to stop or to clean.
pub(super) fn stop(layout: &Layout, roles: &[Role], deadline: Instant, say: Say<'_>) -> Result<Vec<Role>, FleetError> {
    let mut handled = Vec::new();
    let mut ending: Vec<(String, Result<Option<Handle>, String>)> = Vec::new();
    let mut found = Vec::new();
    for (role, name) in instances(layout, roles)? {
        let state = settled(layout, &name)?;
        // Opened before anybody is asked to leave: who has gone since is found gone, and nobody else in its place.
        let handle = if let pidfile::State::Running(holder) = &state { Some(holder.handle()) } else { None };
        found.push((role, name, state, handle));
    }
    let asked = match kept::let_go(layout, roles) {
        Err(FleetError::Io { .. }) => {
            // A supervisor that hears nothing must not keep anybody running, nor start again what is stopped here.
            if let pidfile::State::Running(holder) = pidfile::inspect(layout, NAME)?
                && let Ok(Some(handle)) = holder.handle()
            {
                let ended = end(&handle, Instant::now());
                let what =
                    ended.map_or_else(|why| Happened::failed(why, Vec::new()), |killed| Happened::Stopped { killed });
                pidfile::clean(layout, NAME)?;
                say(&Report { name: NAME.into(), what });
            }
            Vec::new()
        }
        asked => asked?,
    };
    let early: Vec<String> =
        asked.iter().filter(|name| found.iter().all(|(_, known, ..)| known != *name)).cloned().collect();
    for (role, name, state, handle) in found {
        match state {
            pidfile::State::Absent => continue,
            pidfile::State::Stale(_) => {
                let stale = pidfile::clean(layout, &name)?;
                say(&Report { name, what: Happened::NotRunning { stale } });
            }
            pidfile::State::Starting => {
                ending.push((name, Err("its pid file is held by a process that does not say which".into())));
            }
            pidfile::State::Running(_) => {
                let handle = handle.unwrap_or(Ok(None)).and_then(|handle| {
                    // A second TERM would mean: at once.
                    if !asked.contains(&name) {
                        handle.as_ref().map(|handle| handle.signal(Signal::TERM)).transpose()?;
                    }
                    Ok(handle)
                });
                ending.push((name, handle.map_err(|error| error.to_string())));
            }
        }
        handled.push(role);
    }
    // All were asked before the first is waited for: a stop takes as long as the slowest, not as all of them.
    for (name, asked) in ending {
        let ended = asked.and_then(|handle| match handle {
            Some(handle) => end(&handle, deadline),
            None => Ok(false),
        });
        let what = match ended {
            Ok(killed) => {
                pidfile::clean(layout, &name)?;
                Happened::Stopped { killed }
            }
            Err(why) => Happened::failed(why, Vec::new()),
        };
        say(&Report { name, what });
    }
    kept::wait_for_the_last(layout, roles, deadline)?;
    // Those that were asked to leave before they had a pid file.
    for name in early {
        handled.extend(roles.iter().find(|role| role.as_str() == pidfile::role_of(&name)).cloned());
        let what = match pidfile::clean(layout, &name)? {
            true => Happened::Stopped { killed: false },
            false => Happened::failed("it has not left in time", Vec::new()),
        };
        say(&Report { name, what });
    }
    Ok(handled)
}

/// Waits for a process that was asked to end, and kills it when it takes too long.
fn end(handle: &Handle, deadline: Instant) -> Result<bool, String> {
    let sorry = |error: std::io::Error| error.to_string();
    if handle.ended_by(deadline).map_err(sorry)? {
        return Ok(false);
    }
    handle.signal(Signal::KILL).map_err(sorry)?;
    match handle.ended_by(Instant::now() + GONE).map_err(sorry)? {
        true => Ok(true),
        false => Err("it does not end, not even by SIGKILL".into()),
    }
}

/// Returns what a pid file says once its daemon has had the moment it needs to write itself into it.
fn settled(layout: &Layout, name: &str) -> Result<pidfile::State, FleetError> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match pidfile::inspect(layout, name)? {
            pidfile::State::Starting if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            state => return Ok(state),
        }
    }
}

/// Returns the daemons of these roles that have a pid file.
pub(super) fn status(layout: &Layout, roles: &[Role]) -> Result<Vec<Row>, FleetError> {
    let mut rows = Vec::new();
    for (_, name) in instances(layout, roles)? {
        let (state, holder) = match pidfile::inspect(layout, &name)? {
            pidfile::State::Absent | pidfile::State::Stale(_) => continue,
            pidfile::State::Starting => (State::Starting, None),
            pidfile::State::Running(holder) => (State::Running, Some(holder)),
        };
        let up = holder.as_ref().and_then(|holder| (Utc::now() - holder.since).to_std().ok());
        let pid = holder.map(|holder| holder.pid);
        rows.push(Row { state, pid, up, mode: Some(Mode::PidFile), ..stopped(layout, name) });
    }
    Ok(rows)
}

/// Returns the row of a worker that does not run.
pub(super) fn stopped(layout: &Layout, name: String) -> Row {
    let log = pidfile::log_path(layout, &name).display().to_string();
    Row { name, state: State::Stopped, pid: None, up: None, mode: None, says: None, log }
}

fn instances(layout: &Layout, roles: &[Role]) -> Result<Vec<(Role, String)>, FleetError> {
    let names = pidfile::names(layout)?;
    let of = |name: &String| roles.iter().find(|role| role.as_str() == pidfile::role_of(name)).cloned();
    Ok(names.into_iter().filter_map(|name| Some((of(&name)?, name))).collect())
}
