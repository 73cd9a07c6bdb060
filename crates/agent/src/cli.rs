//! An agent CLI as its descriptor describes it: what to execute, what to watch for, what its end means.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{
    Agent, Assignment, BadAgent,
    command::Command,
    descriptor::{self, Descriptor, Dialect},
    environment,
    failure::Failure,
    home, output,
    stream::State,
    watcher::Stream,
};
use oodatcaa_config::{AgentConfig, AgentKind, PromptVia};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Class, Outcome, text};
use oodatcaa_process::{Exit, Invocation, StopCause};
use oodatcaa_sys::files;

mod clock;
mod invoke;
pub mod judge;
mod sessions;
mod watch;

pub use invoke::{check, program};
pub use watch::Watcher;

/// An agent CLI.
#[derive(Clone, Debug)]
pub struct Cli {
    name: String,
    config: AgentConfig,
    descriptor: Result<Arc<Descriptor>, BadAgent>,
}

impl Cli {
    /// Makes the agent that descriptor and configuration describe. What is wrong with them shows at every attempt.
    pub fn new(name: &str, config: &AgentConfig) -> Self {
        let descriptor = describe(name, config).and_then(|found| {
            check(name, config, &found)?;
            crate::check_variables(name, config)?;
            Ok(found)
        });
        Self { name: name.into(), config: config.clone(), descriptor: descriptor.map(Arc::new) }
    }

    /// Returns the parts that any program shares: what we did to it, its result file.
    fn command(&self, descriptor: &Descriptor, assignment: &Assignment) -> Command {
        let set = environment::path(&self.config.set);
        let argv = vec![program(descriptor, &self.config, &set, &assignment.workspace)];
        let (inherit, set) = invoke::variables(descriptor, &self.config, assignment.home.as_deref());
        let install = self.config.install.clone().or_else(|| descriptor.program.install.clone());
        let config = AgentConfig {
            kind: AgentKind::Command,
            argv,
            prompt: PromptVia::Stdin,
            env: inherit,
            set,
            exits: BTreeMap::new(),
            install,
            ..self.config.clone()
        };
        Command::new(&self.name, &config)
    }

    fn secrets(&self, descriptor: &Descriptor, assignment: &Assignment) -> Vec<String> {
        let (inherit, set) = invoke::variables(descriptor, &self.config, assignment.home.as_deref());
        let env = environment(assignment, &inherit, &set);
        let named = descriptor.env.secret.iter().filter_map(|name| env.get(name)).filter(|value| value.len() >= 8);
        let mut all = environment::secrets(&env, &self.config.set);
        all.extend(named.cloned());
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        all
    }

    /// Reads the whole output.
    fn read(&self, descriptor: &Descriptor, assignment: &Assignment) -> State {
        let mut state = State::new(descriptor);
        for (stream, name) in [(Stream::Stdout, "stdout.log"), (Stream::Stderr, "stderr.log")] {
            // What cannot be read told nothing.
            let path = assignment.run_dir.join(name);
            let Ok(Some(mut file)) = files::open(Layout::root_of(&path), &path) else { continue };
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = file.read(&mut buffer) {
                state.feed(descriptor, stream, &buffer[..length], Duration::ZERO);
            }
        }
        state.finish(descriptor, Duration::ZERO);
        state.file(descriptor, &assignment.run_dir, Duration::ZERO);
        state
    }
}

/// Returns the descriptor of an agent.
pub fn describe(name: &str, config: &AgentConfig) -> Result<Descriptor, BadAgent> {
    let adapter = config.adapter.as_deref().unwrap_or(name);
    descriptor::load(adapter, &config.adapters).map_err(|what| BadAgent::Descriptor { name: name.into(), what })
}

impl Agent for Cli {
    fn name(&self) -> &str {
        &self.name
    }

    fn simulated(&self) -> bool {
        false
    }

    fn pool(&self) -> String {
        let spoken = self.descriptor.as_ref().is_ok_and(|descriptor| descriptor.dialect == Dialect::Acp);
        // By the protocol an agent is only reached: its account is its own.
        let program = self.config.argv.first().filter(|_| spoken).and_then(|program| Path::new(program).file_name());
        let program = program.and_then(|name| name.to_str());
        let adapter = program.or(self.config.adapter.as_deref()).unwrap_or(&self.name);
        let account = self.config.account.as_deref().unwrap_or("default");
        let model = self.config.model.as_deref().unwrap_or("default");
        format!("{adapter}/{account}/{model}")
    }

    fn problem(&self) -> Option<&BadAgent> {
        self.descriptor.as_ref().err()
    }

    fn missing_program(&self, cwd: &Path) -> Option<String> {
        let path = environment::path(&self.config.set);
        let wanted = program(self.descriptor.as_ref().ok()?, &self.config, &path, cwd);
        environment::find_program(&wanted, &path, cwd).is_none().then_some(wanted)
    }

    fn install(&self) -> Option<String> {
        let shipped = || self.descriptor.as_ref().ok()?.program.install.clone();
        self.config.install.clone().or_else(shipped)
    }

    fn invocation(&self, assignment: &Assignment) -> Invocation {
        match &self.descriptor {
            Ok(descriptor) => invoke::invocation(descriptor, &self.config, assignment),
            // A configuration that was refused executes nothing: an empty argv cannot start.
            Err(_) => Invocation {
                argv: Vec::new(),
                env: BTreeMap::new(),
                cwd: assignment.workspace.clone(),
                stdin: None,
                stdout: assignment.run_dir.join("stdout.log"),
                stderr: assignment.run_dir.join("stderr.log"),
            },
        }
    }

    fn watcher(&self, assignment: &Assignment) -> Option<Watcher> {
        let descriptor = self.descriptor.as_ref().ok()?;
        Some(Watcher::new(Arc::clone(descriptor), assignment))
    }

    fn grace(&self) -> Option<Duration> {
        let descriptor = self.descriptor.as_ref().ok()?;
        descriptor.kill.grace_s.map(Duration::from_secs)
    }

    fn leaves(&self) -> &[String] {
        self.descriptor.as_ref().map(|descriptor| descriptor.workspace.ignore.as_slice()).unwrap_or_default()
    }

    fn can_resume(&self) -> bool {
        self.descriptor.as_ref().is_ok_and(|descriptor| !descriptor.args.resume.is_empty())
    }

    fn wants_home(&self) -> bool {
        self.descriptor.as_ref().is_ok_and(|descriptor| home::wanted(descriptor, &home::lookup(&self.config.set)))
    }

    fn prepare_home(&self, home: &Path) -> io::Result<()> {
        let variable = home::lookup(&self.config.set);
        match self.descriptor.as_ref().ok().filter(|found| home::usable(found, Some(home), &variable).is_some()) {
            Some(descriptor) => home::prepare_home(descriptor, home, &variable),
            None => Ok(()),
        }
    }

    fn secrets(&self, assignment: &Assignment) -> Vec<String> {
        self.descriptor.as_ref().map(|descriptor| Self::secrets(self, descriptor, assignment)).unwrap_or_default()
    }

    fn outcome(&self, assignment: &Assignment, exit: &Exit, watched: Option<&Watcher>) -> Outcome {
        let descriptor = match &self.descriptor {
            Ok(descriptor) => descriptor,
            Err(bad) => return Outcome::failed(Class::Config, format!("cannot {bad}")),
        };
        let read;
        let state = match watched {
            Some(watcher) => watcher.state(),
            None => {
                read = self.read(descriptor, assignment);
                &read
            }
        };
        sessions::remember(&assignment.run_dir, descriptor, &state.run().observation);
        let command = self.command(descriptor, assignment);
        // It had said its last word, lingered, and was ended for that.
        let lingered = exit.stopped == Some(StopCause::Asked) && state.run().terminal.is_some();
        if !lingered && let Some(outcome) = command.forced(assignment, exit) {
            return outcome;
        }
        let secrets = Self::secrets(self, descriptor, assignment);
        match judge::judge(descriptor, state, &exit.ended, lingered) {
            Some(judged) => failed(descriptor, state, judged, &secrets),
            None => command.by_result(assignment, exit).unwrap_or_else(|| match said_nothing(state) {
                true => Outcome::failed(Failure::NoEffect.class(), NOTHING),
                false => done(state, &secrets),
            }),
        }
    }
}

/// Why a run without anything to show for it is no success.
const NOTHING: &str =
    "the program ended well, and there is no result: no result file, no word of the model, no tool that worked";

fn said_nothing(state: &State) -> bool {
    let words = state.run().observation.last_text.as_deref().unwrap_or_default();
    words.trim().is_empty() && state.run().tools_ok == 0
}

/// Returns a success without a result file: the model's last words say what was done.
fn done(state: &State, secrets: &[String]) -> Outcome {
    let seen = &state.run().observation;
    let words = seen.last_text.as_deref().unwrap_or_default();
    let mut summary = text::cut(&output::mask(output::plain(words).trim(), secrets), 4_000);
    if seen.denials > 0 {
        summary = format!("({} tool calls were not allowed)\n{summary}", seen.denials);
    }
    Outcome::Done { summary, tasks: Vec::new() }
}

fn failed(descriptor: &Descriptor, state: &State, judged: judge::Judgement, secrets: &[String]) -> Outcome {
    let judge::Judgement { failure, words, retry_at } = judged;
    let mut reason = failure.words().trim_end_matches('.').to_owned();
    let words = output::mask(output::plain(&words).trim(), secrets);
    if !words.is_empty() {
        reason.push_str(": ");
        reason.push_str(&text::cut(&words, 2_000));
    } else {
        let tail = last_lines(state.stderr(), 8);
        if !tail.is_empty() {
            reason.push_str(":\n");
            reason.push_str(&output::mask(&tail, secrets));
        }
    }
    if failure == Failure::ToolDenied {
        // What this task needs and nobody allowed: the task waits for a person, others go on.
        reason
            .push_str("\nto allow them: `permissions` of the agent (agentctl agent show); then: agentctl task unblock");
        return Outcome::Blocked { reason };
    }
    if let (Failure::Auth, Some(login)) = (failure, &descriptor.program.login) {
        reason.push_str(&format!("\nto sign in: {login}"));
    }
    Outcome::Failed { class: failure.class(), reason, retry_at }
}

fn last_lines(text: &str, count: usize) -> String {
    let plain = output::plain(text);
    let kept = oodatcaa_sys::tail::last(&plain, count, |line| !line.trim().is_empty());
    kept.iter().map(|line| text::cut(line, 400)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
