//! Who calls: a person at a terminal or in a script of theirs, or something that an agent started.
//!
//! Variables can be taken off and sessions left, so they are only two of the signs. A shim is the subreaper of all
//! that its agent starts, so whatever forks twice, or gives itself a terminal, has it among its ancestors still.
//! What runs wholly apart from us (a timer, another service manager's unit) is not recognised.

use super::platform;
use oodatcaa_sys::identity::Process;

/// Variables that only attempts have.
const MARKS: [&[u8]; 2] = [b"OODATCAA_TASK_ID=", b"OODATCAA_RUN_DIR="];

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
    if std::env::vars_os().any(|(name, _)| is_mark(name.as_encoded_bytes())) {
        return Some("it has the environment of an attempt".into());
    }
    let (mut pid, mut seen) = (me, 0);
    while pid > 1 && seen < MOST {
        if let Some(why) = sign(pid, pid == me) {
            return Some(why);
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
    if !own && platform::program(pid).is_some_and(|name| name == "agent-daemon") {
        return Some(format!("process {pid}, which it comes from, is a worker or its shim"));
    }
    let marked = platform::environment(pid).iter().any(|variable| MARKS.iter().any(|mark| variable.starts_with(mark)));
    marked.then(|| format!("process {pid}, which it comes from, is an agent's"))
}

fn is_mark(name: &[u8]) -> bool {
    MARKS.iter().any(|mark| mark[..mark.len() - 1] == *name)
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
    fn the_tests_are_no_attempt() {
        assert_eq!(attempt(), None, "unless an agent runs them");
    }
}
