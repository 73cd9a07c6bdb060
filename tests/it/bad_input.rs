//! Bad input of every kind: one clear error that says what to do, nothing lost, nothing hanging.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Project, patience};

mod agent;
mod config;
mod disk;
pub(crate) mod hostile;
mod paths;
mod queue;
mod rights;
mod state;

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The errors, by their lines.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.err.lines().filter(|line| line.starts_with("error:") || line.contains("| ERROR |")).collect()
    }

    /// The errors and warnings, by their lines.
    pub(crate) fn complaints(&self) -> Vec<&str> {
        let warns = |line: &&str| line.starts_with("warning:") || line.contains("| WARN ");
        self.errors().into_iter().chain(self.err.lines().filter(warns)).collect()
    }

    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It ended with this code, with one error of these words and something to do about it.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &str) -> &Self {
        self.ended(code);
        assert_eq!(self.errors().len(), 1, "one error: {self:#?}");
        assert!(self.err.contains(words), "{words:?} is said: {self:#?}");
        assert!(self.err.contains(" hint: "), "what to do is said: {self:#?}");
        self
    }
}

/// Runs a command to its end, which comes soon.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Said {
    let (out, err) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(err.try_clone().expect("a file"))
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + patience();
    let code = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status.code();
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it hangs: {command:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let text = |mut file: fs::File| {
        use std::io::{Read as _, Seek as _};
        file.rewind().expect("a file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let said = Said { code, out: text(out), err: text(err) };
    assert!(!said.err.contains("panicked"), "{said:#?}");
    said
}

#[track_caller]
pub(crate) fn once(project: &Project, role: &str) -> Said {
    let mut command = project.command("agent-daemon");
    command.args(["--role", role, "--once"]);
    run(command)
}

#[track_caller]
pub(crate) fn ctl(project: &Project, line: &str) -> Said {
    let mut command = project.command("agentctl");
    command.args(line.split_whitespace());
    run(command)
}

/// The daemon and `agentctl` refuse the queue with one error each, and leave it byte for byte as it is.
#[track_caller]
fn queue_refused(project: &Project, words: &str) {
    let before = fs::read(project.queue_file()).expect("the queue");
    once(project, "builder").refused(65, words);
    ctl(project, "ls").refused(1, words);
    ctl(project, "task block A --reason x").refused(1, words);
    ctl(project, "queue repair --yes").refused(1, words).refused(1, "it is left as it is");
    let validated = ctl(project, "queue validate");
    validated.ended(8);
    assert!(validated.out.replace("unreadable: ", "").contains(words), "{validated:#?}");
    assert_eq!(fs::read(project.queue_file()).expect("the queue"), before, "not a byte");
}

/// A project with one task that a builder could take.
pub(crate) fn with_one(script: &str) -> Project {
    let project = Project::new(script);
    project.queue_text(r#"{"tasks":[{"id":"A","title":"t","status":"ready"}]}"#);
    project
}

/// `true` when this process may do what only root may; else the reason to skip is printed.
fn is_root(for_what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {for_what} needs root");
    }
    root
}
