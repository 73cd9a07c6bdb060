//! Our calls of git: by argv, hardened, with bounded time (reliability S7).
//!
//! What a repository's own configuration, hooks or attributes could make git execute is turned off;
//! nothing is asked on a terminal, no credential helper of a project is trusted with a prompt.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A repository, or a worktree of one.
#[derive(Clone, Debug)]
pub struct Git {
    dir: PathBuf,
    env: Vec<(String, String)>,
    input: Option<Vec<u8>>,
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
    /// It took too long and was ended.
    #[error("git {command} in {}: no answer within {LIMIT:?}", dir.display())]
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
        Self { dir: dir.into(), env: Vec::new(), input: None }
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

    /// With bytes on standard input; without them it is empty.
    #[must_use]
    pub fn with_input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs a command and answers with the very bytes of its standard output, e.g. of a list with `-z`.
    pub fn bytes<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, GitError> {
        let (code, out, said) = self.raw(args)?;
        match code {
            0 => Ok(out),
            code => Err(self.failed(args, code, &said)),
        }
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

    /// Runs a command for its exit status and both outputs, whatever they are.
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, String, String), GitError> {
        let (code, out, said) = self.raw(args)?;
        Ok((code, String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned(), said))
    }

    fn raw<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(i32, Vec<u8>, String), GitError> {
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
            "core.editor=true",
            "advice.detachedHead=false",
        ] {
            command.args(["-c", setting]);
        }
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_COUNT",
            "GIT_COMMON_DIR",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
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
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(GitError::NotStarted)?;
        let fed = child.stdin.take().zip(self.input.clone()).map(|(mut pipe, bytes)| {
            thread::spawn(move || {
                // A git that needs no more of it closes the pipe early; its exit status tells.
                let _ = pipe.write_all(&bytes);
            })
        });
        let out = drain(child.stdout.take());
        let said = drain(child.stderr.take());
        let deadline = Instant::now() + LIMIT;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            match child.try_wait().map_err(GitError::NotStarted)? {
                Some(status) => break status,
                None if Instant::now() >= deadline => {
                    // It is ours and not reaped yet, so the pid is still its own.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(GitError::TimedOut { command: words(args), dir: self.dir.clone() });
                }
                None => thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let bytes = |handle: Option<thread::JoinHandle<Vec<u8>>>| handle.and_then(|handle| handle.join().ok());
        if let Some(fed) = fed {
            // It only ever ends; what it could not write is told by the exit status.
            let _ = fed.join();
        }
        let said = String::from_utf8_lossy(&bytes(said).unwrap_or_default()).trim_end_matches('\n').to_owned();
        Ok((status.code().unwrap_or(-1), bytes(out).unwrap_or_default(), said))
    }

    fn failed<S: AsRef<OsStr>>(&self, args: &[S], code: i32, said: &str) -> GitError {
        let said = crate::domain::text::cut(&crate::domain::text::many_lines(said), 2_000);
        GitError::Failed { command: words(args), dir: self.dir.clone(), code, said }
    }
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    let words: Vec<String> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    crate::domain::text::cut(&crate::domain::text::one_line(&words.join(" ")), 300)
}

/// Reads a pipe to its end beside us, so that neither of two pipes can fill up and block git.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<thread::JoinHandle<Vec<u8>>> {
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
    fn a_refusal_says_where_and_what() {
        let dir = tempfile::tempdir().expect("a directory");
        let refused = Git::at(dir.path()).run(&["rev-parse", "HEAD"]).expect_err("no repository");
        assert!(refused.to_string().contains("not a git repository"), "{refused}");
    }
}
