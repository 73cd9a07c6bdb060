//! Programs that are waited for, but not forever: deadlines, process groups, output.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// The first pause between two looks at a child; each that follows is twice as long.
const SHORTEST: Duration = Duration::from_micros(200);

/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_millis(20);

/// No more of an answer is kept.
const MOST: u64 = 4 << 20;

/// Waits for a child until a moment, or until `stopped` says so; `None` when it still runs then.
pub fn wait(child: &mut Child, until: Instant, stopped: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    // Polled: a handler for SIGCHLD would be one for the whole process, and a thread per child costs more.
    let mut pause = SHORTEST;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stopped() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST);
    }
}

/// Signals the group that a child leads; only for one that has not been reaped, whose number is still its own.
pub fn signal_group(child: &Child, signal: Signal) {
    let _ = kill_process_group(Pid::from_child(child), signal);
}

/// Kills a child and reaps it.
pub fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: Vec<u8>,
}

/// Runs a program for its answer, without input; `None` when it took longer and was killed.
///
/// Its output goes to files and not through pipes: what it leaves running in the background cannot hold us up.
pub fn ask(command: &mut Command, within: Duration) -> io::Result<Option<Answer>> {
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let mut child = command.spawn()?;
    let status = match wait(&mut child, Instant::now() + within, || false) {
        Ok(Some(status)) => status,
        late => {
            kill(&mut child);
            return late.map(|_| None);
        }
    };
    let bytes = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.take(MOST).read_to_end(&mut bytes)).map(|_| bytes)
    };
    Ok(Some(Answer { status, out: bytes(out)?, err: bytes(err)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_heard_and_one_that_does_not_come_is_not_waited_for() {
        let sh = |script: &str, within| ask(Command::new("sh").args(["-c", script]), within).expect("sh is there");
        let answer = sh("echo out; echo err >&2; sleep 2 & exit 3", Duration::from_secs(20)).expect("in time");
        assert_eq!((answer.status.code(), &answer.out[..], &answer.err[..]), (Some(3), &b"out\n"[..], &b"err\n"[..]));
        assert!(sh("exec sleep 60", Duration::from_millis(30)).is_none());
    }
}
