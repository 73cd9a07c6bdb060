//! One call of git, from its start to its end.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt as _,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::{Git, GitError, error::Call};
use oodatcaa_sys::command;

/// When a call that does not end is asked for the first time what it waits for; then four times as late each time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most that a call may say; more is no answer to anything that we ask.
const MOST_SAID: u64 = 256 << 20;

/// A call of git that runs.
pub struct Started {
    git: Git,
    call: Call,
    child: Child,
    out: Option<Reader>,
    said: Option<Reader>,
    fed: Option<thread::JoinHandle<()>>,
    over: bool,
}

impl Started {
    /// Takes over a child that was just started, and feeds it its input.
    pub(super) fn new(git: Git, call: Call, mut child: Child) -> Self {
        // Both are read from the start: git stops where a pipe of 64 KiB is full.
        let out = drain(child.stdout.take());
        let said = drain(child.stderr.take());
        let fed = child.stdin.take().zip(git.input.clone()).map(|(mut pipe, bytes)| {
            // What git does not read any more it does not need; its exit status says the rest.
            thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        Self { git, call, child, out, said, fed, over: false }
    }

    /// Waits for its exit status and both outputs, whatever they are.
    pub fn call(self) -> Result<(i32, String, String), GitError> {
        self.outputs().map(as_text)
    }

    /// Waits for its exit status and both outputs, byte for byte.
    pub(super) fn outputs(mut self) -> Result<Outputs, GitError> {
        let begun = Instant::now();
        let (deadline, mut patience) = (begun + self.git.limit, PATIENCE);
        let status = loop {
            let until = deadline.min(begun + patience);
            let is_stopped = || self.git.is_stopped();
            // A child that nobody waits for stays a zombie, so also one that is stopped is waited for when it is dropped.
            if let Some(status) = command::wait(&mut self.child, until, is_stopped).map_err(GitError::NotStarted)? {
                self.over = true;
                break status;
            }
            // Dropping it ends it.
            if self.git.is_stopped() {
                return Err(GitError::Stopped(self.call.clone()));
            }
            if Instant::now() >= deadline {
                return Err(GitError::TimedOut(self.call.clone()));
            }
            // Looking costs a walk through the directories, so a slow but sound call is not looked at again and again.
            patience *= 4;
            self.git.look_for_snags()?;
        };
        if let Some(fed) = self.fed.take() {
            // It only ever ends; what it could not write is told by the exit status.
            let _ = fed.join();
        }
        let all = |handle: Option<Reader>| handle.and_then(|handle| handle.join().ok()).unwrap_or_default();
        let (out, said) = (all(self.out.take()), all(self.said.take()));
        let Some(code) = status.code() else {
            return Err(GitError::Killed(self.call.clone(), status.signal().unwrap_or_default()));
        };
        // The readers close their ends at this many bytes, and git dies of the broken pipe.
        if out.len().max(said.len()) as u64 > MOST_SAID {
            let said = format!("it said more than {} MiB", MOST_SAID >> 20);
            return Err(GitError::Failed(self.call.clone(), said));
        }
        Ok((code, out, said))
    }
}

/// An exit status, and what was said on standard output and standard error.
pub(super) type Outputs<T = Vec<u8>> = (i32, T, T);

/// Returns outputs as text, without line feeds at their ends.
pub(super) fn as_text((code, out, said): Outputs) -> Outputs<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
    (code, text(&out), text(&said))
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // The group first: a helper that holds our pipes would keep their readers waiting.
        command::signal_group(&self.child, rustix::process::Signal::KILL);
        command::kill(&mut self.child);
    }
}

/// Reads one of git's outputs.
type Reader = thread::JoinHandle<Vec<u8>>;

/// Reads a pipe to its end beside us, so that neither of two pipes can fill up and block git.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Reader> {
    // Closed where there is more than anybody wants, which ends git.
    let mut pipe = pipe?.take(MOST_SAID + 1);
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
