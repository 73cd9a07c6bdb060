//! All that a shim waits for, in one call: orders, the worker's end, children's ends, signals.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::{Stop, wire::Order};

/// What has been heard and not yet been asked for.
pub(super) struct EventSource {
    /// Wakes for a child's end; says nothing else.
    children: UnixStream,
    /// One byte for every signal that asks for an end; the second means "now".
    signals: UnixStream,
    /// Nobody reads what comes here.
    _unheard: UnixStream,
    /// A signal has asked for an end already.
    asked: bool,
    orders: VecDeque<serde_json::Result<Order>>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    worker_gone: bool,
}

impl EventSource {
    /// Registers for signals: from now on none is missed.
    pub(super) fn new() -> io::Result<Self> {
        let children = pipe(&[SIGCHLD])?;
        let signals = pipe(&[SIGTERM])?;
        // Meant for the worker, which decides what they mean for its attempts. Handled, not ignored:
        // an agent would inherit that.
        let _unheard = pipe(&[SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2])?;
        let (orders, partial) = (VecDeque::new(), Vec::new());
        Ok(Self { children, signals, _unheard, asked: false, orders, partial, worker_gone: false })
    }

    /// Returns the next order that came, from the worker or by a signal.
    pub(super) fn order(&mut self) -> Option<serde_json::Result<Order>> {
        self.orders.pop_front()
    }

    /// Tells whether the worker is gone, so that no orders will come.
    pub(super) fn worker_gone(&self) -> bool {
        self.worker_gone
    }

    /// Tells whether nobody has asked for an end, or for anything that is not done yet.
    pub(super) fn is_quiet(&self) -> bool {
        !self.worker_gone && !self.asked && self.orders.is_empty() && self.partial.is_empty()
    }

    /// Waits until something happens, or for this long. May return without a reason.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![PollFd::new(&self.children, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        if !self.worker_gone {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drain(&self.children);
        if ready.get(2) == Some(&true) {
            self.read_orders();
        }
        // Queued behind the worker's orders: an attempt that was ordered first starts, and so has an end that is told.
        for _ in 0..drain(&self.signals) {
            let stop = if std::mem::replace(&mut self.asked, true) { Stop::Now } else { Stop::Gently };
            self.orders.push_back(Ok(Order::Stop(stop)));
        }
        Ok(())
    }

    fn read_orders(&mut self) {
        let mut buffer = [0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => self.worker_gone = true,
            Ok(count) => self.partial.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Whatever is wrong with the pipe, nobody can give orders through it.
            Err(_) => self.worker_gone = true,
        }
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.orders.push_back(serde_json::from_slice(&line));
        }
    }
}

/// Opens a pipe into which these signals write, and returns its reading end.
fn pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Takes what is waiting and returns how many bytes that were.
fn drain(mut from: &UnixStream) -> usize {
    let mut buffer = [0; 64];
    let mut total = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        total += count;
    }
    total
}
