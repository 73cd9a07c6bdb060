//! The worker's end of an attempt: start a shim, tell it what to do, hear what becomes of it.
//!
//! It waits for nothing and decides nothing; the shim does. It only sees to it that there is an end: of a shim
//! that is stopped, or late beyond its limits, it does the work itself.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::Signal;

use super::{
    Exit, Invocation, Limits, Report, Stop,
    platform::Handle,
    sweep, tree,
    wire::{self, MODE, Order, Said, Start},
};
use oodatcaa_sys::identity::Process;

/// How long to look for what a dead shim has left behind.
const SWEEP: Duration = Duration::from_secs(5);

/// Between two looks at a shim.
const PACE: Duration = Duration::from_secs(1);

/// What a shim gets beyond its own limits, before the worker does its work.
const MARGIN: Duration = Duration::from_secs(5);

type Idle = Mutex<Vec<Shim>>;

/// Shims of one program that wait for work: to start a process costs more than all that one does for a short attempt.
pub struct Shims {
    exe: PathBuf,
    idle: Arc<Idle>,
}

impl Shims {
    /// Starts none yet. `exe` is our own `agent-daemon`.
    pub fn new(exe: PathBuf) -> Self {
        Self { exe, idle: Arc::default() }
    }

    /// Returns one that waits, or a new one. After its work it comes back, if nothing of that is left.
    pub fn take(&self) -> io::Result<Shim> {
        while let Some(mut shim) = locked(&self.idle).pop() {
            // Somebody may have ended it meanwhile.
            if matches!(shim.child.try_wait(), Ok(None)) {
                return Ok(shim);
            }
        }
        // It works in the root, so that it holds no directory; its program is found from here.
        let mut command = Command::new(std::path::absolute(&self.exe)?);
        command.arg(MODE).env_clear().current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdin = child.stdin.take().expect("a shim's standard input is a pipe");
        let said = BufReader::new(child.stdout.take().expect("a shim's standard output is a pipe"));
        Ok(Shim { child, stdin: Some(stdin), said, idle: Arc::downgrade(&self.idle) })
    }

    /// Sees to it that one waits: its start-up then costs an attempt no time.
    pub fn prepare(&self) {
        if let Ok(shim) = self.take() {
            locked(&self.idle).push(shim);
        }
    }

    /// Lets no more than so many wait.
    pub fn keep(&self, most: usize) {
        locked(&self.idle).truncate(most);
    }
}

/// Locks what holds after a panic as well.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shim that does not know its work yet; dropped unused, it leaves.
#[derive(Debug)]
pub struct Shim {
    child: Child,
    /// Lent to the attempt while it has one.
    stdin: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    /// The place where it waits for more work.
    idle: Weak<Idle>,
}

impl Shim {
    /// Returns the shim's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it its work. `wake` is a file that it touches when the tree is gone and so is this worker.
    /// An error means that nothing was started.
    pub fn run(
        mut self,
        run_dir: &Path,
        invocation: &Invocation,
        limits: &Limits,
        wake: Option<&Path>,
    ) -> io::Result<Attempt> {
        let start = Start {
            run_dir: std::path::absolute(run_dir)?,
            invocation: invocation.clone(),
            limits: *limits,
            wake: wake.map(std::path::absolute).transpose()?,
        };
        let outputs = [invocation.stdout.clone(), invocation.stderr.clone()];
        let run_dir = start.run_dir.clone();
        let order = wire::line(&Order::Start(Box::new(start)))?;

        let shim = self.pid();
        let line = Arc::new(Mutex::new(Line { stdin: self.stdin.take(), told: false }));
        let handle = Handle::open(shim);
        let (sender, reports) = unbounded();
        let (began, family) = (Instant::now(), Family::default());
        let lent = Arc::clone(&line);
        let listener = Listener { shim: self, lent, run_dir, outputs, began, family: Arc::clone(&family), sender };
        // Before the order: a thread that cannot be started must not leave an agent unheard.
        thread::Builder::new().name("attempt".into()).spawn(move || listener.listen())?;
        // Without the whole line it starts nothing, and leaves when its input ends.
        locked(&line).write(&order)?;
        let watched = Watched {
            next: Instant::now() + PACE,
            deadline: limits.wall().map(|wall| began + wall + limits.grace + MARGIN),
            grace: limits.grace,
            looks: 0,
            stops: 0,
            family,
        };
        Ok(Attempt { line, handle, shim, reports, watched: RefCell::new(watched) })
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // It keeps nothing, yet or any more, so nothing is lost by the short way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What orders go through: the shim's standard input, until the shim has gone on to other work.
struct Line {
    stdin: Option<ChildStdin>,
    /// Something was said after the first order; it may still be on its way when the attempt ends.
    told: bool,
}

impl Line {
    fn write(&mut self, order: &[u8]) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(order))
    }
}

/// One execution of one agent. Dropping it before its end is what the worker's death is: the tree ends within a second.
pub struct Attempt {
    line: Arc<Mutex<Line>>,
    handle: Option<Handle>,
    shim: u32,
    reports: Receiver<Report>,
    watched: RefCell<Watched>,
}

/// Who was seen below a shim, for the case that it dies before them.
type Family = Arc<Mutex<HashSet<(u32, u64)>>>;

/// What the worker itself sees to, whatever becomes of the shim.
struct Watched {
    next: Instant,
    /// The time when the shim must have come to an end.
    deadline: Option<Instant>,
    grace: Duration,
    looks: u32,
    /// At how many looks in a row it was stopped.
    stops: u32,
    family: Family,
}

impl Watched {
    fn due(&self) -> Instant {
        self.deadline.map_or(self.next, |deadline| deadline.min(self.next))
    }

    fn hurry(&mut self, stop: Stop) {
        let patience = if stop == Stop::Now { Duration::ZERO } else { self.grace };
        let latest = Instant::now() + patience + MARGIN;
        self.deadline = Some(self.deadline.map_or(latest, |deadline| deadline.min(latest)));
    }
}

impl Attempt {
    /// Starts an attempt. `shim` is our own `agent-daemon`; `run_dir` is the attempt's directory.
    pub fn start(shim: &Path, run_dir: &Path, invocation: &Invocation, limits: &Limits) -> io::Result<Self> {
        Shims::new(shim.into()).take()?.run(run_dir, invocation, limits, None)
    }

    /// Returns what becomes of it. Exactly one [`Report::Ended`] comes, always, as the last one.
    pub fn reports(&self) -> &Receiver<Report> {
        &self.reports
    }

    /// Returns the shim's process id.
    pub fn shim(&self) -> u32 {
        self.shim
    }

    /// Returns when [`Attempt::look`] is to be called next.
    pub fn due(&self) -> Instant {
        self.watched.borrow().due()
    }

    /// Looks after the shim, which may have been stopped, or be unable to go on: one that is stopped is woken, and
    /// at the second look, or past the deadline, its work is done here. Answers why, when that is so.
    pub fn look(&self) -> Option<&'static str> {
        let now = Instant::now();
        let mut watched = self.watched.borrow_mut();
        if now < watched.due() {
            return None;
        }
        watched.next = now + PACE;
        let stopped = Process::look(self.shim).is_some_and(|seen| seen.stopped);
        watched.stops = if stopped { watched.stops + 1 } else { 0 };
        // All processes are looked at for it, so not each time.
        if stopped || watched.looks.is_multiple_of(2) {
            let below = tree::descendants(self.shim);
            *locked(&watched.family) = below.iter().filter(|seen| !seen.dead).map(Process::identity).collect();
        }
        watched.looks = watched.looks.wrapping_add(1);
        // Its own limits come first: this is for a shim that hangs.
        let late = watched.deadline.is_some_and(|deadline| now >= deadline);
        if late || watched.stops > 1 {
            watched.deadline = None;
            // The listener needs this long at most; to kill again meanwhile would find nobody.
            watched.next = now + SWEEP + MARGIN;
            self.end_shim();
            return Some(if late { "its shim did not end it in time" } else { "its shim was stopped" });
        }
        if stopped {
            self.wake();
        }
        None
    }

    /// Kills the shim; the listener does the rest as soon as it is dead.
    fn end_shim(&self) {
        if let Some(handle) = &self.handle {
            handle.send(Signal::KILL);
        }
    }

    /// Ends it; [`Report::Ended`] follows. The hard stop may follow the gentle one.
    pub fn stop(&self, stop: Stop) {
        self.watched.borrow_mut().hurry(stop);
        if let Ok(order) = wire::line(&Order::Stop(stop)) {
            let mut line = locked(&self.line);
            line.told = true;
            // A shim that cannot hear this any more has ended, or is reported by the listener.
            let _ = line.write(&order);
        }
        self.wake();
    }

    /// Continues the shim, which an agent may have stopped: it must hear what it is told.
    fn wake(&self) {
        if let Some(handle) = &self.handle {
            handle.send(Signal::CONT);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        locked(&self.line).stdin = None;
        self.wake();
    }
}

/// Hears a shim out and reaps it.
struct Listener {
    shim: Shim,
    lent: Arc<Mutex<Line>>,
    run_dir: PathBuf,
    outputs: [PathBuf; 2],
    began: Instant,
    family: Family,
    sender: Sender<Report>,
}

impl Listener {
    fn listen(mut self) {
        let mut line = String::new();
        while self.shim.said.read_line(&mut line).is_ok_and(|length| length > 0) {
            match serde_json::from_str::<Said>(&line) {
                Ok((Report::Ended(exit), stays)) => return self.end(exit, stays),
                Ok((report, _)) => drop(self.sender.send(report)),
                Err(_) => {}
            }
            line.clear();
        }
        let exit = self.finish_dead();
        let _ = self.sender.send(Report::Ended(exit));
    }

    /// Tells the end; the shim waits for more work by then, if it can.
    fn end(mut self, exit: Exit, stays: bool) {
        {
            let mut line = locked(&self.lent);
            let stdin = line.stdin.take_if(|_| stays);
            self.shim.stdin = stdin.filter(|_| !line.told);
        }
        if self.shim.stdin.is_some() {
            // Without a place to wait at it is dropped, and leaves.
            if let Some(idle) = self.shim.idle.upgrade() {
                locked(&idle).push(self.shim);
            }
            let _ = self.sender.send(Report::Ended(exit));
        } else {
            let _ = self.sender.send(Report::Ended(exit));
            // Not killed at once: it may have to touch a file yet.
            let _ = self.shim.child.wait();
        }
    }

    /// Does a dead shim's work. While it is not reaped its number, and so its session's, is nobody else's.
    fn finish_dead(&mut self) -> Exit {
        let _ = self.shim.child.kill();
        let family = std::mem::take(&mut *locked(&self.family));
        let leftovers = sweep::end_session(&self.run_dir, self.shim.pid(), family, SWEEP);
        let leftovers = leftovers.unwrap_or_else(|still| u32::try_from(still.len()).unwrap_or(u32::MAX));
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        wire::read_exit(&self.run_dir).unwrap_or_else(|| Exit {
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            leftovers,
            output: [size(&self.outputs[0]), size(&self.outputs[1])],
            ..Exit::unknown()
        })
    }
}
