//! A network of its own in which nothing answers but a proxy: the program's only way out is what that lets pass.
//!
//! The helper that becomes the program listens in the new network, at the proxy's own address, and hands the listening
//! socket to the shim, which stays in the machine's network: whoever connects in there is connected to the proxy out
//! here. Sockets go between the two over the helper's standard input, which is the only one that a program may know by
//! its number; what the program is to read from there comes the same way.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

use super::Failed;

/// Connections at one time; what comes on top is closed at once.
const MOST: usize = 128;

/// The time that the proxy may take to be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands a file or socket to the other end.
fn send(through: BorrowedFd<'_>, what: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let what = [what];
    if !message.push(SendAncillaryMessage::ScmRights(&what)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(through, &[IoSlice::new(b"x")], &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes a file or socket from the other end; an end of file where that is gone.
fn receive(through: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    recvmsg(through, &mut [IoSliceMut::new(&mut [0])], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let handed = message.drain().find_map(|one| match one {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    handed.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The program's standard input, while that leads to the shim.
pub(super) struct Input(OwnedFd);

impl Input {
    /// Takes it from the shim, before anything is taken from this process.
    pub(super) fn take() -> Result<Self, Failed> {
        let failed = Failed::to("hear of whoever keeps the proxy (only an attempt's shim does)");
        receive(rustix::stdio::stdin()).map(Self).map_err(failed)
    }

    /// Listens in the network of its own, hands that to the shim, and puts the input in its place.
    pub(super) fn listen(self, at: SocketAddr) -> Result<(), Failed> {
        let listener = TcpListener::bind(at).map_err(Failed::to(format!("listen at {at}, the proxy's address")))?;
        send(rustix::stdio::stdin(), listener.as_fd()).map_err(Failed::to("hand the proxy's address to the shim"))?;
        rustix::stdio::dup2_stdin(&self.0).map_err(Failed::to("give the program its input"))
    }
}

/// The shim's half: connections from in there go to the proxy, until this is dropped.
pub(crate) struct Gateway {
    /// Its end says that it is over.
    over: OwnedFd,
    open: Connections,
    thread: Option<thread::JoinHandle<()>>,
}

/// The connections that are open, so that they can be closed.
type Connections = Arc<Mutex<Vec<TcpStream>>>;

impl Gateway {
    /// Makes the standard input of the helper, which is given `input` through it, and waits for what it will hand back.
    pub(crate) fn new(proxy: SocketAddr, input: Option<File>) -> io::Result<(Self, OwnedFd)> {
        let pair = || socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let ((ours, theirs), (over, told)) = (pair()?, pair()?);
        // A pipe into which nobody writes is at its end.
        let input: OwnedFd = input.map_or_else(|| io::pipe().map(|(reads, _)| reads.into()), |file| Ok(file.into()))?;
        send(ours.as_fd(), input.as_fd())?;
        let open = Connections::default();
        let all = Arc::clone(&open);
        let thread = thread::Builder::new().name("gateway".into()).spawn(move || {
            if wait(ours.as_fd(), told.as_fd())
                && let Ok(listener) = receive(ours.as_fd())
            {
                drop(ours);
                serve(&TcpListener::from(listener), told.as_fd(), proxy, &all);
            }
        })?;
        Ok((Self { over, open, thread: Some(thread) }, theirs))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.over, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for one in locked(&self.open).drain(..) {
            let _ = one.shutdown(Shutdown::Both);
        }
    }
}

fn locked(open: &Connections) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something to be read; `false` when it is over.
fn wait(on: BorrowedFd<'_>, over: BorrowedFd<'_>) -> bool {
    loop {
        let mut both = [PollFd::from_borrowed_fd(on, PollFlags::IN), PollFd::from_borrowed_fd(over, PollFlags::IN)];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) if !both[1].revents().is_empty() => return false,
            Ok(_) => return true,
        }
    }
}

/// Takes on connections, a bounded number of them.
fn serve(listener: &TcpListener, over: BorrowedFd<'_>, proxy: SocketAddr, open: &Connections) {
    let count = Arc::new(AtomicUsize::new(0));
    // Whoever gives up between the poll and the accept must not hold us.
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    while wait(listener.as_fd(), over) {
        let Ok((inner, _)) = listener.accept() else { continue };
        if count.load(Ordering::Acquire) >= MOST || inner.set_nonblocking(false).is_err() {
            continue;
        }
        let Ok(known) = inner.try_clone() else { continue };
        let mut all = locked(open);
        // Those that are over are no longer connected to anybody.
        all.retain(|one| one.peer_addr().is_ok());
        all.push(known);
        drop(all);
        count.fetch_add(1, Ordering::AcqRel);
        let counted = Arc::clone(&count);
        let connected = thread::Builder::new().name("gateway".into()).spawn(move || {
            if let Ok(outer) = TcpStream::connect_timeout(&proxy, PATIENCE) {
                join(&inner, &outer);
            }
            let _ = inner.shutdown(Shutdown::Both);
            counted.fetch_sub(1, Ordering::AcqRel);
        });
        if connected.is_err() {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Carries what each end says to the other, until both have ended.
fn join(inner: &TcpStream, outer: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| carry(inner, outer));
        carry(outer, inner);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer)
        && n > 0
        && to.write_all(&buffer[..n]).is_ok()
    {}
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
