//! `agent-sim`: a program that behaves like a model-driven CLI, and is none.
//!
//! Flags and environment in, a play out. It says `simulated` in everything that it writes, and
//! refuses to run outside of an attempt unless it is told to.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use serde_json::{Value, json};

mod acp;
mod play;
mod script;

use play::{Stage, criteria, ignore_term, play};
use script::{Call, Script};

const USAGE: u8 = 64;
const CANNOT_WRITE: u8 = 74;
const CONFIG: u8 = 78;

/// Lines stay short: a wrapped comment would be no comment any more.
const SCRIPT: &str = r#"Script (TOML); the first rule that fits is played, else the run succeeds:
  seed = 7
  speed = 2.0            # twice as fast
  seconds = [1, 3]       # how long a run takes: a number, or between two
  [[rules]]
  role = "tester"        # for whom; * and ? as in file names
  task = "D2*"
  attempts = [1]         # on these tries of a stage
  calls = [1, 2]         # on these runs of the role on the task
  chance = 0.5           # in this share of all cases
  do = "needs_adapt"
  # succeed fail say_failed needs_adapt replan blocked ask no_change
  # hang silent crash flood ignore_term leave_grandchild rate_limited
  # exit no_result bad_result cut_off
  summary = "..."
  # and: seconds exit class question options retry_after megabytes signal
  edits = [{ path = "todo.sh", content = "..." }]  # or append
  tasks = [{ id = "D1-B01", title = "...", type = "Build" }]"#;

/// A simulated agent: behaves like a model-driven command-line program, follows a script, uses no model.
#[derive(Debug, Parser)]
#[command(name = "agent-sim", version, after_help = SCRIPT)]
struct Flags {
    /// The script; `.oodatcaa/sim.toml` of the project where that exists, else everything succeeds.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How many times faster than written time passes.
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,
    /// The place where all chance comes from; overrides the script's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run outside of an attempt of the fleet, in the working directory.
    #[arg(long)]
    standalone: bool,
    /// Only stay alive for so long; how a left grandchild passes its time.
    #[arg(long, hide = true, value_name = "SECONDS")]
    linger: Option<u64>,
}

/// Runs the program, from its command line to its exit code. `refused` prints what clap says of a command line.
pub fn main(refused: fn(&clap::Error) -> io::Result<()>) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|mode| mode == acp::MODE) {
        return acp::main();
    }
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let code = if error.use_stderr() { USAGE } else { 0 };
            return if refused(&error).is_ok() { code.into() } else { CANNOT_WRITE.into() };
        }
    };
    let code = run(&flags).unwrap_or_else(|(code, message)| {
        // Nobody is left to tell when standard error is gone too.
        let _ = writeln!(io::stderr(), "agent-sim: {message}");
        code
    });
    code.into()
}

fn run(flags: &Flags) -> Result<u8, (u8, String)> {
    let cannot = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| (CANNOT_WRITE, format!("cannot {what}{error}"))
    };
    if let Some(seconds) = flags.linger {
        rustix::process::setsid().map_err(|error| cannot("start a session: ")(error.into()))?;
        ignore_term().map_err(cannot("ignore TERM: "))?;
        std::thread::sleep(Duration::from_secs(seconds));
        return Ok(0);
    }
    if flags.speed.is_some_and(|speed| !speed.is_finite() || speed <= 0.0) {
        return Err((USAGE, "--speed must be greater than 0".into()));
    }
    let run_dir = var("RUN_DIR").map(PathBuf::from);
    if run_dir.is_none() && !flags.standalone {
        let message = "this simulated agent is started by the fleet, and OODATCAA_RUN_DIR is not set; \
                       to try it by hand: agent-sim --standalone";
        return Err((USAGE, message.into()));
    }
    let script = script(flags)?;
    let mut stage = stage(run_dir.as_deref()).map_err(|error| (CANNOT_WRITE, error.to_string()))?;
    // A real agent reads its prompt to the end; so a writer at the other end never meets a closed pipe.
    let mut prompt = Vec::new();
    let read = io::stdin().lock().take(64 * 1024 * 1024).read_to_end(&mut prompt);
    read.map_err(cannot("read the prompt: "))?;
    stage.criteria = criteria(&String::from_utf8_lossy(&prompt));
    play(&script.part(&stage.call, flags.speed), &stage).map_err(cannot(""))
}

fn var(name: &str) -> Option<String> {
    std::env::var(format!("OODATCAA_{name}")).ok().filter(|value| !value.is_empty())
}

fn script(flags: &Flags) -> Result<Script, (u8, String)> {
    let usual =
        var("PROJECT").map(|project| Path::new(&project).join(".oodatcaa/sim.toml")).filter(|file| file.is_file());
    let mut script = match flags.script.as_ref().or(usual.as_ref()) {
        Some(file) => {
            let wrong = |error: String| (CONFIG, format!("cannot use the script {}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            Script::parse(&text).map_err(wrong)?
        }
        None => Script::default(),
    };
    script.seed = flags.seed.unwrap_or(script.seed);
    Ok(script)
}

fn stage(run_dir: Option<&Path>) -> io::Result<Stage> {
    let here = std::env::current_dir()?;
    let number = |name: &str| var(name).and_then(|value| value.parse().ok());
    let mut call = Call {
        task: var("TASK_ID").unwrap_or_else(|| "standalone".into()),
        role: var("ROLE").unwrap_or_else(|| "builder".into()),
        attempt: number("ATTEMPT").unwrap_or(1) as u32,
        token: number("TOKEN").unwrap_or(0),
        nth: 1,
    };
    let result_file = var("RESULT_FILE").map(PathBuf::from);
    if let (Some(run_dir), Some(out)) = (run_dir, result_file.as_deref().and_then(Path::parent)) {
        call.nth = 1 + earlier_calls(run_dir, out, &call);
        let note = json!({"simulated": true, "role": call.role, "call": call.nth});
        std::fs::write(out.join(NOTE), format!("{note}\n"))?;
    }
    Ok(Stage { workspace: var("WORKSPACE").map_or(here, PathBuf::from), result_file, criteria: 0, call })
}

/// The note that a run leaves in the agent's part of its directory, so that later runs can count.
const NOTE: &str = "sim.json";

/// Counts the runs of this role on this task before this one, told by the notes in the runs' directories.
fn earlier_calls(run_dir: &Path, out: &Path, call: &Call) -> u32 {
    let note = out.strip_prefix(run_dir).unwrap_or(Path::new("")).join(NOTE);
    let Some(runs) = run_dir.parent().and_then(|task| std::fs::read_dir(task).ok()) else { return 0 };
    let same_role = runs.flatten().filter(|run| run.path() != run_dir).filter(|run| {
        let note = std::fs::read(run.path().join(&note)).ok();
        note.and_then(|note| serde_json::from_slice::<Value>(&note).ok()).is_some_and(|note| note["role"] == *call.role)
    });
    u32::try_from(same_role.count()).unwrap_or(u32::MAX)
}
