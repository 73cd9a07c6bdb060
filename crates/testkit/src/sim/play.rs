//! The simulated agent at work: talks JSON lines, takes time, edits files, ends as it was told.
//!
//! It runs in a program of its own (`agent-sim`) and knows the fleet only by the environment that
//! every agent gets. Everything that it writes says `simulated`.

use std::{
    fs,
    io::{self, StdoutLock, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use serde_json::{Value, json};

use super::script::{Behaviour, Call, CrashSignal, Edit, Part, spread};
use oodatcaa_core::{Class, time};

/// The place where it plays.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Which run it is.
    pub(crate) call: Call,
    /// The place where it edits.
    pub(crate) workspace: PathBuf,
    /// The place where its result goes, if anywhere.
    pub(crate) result_file: Option<PathBuf>,
    /// How many acceptance criteria its prompt has.
    pub(crate) criteria: usize,
}

/// Counts the acceptance criteria of a prompt.
pub(crate) fn criteria(prompt: &str) -> usize {
    let section = prompt.lines().skip_while(|line| *line != "## Acceptance criteria").skip(1);
    let is_one = |line: &&str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    section.take_while(|line| !line.starts_with("## ")).filter(is_one).count()
}

/// The roles that ship and make something.
const WORKS: &[&str] = &["builder", "refiner", "architect", "code_developer"];

/// The roles that ship and answer acceptance criteria.
const JUDGES: &[&str] = &["tester", "project_manager"];

/// Between two signs of life while it hangs.
const BEAT: Duration = Duration::from_millis(250);

/// Plays a part to its end, and returns the exit status of the program.
pub(crate) fn play(part: &Part, stage: &Stage) -> io::Result<u8> {
    let behaviour = part.rule.behaviour;
    let mut talk = Talk { out: io::stdout().lock(), session: session(part.seed), turns: 0, tools: 0 };
    talk.init(stage)?;
    talk.say(&format!("simulated: {} works on {}", stage.call.role, stage.call.task))?;
    if behaviour == Behaviour::RateLimited {
        return rate_limited(part, stage, &mut talk);
    }
    if behaviour == Behaviour::IgnoreTerm {
        ignore_term()?;
    }
    sleep(part.time / 2);
    match behaviour {
        Behaviour::Silent => loop {
            sleep(Duration::from_secs(3_600));
        },
        Behaviour::Hang | Behaviour::IgnoreTerm => loop {
            sleep(BEAT);
            talk.say("simulated: still thinking")?;
        },
        Behaviour::Crash => return crash(part.rule.signal.unwrap_or(CrashSignal::Abrt)),
        Behaviour::Flood => talk.flood(part.rule.megabytes.unwrap_or(256))?,
        Behaviour::LeaveGrandchild => leave_grandchild()?,
        _ => {}
    }

    let edited = if behaviour.works() { edit_all(part, stage, &mut talk)? } else { Vec::new() };
    sleep(part.time / 2);
    if behaviour == Behaviour::CutOff {
        return Ok(0);
    }
    let summary = summary(part, stage, &edited);
    if let (Some(file), Some(text)) = (&stage.result_file, result_text(part, stage, &summary)) {
        talk.tool("Write", &json!({"file_path": file}), "simulated: result written")?;
        fs::write(file, text)?;
    }
    match behaviour {
        Behaviour::Exit => {
            let status = part.rule.exit.unwrap_or(3);
            writeln!(io::stderr(), "agent-sim: simulated exit {status}")?;
            Ok(status)
        }
        Behaviour::Fail => {
            writeln!(io::stderr(), "agent-sim: {summary}")?;
            talk.last("error_during_execution", &summary, None)?;
            Ok(part.rule.exit.unwrap_or(1))
        }
        _ => talk.last("success", &summary, None).map(|()| 0),
    }
}

fn crash(signal: CrashSignal) -> io::Result<u8> {
    use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
    writeln!(io::stderr(), "agent-sim: simulated crash")?;
    match signal {
        CrashSignal::Kill => kill_process(getpid(), Signal::KILL).map(|()| 128 + 9).map_err(Into::into),
        CrashSignal::Abrt => {
            // A core file in the workspace would be an edit that nobody scripted; without the limit it is one.
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            std::process::abort()
        }
    }
}

/// Stops caring about TERM.
pub(super) fn ignore_term() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::default()).map(drop)
}

/// Leaves a process in a session of its own behind.
fn leave_grandchild() -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--linger", "3600"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

impl Behaviour {
    /// Tells whether files are edited on the way.
    fn works(self) -> bool {
        use Behaviour as B;
        matches!(self, B::Succeed | B::Flood | B::LeaveGrandchild | B::NoResult | B::BadResult | B::Exit | B::CutOff)
    }
}

fn rate_limited(part: &Part, stage: &Stage, talk: &mut Talk) -> io::Result<u8> {
    let seconds = part.rule.retry_after.unwrap_or(60);
    let words = format!("simulated: too many requests; come back in {seconds} s");
    writeln!(io::stderr(), "agent-sim: {} on {}: {words}", stage.call.role, stage.call.task)?;
    let wait = chrono::Duration::try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or_default();
    let at = chrono::Utc::now().checked_add_signed(wait).map(time::stamp);
    talk.last("error_rate_limited", &words, at).map(|()| 1)
}

/// Returns what it says in the end; `simulated` in front, whatever the script says.
fn summary(part: &Part, stage: &Stage, edited: &[String]) -> String {
    let Call { task, role, .. } = &stage.call;
    let words = part.rule.summary.clone().unwrap_or_else(|| match part.rule.behaviour {
        Behaviour::Fail | Behaviour::SayFailed => format!("{role} failed at {task}"),
        Behaviour::NeedsAdapt => format!("{role} found that {task} does not do what it should"),
        Behaviour::Replan => format!("{role} thinks that {task} needs another plan"),
        Behaviour::Blocked => format!("{role} cannot go on with {task}"),
        Behaviour::Ask => format!("{role} has a question about {task}"),
        Behaviour::NoChange => format!("{role} found nothing to change for {task}"),
        _ if edited.is_empty() => format!("{role} is done with {task}"),
        _ => format!("{role} is done with {task}, edited {}", edited.join(", ")),
    });
    if words.starts_with("simulated") { words } else { format!("simulated: {words}") }
}

/// Returns the content of the result file, if there shall be one.
fn result_text(part: &Part, stage: &Stage, summary: &str) -> Option<String> {
    let rule = &part.rule;
    let outcome = match rule.behaviour {
        Behaviour::Succeed | Behaviour::Flood | Behaviour::LeaveGrandchild => "done",
        Behaviour::SayFailed => "failed",
        Behaviour::NeedsAdapt => "needs_adapt",
        Behaviour::Replan => "replan",
        Behaviour::Blocked => "blocked",
        Behaviour::NoChange => "no_change",
        Behaviour::Ask => "needs_input",
        Behaviour::BadResult => return Some("{\"outcome\": \"done\",\n \"summary\": \"simulated: half a res".into()),
        _ => return None,
    };
    let mut result = json!({"outcome": outcome, "summary": summary});
    match outcome {
        "done" if !rule.tasks.is_empty() => result["tasks"] = json!(rule.tasks),
        "failed" => result["class"] = json!(rule.class.unwrap_or(Class::AgentFailed)),
        "needs_input" => {
            let text = rule.question.as_deref().unwrap_or("How shall this go on?");
            result["question"] = json!({"text": format!("simulated: {text}"), "options": rule.options});
        }
        _ => {}
    }
    if stage.criteria > 0 && JUDGES.contains(&stage.call.role.as_str()) && result["outcome"] == "done" {
        let answer = |number| json!({"criterion": number, "met": true, "evidence": "simulated: nothing was looked at"});
        result["criteria"] = (1..=stage.criteria).map(answer).collect();
    }
    Some(format!("{result:#}\n"))
}

/// Makes the scripted edits; without any, roles that work on files leave a line in a file of the task.
fn edit_all(part: &Part, stage: &Stage, talk: &mut Talk) -> io::Result<Vec<String>> {
    let Call { task, role, attempt, token, .. } = &stage.call;
    let fill = |text: &str| {
        text.replace("{task_id}", task)
            .replace("{role}", role)
            .replace("{attempt}", &attempt.to_string())
            .replace("{token}", &token.to_string())
    };
    let mut edits = part.rule.edits.clone();
    let leaves_a_trace = WORKS.contains(&role.as_str()) || !edits.is_empty();
    if leaves_a_trace {
        // Beside scripted edits too: their content may be code, in which no label could stand.
        let names: Vec<String> = edits.iter().map(|edit| fill(&edit.path)).collect();
        let what = if names.is_empty() { String::new() } else { format!(", edited {}", names.join(", ")) };
        edits.push(Edit {
            path: "simulated/{task_id}.md".into(),
            append: Some(format!("- simulated: {{role}}, attempt {{attempt}}, token {{token}}{what}\n")),
            content: None,
        });
    }
    let mut edited = Vec::new();
    for edit in &edits {
        let path = fill(&edit.path);
        let text = fill(edit.content.as_deref().or(edit.append.as_deref()).unwrap_or_default());
        talk.tool("Edit", &json!({"file_path": path}), "simulated: edited")?;
        write_below(&stage.workspace, &path, &text, edit.append.is_some())
            .map_err(|error| io::Error::new(error.kind(), format!("edit {path}: {error}")))?;
        edited.push(path);
    }
    Ok(edited)
}

/// Writes a file below the workspace, never through a link out of it.
fn write_below(workspace: &Path, path: &str, text: &str, append: bool) -> io::Result<()> {
    let file = workspace.join(path);
    let mut at = workspace.to_owned();
    for part in Path::new(path).components() {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_symlink()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is a link", at.display())));
        }
    }
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).append(append).truncate(!append);
    options.open(&file)?.write_all(text.as_bytes())
}

/// Returns a session's name, always the same for the same run.
fn session(seed: u64) -> String {
    format!("sim-{:016x}{:016x}", spread(seed), spread(seed ^ 1))
}

/// The stream of JSON lines, in the words of the CLIs that it stands in for.
struct Talk {
    out: StdoutLock<'static>,
    session: String,
    turns: u32,
    tools: u32,
}

impl Talk {
    fn line(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")?;
        self.out.flush()
    }

    fn init(&mut self, stage: &Stage) -> io::Result<()> {
        let line = json!({
            "type": "system", "subtype": "init", "session_id": self.session, "cwd": stage.workspace,
            "model": "simulated", "tools": ["Edit", "Write"], "simulated": true,
        });
        self.line(&line)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.assistant(&json!({"type": "text", "text": text}))
    }

    fn assistant(&mut self, content: &Value) -> io::Result<()> {
        self.turns += 1;
        let message = json!({"role": "assistant", "model": "simulated", "content": [content]});
        let line = json!({"type": "assistant", "message": message, "session_id": self.session, "simulated": true});
        self.line(&line)
    }

    fn tool(&mut self, name: &str, input: &Value, answer: &str) -> io::Result<()> {
        self.tools += 1;
        let id = format!("toolu_sim_{:03}", self.tools);
        self.assistant(&json!({"type": "tool_use", "id": id, "name": name, "input": input}))?;
        let content = json!({"type": "tool_result", "tool_use_id": id, "content": answer});
        let message = json!({"role": "user", "content": [content]});
        let line = json!({"type": "user", "message": message, "session_id": self.session, "simulated": true});
        self.line(&line)
    }

    fn flood(&mut self, megabytes: u64) -> io::Result<()> {
        let text = "simulated flood ".repeat(4_000);
        let line =
            json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}, "simulated": true});
        let line = format!("{line}\n");
        let mut left = megabytes.saturating_mul(1_000_000);
        while left > 0 {
            self.out.write_all(line.as_bytes())?;
            left = left.saturating_sub(line.len() as u64);
        }
        Ok(())
    }

    fn last(&mut self, subtype: &str, text: &str, retry_at: Option<String>) -> io::Result<()> {
        let mut line = json!({
            "type": "result", "subtype": subtype, "is_error": subtype != "success", "num_turns": self.turns,
            "result": text, "session_id": self.session, "total_cost_usd": 0.0,
            "usage": {"input_tokens": self.turns * 100, "output_tokens": self.turns * 10}, "simulated": true,
        });
        if let Some(at) = retry_at {
            line["retry_at"] = at.into();
        }
        self.line(&line)
    }
}
