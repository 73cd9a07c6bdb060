//! Words by which programs say that the machine, and not the work, is at fault.
//!
//! They are only looked for in what a failed program said last, never in the words of a model.

/// A full disk, in the words of the C library, of Rust and of Node.js.
const FULL: [&str; 6] =
    ["No space left on device", "Disk quota exceeded", "(os error 28)", "(os error 122)", "ENOSPC", "EDQUOT"];

/// A read-only disk, in the same words.
const READ_ONLY: [&str; 3] = ["Read-only file system", "(os error 30)", "EROFS"];

/// A program that git needs and does not find.
const NO_FILTER: [&str; 4] = ["external filter", "smudge filter", "clean filter", "filter-process"];

/// Lists the words by which git says that its repository may not be written, as after one command under sudo.
const NO_RIGHT: [&str; 2] = ["insufficient permission for adding an object", "unable to write file"];

/// The words of sandboxes that cannot be set up, as inside another.
const NO_SANDBOX: [&str; 4] = [
    "setting up uid map: ",
    "Failed RTM_NEWADDR",
    "No permissions to create new namespace",
    "Creating new namespace failed",
];

/// The words by which a shell and `env` say that a program is missing.
const NOT_FOUND: [&str; 3] = ["command not found", ": not found", "No such file or directory"];

/// Exit codes by which a shell, `env` and our shim say that a program cannot be run, or is not there.
pub const CANNOT_RUN: [i32; 2] = [126, 127];

/// Returns the line that says that there is no room, or that nothing may be written.
pub fn no_room(words: &str) -> Option<&str> {
    full(words).or_else(|| line(words, &|line| READ_ONLY.iter().any(|sign| line.contains(sign))))
}

/// Returns the line by which a program says that there is no room. One that ran in a sandbox says of all that lies
/// outside of its own places that it is read-only, which says nothing of the machine.
pub fn no_room_inside(words: &str, sandboxed: bool) -> Option<&str> {
    if sandboxed { full(words) } else { no_room(words) }
}

fn full(words: &str) -> Option<&str> {
    line(words, &|line| FULL.iter().any(|sign| line.contains(sign)))
}

/// Returns the line by which a program says that its own sandbox cannot be set up.
pub fn no_sandbox(words: &str) -> Option<&str> {
    line(words, &|line| line.contains("bwrap: ") && NO_SANDBOX.iter().any(|sign| line.contains(sign)))
}

/// Returns the line by which git says that a filter of its own configuration cannot be run, that its repository may not
/// be written, or that there is no room.
pub fn of_git(words: &str) -> Option<&str> {
    // A lock that cannot be made, not one that another git holds.
    let is_closed = |line: &str| {
        NO_RIGHT.iter().any(|sign| line.contains(sign))
            || line.to_lowercase().contains("unable to create '") && line.contains("Permission denied")
    };
    let names_filter = NO_FILTER.iter().any(|sign| words.contains(sign));
    let missing = |line: &str| names_filter && NOT_FOUND.iter().any(|sign| line.contains(sign));
    no_room(words)
        .or_else(|| line(words, &missing))
        .or_else(|| line(words, &is_closed))
        .or_else(|| line(words, &|line| NO_FILTER.iter().any(|sign| line.contains(sign)) && line.contains("failed")))
}

fn line<'a>(words: &'a str, is_it: &dyn Fn(&str) -> bool) -> Option<&'a str> {
    words.lines().map(str::trim).find(|line| is_it(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_cannot_be_set_up_is_known_by_its_words() {
        for words in [
            "bwrap: setting up uid map: Permission denied",
            "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
        ] {
            assert_eq!(no_sandbox(&format!("x\n{words}\n")), Some(words));
        }
        assert_eq!(no_sandbox("bwrap: execvp make: No such file or directory"), None, "it was set up");
        assert_eq!(no_sandbox("newuidmap: setting up uid map: fine"), None);
    }

    #[test]
    fn a_full_disk_and_a_missing_filter_are_known_by_their_words() {
        assert_eq!(
            no_room("x\n sh: write error: No space left on device \ny"),
            Some("sh: write error: No space left on device")
        );
        assert_eq!(no_room("Error: ENOSPC: no space left"), Some("Error: ENOSPC: no space left"));
        assert_eq!(no_room("the space between words"), None);
        // In a sandbox everything but its own places is read-only.
        let refused = "sh: cannot create /etc/x: Read-only file system";
        assert_eq!((no_room(refused), no_room_inside(refused, true)), (Some(refused), None));
        assert!(no_room_inside("Error: ENOSPC: no space left", true).is_some());
        let lfs = "git-lfs filter-process: line 1: git-lfs: not found\nfatal: the remote end hung up unexpectedly";
        assert_eq!(of_git(lfs), Some("git-lfs filter-process: line 1: git-lfs: not found"));
        assert!(of_git("error: external filter 'git-lfs smudge -- %f' failed 127").is_some());
        let closed =
            "error: insufficient permission for adding an object to repository database .git/objects\nerror: f: x";
        assert_eq!(of_git(closed), closed.lines().next());
        assert!(of_git("fatal: Unable to create '/p/.git/index.lock': Permission denied").is_some());
        assert_eq!(of_git("fatal: Unable to create '/p/.git/index.lock': File exists."), None);
        assert_eq!(of_git("error: open(\"made\"): Permission denied\nerror: unable to index file 'made'"), None);
        assert_eq!(of_git("fatal: pathspec 'x' did not match: not found"), None);
    }
}
