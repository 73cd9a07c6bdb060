//! Each program by itself under our shim: that what we know of it still holds, and that nothing of it stays.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oodatcaa_process::{Attempt, Ended, Exit, Invocation, Limits, Report, Stop, StopCause, leftovers};

use super::programs::{Program, home};
use crate::{
    endpoint::{Endpoint, Script},
    support::eventually,
};

/// For a whole run on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One program with a home, a working directory and an endpoint.
struct Bench {
    program: Program,
    endpoint: Endpoint,
    home: tempfile::TempDir,
    work: tempfile::TempDir,
    run: tempfile::TempDir,
    path: PathBuf,
}

impl Bench {
    /// `None` when the program is not installed.
    fn new(program: Program) -> Option<Self> {
        let path = program.find()?;
        let endpoint = Endpoint::start(Script::default(), None).expect("an endpoint");
        let dir = || tempfile::tempdir().expect("a directory");
        let bench = Self { program, endpoint, home: home(), work: dir(), run: dir(), path };
        let git = std::process::Command::new("git").args(["init", "-q"]).current_dir(bench.work.path()).status();
        assert!(git.expect("git runs").success());
        Some(bench)
    }

    fn start(&self, prompt: &str, limits: &Limits) -> Attempt {
        let file = self.run.path().join("prompt.md");
        let work = self.work.path().display();
        fs::write(&file, format!("# Task\n\nYour working directory is: {work}\n\n{prompt}\n")).expect("a prompt");
        for name in ["stdout.log", "stderr.log"] {
            let _ = fs::remove_file(self.run.path().join(name));
        }
        let mut env = self.program.environment(&self.endpoint.url(), self.home.path());
        env.insert("PATH".into(), std::env::var("PATH").expect("a PATH"));
        env.insert("LANG".into(), "C.UTF-8".into());
        env.insert("TERM".into(), "dumb".into());
        let invocation = Invocation {
            argv: self.program.argv(&self.path, &self.endpoint.url()),
            env,
            cwd: self.work.path().into(),
            stdin: Some(file),
            stdout: self.run.path().join("stdout.log"),
            stderr: self.run.path().join("stderr.log"),
            confine: None,
        };
        let shim = Path::new(env!("CARGO_BIN_EXE_agent-daemon"));
        Attempt::start(shim, self.run.path(), &invocation, limits).expect("a shim")
    }

    fn end(&self, attempt: &Attempt) -> Exit {
        let until = Instant::now() + PATIENCE;
        loop {
            match attempt.reports().recv_deadline(until) {
                Ok(Report::Ended(exit)) => {
                    // The shim itself leaves right after its last word.
                    let left = leftovers(self.run.path()).into_iter().filter(|pid| *pid != attempt.shim());
                    assert_eq!(left.collect::<Vec<_>>(), Vec::<u32>::new(), "nothing of it stays");
                    return exit;
                }
                Ok(Report::Started { .. }) => {}
                Err(error) => panic!("no end ({error}): {}", self.said()),
            }
        }
    }

    fn play(&self, prompt: &str, limits: &Limits) -> Exit {
        let exit = self.end(&self.start(prompt, limits));
        assert!(!matches!(exit.ended, Ended::NotStarted { .. }), "{exit:?}");
        exit
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.run.path().join(name)).unwrap_or_default()
    }

    /// Everything that helps to understand.
    fn said(&self) -> String {
        let cut = |text: String| text.chars().take(4_000).collect::<String>();
        let (out, err) = (cut(self.text("stdout.log")), cut(self.text("stderr.log")));
        format!("{:?}\n{out}\n{err}\n{:#?}", self.program, self.endpoint.seen())
    }

    /// Requests of the work itself.
    fn requests(&self) -> usize {
        self.endpoint.seen().iter().filter(|seen| !seen.helper && !seen.rule.is_empty()).count()
    }
}

fn limits() -> Limits {
    Limits { wall: Some(PATIENCE), silence: None, output: 64 << 20, memory: None, grace: Duration::from_millis(500) }
}

fn says_a_text(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let exit = bench.play("[[text all is well here]]", &limits());
    assert_eq!(exit.ended, Ended::Exited(0), "{}", bench.said());
    assert!(bench.text("stdout.log").contains("all is well here"), "{}", bench.said());
    assert_eq!(bench.endpoint.outside(), Vec::<String>::new(), "it stays on the machine");
}

fn writes_a_file_by_its_tool(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let exit = bench.play("[[write path=hello.txt text=it's \"quoted\" $HOME `date`]] [[text written]]", &limits());
    assert_eq!(exit.ended, Ended::Exited(0), "{}", bench.said());
    let written = fs::read_to_string(bench.work.path().join("hello.txt")).unwrap_or_else(|_| bench.said());
    assert_eq!(written.trim_end(), "it's \"quoted\" $HOME `date`");
    assert_eq!(bench.requests(), 2, "{}", bench.said());
}

fn is_told_401(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let exit = bench.play("[[fault status=401]]", &limits());
    let (code, sign) = match program {
        Program::Claude => (1, "authentication_failed"),
        Program::Codex => (1, "401 Unauthorized"),
        // The status, modulo 256.
        Program::Gemini => (145, "API key not valid"),
        Program::Opencode => (1, "401"),
        // Success, by its exit code and by its own words.
        Program::Qwen => (0, "[API Error: 401"),
    };
    assert_eq!(exit.ended, Ended::Exited(code), "{}", bench.said());
    assert!(bench.text("stdout.log").contains(sign), "{}", bench.said());
}

fn is_told_429_without_end(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    // One of them goes on for minutes; there it is our limit that ends it.
    let ours = program == Program::Qwen;
    let wall = if ours { Duration::from_secs(20) } else { PATIENCE };
    let exit = bench.play("[[fault status=429 retry_after=1]]", &Limits { wall: Some(wall), ..limits() });
    let said = bench.text("stdout.log") + &bench.text("stderr.log");
    let (code, sign) = match program {
        Program::Claude => (1, "rate_limit"),
        Program::Codex => (1, "429 Too Many Requests"),
        Program::Gemini => (173, "Resource has been exhausted"),
        Program::Opencode => (1, "Rate limit reached"),
        Program::Qwen => {
            assert_eq!(exit.stopped, Some(StopCause::Wall), "{}", bench.said());
            assert!(bench.requests() > 0, "{}", bench.said());
            return;
        }
    };
    assert_eq!(exit.ended, Ended::Exited(code), "{}", bench.said());
    assert!(said.contains(sign), "{}", bench.said());
}

fn is_ended_by_our_silence_limit_when_the_model_hangs(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    for (n, hang) in ["before", "after"].into_iter().enumerate() {
        // The limit must not strike before the program has asked; how long that takes is the machine's business.
        let mut silence = Duration::from_secs(4);
        loop {
            let before = bench.requests();
            let prompt = format!("attempt {n} [[fault hang={hang}]]");
            let exit = bench.play(&prompt, &Limits { silence: Some(silence), ..limits() });
            assert_eq!(exit.stopped, Some(StopCause::Silence), "{exit:?} {}", bench.said());
            if bench.requests() > before {
                break;
            }
            silence *= 2;
            assert!(silence < PATIENCE, "it never asks: {}", bench.said());
        }
        eventually("the hanging connection is closed", || (bench.endpoint.open() == 0).then_some(()));
    }
}

fn is_ended_with_the_children_of_its_tools(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let attempt = bench.start("[[run (setsid tail -f /dev/null &) ; touch started; tail -f /dev/null]]", &limits());
    let started = bench.work.path().join("started");
    let mut ended = None;
    eventually("the tool runs", || {
        ended = attempt.reports().try_recv().ok().filter(|report| matches!(report, Report::Ended(_)));
        assert!(ended.is_none(), "{ended:?} {}", bench.said());
        started.exists().then_some(())
    });
    assert!(leftovers(bench.run.path()).len() >= 4, "the shim, the program and what its tool started");
    attempt.stop(Stop::Gently);
    let exit = bench.end(&attempt);
    assert_eq!(exit.stopped, Some(StopCause::Asked), "{exit:?}");
}

macro_rules! programs {
    ($(#$when:tt $module:ident: $program:ident { $($case:ident)* })*) => {
        $(mod $module {
            use super::*;
            $(#[test] #$when fn $case() { super::$case(Program::$program); })*
        })*
    };
}

programs! {
    #[cfg(test)]
    claude: Claude {
        says_a_text writes_a_file_by_its_tool is_told_401 is_told_429_without_end is_told_529 says_two_megabytes
        is_ended_by_our_silence_limit_when_the_model_hangs is_ended_with_the_children_of_its_tools
    }
    #[cfg(test)]
    codex: Codex {
        says_a_text writes_a_file_by_its_tool is_told_401 is_told_429_without_end is_told_529 says_two_megabytes
        is_ended_by_our_silence_limit_when_the_model_hangs is_ended_with_the_children_of_its_tools
    }
    #[ignore = "make test-agents"]
    gemini: Gemini {
        says_a_text writes_a_file_by_its_tool is_told_401 is_told_429_without_end
        is_ended_by_our_silence_limit_when_the_model_hangs is_ended_with_the_children_of_its_tools
    }
    #[ignore = "make test-agents"]
    opencode: Opencode {
        says_a_text writes_a_file_by_its_tool is_told_401 is_told_429_without_end
        is_ended_by_our_silence_limit_when_the_model_hangs is_ended_with_the_children_of_its_tools
    }
    #[ignore = "make test-agents"]
    qwen: Qwen {
        says_a_text writes_a_file_by_its_tool is_told_401 is_told_429_without_end
        is_ended_by_our_silence_limit_when_the_model_hangs is_ended_with_the_children_of_its_tools
    }
}

fn is_told_529(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let exit = bench.play("[[fault status=529]]", &limits());
    let sign = if program == Program::Claude { "overloaded" } else { "529" };
    assert_eq!(exit.ended, Ended::Exited(1), "{}", bench.said());
    assert!(bench.text("stdout.log").contains(sign), "{}", bench.said());
}

fn says_two_megabytes(program: Program) {
    let Some(bench) = Bench::new(program) else { return };
    let exit = bench.play("[[long 2000000]]", &limits());
    assert_eq!(exit.ended, Ended::Exited(0), "{}", bench.said());
    let longest = bench.text("stdout.log").lines().map(str::len).max();
    assert!(longest > Some(2_000_000), "it comes as one line: {longest:?}");
}
