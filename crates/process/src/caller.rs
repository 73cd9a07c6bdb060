//! Who calls: a person at a terminal or in a script of theirs, or something that an agent started.
//!
//! Variables can be taken off and sessions left, so they are only two of the signs. A shim is the subreaper of all
//! that its agent starts, so whatever forks twice, or gives itself a terminal, has it among its ancestors still. Who is
//! confined cannot look into it, but sees what it is called; who is in a namespace of processes of a sandbox does not see
//! it, but sees that there is nobody above. What runs wholly apart from us (a timer, another service manager's unit) is
//! not recognised: this is clarity, not a wall.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use super::platform;
use oodatcaa_core::text;
use oodatcaa_sys::identity::Process;

/// Variables that only attempts have.
const MARKS: [&[u8]; 2] = [b"OODATCAA_TASK_ID=", b"OODATCAA_RUN_DIR="];

/// Our own program, which is among the ancestors of all that agents start.
const WORKER: &str = "agent-daemon";

/// The argument that makes it a supervisor.
pub const SUPERVISE: &str = "supervise";

/// Programs that are the first process of a machine or a container. Where another one is, that is a sandbox's.
const INITS: [&str; 11] = [
    "systemd",
    "init",
    "runit",
    "s6-svscan",
    "dinit",
    "tini",
    "dumb-init",
    "docker-init",
    "podman-init",
    "catatonit",
    "pause",
];

/// How many ancestors are looked at; a longer line of them is nobody's.
const MOST: usize = 10_000;

/// Returns why this process belongs to an attempt; `None` where no sign says so.
pub fn attempt() -> Option<String> {
    let unit = || platform::service(std::process::id());
    started_by().or_else(|| unit().map(|unit| format!("it runs in the worker's unit {unit}")))
}

/// Returns the same for a process that may be a worker: its own unit says nothing.
pub fn started_by() -> Option<String> {
    let me = std::process::id();
    let own: Vec<Vec<u8>> = std::env::vars_os()
        .map(|(name, value)| [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat())
        .collect();
    if is_marked(&own) {
        return Some(format!("it has the environment of {}", named(&own)));
    }
    above(me)
}

/// Returns why another process, which asks us for something, belongs to an attempt.
pub fn of(pid: u32) -> Option<String> {
    above(pid)
}

/// Looks for signs at a process and at all that it comes from.
fn above(first: u32) -> Option<String> {
    let (mut pid, mut seen) = (first, 0);
    while pid > 0 && seen < MOST {
        if let Some(why) = sign(pid, pid == first) {
            return Some(why);
        }
        if pid == 1 {
            return sandboxed(&program(1)?, platform::is_confined());
        }
        let Some(looked) = Process::look(pid) else { break };
        // A session outlives what was between its leader and us.
        // The leader may be dead by now; then its number is at most somebody who has no sign.
        if looked.session != pid
            && let Some(why) = sign(looked.session, false)
        {
            return Some(why);
        }
        (pid, seen) = (looked.parent, seen + 1);
    }
    None
}

fn sign(pid: u32, own: bool) -> Option<String> {
    if !own && program(pid).is_some_and(|name| name == WORKER) && !is_supervisor(pid) {
        return Some(format!("process {pid}, which it comes from, is a worker or its shim"));
    }
    let environment = platform::environment(pid);
    is_marked(&environment).then(|| format!("process {pid}, which it comes from, belongs to {}", named(&environment)))
}

/// Tells whether a worker's program keeps workers, and is none itself: agents come from those that it keeps.
fn is_supervisor(pid: u32) -> bool {
    platform::arguments(pid).get(1).is_some_and(|mode| mode == SUPERVISE.as_bytes())
}

/// Returns the name of a process's program: by its file, else, where that may not be looked at, as it was called.
fn program(pid: u32) -> Option<String> {
    platform::program(pid).or_else(|| {
        let called = platform::arguments(pid).into_iter().next().filter(|called| !called.is_empty())?;
        Some(Path::new(OsStr::from_bytes(&called)).file_name()?.to_string_lossy().into_owned())
    })
}

/// Says why this is an agent's sandbox: by the first process of the namespace, and by whether we are confined.
fn sandboxed(first: &str, confined: bool) -> Option<String> {
    let is_init = INITS.contains(&first) || first.ends_with("-init");
    (confined && !is_init)
        .then(|| format!("it is in a sandbox, of which `{}` is the first process", text::one_line(first)))
}

fn is_marked(environment: &[Vec<u8>]) -> bool {
    environment.iter().any(|variable| MARKS.iter().any(|mark| variable.starts_with(mark)))
}

/// Names the attempt that has this environment.
fn named(environment: &[Vec<u8>]) -> String {
    let value = |name: &[u8]| {
        let value = environment.iter().find_map(|variable| variable.strip_prefix(name))?;
        let value = text::cut(&text::one_line(&String::from_utf8_lossy(value)), 100);
        (!value.is_empty()).then_some(value)
    };
    match (value(MARKS[0]), value(b"OODATCAA_TOKEN=")) {
        (Some(task), Some(token)) => format!("attempt {task}/{token}"),
        _ => "an attempt".into(),
    }
}

/// Returns the name of the user that this process belongs to, as the system knows it, whatever the environment says;
/// the number where it has none.
pub fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    platform::name_of(uid).unwrap_or_else(|| uid.to_string())
}

/// Returns how a command was given: typed at a terminal, or by a program.
pub fn way() -> &'static str {
    let typed = rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stderr());
    if typed { "tty" } else { "pipe" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_the_name_of_their_user_and_the_environment_does_not_decide() {
        let name = user();
        assert!(!name.is_empty());
        let told = std::process::Command::new("id").arg("-un").output().expect("id is there");
        assert_eq!(name, String::from_utf8_lossy(&told.stdout).trim());
    }

    #[test]
    fn the_first_process_of_a_sandbox_is_no_init() {
        assert!(sandboxed("bwrap", true).is_some_and(|why| why.contains("`bwrap`")));
        assert!(sandboxed("sh", true).is_some());
        // A shell of a person in a container, or in what only forbids new rights.
        assert_eq!(sandboxed("sh", false), None);
        for init in ["systemd", "docker-init", "my-init"] {
            assert_eq!(sandboxed(init, true), None, "{init}");
        }
    }

    #[test]
    fn an_attempt_is_named_by_its_environment() {
        let environment = |all: &[&str]| all.iter().map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
        let both = environment(&["PATH=/bin", "OODATCAA_TASK_ID=P1-B2", "OODATCAA_TOKEN=7"]);
        assert_eq!((is_marked(&both), named(&both).as_str()), (true, "attempt P1-B2/7"));
        let one = environment(&["OODATCAA_RUN_DIR=/x"]);
        assert_eq!((is_marked(&one), named(&one).as_str()), (true, "an attempt"));
        assert!(!is_marked(&environment(&["OODATCAA_PROJECT=/x"])), "people set that themselves");
    }

    #[test]
    fn the_tests_are_no_attempt() {
        assert_eq!(attempt(), None, "unless an agent runs them");
    }
}
