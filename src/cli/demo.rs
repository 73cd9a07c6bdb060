//! `agentctl demo`: five workers do a sprint of six tasks in a scratch project, all of it simulated.
//!
//! It uses what a user uses: the fleet in its PID-file mode, the journal, the queue file. Whatever
//! way it ends, its workers end with it.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::narrator::Narrator;
use super::{
    context::Context,
    fail::Done,
    ui::{Tone, Ui},
};
use oodatcaa_config::{Config, Loaded, Overrides, World, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Data, Guarantee, Kind, Role, Snapshot, Task, text, why::Explainer};
use oodatcaa_fleet::{
    Backend, Fleet, Happened, Host, Mode, READY_WITHIN,
    pidfile::{self, State},
};
use oodatcaa_ops::{ErrorKind, Failure, Project, exit, quoted, sandbox};
use oodatcaa_process as process;
use oodatcaa_store::Desk;
use oodatcaa_sys::files;

mod narrator;
#[expect(clippy::disallowed_methods, reason = "a directory that the user has named, and that must be empty")]
mod project;

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to make the scratch project: an empty or new directory [default: one in the temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = text::parse_duration)]
    timeout: Duration,
    /// Remove the scratch project when all went well
    #[arg(long)]
    clean: bool,
}

/// How many lines of what a command says are shown.
const SHOWN_LINES: usize = 12;

/// How long the worker that is to be killed may work first: long enough to have edited something.
const KILL_AFTER: Duration = Duration::from_secs(1);

/// Plays the demo.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    if ctx.ui.json() {
        let message = "the demo is made to be watched and prints no JSON";
        return Err(Failure::new(ErrorKind::Usage, message).hint(
            "keep its project and read the journal: agentctl demo --dir DIR, then: agentctl -C DIR/project events tail --json",
        ));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Failure::new(ErrorKind::Bug, "failed to listen for Ctrl-C").cause(error.to_string()))?;
    }
    let layout = project::create(args.dir.as_deref())?;
    let ui = &ctx.ui;
    ui.line(&Tone::Strong.paint("A simulated sprint: no model is called, nothing leaves this machine."));
    ui.line(&format!("project   {}", layout.root().display()));

    let mut config = Config::load(&layout, &Overrides::default())?;
    let (kept, missing) = confinement(&layout, &config)?;
    if let Some(why) = &missing {
        // A person who wants to see the demo has said so; in a project of theirs nothing would run.
        project::require_less(&layout, &kept)?;
        config = Config::load(&layout, &Overrides::default())?;
        let rest = if kept.is_empty() { "off".into() } else { sandbox::words(&kept) };
        ui.line(&Tone::Warn.paint(&format!("sandbox   {rest}; this machine cannot keep more: {why}")));
    } else if kept.is_empty() {
        ui.line("sandbox   off, as your configuration says");
    } else {
        ui.line(&format!("sandbox   each agent and gate is confined: {}", sandbox::words(&kept)));
    }
    let config = config.config;
    let roles: Vec<Role> = config.workflow.rules().iter().map(|rule| rule.role.clone()).collect();
    let fleet = Fleet::new(&layout, Host::here(), roles.clone(), config.fleet.shutdown_timeout + config.fleet.grace);
    let store = oodatcaa_store::open(layout.root(), &layout, None, config.fleet.lock_wait)?;
    ui.line("");
    for task in store.read()?.snapshot.queue.tasks() {
        ui.line(&format!("  {:<4} {:<14} {}", task.id, task.status, text::one_line(&task.title)));
    }
    ui.line(&Tone::Faint.paint(&narrator::promise()));
    ui.line("");
    let mut play = Demo {
        ui,
        layout: &layout,
        fleet: &fleet,
        roles: &roles,
        store: &store,
        interrupted: &interrupted,
        narrator: Narrator::default(),
        began: Utc::now(),
        kill_at: None,
        asked: Vec::new(),
    };
    let played = play.whole(Instant::now() + args.timeout);
    // First of all nothing is left running, whatever there is to say.
    let stopped = play.stop();
    let reading = store.read();
    if let (Err(failure), Ok(reading)) = (&played, &reading) {
        play.explain(failure, &reading.snapshot, &config);
    }
    // What is left running is worse than what went wrong.
    stopped?;
    played?;
    let reading = reading?;
    play.end(&reading.snapshot)?;
    let scratch = scratch(&layout);
    if args.clean {
        trust::forget_in(&World::of_process(), &layout)?;
        files::remove_tree(scratch.parent().unwrap_or(scratch), scratch)?;
        ui.line("The scratch project was removed.");
    } else {
        next_steps(ui, layout.root(), scratch);
    }
    Ok(exit::OK)
}

/// Finds what agents are kept from here by trying it, and why they cannot be kept from all that is required.
fn confinement(layout: &Layout, loaded: &Loaded) -> Result<(Vec<Guarantee>, Option<String>), Failure> {
    let probes = Project::at(layout.clone(), loaded.clone()).probe()?;
    let why = probes.iter().find(|probe| !probe.ok).map(|probe| match &probe.error {
        Some(error) => error.clone(),
        None => sandbox::words(&probe.missing),
    });
    let kept = |one: &Guarantee| probes.iter().all(|probe| probe.given.contains(one));
    let all = Guarantee::ALL.into_iter().filter(|one| !probes.is_empty() && kept(one));
    // Where something forbidden could be done, no word of the machine is believed.
    let is_believed = probes.iter().all(|probe| probe.ok || !probe.missing.is_empty());
    Ok((all.filter(|_| is_believed).collect(), why))
}

struct Demo<'a> {
    ui: &'a Ui,
    layout: &'a Layout,
    fleet: &'a Fleet,
    roles: &'a [Role],
    store: &'a Desk,
    interrupted: &'a AtomicBool,
    narrator: Narrator,
    began: DateTime<Utc>,
    /// When the worker that has begun with [`narrator::RESCUED`] is to be killed.
    kill_at: Option<Instant>,
    /// Merges that wait for a yes: the decision and its task.
    asked: Vec<(String, String)>,
}

impl Demo<'_> {
    fn whole(&mut self, deadline: Instant) -> Result<(), Failure> {
        let changes = self.store.changes()?;
        self.start(self.roles)?;
        let mut again = true;
        loop {
            self.follow()?;
            for (decision, task) in std::mem::take(&mut self.asked) {
                self.approve(&decision, &task)?;
            }
            if self.kill_at.take_if(|at| *at <= Instant::now()).is_some() {
                self.kill()?;
            }
            if again && self.narrator.has_rescued() {
                // Under systemd the manager would have done that at once.
                self.start(&[Role::BUILDER])?;
                again = false;
            }
            // The journal is written after the queue: a task counts when both say that it is done.
            let done = |task: &Task| task.status.is_done() && self.narrator.has_seen_done(task.id.as_str());
            if self.store.read()?.snapshot.queue.tasks().all(done) {
                return Ok(());
            }
            if self.interrupted.load(Ordering::Relaxed) {
                let hint = format!("the scratch project is still there: rm -rf {}", quoted(scratch(self.layout)));
                return Err(Failure::new(ErrorKind::Interrupted, "interrupted; the workers are stopped").hint(hint));
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(ErrorKind::TimedOut, "the sprint was not done in time"));
            }
            // A missed message is made up for by the next look.
            let _ = changes.recv_timeout(Duration::from_millis(200));
        }
    }

    fn start(&self, roles: &[Role]) -> Result<(), Failure> {
        let mut started = Ok(());
        self.fleet.start(Mode::PidFile, roles, READY_WITHIN, &mut |report| {
            if let (Happened::Failed { why, lines, .. }, true) = (&report.what, started.is_ok()) {
                let message = format!("the {} did not start: {why}", report.name);
                started = Err(Failure::new(ErrorKind::Failed, message).cause(format!("\n  {}", lines.join("\n  "))));
            }
        })?;
        started
    }

    /// Shows what has happened since the last look, and notes when the builder has begun with what is to be rescued.
    fn follow(&mut self) -> Result<(), Failure> {
        for event in self.store.events(self.narrator.seq())? {
            let begun = event.kind() == Kind::AttemptStarted
                && event.task.as_ref().is_some_and(|task| task.as_str() == narrator::RESCUED)
                && event.role.as_ref() == Some(&Role::BUILDER);
            if begun && !self.narrator.has_killed() {
                self.kill_at = Some(Instant::now() + KILL_AFTER);
            }
            if let Data::DecisionRequested(asked) = event.data()
                && let (Some(decision), Some(task)) = (&asked.decision, &event.task)
            {
                self.asked.push((decision.clone(), task.to_string()));
            }
            if let Some(line) = self.narrator.take(event, self.began) {
                self.ui.line(&line);
            }
        }
        self.ui.flush();
        Ok(())
    }

    /// Says yes for the person who watches; of one task they see first what they would look at.
    fn approve(&self, decision: &str, task: &str) -> Result<(), Failure> {
        if task == narrator::SHOWN {
            for words in [&["worktree", "list"][..], &["run", "diff", task], &["inbox"], &["approve", decision]] {
                self.show(words)?;
            }
            return Ok(());
        }
        self.agentctl(&["approve", decision])?;
        self.ui.line(&self.now(task, "you", &format!("agentctl approve {decision}")));
        Ok(())
    }

    /// Runs a command as a person would, and shows what it says.
    fn show(&self, words: &[&str]) -> Result<(), Failure> {
        self.ui.line(&Tone::Strong.paint(&format!("          $ agentctl {}", words.join(" "))));
        let said = self.agentctl(words)?;
        // Rows for programs are as long as they are; the terminal may be narrower.
        let room = if self.ui.terminal() { self.ui.width().saturating_sub(12) } else { usize::MAX };
        for line in said.lines().take(SHOWN_LINES) {
            self.ui.verbatim(&format!("            {}", text::cut(&text::one_line(line), room)));
        }
        Ok(())
    }

    fn agentctl(&self, words: &[&str]) -> Result<String, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::of(ErrorKind::Failed, &error))?;
        let mut command = std::process::Command::new(program);
        command.arg("-C").arg(self.layout.root()).args(["--no-input", "--color", "never"]).args(words);
        // Ctrl-C goes to all of the terminal's group; the demo hears it and ends in order, so its commands need not.
        let output = command.stdin(std::process::Stdio::null()).process_group(0).output();
        let output = output.map_err(|error| Failure::of(ErrorKind::Failed, &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::new(ErrorKind::Failed, format!("agentctl {} has failed", words.join(" "))).cause(said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).replace('\t', "  "))
    }

    fn kill(&mut self) -> Result<(), Failure> {
        let State::Running(holder) = pidfile::inspect(self.layout, Role::BUILDER.as_str())? else { return Ok(()) };
        if let Ok(Some(handle)) = holder.handle()
            && handle.signal(Signal::KILL).is_ok_and(|killed| killed)
        {
            self.narrator.killed(Utc::now());
            let words = format!("✗ its worker, process {}, gets SIGKILL", holder.pid);
            self.ui.line(&Tone::Bad.paint(&self.now(narrator::RESCUED, "builder", &words)));
        }
        Ok(())
    }

    /// Returns a line for what the demo itself does to a task now.
    fn now(&self, task: &str, who: &str, words: &str) -> String {
        let at = (Utc::now() - self.began).as_seconds_f64();
        format!("{at:6.1} s  {task:<4} {who:<11} {words}")
    }

    fn stop(&self) -> Result<(), Failure> {
        let mut left = Vec::new();
        self.fleet.stop(Backend::Process, self.roles, None, &mut |report| {
            if !report.what.ok() {
                left.push(report.name.clone());
            }
        })?;
        if left.is_empty() {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::Failed, format!("these workers do not stop: {}", left.join(", ")))
            .hint(format!("agentctl -C {} fleet status", quoted(self.layout.root()))))
    }

    /// Lists what stands in the way of each task that is not done.
    fn explain(&self, failure: &Failure, snapshot: &Snapshot, config: &Config) {
        if failure.kind == ErrorKind::Interrupted {
            return;
        }
        for task in snapshot.queue.tasks().filter(|task| !task.status.is_done()) {
            self.ui.warn(&Explainer::new(snapshot, &config.workflow).briefly(task).sentence);
        }
        self.ui.warn(&format!("the logs are in {}", self.layout.logs().display()));
    }

    fn end(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let (attempts, simulated) = self.narrator.attempts();
        let seconds = (Utc::now() - self.began).as_seconds_f64();
        let tasks = snapshot.queue.len();
        self.ui.line("");
        self.ui.line(&Tone::Strong.paint(&format!("What happened, from the journal ({seconds:.0} s):")));
        self.ui.line(&Tone::Good.paint(&format!(
            "  ✓ {tasks} of {tasks} tasks are done, in {attempts} attempts, {simulated} of them simulated."
        )));
        let mut missing = Vec::new();
        for story in self.narrator.stories() {
            match story {
                Ok(story) => self.ui.line(&Tone::Good.paint(&format!("  ✓ {story}"))),
                Err(what) => missing.push(what),
            }
        }
        if !snapshot.leases.is_empty() {
            missing.push(format!("{} leases are left", snapshot.leases.len()));
        }
        let agents: usize = runs(self.layout).iter().map(|run| process::leftovers(run).len()).sum();
        if agents > 0 {
            missing.push(format!("{agents} processes of agents are left"));
        }
        if attempts != simulated {
            missing.push("not every attempt says that it was simulated".into());
        }
        if missing.is_empty() {
            self.ui.line(&Tone::Good.paint("  ✓ No worker, agent or lease is left."));
            return Ok(());
        }
        Err(Failure::new(ErrorKind::Failed, format!("the demo did not go as it should: {}", missing.join("; ")))
            .hint(format!("see what happened: less {}", quoted(&self.layout.journal()))))
    }
}

/// Returns the directory that the demo has made, with the project and its worktrees in it.
fn scratch(layout: &Layout) -> &Path {
    layout.root().parent().unwrap_or(layout.root())
}

/// Lists the directories of all attempts.
fn runs(layout: &Layout) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let all = files::list(layout.root(), dir, 10_000).ok().flatten().unwrap_or_default();
        all.into_iter().map(|entry| dir.join(entry.name)).collect()
    };
    below(&layout.runs()).iter().flat_map(|task| below(task)).collect()
}

fn next_steps(ui: &Ui, root: &Path, scratch: &Path) {
    let agentctl = std::env::current_exe().map_or_else(|_| "agentctl".into(), |exe| quoted(&exe));
    let values = [("{agentctl}", agentctl), ("{project}", quoted(root)), ("{scratch}", quoted(scratch))];
    for line in include_str!("demo/next.txt").lines() {
        let line = values.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value));
        ui.line(&if line.ends_with(':') { Tone::Strong.paint(&line) } else { line });
    }
}
