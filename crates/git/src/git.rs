//! Our calls of git: by argv, with bounded time, and pinned to one repository and one checkout.
//!
//! Git is told where the repository, the checkout and the index are; it never finds them by what lies in a worktree,
//! which an agent may have replaced. The repository's own configuration is not read but for what is on a list
//! ([`plain`]), the environment is a list as well ([`program`]), hooks are off, nothing is asked on a terminal.
//! What throws something away is in [`destroy`] alone.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

mod ask;
mod call;
pub(super) mod destroy;
mod error;
pub(super) mod plain;
pub mod program;
pub(super) mod snags;
mod spot;
mod whole;

pub(crate) use ask::RawChange;
pub use call::Started;
use error::Call;
pub use error::GitError;
pub use plain::Keep;
pub use spot::Spot;

use oodatcaa_core::text;
pub(super) use oodatcaa_core::text::without_passwords;

/// Settings that every call is given; stronger than every file.
const SETTINGS: &str = include_str!("git/settings.txt");

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a call may meet a worktree that is being made.
const MEETINGS: u32 = 50;

/// Calls of git in one directory.
#[derive(Clone, Debug)]
pub struct Git {
    dir: PathBuf,
    /// Where git is told that the repository is. Without it git looks for one itself, from the directory upwards: only to
    /// find out which one it is.
    pin: Option<Pin>,
    /// Git is never called from beneath these.
    fences: Vec<PathBuf>,
    env: Vec<(String, String)>,
    limit: Duration,
    holding: Option<Arc<File>>,
    /// What its standard output is, if nobody is to read it.
    output: Option<Arc<File>>,
    input: Option<Vec<u8>>,
    stop: Option<Arc<AtomicBool>>,
}

#[derive(Clone, Debug)]
struct Pin {
    /// The place where the repository is, and which checkout of it.
    spot: Spot,
    /// What git takes for the repository; the repository itself where its worktrees are at stake.
    plain: Option<Arc<plain::Plain>>,
    keep: Keep,
}

impl Git {
    /// Calls from which git looks for a repository itself. For questions only.
    pub fn looking(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        // The fence is the whole checkout: a `git` in a directory above the one that we ask from is the project's, too.
        let top = dir.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()).unwrap_or(&dir);
        Self {
            fences: vec![top.into()],
            dir,
            pin: None,
            env: Vec::new(),
            limit: LIMIT,
            holding: None,
            output: None,
            input: None,
            stop: None,
        }
    }

    /// Questions from another directory, with a git that is found where this one is.
    pub(super) fn looking_from(&self, dir: &Path) -> Self {
        let mut git = Self::looking(dir);
        git.fences.extend(self.fences.iter().cloned());
        git
    }

    /// Calls in this checkout of this repository, whatever the files there say by now.
    pub fn pinned(spot: Spot, keep: &Keep) -> Result<Self, GitError> {
        let fences = spot.top.iter().chain([&spot.common]).cloned().collect();
        Self { fences, ..Self::looking("/") }.pinned_to(spot, None, keep)
    }

    /// Pins these calls; what git takes for the repository is made where it is not known.
    fn pinned_to(mut self, spot: Spot, plain: Option<Arc<plain::Plain>>, keep: &Keep) -> Result<Self, GitError> {
        let mut pin = Pin { spot, plain, keep: keep.clone() };
        self.dir = pin.spot.top.as_ref().unwrap_or(&pin.spot.common).clone();
        if pin.plain.is_none() {
            // Its configuration is read by a call of its own, with the repository itself.
            self.pin = Some(pin.clone());
            pin.plain = Some(Arc::new(plain::Plain::of(&self, &pin.spot.common, pin.spot.top.is_none(), keep)?));
        }
        self.pin = Some(pin);
        Ok(self)
    }

    fn pin(&self) -> Result<&Pin, GitError> {
        self.pin.as_ref().ok_or_else(|| GitError::not_ours(&self.dir, "its repository is not known"))
    }

    /// Returns the same calls in another checkout of the same repository.
    pub fn moved_to(&self, top: &Path, admin: &Path) -> Result<Self, GitError> {
        let Pin { spot, plain, keep } = self.pin()?;
        let spot = Spot { top: Some(top.into()), admin: admin.into(), common: spot.common.clone() };
        // What git takes for the repository can serve several checkouts only where it says nothing of one of them.
        let shared = plain.clone().filter(|plain| plain.shared);
        let mut moved = self.clone();
        moved.fences.push(top.into());
        moved.pinned_to(spot, shared, keep)
    }

    /// Calls in another repository, on the same terms.
    pub(super) fn beside(&self, spot: Spot) -> Result<Self, GitError> {
        let mut git = Self::pinned(spot, &self.pin()?.keep)?.within(self.limit);
        git.fences.extend(self.fences.iter().cloned());
        Ok(git)
    }

    /// Returns the same calls with the repository itself, for what git writes into it of its worktrees.
    pub(super) fn on_itself(&self) -> Self {
        let mut own = self.clone();
        if let Some(Pin { spot, plain, .. }) = &mut own.pin {
            *plain = None;
            *spot = Spot { top: None, admin: spot.common.clone(), common: spot.common.clone() };
            own.dir.clone_from(&spot.common);
        }
        own
    }

    /// Sets the time that each call may take.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Ends calls, with all that they have started, as soon as this is set.
    #[must_use]
    pub fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Lets nobody end calls before their time.
    #[must_use]
    pub fn to_its_end(self) -> Self {
        Self { stop: None, ..self }
    }

    /// Takes a file that every call keeps open as its standard input: a lock on it lasts as long as git does,
    /// also when we die.
    #[must_use]
    pub fn holding(mut self, file: Arc<File>) -> Self {
        self.holding = Some(file);
        self
    }

    /// Sends the standard output of every call to a file.
    #[must_use]
    pub(super) fn into_file(mut self, file: Arc<File>) -> Self {
        self.output = Some(file);
        self
    }

    /// Returns where it calls.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the directory that all worktrees share, where it is known.
    pub fn common(&self) -> Option<&Path> {
        self.pin.as_ref().map(|pin| pin.spot.common.as_path())
    }

    /// Refuses a git that is too old.
    pub(super) fn new_enough(&self) -> Result<program::Version, GitError> {
        program::check(&self.fences)
    }

    /// Returns the arguments that add everything under these paths: also what lies outside of a sparse checkout, which needs
    /// a word since git 2.34 and is no word before that.
    pub(super) fn add_all(&self, paths: Vec<String>) -> Result<Vec<String>, GitError> {
        let is_sparse = program::version(&self.fences)? >= program::Version(2, 34, 0);
        Ok(words(if is_sparse { &["add", "-A", "--sparse", "--"] } else { &["add", "-A", "--"] }, paths))
    }

    /// Returns the top of the checkout that has this private directory, if these calls are pinned to that one.
    pub(super) fn top_of(&self, admin: &Path) -> Option<PathBuf> {
        self.pin.as_ref().filter(|pin| pin.spot.admin == admin)?.spot.top.clone()
    }

    /// Returns what the repository's own configuration said when these calls were made; nothing where it has no copy.
    pub(super) fn settings(&self) -> &[(String, Option<String>)] {
        let plain = self.pin.as_ref().and_then(|pin| pin.plain.as_ref());
        plain.map_or(&[], |plain| plain.settings.as_slice())
    }

    /// Returns what the repository's own configuration says, all of it.
    pub(super) fn own_settings(&self) -> Result<Vec<(String, Option<String>)>, GitError> {
        Ok(plain::entries(&self.run(&["config", "--list", "--show-scope", "-z"])?))
    }

    /// Makes sure that whoever works in this checkout with git works on this checkout: its `.git` leads to our
    /// directory, that leads back, and git itself sees both.
    pub fn verify(&self) -> Result<(), GitError> {
        self.pin()?.spot.verify(self)
    }

    /// Returns the same calls with another private directory, for a look at what lies there.
    #[must_use]
    pub(super) fn with_dir(&self, dir: &Path) -> Self {
        self.clone().with_env("GIT_DIR", &dir.to_string_lossy())
    }

    /// Adds a variable, e.g. `GIT_INDEX_FILE` or `GIT_AUTHOR_NAME`.
    #[must_use]
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs a command and answers with its standard output, without the final line feed.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, GitError> {
        let (code, out, said) = self.call(args)?;
        if code == 0 { Ok(out) } else { Err(self.failed(args, &said)) }
    }

    /// Runs a command that git refuses when somebody else changes the same files at this moment, a few times.
    pub(super) fn patiently(&self, args: &[&str]) -> Result<String, GitError> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.run(args) {
                Err(GitError::Failed(_, said))
                    if pause < Duration::from_secs(2)
                        && (said.contains("could not lock") || said.contains(".lock': File exists")) => {}
                other => return other,
            }
            thread::sleep(pause);
            // Another git holds it for milliseconds, unless it died: then the error names the lock.
            pause *= 2;
        }
    }

    /// Runs a command that answers by its exit status: 0 is yes, 1 is no.
    pub fn asks<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<bool, GitError> {
        let (code, _, said) = self.call(args)?;
        match code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(self.failed(args, &said)),
        }
    }

    /// Gives bytes on standard input; without them it is empty.
    #[must_use]
    pub(crate) fn with_input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs a command and answers with its standard output, byte for byte.
    pub fn bytes<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, GitError> {
        match self.exec(args)? {
            (0, out, _) => Ok(out),
            (_, _, said) => Err(self.failed(args, &String::from_utf8_lossy(&said))),
        }
    }

    /// Runs a command for its exit status and both outputs, whatever they are.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, String, String), GitError> {
        self.exec(args).map(call::as_text)
    }

    /// Runs a command, again where it met a worktree that another git was just making: git lists them all before it begins.
    fn exec<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<call::Outputs, GitError> {
        // Bounded: one that a git has left half made for good is an error that names it.
        for _ in 0..MEETINGS {
            match self.start(args)?.outputs()? {
                (128, _, said) if is_half_made(&said) => thread::sleep(Duration::from_millis(10)),
                done => return Ok(done),
            }
        }
        self.start(args)?.outputs()
    }

    /// Starts a command and does not wait for it; dropped before its end, it is ended.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Started, GitError> {
        if self.is_stopped() {
            return Err(GitError::Stopped(self.named(args)));
        }
        self.pin.as_ref().map_or(Ok(()), |pin| pin.spot.check_common())?;
        // Before the call and not after it: git would wait in `open(2)`, where nothing but a signal reaches it.
        if let Some(snag) = self.own_dirs().iter().find_map(|dir| snags::among(dir)) {
            return Err(snag.error());
        }
        // Git appends to a log through whatever link stands in its place.
        let said: Vec<&str> = args.iter().filter_map(|arg| arg.as_ref().to_str()).collect();
        let input = self.input.as_deref().and_then(|input| std::str::from_utf8(input).ok()).unwrap_or_default();
        for log in whole::logs_of(&said, input) {
            self.own_dirs().iter().try_for_each(|dir| whole::check_log(dir, log))?;
        }
        let mut command = program::command(&self.fences)?;
        command.arg("-C").arg(self.dir());
        for setting in listed(SETTINGS) {
            command.args(["-c", setting]);
        }
        // The lock lasts as long as git, not as long as we do: a git that outlives us still keeps others out.
        let stdin = match &self.holding {
            _ if self.input.is_some() => Stdio::piped(),
            Some(file) => file.try_clone().map_err(GitError::NotStarted)?.into(),
            None => Stdio::null(),
        };
        let stdout = match &self.output {
            Some(file) => file.try_clone().map_err(GitError::NotStarted)?.into(),
            None => Stdio::piped(),
        };
        command.args(args).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        command
            // Nobody is there to answer, and a question would only end with the time limit.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ASKPASS", "true")
            // A commit is what its name says: nothing that an agent can write tells of another in its place.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_GRAFT_FILE", "/dev/null/none")
            // Some refusals are told apart by git's own words.
            .env("LC_ALL", "C");
        if let Some(pin) = &self.pin {
            // Refs and objects lead to the repository from there by links; its configuration and its hooks do not.
            let common = pin.plain.as_ref().map_or(&pin.spot.common, |plain| &plain.dir);
            command.env("GIT_DIR", &pin.spot.admin).env("GIT_COMMON_DIR", common);
            if let Some(top) = &pin.spot.top {
                command.env("GIT_WORK_TREE", top);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // A group of its own: what it starts is ended with it, and a terminal's Ctrl-C is ours to pass on.
        let child = command.process_group(0).spawn().map_err(GitError::NotStarted)?;
        Ok(Started::new(self.clone(), self.named(args), child))
    }

    /// Returns the directories in which git keeps what it knows of this checkout.
    fn own_dirs(&self) -> Vec<PathBuf> {
        match &self.pin {
            None => {
                let top = self.fences.first().map_or(Path::new("/"), PathBuf::as_path);
                vec![super::admin::link_of(top).unwrap_or_else(|| top.join(".git"))]
            }
            Some(Pin { spot, .. }) if spot.admin == spot.common => vec![spot.common.clone()],
            Some(Pin { spot, .. }) => vec![spot.admin.clone(), spot.common.clone()],
        }
    }

    /// Looks why a call does not end. A pipe in a worktree that we made holds nothing, so it is let go and removed,
    /// and git goes on; anything else that git would wait for is an error.
    fn look_for_snags(&self) -> Result<(), GitError> {
        if let Some(snag) = self.own_dirs().iter().find_map(|dir| snags::below(dir, true)) {
            return Err(snag.error());
        }
        if self.pin.as_ref().is_some_and(|pin| pin.spot.top.is_none()) {
            return Ok(());
        }
        while let Some(snag) = snags::below(&self.dir, false) {
            if !super::admin::is_our_place(&self.dir) || !snag.let_go(&self.dir) {
                return Err(snag.error());
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    pub(super) fn failed<S: AsRef<OsStr>>(&self, args: &[S], said: &str) -> GitError {
        let said = text::cut(&text::many_lines(&without_passwords(said)), 2_000);
        GitError::Failed(self.named(args), said)
    }

    /// Returns a call as errors name it.
    fn named<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        let words: Vec<String> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        let command = text::cut(&text::one_line(&without_passwords(&words.join(" "))), 300);
        Call { command, dir: self.dir().into() }
    }
}

/// Returns arguments that end in others.
pub(super) fn words(first: &[&str], others: impl IntoIterator<Item = String>) -> Vec<String> {
    first.iter().map(|word| (*word).to_owned()).chain(others).collect()
}

/// Returns the lines of a list in a file of ours, without comments.
pub(super) fn listed(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Tells whether git met a worktree that was being made.
fn is_half_made(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    said.starts_with("fatal: failed to read ") && said.contains("worktrees/") && said.contains("/commondir")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_repositorys_own_hooks_are_not_executed() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = Git::looking(dir.path());
        git.run(&["init", "-q", "-b", "main"]).expect("a repository");
        let hook = dir.path().join(".git/hooks/pre-commit");
        std::fs::write(&hook, "#!/bin/sh\ntouch owned\n").expect("a hook");
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let git = git.with_env("GIT_AUTHOR_NAME", "a").with_env("GIT_AUTHOR_EMAIL", "a@invalid");
        let git = git.with_env("GIT_COMMITTER_NAME", "a").with_env("GIT_COMMITTER_EMAIL", "a@invalid");
        git.run(&["commit", "-q", "--allow-empty", "-m", "one"]).expect("a commit");
        assert!(!dir.path().join("owned").exists());
    }

    #[test]
    fn a_call_is_ended_with_all_that_it_has_started_as_soon_as_somebody_asks() {
        let dir = tempfile::tempdir().expect("a directory");
        let stop = Arc::new(AtomicBool::new(false));
        let git = Git::looking(dir.path()).until(Arc::clone(&stop));
        git.run(&["init", "-q"]).expect("a repository");
        let seen = dir.path().join("seen");
        let slow = format!("!echo $$ > {}.new; mv {0}.new {0}; sleep 600 & wait", seen.display());
        let git = git.with_env("GIT_CONFIG_COUNT", "1").with_env("GIT_CONFIG_KEY_0", "alias.slow");
        let git = git.with_env("GIT_CONFIG_VALUE_0", &slow);
        let call = thread::spawn(move || git.run(&["slow"]));
        let until = Instant::now() + Duration::from_secs(20);
        while !seen.exists() && Instant::now() < until {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let ended = call.join().expect("no panic");
        assert!(matches!(ended, Err(GitError::Stopped(_))), "{ended:?}");
        assert!(Instant::now() < until, "at once");
        let shell = std::fs::read_to_string(seen).expect("it had begun");
        let gone = || !Path::new("/proc").join(shell.trim()).join("exe").exists();
        while !gone() && Instant::now() < until {
            thread::yield_now();
        }
        assert!(gone(), "the shell that git had started");
    }
    #[test]
    fn passwords_in_addresses_are_not_said() {
        let said = "fatal: unable to access 'https://me:s3cret@host/x.git/': ssh://git@host https://host/a@b";
        let kept = "fatal: unable to access 'https://***@host/x.git/': ssh://***@host https://host/a@b";
        assert_eq!(without_passwords(said), kept);
        let dir = tempfile::tempdir().expect("a directory");
        let refused =
            Git::looking(dir.path()).run(&["ls-remote", "https://me:s3cret@127.0.0.1:1/x.git"]).expect_err("nobody");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }

    #[test]
    fn a_refusal_says_where_and_what() {
        let dir = tempfile::tempdir().expect("a directory");
        let refused = Git::looking(dir.path()).run(&["rev-parse", "HEAD"]).expect_err("no repository");
        assert!(refused.to_string().contains("not a git repository"), "{refused}");
    }
}
