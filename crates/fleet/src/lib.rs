//! The fleet as one thing: start, stop, restart and status of the workers of a project.
//!
//! Two ways to run it. Under the systemd user manager each role is a unit that the manager watches;
//! in the PID-file mode each role is a detached process that holds its pid file locked. Every answer
//! says which way was chosen, and why. Does not know what a worker does once it runs.
//!
//! ```text
//!   Fleet::choose ──> Choice: systemd, or pid files, and why
//!     start, stop, restart ──> a Report for each worker
//!     status ────────────────> Rows: units of the manager and held pid files together
//! ```
//!
//! Start reading at [`Fleet`], then [`pidfile`] and [`units`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, reason = "files are opened by sys::files"))]

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use oodatcaa_core::Role;
use oodatcaa_core::layout::Layout;

use report::Say;
use units::UnitFacts;

mod detach;
mod fault;
mod holder;
mod host;
mod kept;
mod local;
pub mod pidfile;
mod report;
mod resume;
pub mod supervisor;
mod systemd;
#[expect(clippy::disallowed_methods, reason = "the user's own unit files")]
pub mod units;

pub use detach::{READY_WITHIN, Reporter, Side, Verdict, detach};
pub use fault::FleetError;
pub use host::Host;
pub use pidfile::PidFile;
pub use report::{Backend, Choice, Happened, Mode, Report, Row, State};
pub use resume::{pause, resume};

/// Between the time that a daemon takes by itself to stop and the patience of whoever asked it to.
const MARGIN: Duration = Duration::from_secs(5);

/// Returns how long to wait for a daemon that takes so long by itself to stop.
pub fn patience(stop_after: Duration) -> Duration {
    stop_after + MARGIN
}

/// The fleet of one project.
#[derive(Clone, Debug)]
pub struct Fleet {
    layout: Layout,
    host: Host,
    roles: Vec<Role>,
    stop_after: Duration,
}

impl Fleet {
    /// Returns the fleet of the project at this layout with the roles of its table; `stop_after` is what a
    /// daemon takes by itself to stop at most: its drain and its grace.
    pub fn new(layout: &Layout, host: Host, roles: impl IntoIterator<Item = Role>, stop_after: Duration) -> Self {
        Self { layout: layout.clone(), host, roles: roles.into_iter().collect(), stop_after }
    }

    /// Returns the roles of these names; all of the table when none is named.
    pub fn roles(&self, names: &[String]) -> Result<Vec<Role>, FleetError> {
        if names.is_empty() {
            return Ok(self.roles.clone());
        }
        let mut roles: Vec<Role> = Vec::new();
        for name in names {
            let role = self.roles.iter().find(|role| role.as_str() == name).ok_or_else(|| FleetError::NoRole {
                role: name.clone(),
                known: self.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", "),
            })?;
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        Ok(roles)
    }

    /// Tells why systemd is used; the inner error says why it is not.
    fn systemd(&self, backend: Backend) -> Result<Result<&'static str, String>, FleetError> {
        match backend {
            Backend::Process => Ok(Err("it was asked for".into())),
            Backend::Systemd => self.host.manager().map(|()| Ok("it was asked for")).map_err(FleetError::NoSystemd),
            Backend::Auto => Ok(self.host.manager().map(|()| "the systemd user manager of this user works")),
        }
    }

    /// Chooses how to start these roles; under systemd this installs the units that are not there yet.
    pub fn choose(&self, backend: Backend, roles: &[Role]) -> Result<Choice, FleetError> {
        let why = match self.systemd(backend)? {
            Ok(why) => why,
            Err(why) => return Ok(Choice::new(Mode::PidFile, why)),
        };
        match self.install(roles, false) {
            Ok(notes) => Ok(Choice { notes, ..Choice::new(Mode::Systemd, why) }),
            Err(error @ FleetError::Foreign { .. }) if backend == Backend::Auto => {
                let why = format!("the systemd user manager works, but could not {error}");
                Ok(Choice::new(Mode::PidFile, why))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the way that the fleet of this project would be found, for those who only look or stop.
    pub fn found(&self, backend: Backend) -> Result<Choice, FleetError> {
        Ok(match self.systemd(backend)? {
            Err(why) => Choice::new(Mode::PidFile, why),
            Ok(why) if backend == Backend::Systemd => Choice::new(Mode::Systemd, why),
            Ok(_) if self.units()?.is_empty() => {
                let why = "the systemd user manager works, but this project's units are not installed";
                Choice::new(Mode::PidFile, why)
            }
            Ok(_) => {
                Choice::new(Mode::Systemd, "the systemd user manager works and this project's units are installed")
            }
        })
    }

    /// Returns the roles among these whose units are installed where systemd is used.
    fn managed(&self, backend: Backend, roles: &[Role]) -> Result<Vec<Role>, FleetError> {
        if self.systemd(backend)?.is_err() {
            return Ok(Vec::new());
        }
        let units = self.units()?;
        Ok(roles.iter().filter(|role| units.contains(&units::unit_name(role))).cloned().collect())
    }

    /// Starts the workers of these roles and waits until they are ready.
    pub fn start(&self, mode: Mode, roles: &[Role], wait: Duration, say: Say<'_>) -> Result<(), FleetError> {
        // Who runs the other way already is neither started twice nor stopped.
        let mut left = Vec::new();
        for role in roles {
            local::make_way(&self.layout, &pidfile::name(role, None))?;
            match self.running(role)? {
                Some((pid, there)) => {
                    say(&Report { name: role.to_string(), what: Happened::RunsAlready { pid, mode: there } });
                }
                None => left.push(role.clone()),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        match mode {
            Mode::Systemd => systemd::start(&self.host, &left, wait, say),
            Mode::PidFile => kept::start(&self.layout, &self.daemon()?, &left, wait, say),
        }
    }

    /// Stops all workers of these roles: TERM, the time they need, KILL. `Auto` stops them whichever way they run.
    pub fn stop(
        &self,
        backend: Backend,
        roles: &[Role],
        wait: Option<Duration>,
        say: Say<'_>,
    ) -> Result<(), FleetError> {
        let wait = wait.unwrap_or_else(|| patience(self.stop_after));
        let deadline = Instant::now() + wait;
        let mut stopped = systemd::active(&self.host, &self.managed(backend, roles)?)?;
        systemd::stop(&self.host, &stopped, wait, say)?;
        if backend != Backend::Systemd {
            stopped.extend(local::stop(&self.layout, roles, deadline, say)?);
        }
        for role in roles.iter().filter(|role| !stopped.contains(role)) {
            say(&Report { name: role.to_string(), what: Happened::NotRunning { stale: false } });
        }
        Ok(())
    }

    /// Has the supervisor keep so many workers of each of these roles, and waits until the first of each is ready; starts
    /// a supervisor where there is none. Fails where the roles are units of systemd, of which each is one worker.
    pub fn scale(&self, want: &BTreeMap<Role, u32>, wait: Duration, say: Say<'_>) -> Result<(), FleetError> {
        let roles: Vec<Role> = want.keys().cloned().collect();
        if let Some(role) = systemd::active(&self.host, &self.managed(Backend::Auto, &roles)?)?.first() {
            return Err(FleetError::Refused(format!(
                "`{role}` is a unit of systemd, which is one worker; how much it does at once: agentctl role show {role}"
            )));
        }
        kept::scale(&self.layout, &self.daemon()?, want, wait, say)
    }

    /// Starts a supervisor in the foreground that keeps a worker of each of these roles; what it says comes through the
    /// pipe of its standard error. Fails where one runs already, and where a role is served by a unit of systemd, which
    /// has a restarter.
    pub fn foreground(&self, roles: &[Role]) -> Result<Child, FleetError> {
        local::make_way(&self.layout, supervisor::NAME)?;
        if let Some(pid) = self.supervisor()? {
            return Err(FleetError::Running { name: supervisor::NAME.into(), pid: Some(pid) });
        }
        if let Some(role) = systemd::active(&self.host, &self.managed(Backend::Auto, roles)?)?.first() {
            return Err(FleetError::Refused(format!("`{role}` runs as a unit of systemd, which keeps it")));
        }
        let daemon = self.daemon()?;
        let mut command =
            kept::command(&self.layout, &daemon, &roles.iter().map(|role| (role.to_string(), 1)).collect());
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        command.spawn().map_err(|source| FleetError::io("execute", &daemon, source))
    }

    /// Lets the workers of these roles claim nothing more and leave when their attempts have ended by themselves.
    pub fn drain(&self, roles: &[Role], say: Say<'_>) -> Result<(), FleetError> {
        for row in self.status(roles)? {
            let what = match row.state {
                State::Running | State::Starting | State::Stopping => kept::drain(&self.layout, &row.name)?,
                State::Stopped | State::Waiting(_) | State::Failed(_) => Happened::NotRunning { stale: false },
            };
            say(&Report { name: row.name, what });
        }
        Ok(())
    }

    /// Returns the process of the supervisor, where one runs.
    pub fn supervisor(&self) -> Result<Option<u32>, FleetError> {
        Ok(match pidfile::inspect(&self.layout, supervisor::NAME)? {
            pidfile::State::Running(holder) => Some(holder.pid),
            _ => None,
        })
    }

    /// Returns how the workers of these roles are, the further instances among them.
    pub fn status(&self, roles: &[Role]) -> Result<Vec<Row>, FleetError> {
        let kept = kept::workers(&self.layout).unwrap_or_default();
        let managed = systemd::status(&self.host, &self.managed(Backend::Auto, roles)?)?;
        let processes = local::status(&self.layout, roles)?;
        let mut rows = Vec::new();
        for role in roles {
            let unit = managed.iter().find(|row| row.name == role.as_str());
            let mut here: Vec<Row> = processes
                .iter()
                .filter(|row| pidfile::role_of(&row.name) == role.as_str())
                // A unit's process holds the pid file of its role as well: it is one worker, not two.
                .filter(|row| unit.is_none_or(|unit| unit.pid != row.pid))
                .cloned()
                .collect();
            if let Some(unit) = unit.filter(|unit| unit.state != State::Stopped || here.is_empty()) {
                here.insert(0, unit.clone());
            }
            // What its supervisor knows of a worker that has no process now.
            for worker in kept.iter().filter(|worker| worker.role == role.as_str()) {
                let why = || worker.why.clone().unwrap_or_default();
                let state = match worker.state.as_str() {
                    "failed" => State::Failed(why()),
                    "waiting" => State::Waiting(why()),
                    "queued" => State::Starting,
                    "stopping" => State::Stopping,
                    _ => continue,
                };
                match here.iter_mut().find(|row| row.name == worker.name) {
                    Some(row) => row.state = state,
                    None => here.push(Row { state, ..local::stopped(&self.layout, worker.name.clone()) }),
                }
            }
            if here.is_empty() {
                here.push(local::stopped(&self.layout, pidfile::name(role, None)));
            }
            rows.append(&mut here);
        }
        Ok(rows)
    }

    /// Installs the units of these roles; answers what was done and what to know about it.
    pub fn install(&self, roles: &[Role], path_too: bool) -> Result<Vec<String>, FleetError> {
        let (dir, daemon) = (self.host.units(), self.daemon()?);
        let path = self.host.login_path();
        let facts =
            UnitFacts { project: self.layout.root(), daemon: &daemon, path: &path, stop_after: self.stop_after };
        let changes = units::install(&dir, roles, &facts, path_too)?;
        let mut notes = Vec::new();
        for (done, units) in [("installed", &changes.added), ("updated", &changes.updated)] {
            if !units.is_empty() {
                notes.push(format!("{done} {} in {}", units.join(" "), dir.display()));
            }
        }
        match self.host.manager() {
            Ok(()) if !changes.is_empty() => systemd::reload(&self.host)?,
            Ok(()) => {}
            Err(why) => notes.push(format!("they cannot be started here: {why}")),
        }
        if self.host.linger.as_ref().is_some_and(|linger| !linger.exists()) {
            notes.push("the fleet ends when you log out; to keep it: loginctl enable-linger".into());
        }
        Ok(notes)
    }

    /// Stops, disables and removes this project's units; answers what was done.
    pub fn uninstall(&self, say: Say<'_>) -> Result<Vec<String>, FleetError> {
        let (dir, units) = (self.host.units(), self.units()?);
        let works = self.host.manager().is_ok();
        if works && !units.is_empty() {
            // Before the files go: the manager disables only what it finds.
            systemd::discard(&self.host, &units, self.stop_after + Duration::from_secs(10), say)?;
        }
        let mut notes = vec![match units.len() {
            0 => format!("no units of this project in {}", dir.display()),
            _ => format!("removed {} from {}", units.join(" "), dir.display()),
        }];
        for unit in &units {
            if let Some(kept) = units::remove(&dir, unit)? {
                notes.push(format!("left {}: it was changed by hand", kept.display()));
            }
        }
        if works && !units.is_empty() {
            systemd::reload(&self.host)?;
            systemd::forget(&self.host, &units);
        }
        Ok(notes)
    }

    fn units(&self) -> Result<Vec<String>, FleetError> {
        units::of_project(&self.host.units(), self.layout.root())
    }

    fn daemon(&self) -> Result<PathBuf, FleetError> {
        self.host.program("agent-daemon").ok_or(FleetError::NoDaemon)
    }

    fn running(&self, role: &Role) -> Result<Option<(Option<u32>, Mode)>, FleetError> {
        let rows = self.status(std::slice::from_ref(role))?;
        let runs = |row: &&Row| row.name == role.as_str() && matches!(row.state, State::Running | State::Starting);
        Ok(rows.iter().find(runs).map(|row| (row.pid, row.mode.unwrap_or(Mode::PidFile))))
    }
}
