//! The two exit-code tables and the words for failures; `agentctl help exit-codes` prints them.

/// One word for failures.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The word.
    pub word: &'static str,
    /// The exit code of `agentctl`.
    pub exit: u8,
    /// The exit code of `agent-daemon`.
    pub sysexit: u8,
    /// Whether it may pass by itself.
    pub retryable: bool,
    /// What it means, for `agentctl help exit-codes`.
    pub meaning: &'static str,
}

/// The exit codes of `agentctl`.
pub mod exit {
    /// It worked.
    pub const OK: u8 = 0;
    /// It failed.
    pub const FAILED: u8 = 1;
    /// The command line is wrong, or a question could not be asked.
    pub const USAGE: u8 = 2;
    /// The task, role, attempt or project is not there.
    pub const NOT_FOUND: u8 = 3;
    /// A human must act: sign in, trust, name an agent, mend permissions.
    pub const HUMAN: u8 = 4;
    /// The present state does not allow it.
    pub const REFUSED: u8 = 5;
    /// It did not happen in time.
    pub const TIMED_OUT: u8 = 6;
    /// A worker or service cannot be reached.
    pub const UNREACHABLE: u8 = 7;
    /// It worked, and the answer is no.
    pub const NEGATIVE: u8 = 8;
    /// Ctrl-C.
    pub const INTERRUPTED: u8 = 130;

    /// Every code with its meaning.
    pub const ALL: &[(u8, &str)] = &[
        (OK, "it worked; also when the reader of a pipe has left"),
        (FAILED, "it failed"),
        (USAGE, "the command line is wrong, or a question could not be asked (no terminal, no --yes)"),
        (NOT_FOUND, "the task, role, attempt or project is not there"),
        (HUMAN, "a human must act: sign in, trust, name an agent, mend permissions"),
        (REFUSED, "the present state does not allow it: a lease is held, a move is not legal"),
        (TIMED_OUT, "it did not happen in time; try again later"),
        (UNREACHABLE, "a worker or service cannot be reached"),
        (NEGATIVE, "it worked, and the answer is no: `doctor` or `queue validate` found problems"),
        (INTERRUPTED, "interrupted by Ctrl-C"),
    ];
}

/// The exit codes of `agent-daemon`: sysexits. systemd restarts after all but 64, 65, 69, 77 and 78.
pub mod sysexit {
    /// It worked; also `--once` with nothing to do.
    pub const OK: u8 = 0;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The queue file cannot be read.
    pub const DATA: u8 = 65;
    /// The agent's program is missing.
    pub const UNAVAILABLE: u8 = 69;
    /// A bug in us.
    pub const SOFTWARE: u8 = 70;
    /// A file cannot be created.
    pub const CANNOT_CREATE: u8 = 73;
    /// Reading or writing failed.
    pub const IO: u8 = 74;
    /// Try again later.
    pub const TEMPORARY: u8 = 75;
    /// Permission or trust is missing.
    pub const NO_PERMISSION: u8 = 77;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;

    /// Every code with its meaning.
    pub const ALL: &[(u8, &str)] = &[
        (OK, "it worked; also --once with nothing to do"),
        (USAGE, "the command line is wrong, or the role is not defined"),
        (DATA, "the queue file is missing or cannot be read"),
        (UNAVAILABLE, "the agent's program is missing"),
        (SOFTWARE, "a bug in oodatcaa"),
        (CANNOT_CREATE, "a file cannot be created: read-only file system"),
        (IO, "reading or writing failed: disk full, I/O error"),
        (TEMPORARY, "try again later: the queue is locked or keeps changing"),
        (NO_PERMISSION, "a permission is missing, or the project's commands are not trusted"),
        (CONFIG, "the configuration is wrong, or names no agent"),
    ];
}

const fn code(word: &'static str, exit: u8, sysexit: u8, retryable: bool, meaning: &'static str) -> Code {
    Code { word, exit, sysexit, retryable, meaning }
}

/// Every code word there is.
pub const CODES: &[Code] = &[
    code("usage", exit::USAGE, sysexit::USAGE, false, "the command line is wrong"),
    code("needs_confirmation", exit::USAGE, sysexit::USAGE, false, "a question could not be asked; --yes answers it"),
    code("no_project", exit::NOT_FOUND, sysexit::CONFIG, false, "there is no .oodatcaa directory here or above"),
    code("not_found", exit::NOT_FOUND, sysexit::USAGE, false, "the named thing is not there"),
    code("no_task", exit::NOT_FOUND, sysexit::USAGE, false, "the task is not in the queue"),
    code("no_role", exit::NOT_FOUND, sysexit::USAGE, false, "the project does not define the role"),
    code("queue_missing", exit::NOT_FOUND, sysexit::DATA, false, "there is no queue file"),
    code("queue_invalid", exit::FAILED, sysexit::DATA, false, "the queue file cannot be read"),
    code("queue_busy", exit::TIMED_OUT, sysexit::TEMPORARY, true, "somebody held the lock of the queue for too long"),
    code("queue_contended", exit::TIMED_OUT, sysexit::TEMPORARY, true, "others kept writing the queue file"),
    code(
        "unsafe_path",
        exit::HUMAN,
        sysexit::NO_PERMISSION,
        false,
        "a file or directory is a link, too long, or someone else's",
    ),
    code("permission_denied", exit::HUMAN, sysexit::NO_PERMISSION, false, "a permission is missing"),
    code("disk_full", exit::FAILED, sysexit::IO, true, "there is no space left"),
    code("read_only", exit::FAILED, sysexit::CANNOT_CREATE, false, "the file system cannot be written"),
    code("too_many_files", exit::FAILED, sysexit::TEMPORARY, true, "a limit of open files or watches is reached"),
    code("io", exit::FAILED, sysexit::IO, false, "the operating system said no"),
    code("config_invalid", exit::FAILED, sysexit::CONFIG, false, "the configuration is wrong"),
    code("no_agent", exit::HUMAN, sysexit::CONFIG, false, "nobody said which agent works"),
    code("untrusted", exit::HUMAN, sysexit::NO_PERMISSION, false, "the project's commands are not trusted"),
    code(
        "secret_missing",
        exit::HUMAN,
        sysexit::CONFIG,
        false,
        "a secret that the configuration refers to is not there",
    ),
    code("agent_not_found", exit::HUMAN, sysexit::UNAVAILABLE, false, "the agent's program is missing"),
    code("prompt_missing", exit::FAILED, sysexit::CONFIG, false, "a role has no prompt template"),
    code("prompt_invalid", exit::FAILED, sysexit::CONFIG, false, "a prompt template cannot be rendered"),
    code("refused", exit::REFUSED, sysexit::TEMPORARY, false, "the present state does not allow it"),
    code("lease_held", exit::REFUSED, sysexit::TEMPORARY, true, "somebody works on the task"),
    code("already_running", exit::REFUSED, sysexit::TEMPORARY, false, "another worker serves the role already"),
    code("timed_out", exit::TIMED_OUT, sysexit::TEMPORARY, true, "it did not happen in time"),
    code("unreachable", exit::UNREACHABLE, sysexit::TEMPORARY, true, "a worker or service cannot be reached"),
    code("negative", exit::NEGATIVE, sysexit::SOFTWARE, false, "the answer is no"),
    code("failed", exit::FAILED, sysexit::SOFTWARE, false, "it failed"),
    code("interrupted", exit::INTERRUPTED, sysexit::TEMPORARY, true, "interrupted"),
    code("bug", exit::FAILED, sysexit::SOFTWARE, false, "a bug in oodatcaa"),
];

/// The entry of a word; of `failed` for one that is not in the table.
pub(super) fn known(word: &str) -> &'static Code {
    let find = |word: &str| CODES.iter().find(|code| code.word == word);
    find(word).or_else(|| find("failed")).expect("`failed` is in the table")
}
