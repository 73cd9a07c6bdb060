//! The kinds of failure: one word, one exit code for each program and one HTTP status each.

/// Defines the kinds from a table: each row has the word that programs see, the exit codes of `agentctl` and of
/// `agent-daemon`, the HTTP status, whether the same request may succeed later without anybody doing anything, and the
/// topic of `agentctl help` that tells more.
macro_rules! kinds {
    ($($kind:ident $word:ident $exit:ident $sysexit:ident $http:literal $retryable:literal $see:literal $doc:literal;)*) => {
        /// What kind of failure it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind {
            $(#[doc = $doc] $kind,)*
        }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$kind => Row {
                        word: stringify!($word),
                        exit: exit::$exit,
                        sysexit: sysexit::$sysexit,
                        http: $http,
                        retryable: $retryable,
                        see: $see,
                    },)*
                }
            }
        }
    };
}

kinds! {
    Usage             usage              USAGE       USAGE         400 false ""         "The command line is wrong.";
    NeedsConfirmation needs_confirmation USAGE       USAGE         400 false ""         "A question could not be asked; --yes answers it.";
    NoProject         no_project         NOT_FOUND   CONFIG        404 false ""         "There is no .oodatcaa directory here or above.";
    NotFound          not_found          NOT_FOUND   USAGE         404 false ""         "The named thing is not there.";
    NoRole            no_role            NOT_FOUND   USAGE         404 false "roles"    "The project does not define the role.";
    QueueMissing      queue_missing      NOT_FOUND   DATA          404 false ""         "There is no queue file.";
    QueueInvalid      queue_invalid      FAILED      DATA          422 false "queue"    "The queue file cannot be read.";
    QueueBusy         queue_busy         TIMED_OUT   TEMPORARY     503 true  "locks"    "Somebody held the lock of the queue for too long.";
    QueueContended    queue_contended    TIMED_OUT   TEMPORARY     503 true  ""         "Others kept writing the queue file.";
    UnsafePath        unsafe_path        HUMAN       NO_PERMISSION 403 false "security" "A file or directory is a link, too long, or someone else's.";
    UnfitPlace        unfit_place        HUMAN       CONFIG        409 false "security" "The file system or the clocks here cannot keep two workers apart.";
    PermissionDenied  permission_denied  HUMAN       NO_PERMISSION 403 false ""         "A permission is missing.";
    DiskFull          disk_full          FAILED      IO            507 true  ""         "There is no space left.";
    ReadOnly          read_only          FAILED      CANNOT_CREATE 500 false ""         "The file system cannot be written.";
    TooManyFiles      too_many_files     FAILED      TEMPORARY     503 true  ""         "A limit of open files or watches is reached.";
    Io                io                 FAILED      IO            500 false ""         "The operating system said no.";
    ConfigInvalid     config_invalid     FAILED      CONFIG        422 false "config"   "The configuration is wrong.";
    NoAgent           no_agent           HUMAN       CONFIG        409 false "agents"   "Nobody said which agent works.";
    Untrusted         untrusted          HUMAN       NO_PERMISSION 403 false "security" "The project's commands are not trusted.";
    SecretMissing     secret_missing     HUMAN       CONFIG        409 false "security" "A secret that the configuration refers to is not there.";
    AgentNotFound     agent_not_found    HUMAN       UNAVAILABLE   409 false ""         "The agent's program is missing.";
    Refused           refused            REFUSED     TEMPORARY     409 false ""         "The present state does not allow it.";
    LeaseHeld         lease_held         REFUSED     TEMPORARY     409 true  ""         "Somebody works on the task.";
    AlreadyRunning    already_running    REFUSED     TEMPORARY     409 false ""         "Another worker serves the role already.";
    TimedOut          timed_out          TIMED_OUT   TEMPORARY     504 true  ""         "It did not happen in time.";
    Unreachable       unreachable        UNREACHABLE TEMPORARY     502 true  ""         "A worker or service cannot be reached.";
    Failed            failed             FAILED      SOFTWARE      500 false ""         "It failed.";
    Interrupted       interrupted        INTERRUPTED TEMPORARY     503 true  ""         "Interrupted.";
    Bug               bug                FAILED      SOFTWARE      500 false ""         "A bug in oodatcaa.";
}

struct Row {
    word: &'static str,
    exit: u8,
    sysexit: u8,
    http: u16,
    retryable: bool,
    see: &'static str,
}

impl ErrorKind {
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
    pub(super) const fn retryable(self) -> bool {
        self.row().retryable
    }

    /// Returns the topic of `agentctl help` that tells more.
    pub(super) fn topic(self) -> Option<&'static str> {
        Some(self.row().see).filter(|topic| !topic.is_empty())
    }
}

/// Defines exit codes, each with its meaning.
macro_rules! codes {
    ($($name:ident = $code:literal $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: u8 = $code;)*

        /// Every code with its meaning.
        pub const ALL: &[(u8, &str)] = &[$(($name, $meaning)),*];
    };
}

/// The exit codes of `agentctl`.
pub mod exit {
    codes! {
        OK            = 0   "it worked; also when the reader of a pipe has gone away";
        FAILED        = 1   "it failed";
        USAGE         = 2   "the command line is wrong, or a question could not be asked (no terminal, no --yes)";
        NOT_FOUND     = 3   "the task, role, attempt or project is not there";
        HUMAN         = 4   "a human must act: sign in, trust, name an agent, mend permissions";
        REFUSED       = 5   "the present state does not allow it: a lease is held, a move is not legal";
        TIMED_OUT     = 6   "it did not happen in time; try again later";
        UNREACHABLE   = 7   "a worker or service cannot be reached";
        NEGATIVE      = 8   "it worked, and the answer is no: `doctor` or `queue validate` found problems";
        INTERRUPTED   = 130 "interrupted by Ctrl-C";
    }
}

/// The exit codes of `agent-daemon`: sysexits. systemd restarts after all but 64, 65, 69, 77 and 78.
pub mod sysexit {
    codes! {
        OK            = 0   "it worked; also --once with nothing to do";
        USAGE         = 64  "the command line is wrong, or the role is not defined";
        DATA          = 65  "the queue file is missing or cannot be read";
        UNAVAILABLE   = 69  "the agent's program is missing";
        SOFTWARE      = 70  "a bug in oodatcaa";
        CANNOT_CREATE = 73  "a file cannot be created: read-only file system";
        IO            = 74  "reading or writing failed: disk full, I/O error";
        TEMPORARY     = 75  "try again later: the queue is locked or keeps changing";
        NO_PERMISSION = 77  "a permission is missing, or the project's commands are not trusted";
        CONFIG        = 78  "the configuration is wrong, or names no agent";
    }
}
