//! Tries each sandbox of a project with our own program.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{
    Made, Room, Who, alike, command, listed, shown,
    tries::{self, Act, Answer},
};
use crate::{
    Failure, Project,
    view::{ProbeView, TryView},
};
use oodatcaa_agent::sandbox::{Private, explain};
use oodatcaa_config::{World, sandbox::real};
use oodatcaa_core::{Guarantee, layout::Layout};
use oodatcaa_process::confine::{Network, Profile, Report};
use oodatcaa_sys::files::{self, Durable};

/// More sockets are not looked at.
const MOST_SOCKETS: usize = 500;

/// One thing to try: what must keep it from happening, what it is, and how it is done.
type Try = (Option<Guarantee>, String, Act);

impl Project {
    /// Tries every sandbox of the project, those that are the same once. Nothing for those that a person has put off.
    pub fn probe(&self) -> Result<Vec<ProbeView>, Failure> {
        let mut all = Vec::new();
        for (who, programs) in alike(self)? {
            all.extend(self.probe_one(&who, programs)?);
        }
        Ok(all)
    }

    fn probe_one(&self, who: &Who, programs: Vec<String>) -> Result<Option<ProbeView>, Failure> {
        let made = Made::new()?;
        let layout = self.layout()?;
        let top = if self.is_shared()? { layout.root().to_owned() } else { made.room().top };
        let room = Room { top, ..made.room() };
        let at = |name: &str| made.dir.join(name);
        let found = self.confinement(who, &room, |sandbox, place| {
            sandbox.deny_read.push(at("secret"));
            place.sockets.push(at("sockets"));
        });
        let profile = match found.map(|found| found.profile) {
            Ok(Some(profile)) => profile,
            Ok(None) => return Ok(None),
            Err(failure) => return Ok(Some(nothing(programs, failure.sentence()))),
        };
        for name in ["outside/file", "secret/file"] {
            files::write_atomic(&made.dir, &at(name), b"planted\n", Durable::No)?;
        }
        let failed = |error| Failure::io("listen in", &made.dir, &error);
        let name = format!("oodatcaa-{}", tries::stamp());
        let _by_path = UnixListener::bind(at("sockets/s")).map_err(failed)?;
        let by_name = SocketAddr::from_abstract_name(&name).and_then(|address| UnixListener::bind_addr(&address));
        let _by_name = by_name.map_err(failed)?;
        let tcp = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let mut all = forbidden(&made.dir, layout, &profile, &name);
        if profile.network != Network::All {
            let address = tcp.local_addr().map_err(failed)?;
            let what = "connect to a server on this machine".to_owned();
            all.push((Some(Guarantee::Network), what, Act::Tcp(address)));
        }
        all.extend(wanted(&made.dir, &profile, &made.private));
        let sockets: Vec<PathBuf> = sockets().into_iter().filter(|path| !path.starts_with(&made.dir)).collect();

        let acts: Vec<Act> =
            all.iter().map(|(_, _, act)| act.clone()).chain(sockets.iter().cloned().map(Act::See)).collect();
        let file = room.run_dir.join("tries.json");
        let text = serde_json::to_vec(&acts).expect("they are JSON");
        files::write_atomic(&made.dir, &file, &text, Durable::No)?;
        let ours = std::env::current_exe().map_err(|error| Failure::io("find", "/proc/self/exe".as_ref(), &error))?;
        let argv = [shown(&ours), tries::MODE.into(), shown(&file)];
        let mut command = command(Some(profile.clone()), &room.run_dir, &argv)?;
        command.env_clear().current_dir(&room.top).stdin(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().map_err(|error| Failure::io("start", &ours, &error))?;
        let report = Report::read(&room.run_dir).map_err(|error| Failure::io("read", &room.run_dir, &error))?;
        let report = report.unwrap_or_default();
        let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if answers.len() != acts.len() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = report.failure().map_or(said, Into::into);
            return Ok(Some(judged(programs, &profile, &report, Vec::new(), Vec::new(), Some(why))));
        }
        let reached = sockets.iter().zip(&answers[all.len()..]).filter(|(_, answer)| answer.is_none());
        let reachable = reached.map(|(path, _)| shown(path)).collect();
        let tried = all.into_iter().zip(answers).map(|((guarantee, what, _), words)| TryView {
            done: words.is_none(),
            // Of what is not promised nothing is expected.
            ok: match guarantee {
                Some(kept) => words.is_some() || !report.guarantees.contains(&kept),
                None => words.is_none(),
            },
            guarantee,
            what,
            words,
        });
        Ok(Some(judged(programs, &profile, &report, tried.collect(), reachable, None)))
    }
}

fn nothing(programs: Vec<String>, error: String) -> ProbeView {
    judged(programs, &Profile::default(), &Report::default(), Vec::new(), Vec::new(), Some(error))
}

fn judged(
    programs: Vec<String>,
    profile: &Profile,
    report: &Report,
    tries: Vec<TryView>,
    reachable: Vec<String>,
    error: Option<String>,
) -> ProbeView {
    let missing: BTreeSet<Guarantee> = profile.require.difference(&report.guarantees).copied().collect();
    ProbeView {
        ok: error.is_none() && missing.is_empty() && tries.iter().all(|tried| tried.ok),
        programs,
        means: report.means.words(),
        refused: report.refused.clone(),
        error,
        given: listed(&report.guarantees),
        missing: listed(&missing),
        tries,
        reachable,
    }
}

/// Lists what must be refused.
fn forbidden(room: &Path, layout: &Layout, profile: &Profile, name: &str) -> Vec<Try> {
    use Guarantee::{Environ, Files, Metadata, Processes, Secrets, Sockets};
    let (planted, own) = (room.join("outside/file"), room.join("wt"));
    let probe = |dir: &Path| dir.join(format!(".oodatcaa-probe-{name}"));
    let mut all: Vec<Try> = Vec::new();
    let mut add = |guarantee, what: String, act| all.push((Some(guarantee), what, act));
    let root = layout.root();
    let dirs = [layout.mark(), layout.work(), layout.prompts(), root.join(".git"), root.join(".git/hooks")];
    let dirs = dirs.into_iter().chain([layout.leases(), layout.locks(), layout.runs(), layout.pids(), root.into()]);
    let home = World::of_process().home().map(Path::to_owned);
    for dir in dirs.chain(home).chain(["/var/tmp".into(), room.join("outside"), room.join("run")]) {
        // Where attempts work in the project's own directory, that is no secret of it.
        if dir.is_dir() && !explain(profile, &real(&probe(&dir)), true).allowed {
            add(Files, format!("make a file in {}", dir.display()), Act::Create(probe(&dir)));
        }
    }
    for file in [layout.queue(), layout.journal(), layout.config(), root.join(".git/config")] {
        if file.is_file() {
            add(Files, format!("write to {}", file.display()), Act::Append(file));
        }
    }
    // Where the workspace holds all of a home, this is not outside.
    if !explain(profile, &real(&planted), true).allowed {
        add(Files, "empty a file outside".into(), Act::Truncate(planted.clone()));
        add(Files, "move a file here from outside".into(), Act::Move(planted.clone(), own.join("moved")));
        add(Files, "link to a file outside".into(), Act::Link(planted.clone(), own.join("hard")));
        add(Metadata, "change the mode of a file outside".into(), Act::Mode(planted.clone()));
        add(Metadata, "change the time of a file outside".into(), Act::Touch(planted));
    }
    let secret = room.join("secret/file");
    add(Secrets, "read a planted secret".into(), Act::Read(secret.clone()));
    add(Secrets, "read it by a link".into(), Act::ReadByLink(secret, own.join("by-link")));
    let in_denied = |path: &PathBuf| profile.write.iter().chain(&profile.read).any(|left| left.starts_with(path));
    for path in profile.deny.iter().filter(|path| path.exists() && !in_denied(path)) {
        // An empty one has nothing to be kept.
        let is_empty = path.is_dir() && files::named::entries(path).is_empty();
        if !is_empty {
            add(Secrets, format!("read {}", path.display()), Act::Read(path.clone()));
        }
    }
    let outside = std::process::id();
    for file in ["environ", "mem", "root/etc/passwd"] {
        let path = PathBuf::from(format!("/proc/{outside}/{file}"));
        add(Environ, format!("read {file} of another process"), Act::Read(path));
    }
    let outside = i32::try_from(outside).unwrap_or_default();
    add(Processes, "signal another process".into(), Act::Signal(outside));
    add(Processes, "change the priority of another process".into(), Act::Priority(outside));
    add(Processes, "change the limits of another process".into(), Act::Limit(outside));
    add(Sockets, "connect to another program's socket".into(), Act::Connect(room.join("sockets/s")));
    add(Sockets, "connect to another program's abstract socket".into(), Act::ConnectAbstract(name.into()));
    all
}

/// Lists what must work.
fn wanted(room: &Path, profile: &Profile, private: &Private) -> Vec<Try> {
    let mut all: Vec<Try> = Vec::new();
    let mut add = |what: &str, act| all.push((None, what.to_owned(), act));
    for (what, dir) in [("make a file in the workspace", room.join("wt")), ("write the result", room.join("run/agent"))]
    {
        if profile.write.contains(&dir) {
            add(what, Act::Create(dir.join("made")));
        }
    }
    add("make a temporary file", Act::Create(private.tmp().join("made")));
    if !matches!(profile.network, Network::Ports(_)) {
        add("reach a server of its own", Act::ServeTcp);
    }
    all
}

/// Lists the sockets that have a path, and are somebody's.
fn sockets() -> Vec<PathBuf> {
    let text = files::named::text("/proc/net/unix").unwrap_or_default();
    let paths = text.lines().filter_map(|line| line.split(' ').next_back()).filter(|path| path.starts_with('/'));
    let all: BTreeSet<PathBuf> = paths.map(PathBuf::from).filter(|path| path.exists()).collect();
    all.into_iter().take(MOST_SOCKETS).collect()
}
