//! The systemd user units: their text from one template, and putting them where the user manager looks.
//!
//! A unit belongs to one project, which it names; units of other projects, and units that are not
//! ours, are never touched. Talking to the manager is `systemd`'s.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::FleetError;
use oodatcaa_core::Role;
use oodatcaa_sys::files::{Durable, named};

const TEMPLATE: &str = include_str!("../../../systemd/agent.service.in");
const PROJECT_KEY: &str = "X-OodatcaaProject=";
/// What a unit is made from.
#[derive(Clone, Debug)]
pub(crate) struct UnitFacts<'a> {
    /// The project's root.
    pub(crate) project: &'a Path,
    /// The daemon's program, absolute.
    pub(crate) daemon: &'a Path,
    /// The `PATH` on which the agents' programs are found.
    pub(crate) path: &'a str,
    /// How long a daemon takes by itself to stop.
    pub(crate) stop_after: Duration,
}

/// Returns the unit's name of a role.
pub fn unit_name(role: &Role) -> String {
    format!("agent-{}.service", super::pidfile::name(role, None))
}

/// Returns the unit's text of a role.
pub(crate) fn text(role: &Role, facts: &UnitFacts<'_>) -> String {
    let project = facts.project.display().to_string();
    let stop = super::patience(facts.stop_after).as_secs().max(30).to_string();
    let name = facts.project.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy().into_owned());
    let values = [
        ("ROLE", role.as_str().to_owned()),
        ("NAME", specifiers(&name)),
        ("PROJECT_RAW", project.clone()),
        ("PROJECT_ARG", argument(&project)),
        ("PROJECT", specifiers(&project)),
        ("DAEMON", argument(&facts.daemon.display().to_string())),
        ("PATH", quoted(&format!("PATH={}", facts.path))),
        ("STOP", stop),
    ];
    // One pass from left to right: a value that looks like a placeholder stays as it is.
    let mut parts = TEMPLATE.split('@');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let (Some(key), Some(after)) = (parts.next(), parts.next()) {
        let (_, value) = values.iter().find(|(known, _)| *known == key).expect("every placeholder is filled");
        text += value;
        text += after;
    }
    text
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", specifiers(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes one argument of a command line: no specifier and no variable is expanded in it.
fn argument(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { quoted(text).replace('$', "$$") }
}

/// Tells whether a path can stand in a unit file at all.
fn writable(path: &Path) -> Result<(), FleetError> {
    match path.to_str() {
        Some(text) if !text.contains(|c: char| c.is_control()) && text.trim() == text => Ok(()),
        _ => Err(FleetError::Unsafe { path: path.into(), reason: "its name cannot stand in a unit file".into() }),
    }
}

/// Whose unit lies where ours would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    /// None.
    No,
    /// This project's, with this text.
    Ours(String),
    /// Another project's, or not ours at all.
    Foreign(Option<PathBuf>),
}

/// Returns whose unit of this name lies in the directory.
pub(crate) fn installed(dir: &Path, unit: &str, project: &Path) -> Result<Installed, FleetError> {
    let path = dir.join(unit);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            // A link to nowhere, e.g. a masked unit on a file system without /dev/null.
            return Ok(if path.is_symlink() { Installed::Foreign(None) } else { Installed::No });
        }
        Err(source) if source.kind() == io::ErrorKind::InvalidData => return Ok(Installed::Foreign(None)),
        Err(source) => return Err(FleetError::io("read", &path, source)),
    };
    let owner = text.lines().find_map(|line| line.strip_prefix(PROJECT_KEY)).map(PathBuf::from);
    Ok(if owner.as_deref() == Some(project) { Installed::Ours(text) } else { Installed::Foreign(owner) })
}

/// What [`install`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Units that were written for the first time.
    pub(crate) added: Vec<String>,
    /// Units whose text changed.
    pub(crate) updated: Vec<String>,
}

impl Changes {
    /// Returns `true` when nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty()
    }
}

/// Writes the units of these roles; refuses all when one of them belongs to somebody else.
///
/// A unit that differs from its new text in the captured `PATH` only is left as it is unless `path_too`.
pub(crate) fn install(
    dir: &Path,
    roles: &[Role],
    facts: &UnitFacts<'_>,
    path_too: bool,
) -> Result<Changes, FleetError> {
    writable(facts.project)?;
    writable(facts.daemon)?;
    let (mut changes, mut wanted) = (Changes::default(), Vec::new());
    for role in roles {
        let (unit, new) = (unit_name(role), text(role, facts));
        match installed(dir, &unit, facts.project)? {
            Installed::Foreign(project) => return Err(FleetError::Foreign { unit: dir.join(unit), project }),
            Installed::Ours(old) if old == new || (!path_too && without_path(&old) == without_path(&new)) => continue,
            Installed::Ours(_) => changes.updated.push(unit.clone()),
            Installed::No => changes.added.push(unit.clone()),
        }
        wanted.push((dir.join(unit), new));
    }
    if !wanted.is_empty() {
        fs::create_dir_all(dir).map_err(|source| FleetError::io("create", dir, source))?;
    }
    for (path, text) in wanted {
        named::write_as(&path, &text, 0o644, Durable::No).map_err(|source| FleetError::io("write", &path, source))?;
    }
    Ok(changes)
}

fn without_path(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("Environment=\"PATH=")).collect::<Vec<_>>().join("\n")
}

/// Returns the names of all units of this project in the directory, sorted.
pub fn of_project(dir: &Path, project: &Path) -> Result<Vec<String>, FleetError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FleetError::io("read", dir, source)),
    };
    let mut units = Vec::new();
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let ours = name.starts_with("agent-") && name.ends_with(".service");
        if ours && matches!(installed(dir, &name, project)?, Installed::Ours(_)) {
            units.push(name);
        }
    }
    units.sort();
    Ok(units)
}

/// Removes a unit, the links that enable it, and directories of links that are empty then.
/// Answers the directory of drop-ins that it leaves behind because somebody wrote into it.
pub(crate) fn remove(dir: &Path, unit: &str) -> Result<Option<PathBuf>, FleetError> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FleetError::io("remove", path, source)),
        _ => Ok(()),
    };
    gone(&dir.join(unit))?;
    let wants = dir.join("default.target.wants");
    gone(&wants.join(unit))?;
    // Fails when others have links there, as it should.
    let _ = fs::remove_dir(&wants);
    let drop_ins = dir.join(format!("{unit}.d"));
    let _ = fs::remove_dir(&drop_ins);
    Ok(drop_ins.exists().then_some(drop_ins))
}

/// Joins the text of a `PATH` with the directories of another one added, each once, absolute ones only.
pub(crate) fn joined_path(first: &str, second: &str) -> String {
    let mut dirs: Vec<&str> = Vec::new();
    for dir in first.split(':').chain(second.split(':')) {
        if dir.starts_with('/') && !dir.contains(|c: char| c.is_control()) && !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped<'a>() -> UnitFacts<'a> {
        UnitFacts {
            project: Path::new("/home/you/project"),
            daemon: Path::new("/usr/local/bin/agent-daemon"),
            path: "/usr/local/bin:/usr/bin:/bin",
            stop_after: Duration::from_secs(25),
        }
    }

    fn five() -> [Role; 5] {
        [Role::PLANNER, Role::BUILDER, Role::TESTER, Role::REFINER, Role::INTEGRATOR]
    }

    #[test]
    fn the_committed_units_are_what_the_template_says() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd");
        for role in five() {
            let path = dir.join(unit_name(&role));
            let text = text(&role, &shipped());
            if std::env::var_os("OODATCAA_BLESS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(there, text, "{}: run the test with OODATCAA_BLESS=1", path.display());
            assert!(!text.contains("man:"), "nothing installs a man page");
        }
    }

    #[test]
    fn odd_paths_reach_the_daemon_as_they_are() {
        let facts = UnitFacts { project: Path::new("/a b/100%/$x\"@ROLE@"), ..shipped() };
        let text = text(&Role::BUILDER, &facts);
        assert!(text.contains(r#"--role builder --project "/a b/100%%/$$x\"@ROLE@""#), "{text}");
        assert!(text.contains("\nWorkingDirectory=/a b/100%%/$x\"@ROLE@\n"), "{text}");
        assert!(text.contains("\nX-OodatcaaProject=/a b/100%/$x\"@ROLE@\n"), "{text}");
    }

    #[test]
    fn the_manager_waits_longer_than_the_daemon() {
        assert!(text(&Role::BUILDER, &shipped()).contains("\nTimeoutStopSec=30\n"));
        let slow = UnitFacts { stop_after: Duration::from_secs(90), ..shipped() };
        assert!(text(&Role::BUILDER, &slow).contains("\nTimeoutStopSec=95\n"));
    }

    #[test]
    fn installing_twice_writes_once_and_removing_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("systemd/user");
        assert_eq!(install(&dir, &five(), &shipped(), false).unwrap().added.len(), 5);
        assert!(install(&dir, &five(), &shipped(), false).unwrap().is_empty());
        let moved = UnitFacts { path: "/bin", ..shipped() };
        assert!(install(&dir, &five(), &moved, false).unwrap().is_empty(), "another PATH alone is no reason");
        assert_eq!(install(&dir, &five(), &moved, true).unwrap().updated.len(), 5);
        assert_eq!(of_project(&dir, shipped().project).unwrap().len(), 5);
        for unit in of_project(&dir, shipped().project).unwrap() {
            remove(&dir, &unit).unwrap();
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn a_unit_of_somebody_else_stops_the_whole_install() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let other = UnitFacts { project: Path::new("/other"), ..shipped() };
        install(dir, &[Role::TESTER], &other, false).unwrap();
        match install(dir, &five(), &shipped(), false) {
            Err(FleetError::Foreign { project, .. }) => assert_eq!(project, Some("/other".into())),
            other => panic!("{other:?}"),
        }
        assert!(!dir.join("agent-planner.service").exists(), "nothing was written");
        fs::write(dir.join("agent-tester.service"), "[Service]\nExecStart=/old/agent\n").unwrap();
        assert_eq!(installed(dir, "agent-tester.service", Path::new("/other")).unwrap(), Installed::Foreign(None));
        assert!(of_project(dir, Path::new("/other")).unwrap().is_empty());
    }

    #[test]
    fn a_name_that_would_break_the_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let facts = UnitFacts { project: Path::new("/a\nExecStart=/bin/evil"), ..shipped() };
        assert!(matches!(install(root.path(), &five(), &facts, false), Err(FleetError::Unsafe { .. })));
    }

    #[test]
    fn the_path_is_the_login_shells_and_then_ours() {
        assert_eq!(joined_path("/a:/b:relative::/a", "/b:/c"), "/a:/b:/c");
    }
}
