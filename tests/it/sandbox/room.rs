//! A home with a project, secrets and a worker in it, all of an ordinary user's, and tries that are made from within.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

/// Somebody whom no file of the system belongs to.
const NOBODY: u32 = 65_534;

/// Something that is tried, and how it must end: with a namespace, and with Landlock and seccomp alone. Each is a list of
/// words of which one must be said, parted by `|`; with nothing it must work.
pub(crate) type Try = (&'static str, &'static str, &'static str);

/// The program that makes the tries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Agent,
    Gate,
    Setup,
    Teardown,
    /// Our own git, in the repository of an agent's.
    Git,
}

/// The means that confine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Namespace,
    Landlock,
}

impl Mode {
    /// Those that this machine has.
    pub(crate) fn all() -> Vec<Self> {
        let has = as_user(Path::new("unshare")).args(["-Urm", "true"]).status().is_ok_and(|status| status.success());
        if !has {
            eprintln!("this machine lets nobody make namespaces: tried with Landlock and seccomp alone");
        }
        [Self::Namespace].into_iter().filter(|_| has).chain([Self::Landlock]).collect()
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Namespace => "auto",
            Self::Landlock => "landlock",
        }
    }
}

/// Makes a command of an ordinary user's, also where the tests run as root.
pub(crate) fn as_user(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        let who = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
        command.args(who).arg(program);
        return command;
    }
    Command::new(program)
}

pub(crate) struct Room {
    dir: tempfile::TempDir,
    _sockets: Vec<UnixListener>,
    /// More of the configuration.
    pub(crate) more: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        // Not below `/tmp`, which an agent has one of its own of.
        let dir = tempfile::Builder::new().prefix("room-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let room = Self { dir, _sockets: Vec::new(), more: String::new() };
        for name in ["bin", "tries", "home/.ssh", "home/.config/systemd/user", "home/bin", "home/.config/gh"] {
            fs::create_dir_all(room.at(name)).expect("made");
        }
        for name in ["p/.oodatcaa/work", "p/.oodatcaa/prompts", "p/.agent-daemon-run"] {
            fs::create_dir_all(room.at(name)).expect("made");
        }
        for (name, text) in [
            ("home/.ssh/id_ed25519", "a secret key\n"),
            ("home/.netrc", "a secret word\n"),
            ("home/.config/gh/hosts.yml", "a secret token\n"),
            ("home/.bashrc", "true\n"),
            ("home/.gitconfig", "[user]\nname = me\nemail = me@invalid\n"),
            ("home/bin/git", "#!/bin/sh\n"),
            ("p/.gitignore", "/.oodatcaa/\n/.leases/\n/.locks/\n/.agent-daemon-*\n"),
            ("p/README.md", "hello\n"),
            ("p/.oodatcaa/prompts/builder.md", "{{ facts }}\n"),
        ] {
            fs::write(room.at(name), text).expect("written");
        }
        for (name, from) in
            [("agent-daemon", env!("CARGO_BIN_EXE_agent-daemon")), ("agentctl", env!("CARGO_BIN_EXE_agentctl"))]
        {
            // Where others may go: the directory of the build may be nobody's business.
            if fs::hard_link(from, room.at("bin").join(name)).is_err() {
                fs::copy(from, room.at("bin").join(name)).expect("copied");
            }
        }
        if rustix::process::geteuid().is_root() {
            let owner = format!("{NOBODY}:{NOBODY}");
            let changed = Command::new("chown").args(["-R", &owner]).args([room.at("home"), room.at("p")]).status();
            assert!(changed.expect("chown is there").success());
        }
        for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
            room.git(args);
        }
        room
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.at("p")
    }

    /// Plants a socket that everybody may connect to; it answers nobody.
    pub(crate) fn listens(&mut self, at: &Path) {
        let socket = UnixListener::bind(at).expect("bound");
        fs::set_permissions(at, fs::Permissions::from_mode(0o777)).expect("ours");
        self._sockets.push(socket);
    }

    /// A command of the user's in the project, with a short environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let own = self.at("bin").join(program);
        let mut command = as_user(if own.exists() { &own } else { Path::new(program) });
        command
            .current_dir(self.project())
            .env_clear()
            .env("PATH", self.path())
            .env("HOME", self.at("home"))
            .env("USER", "nobody")
            .env("LANG", "C.UTF-8")
            .env("OODATCAA_TRUST_PROJECT", "1")
            .stdin(Stdio::null());
        command
    }

    fn path(&self) -> std::ffi::OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tools = Some(self.at("tools")).filter(|dir| dir.is_dir());
        std::env::join_paths(tools.into_iter().chain(std::env::split_paths(&path))).expect("a PATH")
    }

    /// Puts a script in the place of the program by which git reads another repository. What it says goes to a file, by
    /// a descriptor that it has from before it is confined.
    fn reads_by(&self, script: &Path, said: &Path) {
        let told = |args: &[&str]| Command::new("sh").args(args).output().expect("sh").stdout;
        let line = |args: &[&str]| String::from_utf8(told(args)).expect("a path").trim().to_owned();
        let (git, programs) = (line(&["-c", "command -v git"]), line(&["-c", "git --exec-path"]));
        let (tools, own) = (self.at("tools"), self.at("programs"));
        fs::create_dir_all(&own).expect("made");
        for program in fs::read_dir(&programs).expect("listed").flatten() {
            let _ = std::os::unix::fs::symlink(program.path(), own.join(program.file_name()));
        }
        fs::create_dir_all(&tools).expect("made");
        let put = |at: &Path, body: String| {
            let _ = fs::remove_file(at);
            fs::write(at, format!("#!/bin/sh\n{body}\n")).expect("written");
            fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("executable");
        };
        put(&tools.join("git"), format!("exec '{git}' --exec-path='{}' \"$@\"", own.display()));
        put(&own.join("env"), format!("exec 2>> '{}'; exec /usr/bin/env \"$@\"", said.display()));
        let body = format!("sh '{}' >&2; exec '{programs}/git-upload-pack' \"$@\"", script.display());
        put(&own.join("git-upload-pack"), body);
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.command("git").args(args).output().expect("git");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Writes the configuration, in which these commands are the agent, the gate, `setup` and `teardown`.
    pub(crate) fn config(&self, mode: &str, runs: &BTreeMap<&str, String>) {
        let of = |who: &str| runs.get(who).cloned().unwrap_or_else(|| "true".into());
        // A literal text of TOML, and a shell's own quotes inside of it.
        let argv = |who: &str| format!("['sh', '-c', '''{}''']", of(who));
        let text = format!(
            "fleet.agent = \"mine\"\nfleet.grace = \"500ms\"\nretry.backoff = \"50ms\"\n\
             [agents.mine]\nargv = {}\nprompt = \"stdin\"\n\
             [roles.builder]\ngates = [\"g\"]\n[gates.g]\nargv = {}\n\
             [workspace]\nsetup = {}\nteardown = {}\n[sandbox]\nmode = \"{mode}\"\n{}",
            argv("agent"),
            argv("gate"),
            argv("setup"),
            argv("teardown"),
            self.more
        );
        fs::write(self.at("p/.oodatcaa/config.toml"), text).expect("written");
    }

    /// Writes a queue of one task that is ready.
    pub(crate) fn queue(&self, id: &str) {
        self.queue_of(id, "ready");
    }

    /// Writes a queue of one task.
    pub(crate) fn queue_of(&self, id: &str, status: &str) {
        let task = json!({"id": id, "title": "make it", "type": "Build", "status": status});
        let limits = json!({"planner": 1, "builder": 1, "tester": 1, "refiner": 1, "integrator": 1});
        let queue = json!({"sprint": 1, "wip_limits": limits, "tasks": [task]});
        let file = self.queue_file();
        fs::write(&file, queue.to_string()).expect("written");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(NOBODY), Some(NOBODY)).expect("ours");
        }
    }

    pub(crate) fn queue_file(&self) -> PathBuf {
        self.at("p/.oodatcaa/work/SPRINT_QUEUE.json")
    }

    pub(crate) fn task(&self) -> Value {
        let queue: Value = serde_json::from_slice(&fs::read(self.queue_file()).expect("there")).expect("JSON");
        queue["tasks"][0].clone()
    }

    /// The events of a kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.at("p/.oodatcaa/work/events.jsonl")).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|event| event["type"] == format!("oodatcaa.{kind}.v1")).collect()
    }

    pub(crate) fn once(&self) -> Output {
        self.once_as("builder")
    }

    pub(crate) fn once_as(&self, role: &str) -> Output {
        self.command("agent-daemon").args(["--role", role, "--once"]).output().expect("it runs")
    }

    /// The directory of the only attempt on a task.
    pub(crate) fn run_dir(&self, id: &str) -> PathBuf {
        let runs = self.at("p/.oodatcaa/runs").join(id);
        let mut found: Vec<PathBuf> =
            fs::read_dir(&runs).expect("runs").map(|one| one.expect("listed").path()).collect();
        found.sort();
        found.pop().expect("an attempt")
    }

    /// Has the tries made in a real attempt, and checks how each ended.
    #[track_caller]
    pub(crate) fn tries(&self, who: From, mode: Mode, tries: &[Try]) {
        let runner = self.write_tries(tries);
        let by_git = self.at("home/by-git");
        if who == From::Git {
            let _ = fs::remove_file(&by_git);
            self.reads_by(&runner, &by_git);
        }
        let id = format!("{mode:?}-{}", who as u8);
        let runner = format!("exec sh {}", runner.display());
        // A builder has to change something.
        let made = "echo made > made.txt";
        let mut runs = BTreeMap::from([("agent", made.to_owned())]);
        match who {
            From::Agent => runs.insert("agent", format!("{made}; {runner}")),
            From::Gate => runs.insert("gate", runner),
            From::Setup => runs.insert("setup", runner),
            From::Teardown => runs.insert("teardown", runner),
            From::Git => runs.insert("agent", format!("{made}; git add -A; git commit -qm made")),
        };
        self.config(mode.word(), &runs);
        self.queue(&id);
        let output = self.once();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(self.task()["status"], "awaiting_test", "{mode:?}: {}: {log}", self.task());
        let run = self.run_dir(&id);
        let said = match who {
            From::Agent => run.join("stdout.log"),
            From::Gate => run.join("gate-g.log"),
            From::Setup => run.join("hooks/setup/output.log"),
            From::Git => by_git,
            From::Teardown => {
                let removed = self
                    .command("agentctl")
                    .args(["worktree", "rm", &id, "--force", "--yes"])
                    .output()
                    .expect("it runs");
                assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
                let state = self.at("home/.local/state/oodatcaa");
                let project =
                    fs::read_dir(state).expect("listed").flatten().find(|one| one.path().join("teardown").is_dir());
                project.expect("a state").path().join("teardown").join(&id).join("output.log")
            }
        };
        let said = fs::read_to_string(&said).unwrap_or_else(|error| panic!("{}: {error}; {log}", said.display()));
        let wrong: Vec<String> = tries
            .iter()
            .enumerate()
            .filter_map(|(n, (script, with, without))| {
                let expected = if mode == Mode::Namespace { with } else { without };
                let told = told(&said, n)?;
                let met = match told.0 {
                    0 => expected.is_empty(),
                    _ => !expected.is_empty() && expected.split('|').any(|words| told.1.contains(words)),
                };
                (!met).then(|| format!("{script}: ended with {}: {:?}; expected {expected:?}", told.0, told.1))
            })
            .collect();
        assert!(wrong.is_empty(), "{mode:?}:\n{}", wrong.join("\n"));
        let made = (0..tries.len()).filter(|n| told(&said, *n).is_some()).count();
        assert_eq!(made, tries.len(), "{mode:?}: not all were tried: {said}");
    }

    /// Writes a script that makes the tries and says how each ended.
    fn write_tries(&self, tries: &[Try]) -> PathBuf {
        let mut all = format!(
            "export ROOM={} P={} Q={}\n\
             up() {{ sed -n 's/^PPid:[^0-9]*//p' \"/proc/$1/status\"; }}\n\
             export SHIM=$(up $$)\nexport WORKER=$(up $SHIM)\n\
             grep -q agent-daemon /proc/$WORKER/comm || WORKER=$SHIM\n\
             up=$$; while ! grep -q agent-daemon /proc/$WORKER/comm && [ \"$up\" -gt 1 ]; do up=$(up $up); WORKER=$up; done\n",
            self.dir.path().display(),
            self.project().display(),
            self.queue_file().display()
        );
        for (n, (script, ..)) in tries.iter().enumerate() {
            let path = self.at("tries").join(n.to_string());
            fs::write(&path, script).expect("written");
            all += &format!("said=$(timeout 20 sh {} 2>&1); echo \"@@ {n} $?\"; echo \"$said\"\n", path.display());
        }
        let path = self.at("tries/all.sh");
        fs::write(&path, all + "exit 0\n").expect("written");
        path
    }
}

/// Returns how the try of this number ended, and what it said.
fn told(said: &str, n: usize) -> Option<(i32, String)> {
    let (_, after) = said.split_once(&format!("@@ {n} "))?;
    let (code, rest) = after.split_once('\n')?;
    let words = rest.split("@@ ").next().unwrap_or_default();
    Some((code.trim().parse().ok()?, words.trim().to_owned()))
}
