//! Each program inside a profile as attempts have it, with a namespace and without one: it works, commits and writes
//! its result, with nothing but its slot, its worktree and its own directory; and a sandbox of its own that breaks
//! inside ours is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use oodatcaa_agent::{
    self as agent, Agent, Assignment,
    conform::{self, Verdict},
};
use oodatcaa_config::{AgentConfig, AgentKind, Sandbox};
use oodatcaa_core::{Class, Outcome, Role, Workflow};
use oodatcaa_process::{
    Attempt, Ended, Exit, Limits, Report,
    confine::{self, Guarantee, Profile},
};

use super::programs::{Program, home};
use crate::endpoint::{Endpoint, Script};

/// For a whole run on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What attempts ask for.
const USUAL: [Guarantee; 5] =
    [Guarantee::Files, Guarantee::Secrets, Guarantee::Environ, Guarantee::Processes, Guarantee::Sockets];

/// Becomes somebody who is nobody special.
const AS_USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Variables that would lead a program to another home than its description does.
const HOMES: [&str; 6] =
    ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"];

/// What the model says: a file by a tool, a commit, the result.
const SCRIPT: &str = r#"
[[rules]]
name = "work"
when = ["say hello"]
[[rules.steps]]
write = { path = "greeting.txt", text = "hello\n" }
[[rules.steps]]
run = "git add greeting.txt && git commit -qm 'feat: a greeting' && cat $HOME/.ssh/id && echo more >> $HOME/.ssh/id"
[[rules.steps]]
result = { outcome = "done", summary = "it says hello" }
"#;

/// A program, a place to work in, and a home with a secret in it.
struct Room {
    program: Program,
    path: PathBuf,
    endpoint: Endpoint,
    dir: tempfile::TempDir,
    namespace: bool,
}

impl Room {
    /// `None` when the program is not installed.
    fn new(program: Program, namespace: bool) -> Option<Self> {
        let path = program.find()?;
        let endpoint = Endpoint::start(Script::parse(SCRIPT).expect("a script"), None).expect("an endpoint");
        let room = Self { program, path, endpoint, dir: home(), namespace };
        for name in ["work", "run/agent", "slot", "tmp", "shm", "home/.ssh", "unused"] {
            fs::create_dir_all(room.at(name)).expect("made");
        }
        fs::write(room.at("home/.ssh/id"), "secret\n").expect("written");
        room.git(&["init", "-q"]);
        room.git(&["config", "user.name", "Tester"]);
        room.git(&["config", "user.email", "tester@example.org"]);
        Some(room)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Git in its working directory, whoever that belongs to; what it printed.
    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        let output = git.args(["-c", "safe.directory=*"]).args(args).current_dir(self.at("work")).output();
        String::from_utf8_lossy(&output.expect("git runs").stdout).into_owned()
    }

    fn profile(&self) -> Profile {
        let mut write: Vec<PathBuf> = ["work", "run/agent", "slot"].into_iter().map(|name| self.at(name)).collect();
        if !self.namespace {
            write.extend([self.at("tmp"), "/dev/shm".into()]);
        }
        Profile {
            require: BTreeSet::from(USUAL),
            write,
            private: vec![(self.at("tmp"), "/tmp".into()), (self.at("shm"), "/dev/shm".into())],
            deny: vec![self.at("home/.ssh")],
            mask: vec!["/run".into()],
            namespace: self.namespace,
            ..Profile::default()
        }
    }

    /// The agent as its description has it, and an attempt of it.
    fn agent(&self, permissions: Option<&str>) -> (Agent, Assignment) {
        let url = self.endpoint.url();
        let mut set = self.program.environment(&url, &self.at("unused"));
        set.retain(|name, _| !HOMES.contains(&name.as_str()));
        let bin = self.path.parent().expect("in a directory").display();
        set.insert("PATH".into(), format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
        set.insert("HOME".into(), self.at("home").display().to_string());
        set.insert("TMPDIR".into(), self.at("tmp").display().to_string());
        if self.namespace {
            set.remove("TMPDIR");
        }
        let name = self.program.name();
        let mut args = self.program.settings(&url);
        if self.program == Program::Qwen {
            args.extend(["--auth-type", "openai"].map(String::from));
        }
        let config = AgentConfig {
            kind: AgentKind::Adapter,
            adapter: Some(name.into()),
            model: Some(self.program.model().into()),
            permissions: permissions.map(String::from),
            args,
            set,
            ..AgentConfig::default()
        };
        let agent = agent::open(name, &config);
        agent.prepare_home(&self.at("slot")).expect("a slot");
        let rule = Workflow::shipped().rule(&Role::BUILDER).expect("ships").clone();
        let assignment = Assignment {
            workspace: self.at("work"),
            home: Some(self.at("slot")),
            sandboxed: true,
            ..agent::example::assignment(&rule, self.dir.path(), &self.at("run"))
        };
        (agent, assignment)
    }

    fn belongs_to(&self, user: u32) {
        let given = Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(self.dir.path()).status();
        assert!(given.expect("chown runs").success());
    }

    /// Runs it inside the profile, as an ordinary user where that is possible.
    fn play(&self, agent: &Agent, assignment: &Assignment, mut profile: Profile) -> Exit {
        let (work, result) = (assignment.workspace.display(), assignment.result_file());
        let prompt = format!(
            "# Task\n\nYour working directory is: {work}\nWrite your result to {}\n\nsay hello\n",
            result.display()
        );
        fs::write(assignment.prompt_file(), prompt).expect("a prompt");
        let profile = profile.write(&self.at("run")).expect("written");
        let mut invocation = agent.invocation(assignment);
        let shim = Path::new(env!("CARGO_BIN_EXE_agent-daemon"));
        let mut argv: Vec<String> = Vec::new();
        let reaches = || {
            let mut test = Command::new(AS_USER[0]);
            test.args(&AS_USER[1..]).args(["test", "-x"]).arg(shim).status().is_ok_and(|status| status.success())
        };
        if rustix::process::geteuid().is_root() && reaches() {
            self.belongs_to(65534);
            argv.extend(AS_USER.map(String::from));
            invocation.env.remove("IS_SANDBOX");
        }
        argv.extend([shim.display().to_string(), confine::MODE.into(), profile.display().to_string(), "--".into()]);
        argv.append(&mut invocation.argv);
        invocation.argv = argv;
        let limits = Limits {
            wall: Some(PATIENCE),
            silence: None,
            output: 64 << 20,
            memory: None,
            grace: Duration::from_secs(1),
        };
        let attempt = Attempt::start(shim, &self.at("run"), &invocation, &limits).expect("a shim");
        loop {
            match attempt.reports().recv_timeout(PATIENCE) {
                Ok(Report::Ended(exit)) => {
                    // A worker and its agents are one user; what belongs to others it does not believe.
                    self.belongs_to(rustix::process::geteuid().as_raw());
                    return exit;
                }
                Ok(Report::Started { .. }) => {}
                Err(error) => panic!("no end ({error}): {}", self.said()),
            }
        }
    }

    /// Everything that helps to understand.
    fn said(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.at("run").join(name)).unwrap_or_default();
        let cut = |text: String| text.chars().take(6_000).collect::<String>();
        let (report, out, err) = (text("confined.json"), cut(text("stdout.log")), cut(text("stderr.log")));
        format!("{:?}\n{report}\n{out}\n{err}\n{:#?}", self.program, self.endpoint.seen())
    }
}

fn finishes_a_task_with_a_commit(program: Program, namespace: bool) {
    let Some(room) = Room::new(program, namespace) else { return };
    // Without permissions of the configuration: what its description has for the inside of our sandbox.
    let (agent, assignment) = room.agent(None);
    let exit = room.play(&agent, &assignment, room.profile());
    assert_eq!(exit.ended, Ended::Exited(0), "{}", room.said());
    let report = confine::Report::read(&room.at("run")).expect("a report").expect("a report");
    assert!(report.applied && report.guarantees.is_superset(&BTreeSet::from(USUAL)), "{report:?}");
    let outcome = agent.outcome(&assignment, &exit, None);
    assert!(matches!(&outcome, Outcome::Done { summary, .. } if summary.contains("it says hello")), "{outcome:?}");
    assert_eq!(room.git(&["log", "--format=%s"]), "feat: a greeting\n", "{}", room.said());
    assert_eq!(fs::read_to_string(room.at("home/.ssh/id")).expect("there"), "secret\n");
    let said = fs::read_to_string(room.at("run/stdout.log")).expect("an output");
    assert!(!said.contains("secret"), "{}", room.said());
    assert_eq!(room.endpoint.outside(), Vec::<String>::new(), "it stays on the machine");
}

fn finishes_a_task_with_a_commit_inside_the_default_profile(program: Program) {
    finishes_a_task_with_a_commit(program, true);
}

fn finishes_a_task_with_a_commit_without_a_namespace(program: Program) {
    finishes_a_task_with_a_commit(program, false);
}

/// `agentctl agent test`, with the program itself.
fn keeps_what_its_description_says_inside_our_sandbox(program: Program) {
    let Some(path) = program.find() else { return };
    let room = home();
    let shim = Path::new(env!("CARGO_BIN_EXE_agent-daemon"));
    let bin = format!("{}:/usr/local/bin:/usr/bin:/bin", path.parent().expect("in a directory").display());
    let mut config = conform::bare(program.name(), &BTreeMap::new());
    config.set.insert("PATH".into(), bin);
    let cases = conform::run(program.name(), &config, room.path(), Some(shim), &Sandbox::default());
    let broken = cases.iter().find(|case| case.verdict == Verdict::Broken);
    assert_eq!(broken, None, "{cases:#?}");
    for name in ["confined", "closed-port", "inside", "kept-from", "own-sandbox"] {
        let case = cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("{name}: {cases:#?}"));
        assert_eq!(case.verdict, Verdict::Kept, "{case:?}");
    }
}

macro_rules! programs {
    ($(#$when:tt $module:ident: $program:ident)*) => {
        $(mod $module {
            use super::*;
            #[test] #$when
            fn finishes_a_task_with_a_commit_inside_the_default_profile() {
                super::finishes_a_task_with_a_commit_inside_the_default_profile(Program::$program);
            }
            #[test] #$when
            fn keeps_what_its_description_says_inside_our_sandbox() {
                super::keeps_what_its_description_says_inside_our_sandbox(Program::$program);
            }
            #[test] #$when
            fn finishes_a_task_with_a_commit_without_a_namespace() {
                super::finishes_a_task_with_a_commit_without_a_namespace(Program::$program);
            }
        })*
    };
}

programs! {
    #[cfg(test)] claude: Claude
    #[cfg(test)] codex: Codex
    #[ignore = "make test-agents"] gemini: Gemini
    #[ignore = "make test-agents"] opencode: Opencode
    #[ignore = "make test-agents"] qwen: Qwen
}

#[test]
fn a_sandbox_of_codex_that_breaks_in_silence_inside_ours_is_told() {
    for namespace in [true, false] {
        let Some(room) = Room::new(Program::Codex, namespace) else { return };
        let (agent, assignment) = room.agent(Some("edits"));
        // As it is called where our sandbox is not known to be around it.
        let unaware = Assignment { sandboxed: false, ..assignment.clone() };
        let exit = room.play(&agent, &unaware, room.profile());
        assert_eq!(exit.ended, Ended::Exited(0), "it calls that a success: {}", room.said());
        let outcome = agent.outcome(&assignment, &exit, None);
        let Outcome::Failed { class: Class::PermissionDenied, reason, .. } = &outcome else {
            panic!("{outcome:?} {}", room.said())
        };
        assert!(reason.contains("Permission denied") && reason.contains("nested = true"), "{reason}");
        assert_eq!(room.git(&["log", "--format=%s"]), "", "nothing was done");
    }
}
