//! Every key that may stand in a configuration, declared once.
//!
//! To add one, write it here, read its field where it matters, and run `UPDATE=1 cargo test -p oodatcaa-config`: that
//! writes the JSON schema and the reference anew. The comments are what users read: in `agentctl config show --default`,
//! in their editor, and in `docs/configuration.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    confine::Confine,
    declare::{Key, Section, UntilTrusted, name, section, words},
    flat::Values,
    form::Form,
    kind::Kind,
};
use oodatcaa_core::{
    Class, Guarantee, Network,
    outcome::Retry,
    policy::{Bounds, Limits},
};

section! {
    /// The settings of every worker.
    pub struct Fleet = "fleet" {
        /// The agent of every role that names none of its own: a name from `[agents.*]`. Empty for none: a worker
        /// without an agent refuses to start. Nothing is ever simulated unless `sim` stands here.
        agent: Option<String>, Maybe(Form::Agent), Ignored = "";
        /// The roles to start from, which `[roles.*]` changes and extends. `sprint`: planner, builder, tester, refiner and
        /// integrator. `team`: architect, code_developer, project_manager, assistant and integrator.
        preset: Preset, Choice(Preset::WORDS), Ignored = "sprint";
        /// The fallback poll; a change of the queue file wakes a worker at once. At least 100ms.
        interval: Duration, Duration(100), Ignored = "60s";
        /// The time that running attempts may go on after the first TERM; then they are stopped and given back.
        shutdown_timeout was "drain": Duration, Duration(0), Ignored = "20s";
        /// Between TERM and KILL of an agent.
        grace: Duration, Duration(0), Ignored = "5s";
        /// The longest wait for the lock of the queue.
        lock_wait: Duration, Duration(0), Ignored = "10s";
        /// Without systemd: crashes in a row after which a worker is started once more. After the next one it is given
        /// up, and in the inbox.
        restarts: u32, Count(0), Smaller = 3;
        /// Without systemd: the time that a worker must have worked for its earlier crashes not to count. At least 1s.
        healthy: Duration, Duration(1_000), Ignored = "60s";
        /// The hours at which new work begins, e.g. `["mon-fri 22:00-06:00", "sat,sun 00:00-24:00"]`; what runs goes on.
        /// Empty for always.
        hours: Vec<String>, List(Form::Span), Ignored = [];
        /// The hours at which a quota that was used up is tried again, once its time has come. Empty for always.
        resume_window: Vec<String>, List(Form::Span), Ignored = [];
        /// The time zone of `hours` and `resume_window`.
        tz: String, Text(Form::Zone), Ignored = "UTC" like "Europe/Berlin";
    }
}

words! {
    /// The roles that a configuration starts from.
    pub enum Preset {
        /// Planner, builder, tester, refiner, integrator.
        Sprint = "sprint",
        /// Architect, developer, project manager, assistant, and a merge by our own code.
        Team = "team",
    }
}

section! {
    /// Retries after a failure.
    fn retry() -> Retry = "retry" {
        /// Charged attempts per stage before a task counts as failed for good.
        attempts: Count(1), Smaller = 3;
        /// The first wait after a failure; it doubles with every further one in a row.
        backoff: Duration(0), Ignored = "10s";
        /// The longest wait after a failure.
        backoff_max: Duration(0), Ignored = "5m";
        /// Failures in a row that are not charged when the trouble is a passing one (network, overload).
        transient: Count(0), Smaller = 5;
        /// Workers that one task may take down with it before an attempt is charged.
        deaths: Count(1), Smaller = 3;
        /// Adapt loops of a task before a human is asked.
        adapts: Count(0), Smaller = 3;
        /// Merge conflicts of a task that go back to its author; the next goes to the refiner, one more to a human.
        conflicts: Count(0), Smaller = 2;
        /// Different tasks failing in a row before their role pauses; 0 for never.
        pause_after: Count(0), Limit = 3;
    }
}

section! {
    /// The bounds at which everything ends, whatever agents answer and whatever files get lost. A task that reaches one
    /// is `needs_manual` and in the inbox; `agentctl task retry ID` allows as much again. Only your own commands take a
    /// count back.
    fn limits() -> Bounds = "limits" {
        /// Starts of agents for one task, in all roles together and for whatever reason. The first half comes as
        /// quickly as ever, then each waits twice as long as the one before. A merge is no start, and neither is one
        /// that a provider's used-up quota turned away (these are left out up to the same number).
        starts: Count(1), Smaller = 12;
        /// Attempts on one task of roles without an agent (`agent = "none"`), in all of them together. They cost nothing, and
        /// must end all the same.
        checks: Count(1), Smaller = 50;
        /// The depth to which planners may plan: a task's children are the first generation.
        generations: Count(0), Smaller = 3;
        /// Children, and theirs, that planners may make of one task.
        children: Count(0), Smaller = 30;
        /// Hand-offs in a row: the depth to which a task that one made may be answered by the next with a task.
        handoffs: Count(0), Smaller = 5;
        beside { backoff, backoff_max }
    }
}

section! {
    /// The merging of finished branches into the target.
    pub struct MergeConfig = "merge" {
        /// Requires that a human approves a task before it is merged: `agentctl inbox`. `agentctl init` says true.
        approval: bool, Flag, OnlyTrue = false;
        /// The method of merging a finished branch: `merge` for a merge commit, `squash` for one commit, `rebase` for
        /// the branch's own commits on top of the target.
        policy: MergePolicy, Choice(MergePolicy::WORDS), Ignored = "merge";
        /// The remote that gets the target with every merge, e.g. `origin`; the task is done when the remote is proven
        /// to hold its change. Empty keeps everything local.
        push: Option<String>, Maybe(Form::Remote), Ignored = "";
        /// Adds a line to `CHANGELOG.md` for every merged task.
        changelog: bool, Flag, Ignored = false;
        /// Tags every merge as `pre/<task>-<UTC>` and `<task>-complete`.
        tags: bool, Flag, Ignored = true;
        /// Gates from `[gates.*]` to run after the target has moved; a red one takes the merge back. Those that decide
        /// before it moves stand with the role: `roles.integrator.gates`.
        after: Vec<String>, List(Form::Name), Adds = [];
    }
}

words! {
    /// The method of merging a branch into the target.
    pub enum MergePolicy {
        /// A merge commit, always.
        MergeCommit = "merge",
        /// One commit with all of it.
        Squash = "squash",
        /// The branch's commits, one after the other on top of the target.
        Rebase = "rebase",
    }
}

section! {
    /// Questions to a human.
    const DECISIONS = "decisions" {
        /// The time that a human has to answer before the answer is no; 0 for ever.
        ("deadline"): Duration(0), Limit = "7d";
    }
}

section! {
    /// Limits on spending; 0 for none. `[budget.attempt]` holds for one attempt, `[budget.task]` for all attempts on
    /// one task, `[budget.role]` for one role on one day (UTC), `[budget.day]` for all roles together on one day.
    /// Every limit counts for itself: where the price is not known, the others still bind. At 80 % of a budget the
    /// journal says so; at 100 % nothing more is claimed from it, and a human is asked: `agentctl inbox`.
    fn budget() -> Limits = "budget.*" {
        /// Tokens read and written.
        tokens: Count(0), Limit = 0;
        /// Dollars, as the agent reports them.
        micros as "usd": Money, Limit = 0;
        /// Time on the wall clock.
        wall: Duration(0), Limit = 0;
        /// Turns of the conversation.
        turns: Count(0), Limit = 0;
        beside { starts }
    }
}

section! {
    const BUDGET_ROLE = "budget.role" {
        /// Starts of agents of one role on one day; 0 for no limit.
        ("starts"): Count(0), Limit = 0;
    }
}

section! {
    const BUDGET_DAY = "budget.day" {
        /// Starts of agents on one day; 0 for no limit. A fleet of five that needs a quarter of an hour for each
        /// attempt starts 480.
        ("starts"): Count(0), Limit = 1000;
    }
}

section! {
    /// The workspaces of attempts, and what is kept of them.
    pub struct WorkspaceConfig = "workspace" {
        /// `worktree`: every task has a git worktree and a branch of its own; without git, or before the first commit,
        /// it is `shared` all the same. `shared`: in the project's own directory, nothing is merged.
        mode: WorkspaceMode, Choice(WorkspaceMode::WORDS), Ignored = "worktree";
        /// The directory for worktrees, outside of the repository; empty for `$XDG_STATE_HOME/oodatcaa`
        /// (`~/.local/state`).
        root: Option<String>, Text(Form::Any), Ignored = "";
        /// The name of a task's branch, with `{task}`, `{slug}` (of its title) and `{kind}` (feat, fix, docs, …).
        branch: String, Text(Form::BranchTemplate), Ignored = "feat/{task}-{slug}";
        /// The branch that others start from and are merged into; empty for the branch of the main checkout.
        base: Option<String>, Maybe(Form::Branch), Ignored = "";
        /// `on`: before a new worktree is made, the base is fetched from the remote of `merge.push`, else `origin`, and
        /// follows it as `git pull --ff-only` would. Nobody is asked for a password; while the remote is away, the task
        /// waits.
        fetch: Fetch, Choice(Fetch::WORDS), Ignored = "off";
        /// The author of commits for what an agent left uncommitted, as `Name <mail>`; empty for the role.
        author: Option<String>, Text(Form::Any), Ignored = "";
        /// Untracked files and directories of the main checkout that every worktree gets a copy of, also by patterns,
        /// e.g. `[".env", "conf/*.local", "**/.env"]`. What was copied is never merged.
        copy: Vec<String>, List(Form::Path), Ignored = [];
        /// Program and arguments to run in a new worktree, never through a shell, e.g. `["npm", "ci"]`.
        setup: Vec<String>, MaybeProgram, Ignored = [];
        /// Program and arguments to run before a worktree goes.
        teardown: Vec<String>, MaybeProgram, Ignored = [];
        /// Wall-clock limit of `setup` and of `teardown`.
        hook_timeout: Duration, Duration(100), Ignored = "10m";
        /// Names of variables that hooks inherit, besides the few that every program needs.
        hook_env: Vec<String>, List(Form::Inherited), Ignored = [];
        /// Every task has a block of ports for itself: `OODATCAA_PORT_BASE` is its first. 0 for no ports.
        port_base: u32, Count(0), Ignored = 20000;
        /// The number of ports in a block.
        ports: u32, Count(1), Ignored = 10;
        /// The longest wait for the lock of the repository.
        lock_wait: Duration, Duration(0), Ignored = "2m";
        /// With less room than this on its disk no worktree is made.
        disk_min: u64, Size(1 << 10), Ignored = "512MiB";
        /// The time that runs and saved work of finished tasks are kept; `agentctl gc` removes what is older.
        keep: Duration, Duration(0), Ignored = "30d";
        beside {
            /// The remote to fetch the base from before a task begins; nothing is fetched when absent.
            fetch_from: Option<String>;
            /// Hooks of the project were dropped because it is not trusted: no workspace without them.
            untrusted: bool;
            /// What confines the commands that run there.
            confine: Confine;
        }
    }
}

words! {
    /// The workspace of attempts.
    pub enum WorkspaceMode {
        /// Every task in a git worktree of its own.
        Worktree = "worktree",
        /// In the project's directory.
        Shared = "shared",
    }
}

words! {
    /// Tells whether the base of new worktrees is fetched first.
    pub enum Fetch {
        /// It is not.
        Off = "off",
        /// It is, and follows its remote forward.
        On = "on",
    }
}

section! {
    /// The sandbox of everything that runs in a workspace: agents, gates, `setup` and `teardown`. What is set is what
    /// programs must not be able to do; how that is reached is the machine's: `agentctl doctor` tries it and says what
    /// is missing. The same keys may stand in `[agents.NAME.sandbox]`, `[roles.NAME.sandbox]` and `[gates.NAME.sandbox]`;
    /// the narrower table wins in this order, and lists add up, but for `require`. See `agentctl help sandbox`.
    pub struct Sandbox = "sandbox"
        with (AGENT_SANDBOX = "agents.*.sandbox", ROLE_SANDBOX = "roles.*.sandbox", GATE_SANDBOX = "gates.*.sandbox") {
        /// `auto`: namespaces where the machine allows them, Landlock and seccomp. `landlock`: no namespace is tried.
        /// `off`: nothing is confined; only you can say so, it is never what is left when something fails. bwrap or a
        /// container around an agent stands in its `argv`: docs/sandbox.md.
        mode: SandboxMode, Choice(SandboxMode::WORDS), Ignored = "auto";
        /// What programs must not be able to do: write `files` outside of their places, change the `metadata` of other
        /// files, read `secrets`, read the `environ` and memory of other processes, signal or slow down other
        /// `processes`, reach `sockets` of other programs, reach more of the `network` than is said here. What the
        /// machine cannot give stops the role: nothing runs with less.
        require: BTreeSet<Guarantee>, List(Form::Guarantee), Adds
            = ["files", "secrets", "environ", "processes", "sockets"];
        /// Further places that may be written. Refused at, above and below `.oodatcaa`, `.git`, `.leases`, `.locks` and
        /// our own state, and for all of your home.
        allow_write: Vec<PathBuf>, List(Form::Place), Ignored = [];
        /// Places that may be read although the built-in list keeps them secret.
        allow_read: Vec<PathBuf>, List(Form::Place), Ignored = [];
        /// Further places that may not be read.
        deny_read: Vec<PathBuf>, List(Form::Place), Adds = [];
        /// Sockets of other programs that may be reached, e.g. `/run/docker.sock`. What listens there is not confined,
        /// so each is a way out of the sandbox.
        allow_sockets: Vec<PathBuf>, List(Form::Place), Ignored = [];
        /// The network: `all`; `none` but a program's own servers; `{ ports = [443] }` for TCP to these ports on any
        /// host; `{ proxy = "127.0.0.1:3128" }` for a proxy that decides.
        network: Network, Network, Only("none") = "all";
        /// Lets a program bring a sandbox of its own (bwrap, Chromium, nix, podman). It needs a namespace.
        nested: bool, Flag, Ignored = false;
        /// Your home: `all` of it may be read but the secrets, or only what is `listed`: the program's own places and
        /// `allow_read`.
        home: HomeView, Choice(HomeView::WORDS), Only("listed") = "all";
        /// Caches of package managers: the slot's `own`, or yours, `shared` and read-only.
        caches: Caches, Choice(Caches::WORDS), Ignored = "own";
    }
}

words! {
    /// The means by which programs are confined.
    pub enum SandboxMode {
        /// Namespaces where the machine allows them, Landlock and seccomp.
        Auto = "auto",
        /// The same without namespaces.
        Landlock = "landlock",
        /// Nothing: a person said so.
        Off = "off",
    }
}

words! {
    /// The part of the user's home that may be read.
    pub enum HomeView {
        /// All but what is secret.
        All = "all",
        /// What is listed.
        Listed = "listed",
    }
}

words! {
    /// The caches of package managers that a program uses.
    pub enum Caches {
        /// Those of its slot.
        Own = "own",
        /// The user's, which it cannot write.
        Shared = "shared",
    }
}

section! {
    /// A role takes tasks of one status, works on them in another, and sends them on. A role of your own needs
    /// `takes`, `works`, `done` and `failed`, and a prompt `.oodatcaa/prompts/NAME.md`.
    const ROLE_TABLE = "roles.*" {
        /// The status that it claims.
        ("takes"): Text(Form::Status), Ignored like "awaiting_review";
        /// The status while it works; no other role may have it.
        ("works"): Text(Form::Status), Ignored like "reviewing";
        /// The status of a task after success.
        ("done"): Text(Form::Status), Ignored like "awaiting_test";
        /// The status after success of a task with children; empty for no difference.
        ("done_with_children"): Maybe(Form::Status), Ignored = "";
        /// The status of a task when its attempts are used up.
        ("failed"): Text(Form::Status), Ignored like "needs_adapt";
        /// The status of a task when the agent asks for a new plan; empty for the one in `failed`.
        ("replan"): Maybe(Form::Status), Ignored = "";
        /// The time that a lease lives without a heartbeat. At least 1s.
        ("ttl"): Duration(1_000), Ignored = "45m";
        /// The types of tasks whose work begins with this role, each also as the beginning of a word; `*` for those that
        /// no role names.
        ("begins"): List(Form::Any), Ignored = [] like ["Review"];
        /// The type of a task that is added in the status that it takes; empty for none.
        ("type"): Text(Form::Any), Ignored = "" like "Review";
        /// Its work is what tasks are about: parts of a plan begin with it, conflicts of a merge come back to it.
        ("builds"): Flag, Ignored = false;
        /// It is the last step: the branches of tasks that it takes are merged by our own code. One role does.
        ("merges"): Flag, Ignored = false;
    }
}

section! {
    /// `[roles.NAME]`, without what stands in the workflow's table.
    pub struct RoleConfig = "roles.*" {
        /// The agent that works; empty for the one of `[fleet]`. `none` for a role without an agent: an attempt is its gates,
        /// it costs nothing and is no start of an agent.
        agent: Option<String>, Maybe(Form::Agent), Ignored = "";
        /// Agents in order, in place of `agent`: the next works while the quota of those before it is used up.
        agents: Vec<String>, List(Form::Agent), Ignored = [];
        /// The agent for a task that has failed before and is not mended, e.g. a stronger one; those above as long as
        /// its quota is used up. Empty for no difference.
        on_retry as "on_retry.agent": Vec<String>, Maybe(Form::Agent), Ignored = "";
        /// Wall-clock limit of an attempt.
        timeout: Duration, Duration(100), Smaller = "60m";
        /// Longest time without a byte of output; 0 turns it off.
        idle_timeout was "silence": Duration, Duration(0), Limit = "10m";
        /// Size limit of each output file, in bytes or with a unit.
        output: u64, Size(1 << 10), Smaller = "64MiB";
        /// Memory of an agent and all that it started together, e.g. `"4GiB"`; 0 for no limit.
        memory: Option<u64>, MaybeSize(1 << 20), Limit = 0;
        /// Gates to run after the agent said done, in order: names from `[gates.*]`.
        gates: Vec<String>, List(Form::Name), Adds = [];
        /// Files that must be there after the attempt, below the workspace.
        files: Vec<String>, List(Form::Path), Adds = [];
        /// Counts an attempt without a `result.json` as without evidence.
        require_result: bool, Flag, OnlyTrue = false;
        /// Requires that an attempt that says done has changed files: what git does not ignore, compared with its
        /// start. The builder that ships must; false for one whose work is not a file of the project.
        change: bool, Flag, OnlyTrue = false;
        /// Requires that `result.json` answers every acceptance criterion of the task, with evidence. The tester that
        /// ships must; false for one that is just a command.
        criteria: bool, Flag, OnlyTrue = false;
        /// The treatment of the role's changes in a worktree: with `always` they become commits of the task's branch;
        /// with `never` they are saved below `refs/oodatcaa/aside` and taken out again; with `auto` the changes of
        /// roles that build or mend become commits, and those of roles that look do not.
        commits: Commits, Choice(Commits::WORDS), Ignored = "auto";
    }
}

words! {
    /// Tells whether what a role changes in a worktree becomes commits of the task's branch.
    pub enum Commits {
        /// It does where the role builds or mends; else it is put aside.
        Auto = "auto",
        /// It does.
        Always = "always",
        /// It is saved, and taken out of the worktree again.
        Never = "never",
    }
}

section! {
    /// An agent of your own: any program. Those that we know (claude, codex, gemini, opencode, qwen, copilot,
    /// cursor-agent, aider) need one line, `kind = "claude"`; `agentctl agent list` tells which are there, `agentctl agent
    /// show claude` what each of them is.
    const AGENT_KIND = "agents.*" {
        /// An adapter, `command` for any program, `sim` for the simulated agent; `command` when absent.
        ("kind"): Text(Form::Name), Ignored like "command";
    }
}

section! {
    /// `[agents.NAME]`.
    pub struct AgentConfig = "agents.*" {
        /// The adapter, where `kind` names none; empty for none.
        adapter: Option<String>, Maybe(Form::Agent), Ignored like "";
        /// The model to ask for; with an adapter.
        model: Option<String>, Text(Form::Any), Ignored like "";
        /// Its permissions to act unasked, in the words of its adapter: `edits`, `all`, ….
        permissions: Option<String>, Text(Form::Any), Ignored like "";
        /// The account it uses. Agents of one adapter, account and model share its limits.
        account: Option<String>, Maybe(Form::Agent), Ignored like "";
        /// Further arguments; with an adapter.
        args: Vec<String>, List(Form::Any), Ignored = [];
        /// Program and arguments, never run through a shell. `{prompt_file}` `{task_id}` `{role}` `{run_dir}`
        /// `{out_dir}` `{result_file}` `{workspace}` `{git_dir}` `{project}` `{attempt}` are replaced, as whole or as part of
        /// an argument.
        argv: Vec<String>, Program, Ignored like ["my-agent", "--task", "{task_id}"];
        /// The channel for its prompt: `stdin`, or `file` with `{prompt_file}` in `argv`.
        prompt: PromptVia, Choice(PromptVia::WORDS), Ignored = "stdin";
        /// Names of variables that it inherits, besides the few that every program needs; `NAME_*` for all that start
        /// so.
        env: Vec<String>, List(Form::Inherited), Ignored = [] like ["MY_AGENT_*"];
        /// The command that installs it, for the message when it is missing.
        install: Option<String>, Text(Form::Any), Ignored like "npm install -g my-agent";
        beside {
            /// The implementation.
            kind: AgentKind;
            /// Variables that it is given.
            set: BTreeMap<String, String>;
            /// Exit codes with a meaning of their own.
            exits: BTreeMap<i32, Class>;
            /// The adapters of the configuration, by name; each adapter checks its own form.
            adapters: BTreeMap<String, toml::Table>;
        }
    }
}

section! {
    const AGENT_TABLES = "agents.*" {
        /// Variables that it is given: text, or a secret by reference: `env:NAME`, `file:PATH` (mode 600).
        ("set.*"): Text(Form::EnvValue), Ignored like { MY_AGENT_KEY = "env:MY_KEY", MY_AGENT_RETRIES = "2" };
        /// The meaning of its exit codes: overloaded network agent_crashed rate_limited usage_limit auth_expired
        /// agent_not_found config permission_denied environment sandbox context_overflow session_lost gate_failed
        /// no_evidence agent_failed timeout silent protocol interrupted superseded cancelled budget_exceeded
        /// unclassified.
        ("exits.*"): Text(Form::Class), Ignored like { 75 = "rate_limited", 77 = "auth_expired" };
        /// Variables of one of its accounts. Each account is an agent `NAME@ACCOUNT` with a pool and a home of its own.
        /// A role that names `NAME` gets all of them: of those that are open the one whose window ends first works, and
        /// a session goes on with the account that it began with.
        ("accounts.*.set.*"): Text(Form::EnvValue), Ignored like { MY_AGENT_KEY = "env:WORK_KEY" };
    }
}

/// The implementation of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentKind {
    /// Any program.
    #[default]
    Command,
    /// A program that an adapter describes.
    Adapter,
    /// The simulated agent that ships with us; only where it is named.
    Sim,
}

words! {
    /// The channel for a prompt.
    pub enum PromptVia {
        /// On standard input.
        Stdin = "stdin",
        /// By the path in an argument.
        File = "file",
    }
}

section! {
    /// Changes to an adapter that ships, or a new one: see `docs/agents.md`. The same may stand in a file of its own,
    /// `.oodatcaa/adapters/NAME.toml`.
    const ADAPTERS = "adapters.*" {
        /// Any part of an adapter's description, e.g. another adapter to start from: `extends = "claude"`.
        ("*"): Any, Ignored like "claude";
    }
}

section! {
    /// A gate: a command whose exit code 0 lets a task pass.
    pub struct GateConfig = "gates.*" {
        /// Program and arguments, never run through a shell.
        argv: Vec<String>, Program, Ignored like ["make", "test"];
        /// Wall-clock limit of a run.
        timeout: Duration, Duration(100), Ignored = "10m";
        /// `check`: when it is red, it is tried on the commit that the work began with; red there, too, it is the
        /// environment's fault, the role pauses and nobody is charged. `skip`: it is meant to be red until a task is
        /// done.
        baseline: OnBase, Choice(OnBase::WORDS), Ignored = "check";
        /// Names of variables that it inherits, besides the few that every program needs.
        env: Vec<String>, List(Form::Inherited), Ignored = [];
    }
}

words! {
    /// Tells whether a red gate is tried on the commit that the work began with.
    pub enum OnBase {
        /// It is, before it is held against anybody.
        Check = "check",
        /// It is meant to be red there.
        Skip = "skip",
    }
}

section! {
    /// Tasks and messages that come at a time, made by whichever worker looks first, and once: over restarts, a suspended
    /// machine and the change to summer time. It needs `cron` or `every`, and something to do. `agentctl schedule list` shows the next
    /// times.
    const SCHEDULE = "schedules.*" {
        /// Times by the clock on the wall: minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`,
        /// `@weekly`, `@monthly`, `@yearly`.
        ("cron"): Maybe(Form::Times), Ignored = "" like "0 9 * * 1";
        /// The time zone of `cron`. In a night that has an hour twice a named hour comes once, and one that the night
        /// leaves out comes right after it.
        ("tz"): Text(Form::Zone), Ignored = "UTC" like "Europe/Berlin";
        /// In place of `cron`: so long after the last run. At least 1m; 0 for none.
        ("every"): Duration(0), Ignored = 0;
        /// A run that nobody was up for: `once` makes the latest of them good, `none` only tells of it.
        ("catch_up"): Choice(&["once", "none"]), Ignored = "once";
        /// A run that comes while the last task is not finished: `skip` tells of it and makes none, `allow` makes one more.
        ("overlap"): Choice(&["skip", "allow"]), Ignored = "skip";
        /// Puts each time of `cron` off by a part of this that hangs on the schedule's name.
        ("jitter"): Duration(0), Ignored = 0;
    }
}

section! {
    /// A hand-off: what follows on what happens, in the same commit, once, whoever did it. In titles, descriptions and texts
    /// `{task}` `{title}` `{branch}` `{from}` `{to}` `{role}` `{kind}` `{text}` are replaced. A task that a hand-off made
    /// knows how many led to it (`limits.handoffs`). `agentctl handoff list` shows what each did.
    const HANDOFF = "handoffs.*" {
        /// The kind of event that it answers: a task that appeared (`task.created`), one that came to another status, by
        /// whatever hand (`task.moved`), a message of an agent or a rule (`message.sent`).
        ("on"): Choice(&["task.created", "task.moved", "message.sent"]), Ignored = "task.moved";
        /// Only this: the status that the task came to, or the receiver of the message. Empty for any, as in the next keys.
        ("to"): Maybe(Form::Status), Ignored = "" like "awaiting_test";
        /// The status that the task left.
        ("from"): Maybe(Form::Status), Ignored = "";
        /// The role whose worker moved the task, or whose agent sent the message.
        ("from_role"): Maybe(Form::Name), Ignored = "";
        /// The type of the task.
        ("type"): Text(Form::Any), Ignored = "";
        /// The kind of the message, e.g. `bug_report`.
        ("kind"): Text(Form::Any), Ignored = "";
        /// Moves the task there, as far as a person could without force, while it stands where it came to.
        ("then.move"): Maybe(Form::Status), Ignored = "";
    }
}

section! {
    /// The deed of a schedule: a task, a message, or both.
    const SCHEDULE_THEN = "schedules.*" with (HANDOFF_THEN = "handoffs.*") {
        /// The title of a task that is made.
        ("then.task.title"): Text(Form::Any), Ignored like "Review the roadmap";
        /// Its first status; where new tasks begin when empty.
        ("then.task.status"): Maybe(Form::Status), Ignored = "";
        /// Its type; that of its status when empty.
        ("then.task.type"): Text(Form::Any), Ignored = "";
        /// Its priority, small first; of a hand-off on a message ten times the message's where nothing is said.
        ("then.task.priority"): Count(0), Ignored = 100;
        /// The work that is to be done.
        ("then.task.description"): Text(Form::Any), Ignored = "";
        /// Statements that must be true afterwards.
        ("then.task.accept"): List(Form::Any), Ignored = [];
        /// Gates beside those of its role. With a role of `agent = "none"` they are all that is done.
        ("then.task.gates"): List(Form::Name), Ignored = [];
        /// The receiver of a message that is sent: a role, `human`, or `all`.
        ("then.message.to"): Text(Form::Any), Ignored like "human";
        /// Its words.
        ("then.message.text"): Text(Form::Any), Ignored like "The week begins";
        /// Its kind, in one word.
        ("then.message.kind"): Text(Form::Any), Ignored = "";
        /// Its urgency, 1 (first) to 10; 5 where nothing is said.
        ("then.message.priority"): Count(0), Ignored = 5;
    }
}

/// The name that stands for no agent.
pub(crate) const NO_AGENT: &str = "none";

/// The tables in the order in which people read them.
pub(crate) const SECTIONS: &[Section] = &[
    Fleet::SECTION,
    retry::SECTION,
    limits::SECTION,
    MergeConfig::SECTION,
    DECISIONS,
    budget::SECTION,
    BUDGET_ROLE,
    BUDGET_DAY,
    WorkspaceConfig::SECTION,
    Sandbox::SECTION,
    ROLE_TABLE,
    RoleConfig::SECTION,
    AGENT_KIND,
    AgentConfig::SECTION,
    AGENT_TABLES,
    ADAPTERS,
    GateConfig::SECTION,
    SCHEDULE,
    SCHEDULE_THEN,
    HANDOFF,
    HANDOFF_THEN,
    AGENT_SANDBOX,
    ROLE_SANDBOX,
    GATE_SANDBOX,
];

/// The scopes of `[budget.*]`.
pub(crate) const SCOPES: [&str; 4] = ["attempt", "task", "role", "day"];

/// Returns every key there is.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}
