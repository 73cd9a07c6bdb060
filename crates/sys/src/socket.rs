//! A local socket on which a process of ours answers others of the same user: one line asked, one line answered.
//!
//! It is bound and reached through its opened directory, so that a project's path may be longer than the 107 bytes of
//! a socket's. Whoever serves a name holds something else that says so, a pid file; a socket that nobody answers on is
//! one that a killed process left, and gives way.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fd::AsRawFd as _,
    fs::{AtFlags, Mode, chmodat},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout, socket_peercred},
    },
};

use super::files;

/// The longest question, in bytes.
const QUESTION: usize = 64 << 10;

/// The longest answer, in bytes.
const ANSWER: usize = 4 << 20;

/// The time that whoever asks may take to do so.
const ASKING: Duration = Duration::from_secs(2);

/// The time after which whoever asked is let go without an answer.
const ANSWERING: Duration = Duration::from_secs(30);

/// Questions at once; more wait to be accepted.
const AT_ONCE: usize = 16;

/// A question, and the way back.
#[derive(Debug)]
pub struct Call {
    /// The line, without its end.
    pub line: String,
    /// The process that asks, where the system says so.
    pub pid: u32,
    reply: mpsc::SyncSender<String>,
}

impl Call {
    /// Answers with one line. Nobody may be there any more, which is no trouble.
    pub fn answer(self, line: String) {
        let _ = self.reply.try_send(line);
    }
}

/// A socket that is served; dropping it removes its file.
#[derive(Debug)]
pub struct Served {
    root: PathBuf,
    path: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = files::remove(&self.root, &self.path);
    }
}

/// Serves a socket below `root` on a thread of its own: each question is handed to `hear`, which returns at once. Fails
/// where another process answers on it.
pub fn serve(root: &Path, path: &Path, hear: impl Fn(Call) + Send + Sync + 'static) -> io::Result<Served> {
    let dir = path.parent().unwrap_or(root);
    files::make_dir(root, dir)?;
    files::close(root, dir)?;
    let place = Place::open(path)?;
    if place.connect(ASKING).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it"));
    }
    files::remove(root, path)?;
    let listener = UnixListener::bind(place.path())?;
    chmodat(&place.dir, &place.name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    let served = Served { root: root.into(), path: path.into() };
    let (hear, busy) = (Arc::new(hear), Arc::new(AtomicUsize::new(0)));
    thread::Builder::new().name("socket".into()).stack_size(STACK).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, for instance; without a pause this would keep a core busy.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if busy.fetch_add(1, Ordering::AcqRel) >= AT_ONCE {
                busy.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (hear, done) = (Arc::clone(&hear), Arc::clone(&busy));
            let handled = thread::Builder::new().name("asked".into()).stack_size(STACK).spawn(move || {
                // Who asks and goes, or takes too long, gets no answer.
                let _ = handle(stream, &*hear);
                done.fetch_sub(1, Ordering::AcqRel);
            });
            if handled.is_err() {
                busy.fetch_sub(1, Ordering::AcqRel);
            }
        }
    })?;
    Ok(served)
}

/// The stack of a thread that only passes lines on.
const STACK: usize = 128 << 10;

fn handle(mut stream: UnixStream, hear: &dyn Fn(Call)) -> io::Result<()> {
    let peer = socket_peercred(&stream)?;
    if peer.uid != rustix::process::geteuid() {
        return Ok(());
    }
    let line = read_line(&stream, QUESTION, Instant::now() + ASKING)?;
    let (reply, answered) = mpsc::sync_channel(1);
    hear(Call { line, pid: peer.pid.as_raw_nonzero().get().unsigned_abs(), reply });
    if let Ok(line) = answered.recv_timeout(ANSWERING) {
        stream.set_write_timeout(Some(ASKING))?;
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\n")?;
    }
    Ok(())
}

/// Asks whoever serves a socket, and returns the answer's line. Fails with `NotFound` or `ConnectionRefused` where
/// nobody does, with `TimedOut` where no answer came in time, with `UnexpectedEof` where none was given.
pub fn ask(path: &Path, line: &str, within: Duration) -> io::Result<String> {
    let deadline = Instant::now() + within;
    let mut stream = Place::open(path)?.connect(within)?;
    stream.set_write_timeout(Some(within))?;
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
    read_line(&stream, ANSWER, deadline)
}

/// A socket's name in its opened directory.
struct Place {
    dir: File,
    name: PathBuf,
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        let dir = files::named::place(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Self { dir, name: path.file_name().unwrap_or(OsStr::new("socket")).into() })
    }

    /// Returns a short path that leads there as long as this is open.
    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.dir.as_raw_fd().to_string()).join(&self.name)
    }

    /// Connects; a server that takes nobody in is not waited for longer.
    fn connect(&self, within: Duration) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(self.path())?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(within))?;
        rustix::net::connect(&socket, &address)?;
        Ok(socket.into())
    }
}

/// Reads up to the end of a line, of at most so many bytes.
fn read_line(mut stream: &UnixStream, most: usize, deadline: Instant) -> io::Result<String> {
    let (mut line, mut bytes) = (Vec::new(), [0_u8; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => line.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if line.len() > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn echo(root: &Path, path: &Path) -> Served {
        serve(root, path, |call| {
            let line = format!("{} {}", call.line, call.pid);
            call.answer(line);
        })
        .expect("served")
    }

    #[test]
    fn who_asks_gets_the_answer_also_where_the_path_is_longer_than_a_sockets() {
        let root = tempfile::tempdir().expect("a directory");
        let deep = root.path().join("d".repeat(150)).join("e".repeat(150));
        fs::create_dir_all(&deep).expect("made");
        for dir in [root.path(), deep.as_path()] {
            let path = dir.join(".run/builder.sock");
            let served = echo(dir, &path);
            assert_eq!(ask(&path, "hello", SOON).expect("answered"), format!("hello {}", std::process::id()));
            let mode = |path: &Path| path.symlink_metadata().expect("there").permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
            drop(served);
            assert!(!path.exists());
            assert_eq!(ask(&path, "hello", SOON).expect_err("gone").kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn many_ask_at_once_and_each_gets_its_own_answer() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(".run/a.sock");
        let _served = echo(root.path(), &path);
        thread::scope(|scope| {
            for n in 0..AT_ONCE {
                let path = &path;
                scope.spawn(move || {
                    let answered = ask(path, &n.to_string(), SOON).expect("answered");
                    assert_eq!(answered, format!("{n} {}", std::process::id()));
                });
            }
        });
    }

    #[test]
    fn whoever_does_not_answer_is_not_waited_for() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(".run/a.sock");
        let (keep, kept) = mpsc::channel();
        let _served = serve(root.path(), &path, move |call| keep.send(call).expect("kept")).expect("served");
        let error = ask(&path, "hello", Duration::from_millis(50)).expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(kept);
    }

    #[test]
    fn a_socket_that_a_killed_process_left_gives_way_and_a_served_one_does_not() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(".run/a.sock");
        fs::create_dir(root.path().join(".run")).expect("made");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "left behind");
        assert_eq!(ask(&path, "hello", SOON).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
        let _served = echo(root.path(), &path);
        let second = serve(root.path(), &path, |_| {}).expect_err("taken");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(ask(&path, "hello", SOON).is_ok(), "the first one still answers");
    }

    #[test]
    fn a_question_without_end_is_given_up() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(".run/a.sock");
        let _served = echo(root.path(), &path);
        let mut stream = Place::open(&path).expect("there").connect(SOON).expect("connected");
        let written = (0..).find(|_| stream.write_all(&[b'x'; 4096]).is_err()).expect("it ends");
        assert!(written * 4096 < 4 << 20, "{written}");
        assert!(ask(&path, "hello", SOON).is_ok(), "others are served");
    }

    #[test]
    fn a_link_in_the_place_of_its_directory_is_not_followed() {
        let root = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(other.path(), root.path().join(".run")).expect("linked");
        let path = root.path().join(".run/a.sock");
        assert!(serve(root.path(), &path, |_| {}).is_err());
        assert!(ask(&path, "hello", SOON).is_err());
        assert_eq!(fs::read_dir(other.path()).expect("a directory").count(), 0);
    }
}
