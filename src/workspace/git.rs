//! Our calls of git: by argv, hardened, with bounded time (reliability S7).
//!
//! What a repository's own configuration, hooks or attributes could make git execute is turned off;
//! nothing is asked on a terminal, no credential helper of a project is trusted with a prompt.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a call may meet a worktree that is being made.
const MEETINGS: u32 = 50;

/// A repository, or a worktree of one.
#[derive(Clone, Debug)]
pub struct Git {
    dir: PathBuf,
    env: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    limit: Duration,
    holding: Option<Arc<File>>,
    input: Option<Vec<u8>>,
    stop: Option<Arc<AtomicBool>>,
}

/// Why a call of git did not work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("run git: {0}")]
    NotStarted(#[source] std::io::Error),
    /// It said no.
    #[error("git {command} in {}: {said}", dir.display())]
    Failed {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
        /// The exit status; -1 when a signal ended it.
        code: i32,
        /// What it said on standard error, bounded.
        said: String,
    },
    /// It was ended because somebody asked for the end.
    #[error("finish git {command} in {}: it was stopped", dir.display())]
    Stopped {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
    },
    /// It took too long and was ended.
    #[error("git {command} in {}: no answer in time", dir.display())]
    TimedOut {
        /// The arguments.
        command: String,
        /// Where.
        dir: PathBuf,
    },
}

impl Git {
    /// Calls in this directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { dir, env: Vec::new(), settings: Vec::new(), limit: LIMIT, holding: None, input: None, stop: None }
    }

    /// The same calls elsewhere in the same repository.
    #[must_use]
    pub fn moved_to(&self, dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..self.clone() }
    }

    /// With more or less time for each call.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// With calls that are ended, with all that they have started, as soon as this is set.
    #[must_use]
    pub fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// With a file that every call keeps open as its standard input: a lock on it lasts as long as git does,
    /// also when we die.
    #[must_use]
    pub fn holding(mut self, file: Arc<File>) -> Self {
        self.holding = Some(file);
        self
    }

    /// Without what the repository's own configuration would execute: filters, merge drivers, programs that
    /// speak to remotes. Those of the user's configuration stay in force, and `git-lfs` wherever it was set
    /// up. Diffs say `--no-ext-diff --no-textconv` themselves.
    pub fn guarded(mut self) -> Result<Self, GitError> {
        let listed = self.run(&["config", "--list", "--show-scope", "-z"])?;
        let mut fields = listed.split('\0');
        while let (Some(scope), Some(entry)) = (fields.next(), fields.next()) {
            if matches!(scope, "local" | "worktree") {
                let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
                self.settings.extend(disarmed(key, value));
            }
        }
        Ok(self)
    }

    /// With a setting that is stronger than every file's.
    #[must_use]
    pub fn with_setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Where it calls.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// With a variable, e.g. `GIT_INDEX_FILE` or `GIT_AUTHOR_NAME`.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs a command and answers with its standard output, without the final line feed.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, GitError> {
        let (code, out, said) = self.call(args)?;
        match code {
            0 => Ok(out),
            code => Err(self.failed(args, code, &said)),
        }
    }

    /// Runs a command that answers by its exit status: 0 is yes, 1 is no.
    pub fn asks<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<bool, GitError> {
        let (code, _, said) = self.call(args)?;
        match code {
            0 => Ok(true),
            1 => Ok(false),
            code => Err(self.failed(args, code, &said)),
        }
    }

    /// With bytes on standard input; without them it is empty.
    #[must_use]
    pub fn with_input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs a command and answers with its standard output, byte for byte.
    pub fn bytes<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, GitError> {
        match self.exec(args)? {
            (0, out, _) => Ok(out),
            (code, _, said) => Err(self.failed(args, code, &String::from_utf8_lossy(&said))),
        }
    }

    /// Runs a command for its exit status and both outputs, whatever they are.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, String, String), GitError> {
        let (code, out, said) = self.exec(args)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        Ok((code, text(&out), text(&said)))
    }

    /// Git lists worktrees before it does anything, and gives up on one that another git is just making.
    fn exec<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, Vec<u8>, Vec<u8>), GitError> {
        for _ in 0..MEETINGS {
            match self.exec_once(args)? {
                (128, _, said) if is_half_made(&said) => thread::sleep(Duration::from_millis(10)),
                done => return Ok(done),
            }
        }
        self.exec_once(args)
    }

    fn exec_once<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, Vec<u8>, Vec<u8>), GitError> {
        self.start(args)?.outputs()
    }

    /// Starts a command and does not wait for it; dropped before its end, it is ended.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Started, GitError> {
        if self.is_stopped() {
            return Err(GitError::Stopped { command: words(args), dir: self.dir.clone() });
        }
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.dir);
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "protocol.ext.allow=never",
            "submodule.recurse=false",
            "core.pager=cat",
            "commit.gpgSign=false",
            "tag.gpgSign=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "core.editor=true",
            "advice.detachedHead=false",
        ] {
            command.args(["-c", setting]);
        }
        for (key, value) in super::pins::PINS {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        let stdin = match &self.holding {
            _ if self.input.is_some() => Stdio::piped(),
            Some(file) => file.try_clone().map_err(GitError::NotStarted)?.into(),
            None => Stdio::null(),
        };
        command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG",
            "GIT_COMMON_DIR",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
            "GIT_PREFIX",
            "GIT_LITERAL_PATHSPECS",
            "GIT_GLOB_PATHSPECS",
            "GIT_ICASE_PATHSPECS",
            "GIT_NOGLOB_PATHSPECS",
            "GIT_PROXY_COMMAND",
            "GIT_TEMPLATE_DIR",
            "GIT_TRACE",
            "GIT_EXTERNAL_DIFF",
            "GIT_SSH_COMMAND",
        ] {
            command.env_remove(name);
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ASKPASS", "true")
            .env("LC_ALL", "C");
        if !self.settings.is_empty() {
            command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
            for (n, (key, value)) in self.settings.iter().enumerate() {
                command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // A group of its own: what it starts is ended with it, and a terminal's Ctrl-C is ours to pass on.
        let mut child = command.process_group(0).spawn().map_err(GitError::NotStarted)?;
        let out = drain(child.stdout.take());
        let said = drain(child.stderr.take());
        let fed = child.stdin.take().zip(self.input.clone()).map(|(mut pipe, bytes)| {
            // What git does not read any more it does not need; its exit status says the rest.
            thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        Ok(Started { git: self.clone(), command: words(args), child, out, said, fed, over: false })
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn failed<S: AsRef<OsStr>>(&self, args: &[S], code: i32, said: &str) -> GitError {
        let said = crate::domain::text::cut(&crate::domain::text::many_lines(&without_passwords(said)), 2_000);
        GitError::Failed { command: words(args), dir: self.dir.clone(), code, said }
    }
}

/// A call of git that runs.
pub struct Started {
    git: Git,
    command: String,
    child: Child,
    out: Option<Reader>,
    said: Option<Reader>,
    fed: Option<thread::JoinHandle<()>>,
    over: bool,
}

impl Started {
    /// Waits for its exit status and both outputs, whatever they are.
    pub fn call(self) -> Result<(i32, String, String), GitError> {
        let (code, out, said) = self.outputs()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        Ok((code, text(&out), text(&said)))
    }

    fn outputs(mut self) -> Result<(i32, Vec<u8>, Vec<u8>), GitError> {
        let deadline = Instant::now() + self.git.limit;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(GitError::NotStarted)? {
                self.over = true;
                break status;
            }
            // Dropping it ends it.
            let (command, dir) = (|| self.command.clone(), || self.git.dir.clone());
            if self.git.is_stopped() {
                return Err(GitError::Stopped { command: command(), dir: dir() });
            }
            if Instant::now() >= deadline {
                return Err(GitError::TimedOut { command: command(), dir: dir() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        if let Some(fed) = self.fed.take() {
            // It only ever ends; what it could not write is told by the exit status.
            let _ = fed.join();
        }
        let all = |handle: Option<Reader>| handle.and_then(|handle| handle.join().ok()).unwrap_or_default();
        Ok((status.code().unwrap_or(-1), all(self.out.take()), all(self.said.take())))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // It is ours and not reaped yet, so the number is still its group's.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What git said without the names and passwords that stand in addresses; it goes into the journal.
pub(super) fn without_passwords(said: &str) -> String {
    let mut parts = said.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let host = part.find(|c: char| "/'\"<>".contains(c) || c.is_whitespace()).unwrap_or(part.len());
        kept.push_str("://");
        match part[..host].rfind('@') {
            Some(at) => {
                kept.push_str("***");
                kept.push_str(&part[at..]);
            }
            None => kept.push_str(part),
        }
    }
    kept
}

/// Whether git met a worktree that was being made.
fn is_half_made(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    said.starts_with("fatal: failed to read ") && said.contains("worktrees/") && said.contains("/commondir")
}

/// What to set against a setting of a repository that would execute something.
fn disarmed(key: &str, value: &str) -> Vec<(String, String)> {
    let lower = key.to_ascii_lowercase();
    let (section, member) = (lower.split('.').next().unwrap_or_default(), lower.rsplit('.').next().unwrap_or_default());
    let name = key.rfind('.').map_or(key, |end| &key[..end]);
    let off = |value: &str| (key.to_owned(), value.to_owned());
    match (section, member) {
        ("filter", "clean" | "smudge" | "process") => {
            let words: Vec<&str> = value.split_whitespace().collect();
            if matches!(words.as_slice(), ["git-lfs", "clean" | "smudge", "--", "%f"] | ["git-lfs", "filter-process"]) {
                return Vec::new();
            }
            vec![off(""), (format!("{name}.required"), "false".into())]
        }
        // `false` says conflict; without a command it would count as merged.
        ("merge", "driver") => vec![off("false")],
        ("gpg", "program") | ("core", "sshcommand" | "gitproxy" | "alternaterefscommand" | "askpass") => {
            vec![off("false")]
        }
        ("remote", "uploadpack" | "receivepack") => vec![off(&format!("git-{}", member.replace("pack", "-pack")))],
        _ => Vec::new(),
    }
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    let words: Vec<String> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    crate::domain::text::cut(&crate::domain::text::one_line(&without_passwords(&words.join(" "))), 300)
}

/// Reads one of git's outputs.
type Reader = thread::JoinHandle<Vec<u8>>;

/// Reads a pipe to its end beside us, so that neither of two pipes can fill up and block git.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Reader> {
    let mut pipe = pipe?;
    thread::Builder::new()
        .name("git".into())
        .spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error still tells something.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_own_hooks_are_not_executed() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = Git::at(dir.path());
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
        let git = Git::at(dir.path()).until(Arc::clone(&stop));
        git.run(&["init", "-q"]).expect("a repository");
        let seen = dir.path().join("seen");
        let slow = format!("!echo $$ > {}.new; mv {0}.new {0}; sleep 600 & wait", seen.display());
        let git = git.with_setting("alias.slow", &slow);
        let call = thread::spawn(move || git.run(&["slow"]));
        let until = Instant::now() + Duration::from_secs(20);
        while !seen.exists() && Instant::now() < until {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let ended = call.join().expect("no panic");
        assert!(matches!(ended, Err(GitError::Stopped { .. })), "{ended:?}");
        assert!(Instant::now() < until, "at once");
        let shell = std::fs::read_to_string(seen).expect("it had begun");
        let gone = || !Path::new("/proc").join(shell.trim()).join("exe").exists();
        while !gone() && Instant::now() < until {
            thread::yield_now();
        }
        assert!(gone(), "the shell that git had started");
    }

    #[test]
    fn what_a_repositorys_configuration_would_execute_is_disarmed() {
        let off = |key: &str, value: &str| {
            disarmed(key, value).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(off("filter.a=B.clean", "touch x"), ["filter.a=B.clean=", "filter.a=B.required=false"]);
        assert_eq!(off("filter.lfs.process", "git-lfs filter-process"), Vec::<String>::new());
        assert_eq!(off("filter.lfs.clean", "git-lfs clean -- %f; touch x").len(), 2);
        assert_eq!(off("merge.x.driver", "touch x"), ["merge.x.driver=false"]);
        assert_eq!(off("core.sshCommand", "touch x"), ["core.sshCommand=false"]);
        assert_eq!(off("remote.origin.uploadpack", "touch x"), ["remote.origin.uploadpack=git-upload-pack"]);
        assert_eq!(off("user.name", "x"), Vec::<String>::new());
    }

    #[test]
    fn passwords_in_addresses_are_not_said() {
        let said = "fatal: unable to access 'https://me:s3cret@host/x.git/': ssh://git@host https://host/a@b";
        let kept = "fatal: unable to access 'https://***@host/x.git/': ssh://***@host https://host/a@b";
        assert_eq!(without_passwords(said), kept);
        let dir = tempfile::tempdir().expect("a directory");
        let refused =
            Git::at(dir.path()).run(&["ls-remote", "https://me:s3cret@127.0.0.1:1/x.git"]).expect_err("nobody");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }

    #[test]
    fn a_refusal_says_where_and_what() {
        let dir = tempfile::tempdir().expect("a directory");
        let refused = Git::at(dir.path()).run(&["rev-parse", "HEAD"]).expect_err("no repository");
        assert!(refused.to_string().contains("not a git repository"), "{refused}");
    }
}
