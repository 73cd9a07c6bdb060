//! The supervisor from outside: whoever starts, stops and looks at workers asks it.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    FleetError, Happened, Report,
    detach::tail,
    host::ask as execute,
    local::{self, OF_A_SERVICE},
    pidfile::{self, State as Found},
    report::Say,
    supervisor::{NAME, instance},
};
use oodatcaa_core::{
    Role,
    control::{Reply, Status, Verb, Worker},
    layout::Layout,
    supervise::Exit,
};
use oodatcaa_process::caller::SUPERVISE;
use oodatcaa_sys::socket;

/// The time in which a supervisor answers.
const ANSWER: Duration = Duration::from_secs(5);

/// The time between two looks at how far a start has come.
const POLL: Duration = Duration::from_millis(20);

/// The longest wait for a supervisor to leave that keeps nobody any more.
const LEAVING: Duration = Duration::from_secs(5);

/// Asks the supervisor of a project; `None` where none runs.
pub(super) fn ask(layout: &Layout, verb: Verb) -> Result<Option<Reply>, FleetError> {
    if !matches!(pidfile::inspect(layout, NAME)?, Found::Running(_) | Found::Starting) {
        return Ok(None);
    }
    let (path, line, began) = (layout.socket(NAME), verb.line(), Instant::now());
    let failed = |source: io::Error| FleetError::io("ask the supervisor at", &path, source);
    loop {
        match socket::ask(&path, &line, ANSWER) {
            Ok(line) => {
                let reply = Reply::read(&line).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
                return match reply.error {
                    Some(why) => Err(FleetError::Refused(why)),
                    None => Ok(Some(reply)),
                };
            }
            // It has just left.
            Err(_) if matches!(pidfile::inspect(layout, NAME)?, Found::Absent | Found::Stale(_)) => return Ok(None),
            // It has just come, and holds its pid file before it can be asked.
            Err(error) if error.kind() == io::ErrorKind::NotFound && began.elapsed() < ANSWER => thread::sleep(POLL),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Returns the workers that a supervisor keeps; none where there is no supervisor.
pub(super) fn workers(layout: &Layout) -> Result<Vec<Worker>, FleetError> {
    let status: Option<Status> = ask(layout, Verb::Status)?.and_then(|reply| reply.status);
    Ok(status.map(|status| status.workers).unwrap_or_default())
}

/// Has the supervisor keep a worker of each role, at least, and waits until they are ready; starts a supervisor where
/// there is none.
pub(super) fn start(
    layout: &Layout,
    daemon: &Path,
    roles: &[Role],
    wait: Duration,
    say: Say<'_>,
) -> Result<(), FleetError> {
    local::make_way(layout, NAME)?;
    let kept = workers(layout)?;
    let want = roles.iter().map(|role| {
        let of_role = kept.iter().filter(|worker| worker.role == role.as_str() && worker.state != "stopped");
        (role.clone(), u32::try_from(of_role.count()).unwrap_or(u32::MAX).max(1))
    });
    scale(layout, daemon, &want.collect(), wait, say)
}

/// Has the supervisor keep so many workers of each role, and waits until they are ready; starts a supervisor where there
/// is none.
pub(super) fn scale(
    layout: &Layout,
    daemon: &Path,
    want: &BTreeMap<Role, u32>,
    wait: Duration,
    say: Say<'_>,
) -> Result<(), FleetError> {
    let all = want.iter().flat_map(|(role, count)| (1..=*count).map(move |n| instance(role, n)));
    let all: Vec<String> = all.collect();
    let want: BTreeMap<String, u32> = want.iter().map(|(role, count)| (role.to_string(), *count)).collect();
    let deadline = Instant::now() + wait;
    // What logs hold already is of earlier starts.
    let length = |name: &str| pidfile::log_path(layout, name).metadata().map_or(0, |meta| meta.len());
    let mut left: Vec<(String, u64)> = all.into_iter().map(|name| (name.clone(), length(&name))).collect();
    let mut going = Vec::new();
    match keeping(layout)?.then(|| ask(layout, Verb::Want { roles: want.clone() })).transpose()?.flatten() {
        Some(reply) => going = stopping(reply),
        None => {
            if let Err(failed) = start_supervisor(layout, daemon, &want, wait)? {
                for (name, _) in left {
                    say(&Report { name, what: failed.clone() });
                }
                return Ok(());
            }
        }
    }
    while !left.is_empty() || !going.is_empty() {
        let workers = workers(layout)?;
        let is_over = Instant::now() >= deadline;
        going.retain(|name| {
            let is_there = workers.iter().any(|worker| worker.name == *name && worker.state == "stopping");
            if !is_there {
                say(&Report { name: name.clone(), what: Happened::Stopped { killed: false } });
            }
            // It has its own time, and its supervisor sees to it.
            is_there && !is_over
        });
        left.retain(|(name, from)| {
            let lines = || tail(&pidfile::log_path(layout, name), *from);
            let Some(worker) = workers.iter().find(|worker| worker.name == *name) else {
                say(&Report { name: name.clone(), what: Happened::failed("its supervisor has left", lines()) });
                return false;
            };
            let why = || worker.why.clone().unwrap_or_default();
            let what = match (worker.state.as_str(), worker.pid) {
                ("running" | "silent", Some(pid)) => Happened::Started { pid },
                ("failed", _) => Happened::Failed { why: why(), lines: lines(), human: worker.needs_person },
                ("stopped", _) => Happened::failed("it left at once", lines()),
                _ if is_over => Happened::failed("it is not ready in time; its supervisor goes on trying", lines()),
                _ => return true,
            };
            say(&Report { name: name.clone(), what });
            false
        });
        if !left.is_empty() || !going.is_empty() {
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Returns the names of the workers that a supervisor has asked to leave.
fn stopping(reply: Reply) -> Vec<String> {
    let workers = reply.status.map(|status| status.workers).unwrap_or_default();
    workers.into_iter().filter(|worker| worker.state == "stopping").map(|worker| worker.name).collect()
}

/// Has one worker claim nothing more and leave when its attempts have ended.
pub(super) fn drain(layout: &Layout, name: &str) -> Result<Happened, FleetError> {
    let path = layout.socket(name);
    let asked = |verb: Verb| -> Result<Reply, FleetError> {
        let line = socket::ask(&path, &verb.line(), ANSWER).map_err(|source| FleetError::io("ask", &path, source))?;
        Ok(Reply::read(&line).unwrap_or_default())
    };
    let reply = asked(Verb::Drain)?;
    if let Some(why) = reply.error {
        return Ok(Happened::failed(why, Vec::new()));
    }
    // It may have left already.
    let status = asked(Verb::Status).ok().and_then(|reply: Reply| reply.status);
    Ok(Happened::Draining { attempts: status.map_or(0, |status| status.attempts.len()) })
}

/// Tells whether a supervisor has workers. One that has none any more is ended: a new one has the environment of
/// whoever starts it, and that may be what was missing.
fn keeping(layout: &Layout) -> Result<bool, FleetError> {
    let is_over = |worker: &Worker| ["stopped", "failed"].contains(&worker.state.as_str());
    if workers(layout)?.iter().all(is_over) && ask(layout, Verb::Shutdown)?.is_some() {
        let deadline = Instant::now() + LEAVING;
        while matches!(pidfile::inspect(layout, NAME)?, Found::Running(_) | Found::Starting)
            && Instant::now() < deadline
        {
            thread::sleep(POLL);
        }
        return Ok(false);
    }
    Ok(true)
}

/// Starts a supervisor; the inner error is what became of it.
fn start_supervisor(
    layout: &Layout,
    daemon: &Path,
    want: &BTreeMap<String, u32>,
    wait: Duration,
) -> Result<Result<(), Happened>, FleetError> {
    if let Found::Stale(_) = pidfile::inspect(layout, NAME)? {
        pidfile::clean(layout, NAME)?;
    }
    let log = pidfile::log_path(layout, NAME);
    let from = log.metadata().map_or(0, |meta| meta.len());
    let mut command = command(layout, daemon, want);
    command.arg("--detach");
    let (why, said, code) = match execute(command, wait) {
        Ok(answer) if answer.ok => return Ok(Ok(())),
        Ok(answer) => ("the supervisor did not start".to_owned(), answer.err, answer.code),
        Err(why) => (format!("the supervisor is not ready: {why}"), String::new(), None),
    };
    let mut lines = tail(&log, from);
    if lines.is_empty() {
        lines = said.lines().map(str::to_owned).collect();
    }
    let human = code.is_some_and(|code| Exit::Code(code).needs_person().is_some());
    Ok(Err(Happened::Failed { why, lines, human }))
}

/// Returns the command of a supervisor that keeps so many workers of each role.
pub(super) fn command(layout: &Layout, daemon: &Path, want: &BTreeMap<String, u32>) -> Command {
    let mut command = Command::new(daemon);
    command.args([SUPERVISE, "--project"]).arg(layout.root());
    for (role, count) in want {
        command.arg("--want").arg(format!("{role}={count}"));
    }
    for variable in OF_A_SERVICE {
        command.env_remove(variable);
    }
    command
}

/// Has the supervisor stop the workers of these roles; answers the names of those that it has asked to leave.
pub(super) fn let_go(layout: &Layout, roles: &[Role]) -> Result<Vec<String>, FleetError> {
    let want = roles.iter().map(|role| (role.to_string(), 0)).collect();
    Ok(ask(layout, Verb::Want { roles: want })?.map(stopping).unwrap_or_default())
}

/// Waits until the supervisor has let go of the workers of these roles, which have until then to leave, and until it is
/// gone itself where it keeps nobody else.
pub(super) fn wait_for_the_last(layout: &Layout, roles: &[Role], until: Instant) -> Result<(), FleetError> {
    let deadline = until.max(Instant::now()) + LEAVING;
    while matches!(pidfile::inspect(layout, NAME)?, Found::Running(_) | Found::Starting) && Instant::now() < deadline {
        let kept = match workers(layout) {
            Ok(kept) => kept,
            // It leaves while it is asked.
            Err(FleetError::Io { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        // It may hear of a worker's end later than we do.
        let of_these = |worker: &Worker| roles.iter().any(|role| role.as_str() == worker.role);
        let (these, others): (Vec<Worker>, Vec<Worker>) =
            kept.into_iter().filter(|worker| worker.state != "stopped").partition(of_these);
        if these.is_empty() && !others.is_empty() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use oodatcaa_core::control;
    use oodatcaa_sys::socket::Call;
    use pidfile::PidFile;

    /// A supervisor that says these states of its builder, one after the other, and leaves with the last of them.
    fn supervisor(layout: &Layout, says: &'static [&'static str], others: Vec<Worker>) -> socket::Served {
        let held = Mutex::new((PidFile::hold(layout, NAME).ok(), says.iter()));
        let hear = move |call: Call| {
            let mut held = held.lock().expect("one thread");
            let state = held.1.next().unwrap_or(&"stopped");
            let builder =
                Worker { name: "builder".into(), role: "builder".into(), state: (*state).into(), ..Worker::default() };
            let status = Status { workers: [vec![builder], others.clone()].concat(), ..Status::default() };
            let line = control::answer(&call.line, |_| Reply { status: Some(status), ..Reply::done() });
            if held.1.as_slice().is_empty() && others.is_empty() {
                held.0 = None;
            }
            call.answer(line);
        };
        socket::serve(layout.root(), &layout.socket(NAME), hear).expect("served")
    }

    #[test]
    fn a_stop_waits_for_a_supervisor_that_has_not_heard_yet_of_its_last_workers_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let served = supervisor(&layout, &["stopping", "stopping", "stopped"], Vec::new());
        wait_for_the_last(&layout, &[Role::BUILDER], Instant::now()).expect("asked");
        assert_eq!(pidfile::inspect(&layout, NAME).expect("looked"), Found::Absent);
        drop(served);
        // One that keeps others stays.
        let other =
            Worker { name: "tester".into(), role: "tester".into(), state: "running".into(), ..Worker::default() };
        let _served = supervisor(&layout, &["stopping", "stopped"], vec![other]);
        wait_for_the_last(&layout, &[Role::BUILDER], Instant::now()).expect("asked");
        assert!(matches!(pidfile::inspect(&layout, NAME).expect("looked"), Found::Running(_)));
    }
}
