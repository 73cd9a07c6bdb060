//! Others that start programs from a queue, asked in the same run: what they are told is their own way of being told.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    dispatch::Rig,
    support::{Running, monotonic, read_stamp, wait},
    table::Table,
};

/// A program of a peer: below target/peers, or on `PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let own = [root.join("usr/bin").join(name), root.join("bin").join(name)];
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter().chain(std::env::split_paths(&path).map(|dir| dir.join(name))).find(|file| file.is_file())
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("oodatcaa-peer-").tempdir().expect("a directory")
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// One queue that takes a command line.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    dir: tempfile::TempDir,
    kind: Kind,
    _server: Option<Running>,
}

enum Kind {
    Tsp(PathBuf),
    Nq(PathBuf),
    Pueue(PathBuf, PathBuf),
    Beanstalk(TcpStream, mpsc::Receiver<()>),
}

/// All that are there, with so many slots each.
pub(crate) fn all(slots: usize, table: &mut Table) -> Vec<Peer> {
    let mut peers = Vec::new();
    let mut take = |name: &'static str, peer: Option<Peer>| match peer {
        Some(peer) => peers.push(peer),
        None => table.note(format!("{name}: absent, skipped (scripts/install-bench-peers.sh)")),
    };
    take("task-spooler", Peer::tsp(slots));
    // It has one slot a queue.
    if slots == 1 {
        take("nq", Peer::nq());
    }
    take("beanstalkd + consumer, binlog fsynced", Peer::beanstalk(slots));
    take("pueue 4", Peer::pueue(slots));
    peers
}

impl Peer {
    fn of(name: &'static str, dir: tempfile::TempDir, kind: Kind, server: Option<Running>) -> Option<Self> {
        Some(Self { name, dir, kind, _server: server })
    }

    fn tsp(slots: usize) -> Option<Self> {
        let (tsp, dir) = (program("tsp")?, directory());
        let peer = Self::of("task-spooler", dir, Kind::Tsp(tsp), None)?;
        peer.client()?.args(["-S", &slots.to_string()]).status().ok()?.success().then_some(peer)
    }

    fn nq() -> Option<Self> {
        Self::of("nq", directory(), Kind::Nq(program("nq")?), None)
    }

    fn pueue(slots: usize) -> Option<Self> {
        let (client, server, dir) = (program("pueue")?, program("pueued")?, directory());
        let config = format!(
            "shared:\n  pueue_directory: {0}\n  runtime_directory: {0}\n  use_unix_socket: true\n  unix_socket_path: {0}/socket\nclient: {{}}\ndaemon: {{}}\n",
            dir.path().display()
        );
        fs::write(dir.path().join("pueue.yml"), config).ok()?;
        let config = dir.path().join("pueue.yml");
        let server = Running(quiet(&server).arg("-c").arg(&config).spawn().ok()?);
        let socket = dir.path().join("socket");
        wait(|| socket.exists());
        let peer = Self::of("pueue 4", dir, Kind::Pueue(client, config), Some(server))?;
        peer.client()?.args(["parallel", &slots.to_string()]).status().ok()?.success().then_some(peer)
    }

    fn beanstalk(slots: usize) -> Option<Self> {
        let (server, dir) = (program("beanstalkd")?, directory());
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let mut command = quiet(&server);
        command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-f", "0", "-b"]).arg(dir.path());
        let server = Running(command.spawn().ok()?);
        let connect = || {
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                match TcpStream::connect(("127.0.0.1", port)) {
                    Ok(stream) => return stream.set_nodelay(true).map(|()| stream).ok(),
                    Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                    Err(_) => return None,
                }
            }
        };
        let (done, ended) = mpsc::channel();
        for _ in 0..slots {
            let (stream, done) = (connect()?, done.clone());
            std::thread::spawn(move || consume(stream, &done));
        }
        Self::of("beanstalkd + consumer, binlog fsynced", dir, Kind::Beanstalk(connect()?, ended), Some(server))
    }

    fn client(&self) -> Option<Command> {
        Some(match &self.kind {
            Kind::Tsp(program) => {
                let mut command = quiet(program);
                command.env("TS_SOCKET", self.dir.path().join("socket")).env("TMPDIR", self.dir.path());
                command
            }
            Kind::Nq(program) => {
                let mut command = quiet(program);
                command.env("NQDIR", self.dir.path());
                command
            }
            Kind::Pueue(program, config) => {
                let mut command = quiet(program);
                command.arg("-c").arg(config);
                command
            }
            Kind::Beanstalk(..) => return None,
        })
    }

    /// Tells it to run a program.
    pub(crate) fn add(&mut self, argv: &[&str]) {
        if let Kind::Beanstalk(stream, _) = &mut self.kind {
            let body = argv.join(" ");
            write!(stream, "put 0 0 60 {}\r\n{body}\r\n", body.len()).expect("put");
            let mut line = String::new();
            BufReader::new(&*stream).read_line(&mut line).expect("an answer");
            assert!(line.starts_with("INSERTED"), "{line}");
            return;
        }
        let mut command = self.client().expect("all others have a client");
        if matches!(self.kind, Kind::Pueue(..)) {
            command.args(["add", "--"]);
        }
        assert!(command.args(argv).status().expect("the client runs").success());
    }

    /// Waits until everything has run.
    pub(crate) fn finish(&mut self, count: usize) {
        match &self.kind {
            // It answers for the last one, which with several slots is only nearly the end.
            Kind::Tsp(_) => drop(self.client().expect("a client").arg("-w").status()),
            Kind::Nq(_) => drop(self.client().expect("a client").arg("-w").status()),
            Kind::Pueue(..) => drop(self.client().expect("a client").args(["wait", "--quiet"]).status()),
            Kind::Beanstalk(_, ended) => {
                (0..count).for_each(|_| ended.recv_timeout(Duration::from_secs(60)).expect("it ends"));
            }
        }
    }
}

/// Reserves, runs, deletes.
fn consume(stream: TcpStream, done: &mpsc::Sender<()>) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while writer.write_all(b"reserve\r\n").is_ok() {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let id = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let mut body = String::new();
        if reader.read_line(&mut body).unwrap_or(0) == 0 {
            return;
        }
        let mut words = body.split_whitespace();
        let _ = quiet(Path::new(words.next().unwrap_or("true"))).args(words).status();
        let deleted = write!(writer, "delete {id}\r\n").is_ok();
        line.clear();
        if !deleted || reader.read_line(&mut line).unwrap_or(0) == 0 || done.send(()).is_err() {
            return;
        }
    }
}

/// Everybody, ready to start the stamping program.
pub(crate) fn rigs(me: &str, table: &mut Table) -> Vec<(&'static str, Box<dyn Rig>)> {
    let rig = |peer: Peer| {
        let name = peer.name;
        (name, Box::new(Told { peer, me: me.to_owned(), out: directory() }) as Box<dyn Rig>)
    };
    let mut rigs: Vec<_> = all(1, table).into_iter().map(rig).collect();
    match program("python3").map(|python| Original::new(&python, me)) {
        Some(original) => rigs.push(("the original's algorithm, interval 1 s", Box::new(original))),
        None => table.note("the original's algorithm: no python3, skipped"),
    }
    rigs
}

struct Told {
    peer: Peer,
    me: String,
    out: tempfile::TempDir,
}

impl Rig for Told {
    fn round(&mut self, n: usize) -> u64 {
        let out = self.out.path().join(format!("stamp{n}"));
        let begun = monotonic();
        self.peer.add(&[&self.me, "--stamp", out.to_str().expect("text")]);
        wait(|| out.exists());
        self.peer.finish(1);
        read_stamp(&out) - begun
    }
}

/// The algorithm of the daemon that this one replaces: a poll, a lease file, the queue rewritten in place.
struct Original {
    dir: tempfile::TempDir,
    _daemon: Running,
}

impl Original {
    fn new(python: &Path, me: &str) -> Self {
        let dir = directory();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fleet/original.py");
        fs::write(dir.path().join("queue.json"), crate::support::tasks(0, 49, 0)).expect("a queue");
        let daemon = Running(quiet(python).arg(script).arg(dir.path()).arg(me).spawn().expect("python runs"));
        Self { dir, _daemon: daemon }
    }
}

impl Rig for Original {
    fn round(&mut self, n: usize) -> u64 {
        let (temp, queue) = (self.dir.path().join("new"), self.dir.path().join("queue.json"));
        let id = format!("N{n:05}");
        fs::write(&temp, crate::support::tasks(1, 49, 0).replace("R000000", &id)).expect("a queue");
        // Somewhere in its interval, as work comes.
        std::thread::sleep(Duration::from_millis((n as u64 * 137) % 1_000));
        let begun = monotonic();
        fs::rename(temp, queue).expect("a queue");
        let out = self.dir.path().join(format!("{id}.stamp"));
        wait(|| out.exists());
        read_stamp(&out) - begun
    }
}
