//! The profile of one program: where it may write, what it may not read, made of the configuration and the places of its
//! attempt. Pure: what is there on the disk is asked for through [`Disk`].
//!
//! ```text
//!   config::Sandbox ─┐
//!   Place, Disk ─────┴─> Confinement { profile, env } ──> confine::Profile::write, Invocation
//!                                 └──> explain: which rule allows or denies a path
//! ```
//!
//! Whatever cannot be given is an error or stricter. Nothing here may make a profile that can write to what decides what
//! runs and what is approved: that is checked once more at the end, whoever asked for it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use oodatcaa_config::{Caches, Commits, Config, HomeView, RoleConfig, Sandbox, SandboxMode, World};
use oodatcaa_core::{Network, RoleRule, layout::Layout};
use oodatcaa_process::confine::{self, Profile};
use oodatcaa_sys::files;

mod able;
mod explain;
mod hooks;
mod private;
mod secrets;
#[cfg(test)]
mod tests;

pub use able::unable;
pub use explain::{Verdict, explain};
pub use hooks::confine_hooks;
pub use private::Private;
pub use secrets::{OwnPlaces, sign_ins};

/// The kind of a program, which decides what is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// An agent that changes the workspace.
    Agent,
    /// An agent that only looks at it: a planner.
    Reader,
    /// A gate: no slot, no sign-in.
    Gate,
    /// `setup` or `teardown` of a workspace: the same.
    Hook,
    /// Our own git, where it reads what an agent has made.
    Git,
}

impl Program {
    /// Returns what the agents of a role are. One that plans looks at what there is: what it wants changed becomes tasks.
    pub fn of_role(rule: &RoleRule, role: &RoleConfig) -> Self {
        let changes = role.change || role.commits == Commits::Always;
        let plans = rule.done_with_children.is_some() && !changes;
        if plans { Self::Reader } else { Self::Agent }
    }
}

/// The places of one program.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kind of the program.
    pub program: Program,
    /// The project.
    pub layout: Layout,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// The directory of the user's configuration of ours.
    pub config: Option<PathBuf>,
    /// The top of the worktree, or the project's root where there are no worktrees.
    pub top: PathBuf,
    /// The project's own git directory, wherever it is.
    pub git: Option<PathBuf>,
    /// The agent's own repository.
    pub own_git: Option<PathBuf>,
    /// The attempt's directory; nothing for what runs outside of one.
    pub run_dir: Option<PathBuf>,
    /// The slot's directory.
    pub slot: Option<PathBuf>,
    /// The user's places that its adapter needs.
    pub own: OwnPlaces,
    /// The places in which all adapters keep their sign-in.
    pub sign_ins: Vec<PathBuf>,
    /// Its directories in the place of `/tmp` and `/dev/shm`.
    pub private: Private,
    /// The directories of programs, and our own.
    pub programs: Vec<PathBuf>,
    /// Directories of sockets that lie elsewhere, such as `$XDG_RUNTIME_DIR`.
    pub sockets: Vec<PathBuf>,
}

impl Place {
    /// Finds the places that are the same for all programs of a user and project; those of the attempt (`git`, `own_git`,
    /// `run_dir`, `slot`, `own`) are added by whoever knows them.
    pub fn of(
        program: Program,
        layout: Layout,
        top: PathBuf,
        private: Private,
        world: &World,
        config: &Config,
    ) -> Self {
        let path = world.var("PATH").unwrap_or_default().split(':').map(PathBuf::from);
        let exe = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
        let socket = |name| world.var(name).map(|value| PathBuf::from(value.strip_prefix("unix://").unwrap_or(value)));
        let sockets = ["XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "DOCKER_HOST"].into_iter().filter_map(socket);
        let git = layout.root().ancestors().map(|dir| dir.join(".git")).find(|git| git.is_dir());
        Self {
            program,
            home: world.home().map(Path::to_owned),
            config: world.user_config().and_then(|file| Some(file.parent()?.to_owned())),
            top,
            git,
            own_git: None,
            run_dir: None,
            slot: None,
            own: OwnPlaces::default(),
            sign_ins: sign_ins(&config.adapters, &BTreeMap::new()),
            private,
            programs: path.chain(exe).filter(|dir| dir.is_absolute()).collect(),
            sockets: sockets.filter(|path| path.is_absolute()).collect(),
            layout,
        }
    }
}

impl Place {
    /// Makes what must be there to be kept from a program whose workspace is the project's own directory: where nothing
    /// is, nothing can be covered.
    pub fn make_room(&self) -> io::Result<()> {
        let (layout, root) = (&self.layout, self.layout.root());
        if self.top != root {
            return Ok(());
        }
        for dir in [layout.leases(), layout.locks(), layout.pids(), layout.logs(), layout.runtime(), layout.runs()] {
            files::make_dir(root, &dir)?;
        }
        Ok(())
    }
}

/// The answers of the disk about paths; tests make their own.
pub trait Disk {
    /// Tells whether something is there.
    fn exists(&self, path: &Path) -> bool;
    /// Returns where a path leads, without links.
    fn real(&self, path: &Path) -> PathBuf;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub struct ThisMachine;

impl Disk for ThisMachine {
    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn real(&self, path: &Path) -> PathBuf {
        oodatcaa_config::sandbox::real(path)
    }
}

/// The confinement of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Confinement {
    /// The profile; `None` where a person said `off`.
    pub profile: Option<Profile>,
    /// Variables that it needs for it, under those that the configuration sets.
    pub env: BTreeMap<String, String>,
}

impl Confinement {
    /// Lists where it may write beside its workspace, for its prompt; nothing where it is not confined.
    pub fn writable(&self, place: &Place) -> Vec<String> {
        let Some(profile) = &self.profile else { return Vec::new() };
        let is_told = |path: &&PathBuf| **path != place.top && *path != place.private.tmp();
        let tmp = if profile.private.is_empty() { place.private.tmp() } else { Path::new(TMP) };
        profile.write.iter().filter(is_told).map(|path| text(path)).chain([text(tmp)]).collect()
    }
}

/// Directories of sockets of other programs, and what else services leave for all to use.
const MASKED: &[&str] = &["/run", "/var/run"];

/// The parts that programs need of a masked `/run`: names are looked up by these, and some systems keep programs there.
const LEFT: &[&str] = &[
    "/run/systemd/resolve/stub-resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/connman/resolv.conf",
    "/run/current-system",
    "/run/opengl-driver",
    "/run/wrappers",
    "/etc/resolv.conf",
];

/// Directories that everybody may write, where every program gets a directory of its own.
const TMP: &str = "/tmp";
const SHM: &str = "/dev/shm";

/// Returns what of the network is left. Fails in words that follow "cannot".
fn network(sandbox: &Sandbox, program: Program) -> Result<Network, String> {
    match &sandbox.network {
        // Neither of them runs under a shim, which keeps the way to the proxy: nothing is stricter.
        Network::Proxy(_) if matches!(program, Program::Git | Program::Hook) => Ok(Network::None),
        Network::Proxy(_) if sandbox.mode != SandboxMode::Auto => {
            Err("be kept to a proxy without a namespace: say mode = \"auto\", network = \"none\", or \
                network = { ports = [PORT OF THE PROXY] } with HTTPS_PROXY set for the agent"
                .into())
        }
        asked => Ok(asked.clone()),
    }
}

/// Makes the profile of a program. Fails, in words that follow "cannot", where what is asked for cannot be had.
pub fn confine(sandbox: &Sandbox, place: &Place, disk: &dyn Disk) -> Result<Confinement, String> {
    if sandbox.mode == SandboxMode::Off {
        return Ok(Confinement { profile: None, env: BTreeMap::new() });
    }
    let network = network(sandbox, place.program)?;
    let namespace = sandbox.mode == SandboxMode::Auto;
    let private: Vec<(PathBuf, PathBuf)> = place.private.covers().map(|(own, at)| (own, at.into())).collect();
    let lists = Lists::of(sandbox, place).settled(sandbox, place, &private, disk);
    for path in &lists.write {
        spares(path, place, disk)?;
    }
    let is_whole = |home: &PathBuf| {
        let root = disk.real(place.layout.root());
        lists.deny.contains(home) && lists.write.iter().chain([&root]).any(|own| home.starts_with(own))
    };
    if let Some(home) = place.home.as_ref().map(|home| disk.real(home)).filter(is_whole) {
        return Err(format!("see only what is listed of {}: the workspace holds all of it", home.display()));
    }
    let shared = [PathBuf::from(SHM)].into_iter().filter(|shm| disk.exists(shm)).collect();
    let mut env = BTreeMap::from([("TMPDIR".to_owned(), text(place.private.tmp()))]);
    if sandbox.caches == Caches::Own {
        let below = place.slot.as_deref().unwrap_or(place.private.tmp()).join("cache");
        env.extend(CACHES.map(|(name, part)| (name.to_owned(), text(&below.join(part)))));
    }
    if let Network::Proxy(at) = network {
        let there = format!("http://{}", Network::inside(at));
        env.extend(PROXIES.map(|name| (name.to_owned(), there.clone())));
        env.extend(NO_PROXIES.map(|name| (name.to_owned(), "localhost,127.0.0.1,::1".to_owned())));
    }
    let profile = Profile {
        require: sandbox.require.clone(),
        write: lists.write,
        private: if namespace { private } else { Vec::new() },
        shared,
        deny: lists.deny,
        mask: lists.mask,
        read: lists.read,
        network,
        namespace,
        nested: sandbox.nested,
        ..Profile::default()
    };
    Ok(Confinement { profile: Some(profile), env })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Variables that lead package managers to caches of the slot's own, and their parts of its path.
const CACHES: [(&str, &str); 6] = [
    ("CARGO_HOME", "cargo"),
    ("GOCACHE", "go-build"),
    ("GOMODCACHE", "go-mod"),
    ("PIP_CACHE_DIR", "pip"),
    ("XDG_CACHE_HOME", "xdg"),
    ("npm_config_cache", "npm"),
];

/// Variables by which programs find a proxy, and know what needs none.
const PROXIES: [&str; 5] = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"];
const NO_PROXIES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The four lists of a profile, before the disk is asked.
struct Lists {
    write: Vec<PathBuf>,
    deny: Vec<PathBuf>,
    mask: Vec<PathBuf>,
    read: Vec<PathBuf>,
}

impl Lists {
    fn of(sandbox: &Sandbox, place: &Place) -> Self {
        let Place { layout, program, .. } = place;
        let is_agent = matches!(program, Program::Agent | Program::Reader);
        let mut write = vec![place.private.tmp().to_owned()];
        let mut read = vec![layout.root().to_owned(), place.top.clone()];
        read.extend(ours(place));
        read.extend(place.git.clone());
        read.extend(place.run_dir.clone());
        read.extend(place.programs.iter().cloned());
        read.extend(LEFT.iter().map(PathBuf::from));
        match program {
            Program::Agent | Program::Gate | Program::Hook => {
                write.push(place.top.clone());
                write.extend(place.own_git.clone());
            }
            Program::Reader | Program::Git => read.extend(place.own_git.clone()),
        }
        if is_agent {
            write.extend(place.run_dir.as_ref().map(|dir| dir.join(crate::OUT_DIR)));
            write.extend(place.slot.clone());
            write.extend(place.own.write.iter().cloned());
            read.extend(place.own.read.iter().cloned());
        } else if *program != Program::Git {
            write.extend(place.slot.as_ref().map(|slot| slot.join("cache")));
        }
        if *program != Program::Git {
            write.extend(sandbox.allow_write.iter().cloned());
        }

        let mut deny = place.sign_ins.clone();
        if let Some(home) = &place.home {
            deny.extend(secrets::below(home));
            match sandbox.home {
                HomeView::All => read.push(home.clone()),
                HomeView::Listed => {
                    deny.push(home.clone());
                    read.extend(secrets::tools(home));
                }
            }
        }
        // What is given back, but for what is ours: nobody gives that.
        deny.retain(|path| !sandbox.allow_read.iter().any(|given| path.starts_with(given)));
        read.extend(sandbox.allow_read.iter().cloned());
        read.extend(sandbox.allow_sockets.iter().cloned());
        for path in &sandbox.deny_read {
            // The project's own files are in the worktree as well.
            deny.extend(path.strip_prefix(layout.root()).ok().map(|below| place.top.join(below)));
            deny.push(path.clone());
        }
        deny.extend(hidden(place));
        let mask = MASKED.iter().map(PathBuf::from).chain(place.sockets.iter().cloned()).collect();
        Self { write, deny, mask, read }
    }

    /// Asks the disk what is there and where it leads, and leaves out what changes nothing.
    fn settled(mut self, sandbox: &Sandbox, place: &Place, private: &[(PathBuf, PathBuf)], disk: &dyn Disk) -> Self {
        let real = |path: &PathBuf| disk.real(path);
        for all in [&mut self.write, &mut self.deny, &mut self.mask, &mut self.read] {
            *all = all.iter().map(real).collect();
            all.sort();
            all.dedup();
        }
        // What need not be there gives nobody anything; a place of the attempt's own that is not there is an error later.
        let needed: Vec<PathBuf> = needed(place).iter().map(real).collect();
        self.write.retain(|path| needed.contains(path) || disk.exists(path));
        let Self { write, mut deny, mask, mut read } = self;
        // A hole in what may be written is one only where something is.
        deny.retain(|path| disk.exists(path) || !write.iter().any(|write| path.starts_with(write)));

        let inmost = |all: &mut dyn Iterator<Item = &Path>, path: &Path| {
            all.filter(|one| path.starts_with(one) && path != *one).map(|one| one.as_os_str().len()).max()
        };
        let kept: Vec<PathBuf> = ours(place).iter().map(real).collect();
        // Everything else can be read anyway. What may be written stays so, but for what is ours.
        let is_needed = |path: &PathBuf| {
            let covers = deny.iter().chain(&mask).map(PathBuf::as_path);
            let cover = inmost(&mut covers.chain(private.iter().map(|(_, at)| at.as_path())), path);
            let written = inmost(&mut write.iter().map(PathBuf::as_path), path);
            let uncovers = private.iter().any(|(_, at)| at.starts_with(path));
            !uncovers && (cover > written || kept.contains(path) && written.is_some())
        };
        // Of two words about the same place the stricter one counts, and nobody gives what is ours.
        let given: Vec<PathBuf> = sandbox.allow_read.iter().chain(&sandbox.allow_sockets).map(real).collect();
        let ours: Vec<PathBuf> = hidden(place).iter().map(real).collect();
        let is_refused = |path: &PathBuf| {
            deny.contains(path) || given.contains(path) && ours.iter().any(|ours| path.starts_with(ours))
        };
        read.retain(|path| is_needed(path) && !is_refused(path) && disk.exists(path) && !write.contains(path));
        Self { write, deny, mask, read }
    }
}

/// Returns the places of the attempt's own, without which it cannot work.
fn needed(place: &Place) -> Vec<PathBuf> {
    let out = place.run_dir.as_ref().map(|dir| dir.join(crate::OUT_DIR));
    let own = [Some(place.top.clone()), place.own_git.clone(), out, place.slot.clone()];
    own.into_iter().flatten().chain([place.private.tmp().to_owned()]).collect()
}

/// Returns what of the project decides what runs and what is approved: read, and never written.
fn ours(place: &Place) -> Vec<PathBuf> {
    let layout = &place.layout;
    vec![layout.mark(), layout.root().join(".git"), layout.leases(), layout.pids(), layout.logs()]
}

/// Returns what of ours is not even read: whoever can read a lock can hold it.
fn hidden(place: &Place) -> Vec<PathBuf> {
    let layout = &place.layout;
    let project = [layout.runs(), layout.foreign_homes(), layout.locks(), layout.runtime()];
    let user = [layout.user_base().map(Path::to_owned), place.config.clone()];
    project.into_iter().chain(user.into_iter().flatten()).collect()
}

/// Checks that a place which may be written spares what nobody may write.
fn spares(path: &Path, place: &Place, disk: &dyn Disk) -> Result<(), String> {
    let real = |path: PathBuf| disk.real(&path);
    // Where there are no worktrees the project itself is written, with holes in it.
    let (root, top) = (disk.real(place.layout.root()), disk.real(&place.top));
    let own: Vec<PathBuf> = needed(place).into_iter().map(real).filter(|own| *own != root).collect();
    if own.iter().any(|own| path.starts_with(own)) {
        return Ok(());
    }
    let is_workspace = path == top;
    let kept = ours(place).into_iter().chain(hidden(place)).chain(place.git.clone()).map(real);
    for kept in kept {
        if path.starts_with(&kept) || kept.starts_with(path) && !is_workspace {
            return Err(format!(
                "be let write to {}, beside which {} would be open: that decides what runs and what is approved",
                path.display(),
                kept.display()
            ));
        }
    }
    match &place.home {
        Some(home) if disk.real(home).starts_with(path) && !is_workspace => {
            Err(format!("be let write to {}: that is all of your home", path.display()))
        }
        _ => Ok(()),
    }
}
