//! The daily work of agents inside a profile: cargo, npm and Python build and test projects that use threads,
//! processes, servers, terminals and files renamed over others.

use std::os::unix::fs::PermissionsExt as _;

use oodatcaa_process::confine::Profile;

use super::{
    confined::{Room, as_user, has_namespaces},
    *,
};

/// The places of caches and downloads, as attempts have it.
const CACHES: [(&str, &str); 4] =
    [("CARGO_HOME", "cargo"), ("PIP_CACHE_DIR", "pip"), ("XDG_CACHE_HOME", "xdg"), ("npm_config_cache", "npm")];

/// A project of a language, and the machine's tools for it.
struct Workshop {
    room: Room,
    tools: Vec<PathBuf>,
    namespace: bool,
}

impl Workshop {
    /// `None` where this machine has no such tools, or no namespaces where one is asked for. Who runs the tests works in
    /// it where an ordinary user does not reach the tools.
    fn new(tools: &[&str], namespace: bool, files: &[(&str, &str)]) -> Option<Self> {
        let found: Vec<PathBuf> = tools.iter().filter_map(|name| find(name)).collect();
        if found.len() < tools.len() || namespace && !has_namespaces() {
            return None;
        }
        let reached = |tool: &PathBuf| as_user(Path::new("test")).arg("-x").arg(tool).status().unwrap().success();
        let room = Room::of("/var/tmp", found.iter().all(reached));
        for (name, text) in files {
            let path = room.at("wt").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let worktree = room.at("wt");
        let mut given = Command::new("chown");
        given.arg("-R").arg(format!("--reference={}", worktree.display())).arg(&worktree);
        assert!(given.status().unwrap().success());
        let tools = found.iter().map(|tool| tool.parent().unwrap().to_owned()).collect();
        Some(Self { room, tools, namespace })
    }

    /// Runs a line of a shell in the project; it has to end well.
    #[track_caller]
    fn runs(&self, script: &str) -> String {
        let mut profile: Profile = self.room.profile(self.namespace);
        // Without a namespace it has no `/tmp` but its own.
        profile.write.extend((!self.namespace).then(|| self.room.at("tmp")));
        profile.shared.push("/dev/shm".into());
        profile.private.push((self.room.at("shm"), "/dev/shm".into()));
        let file = self.room.at("out/sandbox.json");
        fs::write(&file, serde_json::to_vec(&profile).unwrap()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let _ = fs::remove_file(&profile.report);
        let mut command = self.room.command(&file, &["sh", "-ec", script]);
        for (name, part) in CACHES {
            command.env(name, self.room.at("wt/.cache").join(part));
        }
        let path = self.tools.iter().map(|dir| dir.display().to_string());
        let path: Vec<String> = path.chain(["/usr/local/bin:/usr/bin:/bin".to_owned()]).collect();
        command.env("PATH", path.join(":"));
        // With a namespace `/tmp` is its own already.
        match self.namespace {
            true => command.env_remove("TMPDIR"),
            false => command.env("TMPDIR", self.room.at("tmp")),
        };
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(self.room.report().applied, "{:?}", self.room.report());
        assert!(output.status.success(), "namespace {}: {script}\n{said}", self.namespace);
        said
    }
}

/// Finds a program as it really is: behind what picks a version by settings in a home that the program does not have.
fn find(name: &str) -> Option<PathBuf> {
    let ask = |argv: &[&str]| -> Option<PathBuf> {
        let output = Command::new(argv[0]).args(&argv[1..]).output().ok()?;
        let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !line.is_empty()).then(|| line.into())
    };
    let found = match name {
        "cargo" => ask(&["rustc", "--print", "sysroot"])?.join("bin/cargo"),
        "python3" => ask(&["python3", "-c", "import sys; print(sys.executable)"])?,
        name => ask(&["sh", "-c", &format!("command -v {name}")])?,
    };
    found.exists().then_some(found)
}

/// Runs something with a namespace, and without.
fn both(tools: &[&str], files: &[(&str, &str)], run: impl Fn(&Workshop)) {
    for namespace in [true, false] {
        if let Some(shop) = Workshop::new(tools, namespace, files) {
            run(&shop);
        }
    }
}

/// A crate with a dependency beside it, a build script, and tests that use what the system has.
const CRATE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"made\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nbeside = { path = \"beside\" }\n",
    ),
    ("beside/Cargo.toml", "[package]\nname = \"beside\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("beside/src/lib.rs", "pub fn twice(n: u32) -> u32 { n * 2 }\n"),
    (
        "build.rs",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap(); std::fs::write(format!(\"{out}/made.rs\"), \"21\").unwrap(); }\n",
    ),
    ("src/main.rs", "fn main() { println!(\"{}\", made::answer()); }\n"),
    (
        "src/lib.rs",
        r#"
pub fn answer() -> u32 { beside::twice(include!(concat!(env!("OUT_DIR"), "/made.rs"))) }

#[cfg(test)]
mod tests {
    use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, process::Command, thread};

    #[test]
    fn a_server_of_its_own_is_reached() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        let served = thread::spawn(move || server.accept().unwrap().0.write_all(b"hello").unwrap());
        let mut words = String::new();
        TcpStream::connect(at).unwrap().read_to_string(&mut words).unwrap();
        served.join().unwrap();
        assert_eq!(words, "hello");
    }

    #[test]
    fn a_child_is_started_and_killed() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_file_is_renamed_over_another() {
        let dir = std::env::temp_dir().join(format!("made-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("a"), "new").unwrap();
        std::fs::write(dir.join("b"), "old").unwrap();
        std::fs::rename(dir.join("a"), dir.join("b")).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("b")).unwrap(), "new");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_unix_server_is_reached_with_a_namespace_and_refused_without() {
        use std::os::unix::net::{UnixListener, UnixStream};
        assert!(UnixStream::pair().is_ok());
        let made = UnixListener::bind(std::env::temp_dir().join(format!("made-{}.sock", std::process::id())));
        assert_eq!(made.is_ok(), std::env::var("TMPDIR").is_err(), "{made:?}");
    }
}
"#,
    ),
];

#[test]
fn a_crate_is_built_and_tested() {
    both(&["cargo", "cc"], CRATE, |shop| {
        shop.runs("cargo build --offline && cargo test --offline -q");
        assert!(shop.runs("cargo run --offline -q").contains("42"));
        shop.runs("git init -q . && git add -A . && git -c user.name=a -c user.email=a@b commit -qm one");
    });
}

/// A package without dependencies, whose test uses threads, children, pipes and servers.
const PACKAGE: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"name": "made", "version": "1.0.0", "scripts": {"build": "node build.js", "test": "node test.js"}}"#,
    ),
    (
        "build.js",
        "require('fs').writeFileSync('built.json.new', '{}'); require('fs').renameSync('built.json.new', 'built.json');\n",
    ),
    (
        "test.js",
        r#"
const { Worker } = require('worker_threads'), { execFileSync, fork } = require('child_process');
const net = require('net'), assert = require('assert'), os = require('os'), path = require('path');
require('fs').accessSync('built.json');
const thread = new Promise((ok, no) => { const w = new Worker("require('worker_threads').parentPort.postMessage(7)", { eval: true }); w.on('message', ok); w.on('error', no); });
const server = at => new Promise((ok, no) => { const s = net.createServer(c => c.end('hi')); s.on('error', no);
    s.listen(at, () => { const c = net.connect(at.path ? at : s.address().port); c.on('data', d => { s.close(); ok(String(d)); }); c.on('error', no); }); });
(async () => {
    assert.equal(await thread, 7);
    assert.equal(execFileSync('sh', ['-c', 'echo out; exit 0']).toString(), 'out\n');
    assert.equal(await server({ port: 0, host: '127.0.0.1' }), 'hi');
    const unix = await server({ path: path.join(os.tmpdir(), 'made-' + process.pid) }).catch(e => e.code);
    assert.equal(unix, process.env.TMPDIR ? 'EPERM' : 'hi');
    process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
"#,
    ),
];

#[test]
fn an_npm_package_is_built_and_tested() {
    both(&["npm", "node"], PACKAGE, |shop| {
        shop.runs("npm run build && npm test");
        assert!(shop.runs("npm pack --silent").contains("made-1.0.0.tgz"));
    });
}

/// Tests of a Python project, which unittest and pytest run both.
const TESTS: &str = r#"
import fcntl, multiprocessing, os, pty, socket, sqlite3, subprocess, sys, tempfile, threading, unittest
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

NAMESPACE = "TMPDIR" not in os.environ

def square(n):
    return n * n

class Works(unittest.TestCase):
    def test_a_pool_of_forks(self):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            self.assertEqual(pool.map(square, range(5)), [0, 1, 4, 9, 16])
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            self.assertEqual(list(pool.map(square, [3])), [9])

    @unittest.skipUnless(NAMESPACE, "its server is a unix socket")
    def test_a_fork_server_and_a_manager(self):
        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            self.assertEqual(pool.map(square, [3]), [9])
        with multiprocessing.Manager() as manager:
            self.assertEqual(list(manager.list([1])), [1])

    def test_memory_that_is_shared(self):
        block = shared_memory.SharedMemory(create=True, size=64)
        block.buf[0] = 7
        block.close()
        block.unlink()
        with multiprocessing.Lock(), multiprocessing.Semaphore(2):
            pass

    def test_a_terminal_of_its_own(self):
        master, slave = pty.openpty()
        os.write(slave, b"x")
        self.assertEqual(os.read(master, 1), b"x")
        pid, master = pty.fork()
        if pid == 0:
            os.execvp("sh", ["sh", "-c", "test -t 0 && echo a terminal"])
        self.assertIn(b"a terminal", os.read(master, 100))
        os.waitpid(pid, 0)

    def test_a_pipe_with_a_name_and_a_lock(self):
        with tempfile.TemporaryDirectory() as place:
            os.mkfifo(place + "/pipe")
            reader = threading.Thread(target=lambda: open(place + "/pipe").read())
            reader.start()
            with open(place + "/pipe", "w") as pipe:
                pipe.write("x")
            reader.join()
            with open(place + "/lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sqlite3.connect(place + "/base").execute("create table made (n)")

    def test_servers_of_its_own(self):
        for server in [socket.create_server(("127.0.0.1", 0))] + ([self.unix()] if NAMESPACE else []):
            with server, socket.socket(server.family) as client:
                client.connect(server.getsockname())
                server.accept()[0].sendall(b"hi")
                self.assertEqual(client.recv(2), b"hi")
        socket.socketpair()
        if not NAMESPACE:
            self.assertRaises(PermissionError, socket.socket, socket.AF_UNIX)

    def unix(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(tempfile.mkdtemp() + "/s")
        server.listen()
        return server

    def test_a_child_is_ended(self):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        child.terminate()
        self.assertLess(child.wait(), 0)

    def test_a_result_is_written_by_renaming(self):
        with open("result.json.new", "w") as file:
            file.write("{}")
        os.replace("result.json.new", "result.json")
"#;

const PYTHON: &[(&str, &str)] = &[("tests/__init__.py", ""), ("tests/test_made.py", TESTS)];

#[test]
fn a_python_project_is_tested() {
    both(&["python3"], PYTHON, |shop| {
        shop.runs("python3 -m unittest -v && test -f result.json");
        // A virtual environment is copies and links in the worktree.
        shop.runs("python3 -m venv --without-pip .venv && .venv/bin/python -m unittest");
    });
}

#[test]
fn where_pytest_is_installed_it_runs_a_projects_tests() {
    let pytest = Command::new("python3").args(["-m", "pytest", "--version"]).output();
    if pytest.is_ok_and(|output| output.status.success()) {
        both(&["python3"], PYTHON, |shop| {
            shop.runs("python3 -m pytest -q && test -f result.json");
        });
    }
}

/// A crate with a dependency of the registry.
const WITH_DEPENDENCY: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"made\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"1\"\n",
    ),
    ("src/lib.rs", "#[test]\nfn itoa_works() { assert_eq!(itoa::Buffer::new().format(7), \"7\"); }\n"),
];

#[test]
#[ignore = "make test-agents: it downloads"]
fn what_a_build_needs_is_downloaded_into_caches_of_its_own() {
    both(&["cargo", "cc"], WITH_DEPENDENCY, |shop| {
        shop.runs("cargo test -q && test -d .cache/cargo/registry");
    });
    let package = r#"{"name": "made", "version": "1.0.0", "scripts": {"test": "node -e \"require('ms')('2d')\""}}"#;
    both(&["npm", "node"], &[("package.json", package)], |shop| {
        shop.runs("npm install --no-audit --no-fund ms@2.1.3 && npm test && test -d .cache/npm");
    });
    both(&["python3"], PYTHON, |shop| {
        shop.runs("python3 -m venv .venv && .venv/bin/pip install -q pytest pytest-xdist");
        shop.runs(".venv/bin/pytest -q && .venv/bin/pytest -q -n 2 && test -f result.json");
    });
}
