//! Pid files that cannot lie: a file that its daemon keeps locked for life, and who that daemon is.
//!
//! A pid alone proves nothing, since pids are used again. Whoever wants to know whether a daemon
//! runs, or wants to signal it, asks for all of: the flock is held, the process exists, and it
//! started when the file says, in this boot. What is signalled and when, the backends decide.

use std::{
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::FleetError;
pub use super::holder::{Handle, Holder};
use oodatcaa_core::Role;
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::{
    files::{self, Durable},
    lock::{self, Lock},
};

/// How long a free lock may look held: somebody who asks holds it shared for a moment.
const PROBE: Duration = Duration::from_secs(1);

/// No pid file, and nothing beside it, is longer.
const LONGEST: u64 = 16_384;

/// No project has as many daemons.
const MOST: usize = 10_000;

/// Returns the name of a daemon's pid file and log: its role, or `<role>@<tag>` for a further instance.
pub fn name(role: &Role, tag: Option<&str>) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '_' }).collect()
    };
    match tag {
        Some(tag) => format!("{}@{}", plain(role.as_str()), plain(tag)),
        None => plain(role.as_str()),
    }
}

/// Returns the role in the name of a pid file.
pub fn role_of(name: &str) -> &str {
    name.split_once('@').map_or(name, |(role, _)| role)
}

/// What a pid file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Absent,
    /// Nobody holds it; the pid in it, if it can be read, is not to be trusted.
    Stale(Option<u32>),
    /// Somebody holds it and has not written yet who.
    Starting,
    /// Its daemon runs.
    Running(Holder),
}

/// Returns the path of a daemon's pid file.
pub fn path(layout: &Layout, name: &str) -> PathBuf {
    layout.pids().join(format!("{name}.pid"))
}

/// Returns the path of a daemon's log in the PID-file mode.
pub fn log_path(layout: &Layout, name: &str) -> PathBuf {
    layout.logs().join(format!("{name}.log"))
}

/// Returns the names of all pid files, sorted.
pub fn names(layout: &Layout) -> Result<Vec<String>, FleetError> {
    let entries = files::list(layout.root(), &layout.pids(), MOST)?.unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
    Ok(names.filter_map(|file| file.strip_suffix(".pid").map(String::from)).collect())
}

/// A pid file that this process holds; dropping it removes the file.
#[derive(Debug)]
pub struct PidFile {
    lock: Lock,
    path: PathBuf,
}

impl PidFile {
    /// Takes the pid file of this name for this process, over a stale one where there is one.
    pub fn hold(layout: &Layout, name: &str) -> Result<Self, FleetError> {
        private_dir(layout, &layout.pids())?;
        let path = path(layout, name);
        let deadline = Instant::now() + PROBE;
        loop {
            if let Some(lock) = Lock::try_take(&path, lock::open(layout.root(), &path))? {
                let held = Self { lock, path };
                held.write().map_err(|source| FleetError::io("write", &held.path, source))?;
                return Ok(held);
            }
            let pid = match inspect(layout, name)? {
                State::Running(holder) => Some(holder.pid),
                _ => None,
            };
            if pid.is_some() || Instant::now() >= deadline {
                return Err(FleetError::Running { name: name.into(), pid });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes the pid and nothing else into the file, so that `kill $(cat FILE)` does what it says; who that is stands
    /// beside it, and is there first.
    fn write(&self) -> io::Result<()> {
        let root = root_of(&self.path);
        let me = Holder::myself(root)?;
        let beside = beside(&self.path);
        let told =
            files::write_atomic(root, &beside, format!("{}\n", serde_json::to_string(&me)?).as_bytes(), Durable::No);
        told.map_err(|error| io::Error::other(format!("{error}: {}", error.why)))?;
        // In place and not by a rename: the lock is on this very file.
        let mut file = self.lock.file();
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n", me.pid).as_bytes())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Under the lock, and only the file that it stands on: somebody may have put another there.
        if self.lock.is_in_force().unwrap_or(false) {
            let _ = files::remove(root_of(&self.path), &beside(&self.path));
            let _ = files::remove(root_of(&self.path), &self.path);
        }
    }
}

/// Returns what the pid file of this name says.
pub fn inspect(layout: &Layout, name: &str) -> Result<State, FleetError> {
    let path = path(layout, name);
    let Some(file) = files::open(layout.root(), &path)? else { return Ok(State::Absent) };
    let held = lock::is_held(&file).map_err(|source| FleetError::io("lock", &path, source))?;
    let mut text = String::new();
    let read = file.take(LONGEST).read_to_string(&mut text);
    read.map_err(|source| FleetError::io("read", &path, source))?;
    Ok(match holder(&path, &text)? {
        Some(holder) if held && holder.alive() => State::Running(holder),
        // Its daemon has not written yet, perhaps not over what a dead one left.
        _ if held => State::Starting,
        _ => State::Stale(text.lines().next().and_then(|line| line.trim().parse().ok())),
    })
}

/// Removes a pid file that nobody holds; `false` when somebody does.
pub fn clean(layout: &Layout, name: &str) -> Result<bool, FleetError> {
    let path = path(layout, name);
    if files::look(layout.root(), &path)?.is_none() {
        return Ok(true);
    }
    // Kept until both are gone: a daemon that starts meanwhile waits for it and then makes its own.
    let Some(_lock) = Lock::try_take(&path, lock::open(layout.root(), &path))? else { return Ok(false) };
    files::remove(layout.root(), &beside(&path))?;
    files::remove(layout.root(), &path)?;
    Ok(true)
}

/// Returns the project that a pid file lies in.
fn root_of(path: &Path) -> &Path {
    path.ancestors().nth(2).unwrap_or(path)
}

/// Returns where it stands who holds a pid file.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// Returns who holds a pid file that says this; its second line in those of earlier versions.
fn holder(path: &Path, text: &str) -> Result<Option<Holder>, FleetError> {
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return Ok(None) };
    let told = match text.lines().nth(1) {
        Some(line) => Some(line.to_owned()),
        None => files::read_text(root_of(path), &beside(path), LONGEST)?,
    };
    let holder = told.and_then(|told| serde_json::from_str::<Holder>(&told).ok());
    Ok(holder.filter(|holder| holder.pid == pid))
}

/// Makes a directory that only its owner can look into, or closes one to others.
pub(super) fn private_dir(layout: &Layout, dir: &Path) -> Result<(), FleetError> {
    files::make_dir(layout.root(), dir)?;
    Ok(files::close(layout.root(), dir)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use rustix::process::Signal;

    use super::*;
    use oodatcaa_sys::identity;

    fn project() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        (dir, layout)
    }

    fn plant(layout: &Layout, name: &str, text: &str) {
        private_dir(layout, &layout.pids()).unwrap();
        fs::write(path(layout, name), text).unwrap();
    }

    #[test]
    fn a_held_file_says_who_holds_it_and_goes_with_its_holder() {
        let (_dir, layout) = project();
        assert_eq!(inspect(&layout, "builder").unwrap(), State::Absent);
        let held = PidFile::hold(&layout, "builder").unwrap();
        let first = fs::read_to_string(&held.path).unwrap();
        assert_eq!(first.lines().next(), Some(std::process::id().to_string().as_str()));
        let State::Running(holder) = inspect(&layout, "builder").unwrap() else { panic!("runs") };
        assert_eq!(holder.pid, std::process::id());
        assert!(!clean(&layout, "builder").unwrap(), "a held file is not cleaned away");
        let mode = fs::metadata(layout.pids()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
        drop(held);
        assert_eq!(inspect(&layout, "builder").unwrap(), State::Absent);
    }

    #[test]
    fn the_file_holds_one_line_with_the_pid_and_one_of_an_earlier_version_is_read_as_well() {
        let (dir, layout) = project();
        let held = PidFile::hold(&layout, "builder").unwrap();
        assert_eq!(fs::read_to_string(&held.path).unwrap(), format!("{}\n", std::process::id()));
        let State::Running(holder) = inspect(&layout, "builder").unwrap() else { panic!("runs") };
        assert!(!holder.is_elsewhere(dir.path()) && holder.is_elsewhere(Path::new("/")));
        drop(held);
        assert_eq!(fs::read_dir(layout.pids()).unwrap().count(), 0, "what stands beside it goes along");
        let mut old = Holder::myself(dir.path()).unwrap();
        old.root = None;
        plant(&layout, "tester", &format!("{}\n{}\n", old.pid, serde_json::to_string(&old).unwrap()));
        let path = path(&layout, "tester");
        let lock = Lock::try_take(&path, lock::open(layout.root(), &path)).unwrap().expect("free");
        assert_eq!(inspect(&layout, "tester").unwrap(), State::Running(old.clone()));
        assert!(!old.is_elsewhere(dir.path()), "which nobody knows");
        drop(lock);
    }

    #[test]
    fn a_second_daemon_of_the_same_name_is_refused_with_the_first_ones_pid() {
        let (_dir, layout) = project();
        let _held = PidFile::hold(&layout, "builder").unwrap();
        match PidFile::hold(&layout, "builder") {
            Err(FleetError::Running { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        PidFile::hold(&layout, "builder@two").unwrap();
    }

    #[test]
    fn a_file_that_nobody_holds_is_stale_even_when_its_pid_is_alive() {
        let (_dir, layout) = project();
        plant(&layout, "tester", &format!("{}\n", std::process::id()));
        assert_eq!(inspect(&layout, "tester").unwrap(), State::Stale(Some(std::process::id())));
        assert!(clean(&layout, "tester").unwrap());
        assert_eq!(inspect(&layout, "tester").unwrap(), State::Absent);
        assert!(clean(&layout, "tester").unwrap(), "nothing left is clean");
    }

    #[test]
    fn a_stale_file_is_taken_over() {
        let (_dir, layout) = project();
        plant(
            &layout,
            "tester",
            "garbage that is much longer than what will be written over it, and then some more of it\n"
                .repeat(9)
                .as_str(),
        );
        let held = PidFile::hold(&layout, "tester").unwrap();
        assert_eq!(fs::read_to_string(&held.path).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_pid_used_again_by_another_process_gives_no_handle() {
        let mut other = Holder::myself(Path::new("/")).unwrap();
        other.started += 1;
        assert!(!other.alive());
        assert!(other.handle().unwrap().is_none());
        let mut earlier = Holder::myself(Path::new("/")).unwrap();
        earlier.boot_id = "an earlier boot".into();
        assert!(earlier.handle().unwrap().is_none());
        assert!(Holder::myself(Path::new("/")).unwrap().handle().unwrap().is_some());
    }

    #[test]
    fn a_link_in_the_place_of_a_pid_file_is_refused() {
        let (dir, layout) = project();
        private_dir(&layout, &layout.pids()).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, path(&layout, "builder")).unwrap();
        assert!(matches!(PidFile::hold(&layout, "builder"), Err(FleetError::File(_))));
        assert!(matches!(inspect(&layout, "builder"), Err(FleetError::File(_))));
        assert_eq!(fs::read_to_string(victim).unwrap(), "mine");
    }

    #[test]
    fn a_linked_directory_is_refused_and_an_open_one_is_closed() {
        let (dir, layout) = project();
        std::os::unix::fs::symlink(dir.path(), layout.pids()).unwrap();
        assert!(matches!(PidFile::hold(&layout, "builder"), Err(FleetError::File(_))));
        fs::remove_file(layout.pids()).unwrap();
        fs::create_dir(layout.pids()).unwrap();
        fs::set_permissions(layout.pids(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        PidFile::hold(&layout, "builder").unwrap();
        assert_eq!(fs::metadata(layout.pids()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_handle_sees_the_end_of_its_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut holder = Holder::myself(Path::new("/")).unwrap();
        holder.pid = child.id();
        holder.started = identity::started(child.id()).unwrap();
        let handle = holder.handle().unwrap().unwrap();
        assert!(!handle.ended_by(Instant::now()).unwrap());
        assert!(handle.signal(Signal::KILL).unwrap());
        assert!(handle.ended_by(Instant::now() + Duration::from_secs(10)).unwrap());
        assert!(!holder.alive(), "a zombie is not alive");
        child.wait().unwrap();
        assert!(!handle.signal(Signal::TERM).unwrap());
    }

    #[test]
    fn names_are_file_names() {
        assert_eq!(name(&Role::BUILDER, None), "builder");
        assert_eq!(name(&Role::BUILDER, Some("a/b c")), "builder@a_b_c");
        assert_eq!(role_of("builder@agent@host"), "builder");
        let (_dir, layout) = project();
        let _two = [PidFile::hold(&layout, "b@x").unwrap(), PidFile::hold(&layout, "a").unwrap()];
        assert_eq!(names(&layout).unwrap(), ["a", "b@x"]);
    }
}
