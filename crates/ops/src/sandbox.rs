//! The sandboxes of a project's programs: what they are, what they say of a path, and whether this machine keeps them.
//!
//! Whether a machine keeps one is not concluded from what it has: the real profile is applied to our own program, which
//! then tries what it must not be able to do ([`tries`]).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use crate::{
    ErrorKind, Failure, Project,
    view::{SandboxView, VerdictView},
};
use oodatcaa_agent::{
    self as agent,
    sandbox::{self, Confinement, Disk, OwnPlaces, Place, Private, Program, ThisMachine},
};
use oodatcaa_config::{Config, Sandbox, SandboxMode, WorkspaceMode, World, sandbox::real};
use oodatcaa_core::{Guarantee, Role, layout::Layout, text::one_line};
use oodatcaa_fleet::Host;
use oodatcaa_process::confine::{self, Network, Report};
use oodatcaa_sys::files;

mod probe;
pub mod tries;
mod worked;

pub use worked::{UNCONFINED, refused, worked};

/// Whose sandbox it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An agent of a role.
    Agent(Role, String),
    /// A gate of a role.
    Gate(Role, String),
    /// `setup` and `teardown`.
    Hooks,
}

impl Who {
    /// Says in words who it is.
    pub fn words(&self) -> String {
        match self {
            Self::Agent(role, agent) if agent.is_empty() => format!("agents of {role}"),
            Self::Agent(role, agent) => format!("agent {agent} of {role}"),
            Self::Gate(role, gate) => format!("gate {gate} of {role}"),
            Self::Hooks => "setup and teardown".into(),
        }
    }

    fn program(&self, config: &Config) -> Program {
        match self {
            Self::Agent(role, _) => match (config.workflow.rule(role), config.roles.get(role)) {
                (Some(rule), Some(role)) => Program::of_role(rule, role),
                _ => Program::Agent,
            },
            Self::Gate(..) => Program::Gate,
            Self::Hooks => Program::Hook,
        }
    }
}

/// A place for a program that belongs to no attempt.
struct Room {
    top: PathBuf,
    run_dir: PathBuf,
    /// Nothing of it is there, and everything of it counts as being there.
    imagined: Option<Vec<PathBuf>>,
}

impl Disk for Room {
    fn exists(&self, path: &Path) -> bool {
        self.imagined.iter().flatten().any(|imagined| path.starts_with(imagined)) || ThisMachine.exists(path)
    }

    fn real(&self, path: &Path) -> PathBuf {
        ThisMachine.real(path)
    }
}

/// A room on the disk, which goes with what was left in it.
struct Made {
    dir: PathBuf,
    base: PathBuf,
    private: Private,
}

impl Made {
    /// Makes one outside of everything that is denied or private, so that what is refused there is refused by the rules.
    fn new() -> Result<Self, Failure> {
        let world = World::of_process();
        let cache = world.var("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = cache.or_else(|| Some(world.home()?.join(".cache"))).unwrap_or_else(std::env::temp_dir);
        let base = real(&base.join("oodatcaa"));
        files::make_named_dir(&base)?;
        let dir = base.join(format!("sandbox-{}", std::process::id()));
        files::make_new_dir(&base, &dir)?;
        let made = Self { private: Private::of(&dir.join("run")), base, dir };
        for name in ["wt", "run/agent", "outside", "secret", "sockets"] {
            files::make_dir(&made.dir, &made.dir.join(name))?;
        }
        let private = made.private.prepare();
        private.map_err(|error| Failure::io("make", made.private.tmp(), &error))?;
        Ok(made)
    }

    fn room(&self) -> Room {
        Room { top: self.dir.join("wt"), run_dir: self.dir.join("run"), imagined: None }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed is in the user's cache, or in `/tmp`.
        let _ = files::remove_tree(&self.base, &self.dir);
        let _ = self.private.remove();
    }
}

impl Project {
    /// Finds whose sandbox is meant: of a gate, an agent, or else the agent of a role.
    pub fn who(&self, role: Option<&str>, agent: Option<&str>, gate: Option<&str>) -> Result<Who, Failure> {
        let loaded = self.loaded()?;
        let building = loaded.config.workflow.building().map_or(Role::BUILDER.as_str(), |rule| rule.role.as_str());
        let role = loaded.role(role.unwrap_or(building))?;
        if let Some(gate) = gate {
            let known = loaded.gates(&role, &[gate.to_owned()]);
            return known.map(|_| Who::Gate(role, gate.into())).map_err(Failure::from);
        }
        let agent = match agent {
            Some(agent) if !loaded.config.agents.contains_key(agent) => {
                let message = format!("there is no agent `{}` in the configuration", one_line(agent));
                return Err(Failure::new(ErrorKind::NotFound, message).hint("agentctl agent list --configured"));
            }
            Some(agent) => agent,
            None => loaded.config.agent_name(&role).unwrap_or_default(),
        };
        Ok(Who::Agent(role, agent.into()))
    }

    /// Lists everybody who has a sandbox here.
    pub fn everybody(&self) -> Result<Vec<Who>, Failure> {
        let config = &self.loaded()?.config;
        let mut all = Vec::new();
        for (role, own) in &config.roles {
            let agents = own.agents.iter().chain(&own.on_retry).cloned();
            let agents: Vec<String> = agents.collect();
            let agents = if agents.is_empty() { vec![String::new()] } else { agents };
            all.extend(agents.into_iter().map(|agent| Who::Agent(role.clone(), agent)));
            all.extend(own.gates.iter().map(|gate| Who::Gate(role.clone(), gate.clone())));
        }
        all.push(Who::Hooks);
        Ok(all)
    }

    /// Returns what the configuration says of a program's sandbox.
    pub fn sandbox_of(&self, who: &Who) -> Result<Sandbox, Failure> {
        let config = &self.loaded()?.config;
        Ok(match who {
            Who::Agent(role, agent) => config.sandbox(agent, role),
            Who::Gate(role, gate) => config.sandbox_of_gate(role, gate),
            Who::Hooks => config.sandbox_of_hooks(),
        })
    }

    /// Returns what a program may do in a room, with what is planted there.
    fn confinement(
        &self,
        who: &Who,
        room: &Room,
        plant: impl FnOnce(&mut Sandbox, &mut Place),
    ) -> Result<Confinement, Failure> {
        let (layout, config) = (self.layout()?, &self.loaded()?.config);
        let mut sandbox = self.sandbox_of(who)?;
        let (world, private) = (World::of_process(), Private::of(&room.run_dir));
        let mut place = Place::of(who.program(config), layout.clone(), room.top.clone(), private, &world, config);
        place.run_dir = Some(room.run_dir.clone());
        if let Some(imagined) = room.imagined.as_ref().and_then(|all| all.first()) {
            place.own_git = Some(imagined.join("git/TASK"));
            if let (Who::Agent(role, _), Some(homes)) = (who, layout.homes()) {
                place.slot = Some(homes.join(format!("{role}-1")));
            }
        }
        if let Who::Agent(_, name) = who {
            let own = config.agents.get(name).map(|config| agent::open(name, config).own_places(place.slot.as_deref()));
            place.own = own.unwrap_or_else(OwnPlaces::default);
        }
        plant(&mut sandbox, &mut place);
        if room.imagined.is_none() && sandbox.mode != SandboxMode::Off {
            place.make_room().map_err(|error| Failure::io("make room in", layout.root(), &error))?;
        }
        sandbox::confine(&sandbox, &place, room).map_err(|why| {
            let message = format!("cannot {why}");
            Failure::new(ErrorKind::ConfigInvalid, message).hint("agentctl config show sandbox").see("sandbox")
        })
    }

    /// Tells whether attempts work in the project's own directory.
    fn is_shared(&self) -> Result<bool, Failure> {
        let has_git = self.layout()?.root().ancestors().any(|dir| dir.join(".git").exists());
        Ok(!has_git || self.loaded()?.config.workspace.mode == WorkspaceMode::Shared)
    }

    /// Imagines the place of an attempt that is none.
    fn imagined(&self) -> Result<Room, Failure> {
        let layout = self.layout()?;
        let state = layout.user_base().map_or_else(|| layout.root().join("STATE"), Path::to_owned).join("WORKTREES");
        let top = if self.is_shared()? { layout.root().to_owned() } else { state.join("wt/TASK") };
        // What a worker makes before it confines anything.
        let made = [layout.leases(), layout.locks(), layout.pids(), layout.logs(), layout.runtime(), layout.runs()];
        let imagined = std::iter::once(state).chain(made).collect();
        Ok(Room { top, run_dir: layout.runs().join("TASK/TOKEN"), imagined: Some(imagined) })
    }

    /// Describes a program's sandbox, as it would be in an attempt.
    pub fn sandbox_view(&self, who: &Who) -> Result<SandboxView, Failure> {
        let sandbox = self.sandbox_of(who)?;
        let found = self.confinement(who, &self.imagined()?, |_, _| {})?;
        let profile = found.profile.unwrap_or_default();
        let shown = |all: &[PathBuf]| all.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let network = match &profile.network {
            _ if sandbox.mode == SandboxMode::Off => "all of it".into(),
            Network::All => "all of it: what can be read can be sent".into(),
            Network::None => "nothing but its own servers".into(),
            Network::Ports(ports) => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("TCP to port {}, on any host; its own servers too are only reached there", ports.join(", "))
            }
            Network::Proxy(at) => {
                format!("the proxy at {at}, which it finds at {}, and its own servers", Network::inside(*at))
            }
        };
        Ok(SandboxView {
            program: who.words(),
            mode: sandbox.mode.as_str(),
            require: profile.require.iter().copied().collect(),
            write: shown(&profile.write),
            own: profile
                .private
                .iter()
                .map(|(own, at)| (at.to_string_lossy().into_owned(), own.to_string_lossy().into_owned()))
                .collect(),
            deny: shown(&profile.deny),
            mask: shown(&profile.mask),
            read: shown(&profile.read),
            network,
            nested: profile.nested,
            env: found.env,
        })
    }

    /// Says what a program's sandbox lets it do with a path.
    pub fn sandbox_verdict(&self, who: &Who, path: &Path, write: bool) -> Result<VerdictView, Failure> {
        let path = std::path::absolute(path).map_err(|error| Failure::io("find", path, &error))?;
        let path = real(&path);
        let (room, what) = (self.imagined()?, if write { "write" } else { "read" });
        let Some(profile) = self.confinement(who, &room, |_, _| {})?.profile else {
            let rule = "nothing is confined: sandbox.mode is off".into();
            return Ok(VerdictView { path: shown(&path), what, allowed: true, by: None, rule, hint: None });
        };
        let found = sandbox::explain(&profile, &path, write);
        Ok(VerdictView {
            hint: (!found.allowed).then(|| hint(self.layout().ok(), &path, write)).flatten(),
            path: shown(&path),
            what,
            allowed: found.allowed,
            by: found.by.as_deref().map(shown),
            rule: found.rule.into(),
        })
    }

    /// Runs a program of a person's in the sandbox of another, with the working directory as its workspace; returns how
    /// it ended and what was kept, `None` where nothing is confined. `aside` sends its output to standard error.
    pub fn run_confined(
        &self,
        who: &Who,
        argv: &[String],
        aside: bool,
    ) -> Result<(ExitStatus, Option<Report>), Failure> {
        let made = Made::new()?;
        let here = std::env::current_dir().map_err(|error| Failure::io("find", ".".as_ref(), &error))?;
        let room = Room { top: real(&here), ..made.room() };
        let found = self.confinement(who, &room, |_, _| {})?;
        let world = World::of_process();
        let env = USUAL.iter().filter_map(|name| Some(((*name).to_owned(), world.var(name)?.to_owned())));
        let mut command = command(found.profile, &room.run_dir, argv)?;
        command.env_clear().envs(env).envs(found.env);
        if aside {
            command.stdout(std::io::stderr());
        }
        let status = command.status().map_err(|error| Failure::io("start", argv[0].as_ref(), &error))?;
        let report = Report::read(&room.run_dir).map_err(|error| Failure::io("read", &room.run_dir, &error))?;
        if let Some(why) = report.as_ref().and_then(Report::failure) {
            return Err(not_confined(why));
        }
        Ok((status, report))
    }
}

/// Variables of a terminal that a program which is tried in a sandbox is given.
const USUAL: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TERM"];

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns a command that confines itself to a profile before it runs.
fn command(profile: Option<confine::Profile>, run_dir: &Path, argv: &[String]) -> Result<Command, Failure> {
    let Some(mut profile) = profile else {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        return Ok(command);
    };
    let Some(ours) = Host::here().program("agent-daemon") else {
        let message = "agent-daemon is not found, beside this program or on PATH; it is what confines";
        return Err(Failure::new(ErrorKind::NotFound, message));
    };
    // Only the shim of an attempt keeps the way to a proxy.
    if let Network::Proxy(_) = profile.network {
        profile.network = Network::None;
    }
    let written = profile.write(run_dir).map_err(|error| Failure::io("write", run_dir, &error))?;
    let mut command = Command::new(ours);
    command.arg(confine::MODE).arg(written).arg("--").args(argv).stdin(Stdio::inherit());
    Ok(command)
}

/// Returns the failure for a sandbox that could not be made.
fn not_confined(why: &str) -> Failure {
    Failure::new(ErrorKind::Refused, "this sandbox cannot be made here, so nothing was run")
        .cause(why)
        .hint("agentctl sandbox probe")
        .see("sandbox")
}

/// Lists what is required where nobody says otherwise and this machine cannot give: asked by confining a program that
/// does nothing. `None` where that is not known.
pub fn lacking() -> Option<BTreeSet<Guarantee>> {
    let made = Made::new().ok()?;
    let run_dir = made.room().run_dir;
    let profile =
        confine::Profile { write: vec![made.private.tmp().to_owned()], namespace: true, ..confine::Profile::default() };
    let mut command = command(Some(profile), &run_dir, &["true".to_owned()]).ok()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let report = Report::read(&run_dir).ok()??;
    let required = Sandbox::default().require;
    report.applied.then(|| required.difference(&report.guarantees).copied().collect())
}

/// Returns what to set for a path that is refused; nothing for what nobody may have.
fn hint(layout: Option<&Layout>, path: &Path, write: bool) -> Option<String> {
    let layout = layout?;
    let ours = [layout.mark(), layout.leases(), layout.locks(), layout.runtime(), layout.root().join(".git")];
    let ours = ours.into_iter().chain(layout.user_base().map(Path::to_owned));
    if ours.map(|ours| real(&ours)).any(|ours| path.starts_with(ours)) {
        return None;
    }
    let key = if write { "allow_write" } else { "allow_read" };
    Some(format!("[sandbox] {key} = [{:?}]", shown(path)))
}

/// Returns the guarantees of a set, in the order in which they are told.
fn listed(all: &BTreeSet<Guarantee>) -> Vec<Guarantee> {
    Guarantee::ALL.into_iter().filter(|one| all.contains(one)).collect()
}

/// Says a list of guarantees in words.
pub fn words(all: &[Guarantee]) -> String {
    all.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ")
}

/// Groups programs whose sandboxes are the same, by the words for them.
fn alike(project: &Project) -> Result<Vec<(Who, Vec<String>)>, Failure> {
    let mut groups: Vec<(Sandbox, Program, Who, Vec<String>)> = Vec::new();
    for who in project.everybody()? {
        let (sandbox, program) = (project.sandbox_of(&who)?, who.program(&project.loaded()?.config));
        match groups.iter_mut().find(|(other, kind, ..)| *other == sandbox && *kind == program) {
            Some((.., names)) => names.push(who.words()),
            None => groups.push((sandbox, program, who.clone(), vec![who.words()])),
        }
    }
    Ok(groups.into_iter().map(|(_, _, who, names)| (who, names)).collect())
}

/// Our profile for AppArmor: where it belongs, and its text. It only lets our program make namespaces, which Ubuntu
/// forbids to programs without a profile.
pub fn apparmor() -> Result<(PathBuf, String), Failure> {
    let ours = Host::here().program("agent-daemon").map(|path| real(&path));
    let ours = ours.ok_or_else(|| Failure::new(ErrorKind::NotFound, "agent-daemon is not found"))?;
    let text = format!(
        "# Lets agent-daemon make the namespaces in which it confines agents; it confines nothing by itself.\n\
         # Written by: agentctl sandbox apparmor\n\
         abi <abi/4.0>,\ninclude <tunables/global>\n\n\
         profile oodatcaa-agent-daemon \"{}\" flags=(unconfined) {{\n  userns,\n\n  include if exists <local/oodatcaa>\n}}\n",
        ours.display()
    );
    Ok(("/etc/apparmor.d/oodatcaa".into(), text))
}

/// Writes the profile for AppArmor and loads it; only root can.
pub fn install_apparmor() -> Result<PathBuf, Failure> {
    let (path, text) = apparmor()?;
    if !rustix::process::geteuid().is_root() {
        let message = format!("only root can write {}", path.display());
        return Err(Failure::new(ErrorKind::PermissionDenied, message)
            .hint("sudo agentctl sandbox apparmor --install")
            .hint("what would be written: agentctl sandbox apparmor"));
    }
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        let message = "AppArmor is not active on this machine, so no profile is needed for it";
        return Err(Failure::new(ErrorKind::Refused, message).hint("agentctl sandbox probe"));
    }
    files::named::write_as(&path, text, 0o644, files::Durable::Yes)
        .map_err(|error| Failure::io("write", &path, &error))?;
    let loaded = Command::new("apparmor_parser").arg("-r").arg(&path).status();
    match loaded {
        Ok(status) if status.success() => Ok(path),
        Ok(status) => Err(Failure::new(ErrorKind::Failed, format!("apparmor_parser ended with {status}"))),
        Err(error) => Err(Failure::io("start", "apparmor_parser".as_ref(), &error)),
    }
}
