//! What a person sees: screens captured from a real terminal of 120×40, 80×24 and 40×20.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{Project, eventually, tools};

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (40, 20)];

/// A terminal of a size; it goes with its server.
struct Terminal {
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Terminal {
    fn tmux(&self, args: &[&str]) -> Output {
        Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().expect("tmux")
    }

    /// Runs an `agentctl` of the project in a new terminal.
    fn run(project: &Project, size: (u16, u16), args: &str) -> Self {
        Self::run_with(project, size, "LANG=C.UTF-8", args)
    }

    /// The same with further variables.
    fn run_with(project: &Project, (width, height): (u16, u16), env: &str, args: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let terminal = Self { socket: dir.path().join("tmux"), _dir: dir };
        let command = format!(
            "env -i PATH=\"$PATH\" HOME={home} USER=tester TERM=screen {env} OODATCAA_TRUST_PROJECT=1 OODATCAA_SANDBOX=off {ctl} {args}; \
             echo \"[ended $?]\"; exec cat",
            home = project.root().display(),
            ctl = env!("CARGO_BIN_EXE_agentctl"),
        );
        let (width, height) = (width.to_string(), height.to_string());
        let root = project.root().display().to_string();
        let new = ["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, "-c", &root, &command];
        let made = terminal.tmux(&new);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        terminal
    }

    /// What is on the screen now.
    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// The screen and what has scrolled out of it.
    fn seen(&self) -> String {
        let captured = self.tmux(&["capture-pane", "-p", "-S", "-"]);
        String::from_utf8_lossy(&captured.stdout).into_owned()
    }

    #[track_caller]
    fn until(&self, words: &str) -> String {
        eventually(words, || Some(self.seen()).filter(|seen| seen.contains(words)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// A project in which something of every kind waits.
fn project() -> Project {
    let project = Project::that_succeeds();
    project.config("[merge]\napproval = true");
    std::fs::create_dir_all(project.path(".oodatcaa/prompts")).unwrap();
    std::fs::write(project.path(".oodatcaa/prompts/builder.md"), "{{ no.such.thing }}\n").unwrap();
    project.queue(json!([
        {"id": "P012-B01", "title": "Keep the heartbeat alive while the laptop sleeps", "status": "ready"},
        {"id": "P012-B02", "title": "Write it down", "status": "ready", "dependencies": ["P012-B01"]},
        {"id": "P013", "title": "Merge the queue into the other", "status": "ready_for_integrator"},
        {"id": "P014", "title": "A gate that fails", "status": "needs_manual",
         "blocked_reason": "the gate `test` is red: running 12 tests, assertion `left == right` failed at \
          tests/queue.rs:88: left: 41, right: 42; the process ended with 101 after three attempts of builder and one \
          of refiner, nothing else was seen in its output that would tell more"},
        {"id": "P015", "title": "Done long ago", "status": "done"},
    ]));
    project.once("builder");
    project
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// What the verb says to programs: whole, in one line each.
fn piped(project: &Project, args: &[&str]) -> Value {
    let output = project.command("agentctl").args(args).arg("--json").output().expect("agentctl");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn no_screen_breaks_a_word_or_loses_why_a_task_waits() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = project();
    let needs = piped(&project, &["inbox"]);
    for (width, height) in SIZES {
        let see = |args: &str| {
            let screen = Terminal::run(&project, (width, height), args).until("[ended");
            assert!(screen.contains("[ended 0]"), "{args}: {screen}");
            screen
        };
        // Every word of the sentence stands whole on the screen, in whatever columns.
        let whole = |args: &str, screen: &str, sentence: &str| {
            let shown = words(screen);
            let fits = |word: &&str| word.chars().count() + 4 <= usize::from(width);
            let lost: Vec<&str> =
                words(sentence).into_iter().filter(fits).filter(|word| !shown.contains(word)).collect();
            assert!(lost.is_empty(), "{args} at {width}×{height} lost {lost:?} of `{sentence}`:\n{screen}");
        };
        let inbox = see("inbox");
        for need in needs.as_array().expect("a list") {
            whole("inbox", &inbox, need["id"].as_str().unwrap());
            whole("inbox", &inbox, need["next"].as_str().unwrap());
        }
        let list = see("ls");
        for id in ["P012-B01", "P012-B02", "P013"] {
            let task = piped(&project, &["show", id]);
            // A very long sentence is cut in a list; `why` has all of it.
            let why: Vec<&str> = words(task["why"].as_str().unwrap()).into_iter().take(12).collect();
            let fits: Vec<&str> = why.into_iter().filter(|word| word.chars().count() < 20).collect();
            whole("ls", &list, &fits.join(" "));
        }
        for id in ["P012-B01", "P014"] {
            let why = see(&format!("why {id}"));
            let told = piped(&project, &["why", id]);
            whole("why", &why, told["sentence"].as_str().unwrap());
            whole("why", &why, told["next"].as_str().unwrap());
        }
        let status = see("status");
        whole("status", &status, "things need you agentctl inbox");
        for verb in
            ["show P014", "run list", "fleet status", "worktree list", "events list", "lease list", "doctor --help"]
        {
            let screen = Terminal::run(&project, (width, height), verb).until("[ended");
            assert!(!words(&screen).is_empty(), "{verb}");
        }
    }
}

#[test]
fn a_watched_status_follows_the_size_of_its_terminal_and_ends_with_q() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "first", "status": "ready"}]));
    let terminal = Terminal::run(&project, (120, 40), "status --watch=60s");
    terminal.until("integrator");
    terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
    terminal.tmux(&["resize-window", "-x", "50", "-y", "16"]);
    let once = |screen: &str| screen.lines().filter(|line| line.starts_with("builder")).count() == 1;
    let narrow = eventually("one screen of the new size", || {
        Some(terminal.screen()).filter(|seen| once(seen) && !seen.contains("WAITING") && seen.contains("integrator"))
    });
    assert!(narrow.lines().count() <= 16, "{narrow}");
    terminal.tmux(&["send-keys", "q"]);
    terminal.until("[ended 0]");
    let after = terminal.screen();
    assert!(!after.contains("integrator"), "the screen from before is back: {after}");
}

#[test]
fn letters_of_a_terminal_without_utf_8_keep_their_columns() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = project();
    let screen = Terminal::run_with(&project, (120, 40), "LANG=C", "ls --all").until("[ended 0]");
    assert!(screen.is_ascii(), "{screen}");
    let column = screen.lines().find_map(|line| line.find("STATUS")).expect("a heading");
    let rows: Vec<&str> = screen.lines().filter(|line| line.contains(" P01")).collect();
    assert_eq!(rows.len(), 5, "{screen}");
    assert!(
        rows.iter().all(|row| row[..column].ends_with("  ") && row[column..].starts_with(char::is_alphabetic)),
        "{screen}"
    );
}
