//! Tries to do what a sandbox must not let it do. Runs in the sandbox, as our own program, and changes nothing that was
//! there before: what it makes it removes.

#![expect(clippy::disallowed_methods, reason = "it tries what it must not be able to do")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream},
        },
    },
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Resource};
use serde::{Deserialize, Serialize};

/// The argument that makes our program try what stands in a file.
pub const MODE: &str = "sandbox-try";

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    /// Makes a file, and removes it again.
    Create(PathBuf),
    /// Opens a file to append to it.
    Append(PathBuf),
    /// Empties a file.
    Truncate(PathBuf),
    /// Moves a file.
    Move(PathBuf, PathBuf),
    /// Gives a file a second name.
    Link(PathBuf, PathBuf),
    /// Changes the mode of a file to what it is.
    Mode(PathBuf),
    /// Changes the time of a file.
    Touch(PathBuf),
    /// Reads a byte of a file, or the names in a directory.
    Read(PathBuf),
    /// Makes a link to a file, and reads it through that.
    ReadByLink(PathBuf, PathBuf),
    /// Asks whether a process could be signalled.
    Signal(i32),
    /// Gives a process the priority that it has.
    Priority(i32),
    /// Gives a process the limits that it has.
    Limit(i32),
    /// Connects to a socket by its path.
    Connect(PathBuf),
    /// Connects to a socket without a path.
    ConnectAbstract(String),
    /// Connects to an address.
    Tcp(SocketAddr),
    /// Looks whether a socket could be connected to, and does not.
    See(PathBuf),
    /// Makes a server on the loopback, and connects to it.
    ServeTcp,
}

/// The answer of the system: nothing where it could be done.
pub(super) type Answer = Option<String>;

/// The longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads what to try, and prints what became of each.
pub fn main(file: Option<&std::ffi::OsStr>) -> ExitCode {
    let read = file.ok_or(io::ErrorKind::NotFound.into()).and_then(fs::read);
    let Ok(all) = read.and_then(|text| Ok(serde_json::from_slice::<Vec<Act>>(&text)?)) else {
        return ExitCode::from(64);
    };
    let answers: Vec<Answer> = all.iter().map(|act| attempt(act).err().map(|error| error.to_string())).collect();
    let text = serde_json::to_vec(&answers).expect("answers are JSON");
    match io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn attempt(act: &Act) -> io::Result<()> {
    let pid = |number: i32| Pid::from_raw(number).ok_or(io::ErrorKind::InvalidInput);
    match act {
        Act::Create(path) => {
            File::create_new(path)?;
            fs::remove_file(path)
        }
        Act::Append(path) => OpenOptions::new().append(true).open(path).map(drop),
        Act::Truncate(path) => {
            fs::metadata(path).and_then(|_| OpenOptions::new().write(true).truncate(true).open(path)).map(drop)
        }
        Act::Move(from, to) => fs::rename(from, to),
        Act::Link(from, to) => fs::hard_link(from, to),
        Act::Mode(path) => fs::metadata(path)
            .and_then(|found| fs::set_permissions(path, fs::Permissions::from_mode(found.permissions().mode()))),
        Act::Touch(path) => {
            let times = rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
                last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            };
            Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty())?)
        }
        Act::Read(path) => read(path),
        Act::ReadByLink(from, to) => {
            std::os::unix::fs::symlink(from, to)?;
            let answer = read(to);
            fs::remove_file(to)?;
            answer
        }
        Act::Signal(number) => Ok(rustix::process::test_kill_process(pid(*number)?)?),
        Act::Priority(number) => {
            let (process, now) = (pid(*number)?, rustix::process::getpriority_process(Some(pid(*number)?))?);
            Ok(rustix::process::setpriority_process(Some(process), now)?)
        }
        Act::Limit(number) => {
            let now = rustix::process::getrlimit(Resource::Core);
            Ok(rustix::process::prlimit(Some(pid(*number)?), Resource::Core, now).map(drop)?)
        }
        Act::Connect(path) => UnixStream::connect(path).map(drop),
        Act::ConnectAbstract(name) => UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?).map(drop),
        Act::Tcp(address) => TcpStream::connect_timeout(address, PATIENCE).map(drop),
        Act::See(path) => {
            UnixDatagram::unbound()?;
            if !fs::metadata(path)?.file_type().is_socket() {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
        }
        Act::ServeTcp => {
            let server = std::net::TcpListener::bind("127.0.0.1:0")?;
            TcpStream::connect_timeout(&server.local_addr()?, PATIENCE).map(drop)
        }
    }
}

fn read(path: &PathBuf) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        // A directory that is there and empty keeps everything that was in it.
        let first = fs::read_dir(path)?.next().transpose()?;
        return first.map(drop).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is empty here"));
    }
    File::open(path)?.read(&mut [0]).map(drop)
}

/// Returns the time now, for names of what is made.
pub(super) fn stamp() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis())
}
