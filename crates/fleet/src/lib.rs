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
    path::PathBuf,
    time::{Duration, Instant},
};

use oodatcaa_core::Role;
use oodatcaa_core::layout::Layout;

mod detach;
mod fault;
mod holder;
mod host;
mod local;
pub mod pidfile;
mod report;
mod resume;
mod systemd;
#[expect(clippy::disallowed_methods, reason = "the user's own unit files")]
pub mod units;

pub use detach::{READY_WITHIN, Reporter, Side, Verdict, detach};
pub use fault::FleetError;
pub use host::Host;
pub use pidfile::PidFile;
pub use report::{Backend, Choice, Happened, Mode, Report, Row, State};
pub use resume::resume;

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

    /// Chooses how to start these roles; under systemd this installs the units that are not there yet.
    pub fn choose(&self, backend: Backend, roles: &[Role]) -> Result<Choice, FleetError> {
        let pid_file = |why: String| Choice { mode: Mode::PidFile, why, notes: Vec::new() };
        if backend == Backend::Process {
            return Ok(pid_file("it was asked for".into()));
        }
        let asked = backend == Backend::Systemd;
        if let Err(why) = self.host.manager() {
            return if asked { Err(FleetError::NoSystemd(why)) } else { Ok(pid_file(why)) };
        }
        match self.install(roles, false) {
            Ok(notes) => {
                let why = if asked { "it was asked for" } else { "the systemd user manager of this user works" };
                Ok(Choice { mode: Mode::Systemd, why: why.into(), notes })
            }
            Err(error @ FleetError::Foreign { .. }) if !asked => {
                Ok(pid_file(format!("the systemd user manager works, but could not {error}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the way that the fleet of this project would be found, for those who only look or stop.
    pub fn found(&self, backend: Backend) -> Result<Choice, FleetError> {
        let choice = |mode, why: &str| Ok(Choice { mode, why: why.into(), notes: Vec::new() });
        match (backend, self.host.manager()) {
            (Backend::Process, _) => choice(Mode::PidFile, "it was asked for"),
            (Backend::Systemd, Err(why)) => Err(FleetError::NoSystemd(why)),
            (Backend::Auto, Err(why)) => choice(Mode::PidFile, &why),
            (Backend::Systemd, Ok(())) => choice(Mode::Systemd, "it was asked for"),
            (Backend::Auto, Ok(())) if self.units()?.is_empty() => {
                choice(Mode::PidFile, "the systemd user manager works, but this project's units are not installed")
            }
            (Backend::Auto, Ok(())) => {
                choice(Mode::Systemd, "the systemd user manager works and this project's units are installed")
            }
        }
    }

    /// Starts the workers of these roles and waits until they are ready.
    pub fn start(
        &self,
        mode: Mode,
        roles: &[Role],
        wait: Duration,
        say: &mut dyn FnMut(&Report),
    ) -> Result<(), FleetError> {
        // Who runs the other way already is neither started twice nor stopped.
        let mut left = Vec::new();
        for role in roles {
            local::make_way(&self.layout, role)?;
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
            Mode::PidFile => {
                let daemon = self.daemon()?;
                for role in &left {
                    say(&local::start(&self.layout, &daemon, role, wait)?);
                }
                Ok(())
            }
        }
    }

    /// Stops all workers of these roles: TERM, the time they need, KILL. `Auto` stops them whichever way they run.
    pub fn stop(
        &self,
        backend: Backend,
        roles: &[Role],
        wait: Option<Duration>,
        say: &mut dyn FnMut(&Report),
    ) -> Result<(), FleetError> {
        let wait = wait.unwrap_or(self.stop_after + Duration::from_secs(5));
        let deadline = Instant::now() + wait;
        let units = match backend {
            Backend::Process => Vec::new(),
            Backend::Auto | Backend::Systemd if self.host.manager().is_ok() => self.units()?,
            Backend::Auto => Vec::new(),
            Backend::Systemd => return Err(FleetError::NoSystemd(self.host.manager().err().unwrap_or_default())),
        };
        let wanted: Vec<Role> = roles.iter().filter(|role| units.contains(&units::unit_name(role))).cloned().collect();
        let mut stopped = systemd::active(&self.host, &wanted)?;
        systemd::stop(&self.host, &stopped, wait, say)?;
        if backend != Backend::Systemd {
            stopped.extend(local::stop(&self.layout, roles, deadline, say)?);
        }
        for role in roles.iter().filter(|role| !stopped.contains(role)) {
            say(&Report { name: role.to_string(), what: Happened::NotRunning { stale: false } });
        }
        Ok(())
    }

    /// Returns how the workers of these roles are, the further instances among them.
    pub fn status(&self, roles: &[Role]) -> Result<Vec<Row>, FleetError> {
        let units = if self.host.manager().is_ok() { self.units()? } else { Vec::new() };
        let wanted: Vec<Role> = roles.iter().filter(|role| units.contains(&units::unit_name(role))).cloned().collect();
        let managed = systemd::status(&self.host, &wanted)?;
        let processes = local::status(&self.layout, roles)?;
        let mut rows = Vec::new();
        for role in roles {
            let unit = managed.iter().find(|row| row.name == role.as_str());
            let mut here: Vec<Row> = processes
                .iter()
                .filter(|row| pidfile::role_of(&row.name) == role.as_str())
                .filter(|row| unit.is_none_or(|unit| unit.pid != row.pid))
                .cloned()
                .collect();
            if let Some(unit) = unit.filter(|unit| unit.state != State::Stopped || here.is_empty()) {
                here.insert(0, unit.clone());
            }
            if here.is_empty() {
                here.push(local::stopped(&self.layout, role));
            }
            rows.append(&mut here);
        }
        Ok(rows)
    }

    /// Installs the units of these roles; answers what was done and what to know about it.
    pub fn install(&self, roles: &[Role], path_too: bool) -> Result<Vec<String>, FleetError> {
        let (dir, daemon) = (self.host.units(), self.daemon()?);
        let path = self.host.login_path();
        let facts = units::facts(&self.layout, &daemon, &path, self.stop_after);
        let changes = units::install(&dir, roles, &facts, path_too)?;
        let mut notes = Vec::new();
        if !changes.added.is_empty() {
            notes.push(format!("installed {} in {}", changes.added.join(" "), dir.display()));
        }
        if !changes.updated.is_empty() {
            notes.push(format!("updated {} in {}", changes.updated.join(" "), dir.display()));
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
    pub fn uninstall(&self, say: &mut dyn FnMut(&Report)) -> Result<Vec<String>, FleetError> {
        let (dir, units) = (self.host.units(), self.units()?);
        let works = self.host.manager().is_ok();
        if works && !units.is_empty() {
            systemd::discard(&self.host, &units, self.stop_after + Duration::from_secs(10), say)?;
        }
        let mut notes = Vec::new();
        for unit in &units {
            if let Some(kept) = units::remove(&dir, unit)? {
                notes.push(format!("left {}: it holds changes that somebody made", kept.display()));
            }
        }
        if works && !units.is_empty() {
            systemd::reload(&self.host)?;
            systemd::forget(&self.host, &units);
        }
        notes.insert(
            0,
            match units.len() {
                0 => format!("no units of this project in {}", dir.display()),
                _ => format!("removed {} from {}", units.join(" "), dir.display()),
            },
        );
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
