//! The kinds of failure: one word, one exit code for each program and one HTTP status each.

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The command line is wrong.
    Usage,
    /// A question could not be asked; --yes answers it.
    NeedsConfirmation,
    /// There is no .oodatcaa directory here or above.
    NoProject,
    /// The named thing is not there.
    NotFound,
    /// The task is not in the queue.
    NoTask,
    /// The project does not define the role.
    NoRole,
    /// There is no queue file.
    QueueMissing,
    /// The queue file cannot be read.
    QueueInvalid,
    /// Somebody held the lock of the queue for too long.
    QueueBusy,
    /// Others kept writing the queue file.
    QueueContended,
    /// A file or directory is a link, too long, or someone else's.
    UnsafePath,
    /// A permission is missing.
    PermissionDenied,
    /// There is no space left.
    DiskFull,
    /// The file system cannot be written.
    ReadOnly,
    /// A limit of open files or watches is reached.
    TooManyFiles,
    /// The operating system said no.
    Io,
    /// The configuration is wrong.
    ConfigInvalid,
    /// Nobody said which agent works.
    NoAgent,
    /// The project's commands are not trusted.
    Untrusted,
    /// A secret that the configuration refers to is not there.
    SecretMissing,
    /// The agent's program is missing.
    AgentNotFound,
    /// A role has no prompt template.
    PromptMissing,
    /// A prompt template cannot be rendered.
    PromptInvalid,
    /// The present state does not allow it.
    Refused,
    /// Somebody works on the task.
    LeaseHeld,
    /// Another worker serves the role already.
    AlreadyRunning,
    /// It did not happen in time.
    TimedOut,
    /// A worker or service cannot be reached.
    Unreachable,
    /// The answer is no.
    Negative,
    /// It failed.
    Failed,
    /// Interrupted.
    Interrupted,
    /// A bug in oodatcaa.
    Bug,
}

/// What a kind means to programs and people.
struct Row {
    word: &'static str,
    exit: u8,
    sysexit: u8,
    http: u16,
    retryable: bool,
    meaning: &'static str,
}

impl ErrorKind {
    /// Every kind, in the order in which help lists them.
    pub const ALL: &[Self] = &[
        Self::Usage,
        Self::NeedsConfirmation,
        Self::NoProject,
        Self::NotFound,
        Self::NoTask,
        Self::NoRole,
        Self::QueueMissing,
        Self::QueueInvalid,
        Self::QueueBusy,
        Self::QueueContended,
        Self::UnsafePath,
        Self::PermissionDenied,
        Self::DiskFull,
        Self::ReadOnly,
        Self::TooManyFiles,
        Self::Io,
        Self::ConfigInvalid,
        Self::NoAgent,
        Self::Untrusted,
        Self::SecretMissing,
        Self::AgentNotFound,
        Self::PromptMissing,
        Self::PromptInvalid,
        Self::Refused,
        Self::LeaseHeld,
        Self::AlreadyRunning,
        Self::TimedOut,
        Self::Unreachable,
        Self::Negative,
        Self::Failed,
        Self::Interrupted,
        Self::Bug,
    ];

    const fn row(self) -> Row {
        const fn row(
            word: &'static str,
            exit: u8,
            sysexit: u8,
            http: u16,
            retryable: bool,
            meaning: &'static str,
        ) -> Row {
            Row { word, exit, sysexit, http, retryable, meaning }
        }
        match self {
            Self::Usage => row("usage", exit::USAGE, sysexit::USAGE, 400, false, "the command line is wrong"),
            Self::NeedsConfirmation => row(
                "needs_confirmation",
                exit::USAGE,
                sysexit::USAGE,
                400,
                false,
                "a question could not be asked; --yes answers it",
            ),
            Self::NoProject => row(
                "no_project",
                exit::NOT_FOUND,
                sysexit::CONFIG,
                404,
                false,
                "there is no .oodatcaa directory here or above",
            ),
            Self::NotFound => {
                row("not_found", exit::NOT_FOUND, sysexit::USAGE, 404, false, "the named thing is not there")
            }
            Self::NoTask => row("no_task", exit::NOT_FOUND, sysexit::USAGE, 404, false, "the task is not in the queue"),
            Self::NoRole => {
                row("no_role", exit::NOT_FOUND, sysexit::USAGE, 404, false, "the project does not define the role")
            }
            Self::QueueMissing => {
                row("queue_missing", exit::NOT_FOUND, sysexit::DATA, 404, false, "there is no queue file")
            }
            Self::QueueInvalid => {
                row("queue_invalid", exit::FAILED, sysexit::DATA, 422, false, "the queue file cannot be read")
            }
            Self::QueueBusy => row(
                "queue_busy",
                exit::TIMED_OUT,
                sysexit::TEMPORARY,
                503,
                true,
                "somebody held the lock of the queue for too long",
            ),
            Self::QueueContended => row(
                "queue_contended",
                exit::TIMED_OUT,
                sysexit::TEMPORARY,
                503,
                true,
                "others kept writing the queue file",
            ),
            Self::UnsafePath => row(
                "unsafe_path",
                exit::HUMAN,
                sysexit::NO_PERMISSION,
                403,
                false,
                "a file or directory is a link, too long, or someone else's",
            ),
            Self::PermissionDenied => {
                row("permission_denied", exit::HUMAN, sysexit::NO_PERMISSION, 403, false, "a permission is missing")
            }
            Self::DiskFull => row("disk_full", exit::FAILED, sysexit::IO, 507, true, "there is no space left"),
            Self::ReadOnly => {
                row("read_only", exit::FAILED, sysexit::CANNOT_CREATE, 500, false, "the file system cannot be written")
            }
            Self::TooManyFiles => row(
                "too_many_files",
                exit::FAILED,
                sysexit::TEMPORARY,
                503,
                true,
                "a limit of open files or watches is reached",
            ),
            Self::Io => row("io", exit::FAILED, sysexit::IO, 500, false, "the operating system said no"),
            Self::ConfigInvalid => {
                row("config_invalid", exit::FAILED, sysexit::CONFIG, 422, false, "the configuration is wrong")
            }
            Self::NoAgent => row("no_agent", exit::HUMAN, sysexit::CONFIG, 409, false, "nobody said which agent works"),
            Self::Untrusted => row(
                "untrusted",
                exit::HUMAN,
                sysexit::NO_PERMISSION,
                403,
                false,
                "the project's commands are not trusted",
            ),
            Self::SecretMissing => row(
                "secret_missing",
                exit::HUMAN,
                sysexit::CONFIG,
                409,
                false,
                "a secret that the configuration refers to is not there",
            ),
            Self::AgentNotFound => {
                row("agent_not_found", exit::HUMAN, sysexit::UNAVAILABLE, 409, false, "the agent's program is missing")
            }
            Self::PromptMissing => {
                row("prompt_missing", exit::FAILED, sysexit::CONFIG, 422, false, "a role has no prompt template")
            }
            Self::PromptInvalid => {
                row("prompt_invalid", exit::FAILED, sysexit::CONFIG, 422, false, "a prompt template cannot be rendered")
            }
            Self::Refused => {
                row("refused", exit::REFUSED, sysexit::TEMPORARY, 409, false, "the present state does not allow it")
            }
            Self::LeaseHeld => {
                row("lease_held", exit::REFUSED, sysexit::TEMPORARY, 409, true, "somebody works on the task")
            }
            Self::AlreadyRunning => row(
                "already_running",
                exit::REFUSED,
                sysexit::TEMPORARY,
                409,
                false,
                "another worker serves the role already",
            ),
            Self::TimedOut => {
                row("timed_out", exit::TIMED_OUT, sysexit::TEMPORARY, 504, true, "it did not happen in time")
            }
            Self::Unreachable => row(
                "unreachable",
                exit::UNREACHABLE,
                sysexit::TEMPORARY,
                502,
                true,
                "a worker or service cannot be reached",
            ),
            Self::Negative => row("negative", exit::NEGATIVE, sysexit::SOFTWARE, 200, false, "the answer is no"),
            Self::Failed => row("failed", exit::FAILED, sysexit::SOFTWARE, 500, false, "it failed"),
            Self::Interrupted => row("interrupted", exit::INTERRUPTED, sysexit::TEMPORARY, 503, true, "interrupted"),
            Self::Bug => row("bug", exit::FAILED, sysexit::SOFTWARE, 500, false, "a bug in oodatcaa"),
        }
    }

    /// Returns the stable word that programs see.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// Returns the exit code of `agentctl`.
    pub const fn exit(self) -> u8 {
        self.row().exit
    }

    /// Returns the exit code of `agent-daemon`, one of the sysexits, which systemd reads.
    pub const fn sysexit(self) -> u8 {
        self.row().sysexit
    }

    /// Returns the status that an HTTP interface answers with.
    pub const fn http(self) -> u16 {
        self.row().http
    }

    /// Tells whether the same request may succeed later without anybody doing anything.
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }

    /// Returns the meaning, for `agentctl help exit-codes`.
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }
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
