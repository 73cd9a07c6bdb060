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

/// A project with a builder at work whose agent writes colours, and what a terminal would obey.
fn busy() -> Project {
    let mut project = Project::new(
        "printf '\\033[31mred words\\033[0m\\033[2J\\033]0;owned\\007 after\\n'; trap 'exit 1' TERM; while :; do sleep 0.1; done",
    );
    project.queue(json!([
        {"id": "BUSY", "title": "It goes on and on", "status": "ready"},
        {"id": "STUCK", "title": "A gate that fails", "status": "needs_manual", "blocked_reason": "the gate is red"},
    ]));
    project.start("builder", &[]);
    project.wait_for("BUSY", "in_progress");
    project
}

#[test]
fn the_dashboard_fits_each_terminal_and_follows_its_size() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = busy();
    for (width, height) in SIZES {
        let terminal = Terminal::run(&project, (width, height), "top");
        let screen = eventually("the log of what runs", || {
            Some(terminal.screen()).filter(|seen| seen.contains("red words after") && seen.contains("BUSY"))
        });
        let rows: Vec<&str> = screen.trim_end_matches('\n').lines().collect();
        assert!(rows.len() <= height.into() && rows[0].contains("› tasks"), "{screen}");
        assert!(rows.iter().all(|row| row.chars().count() <= width.into()), "{screen}");
        assert!(rows[rows.len() - 1].contains("Enter log"), "the last row says the keys:\n{screen}");
        terminal.tmux(&["send-keys", "2"]);
        eventually("the inbox", || terminal.screen().contains("› inbox").then_some(()));
        assert!(terminal.screen().contains("STUCK"), "{}", terminal.screen());
        terminal.tmux(&["send-keys", "3"]);
        eventually("the worker", || terminal.screen().contains(&project.pid(0).to_string()).then_some(()));
        terminal.tmux(&["send-keys", "1"]);
        for size in [("50", "16"), ("33", "9"), ("130", "45")] {
            terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
            terminal.tmux(&["resize-window", "-x", size.0, "-y", size.1]);
            let (columns, lines): (usize, usize) = (size.0.parse().unwrap(), size.1.parse().unwrap());
            eventually("one screen of the new size", || {
                let seen = terminal.screen();
                let rows: Vec<&str> = seen.trim_end_matches('\n').lines().collect();
                let heads = rows.iter().filter(|row| row.contains("› tasks")).count();
                let fits = rows.len() <= lines && rows.iter().all(|row| row.chars().count() <= columns);
                (fits && heads == 1 && rows.last().is_some_and(|row| row.contains("Enter log"))).then_some(())
            });
        }
        terminal.tmux(&["send-keys", "q"]);
        terminal.until("[ended 0]");
        let after = terminal.screen();
        assert!(!after.contains("› tasks"), "the screen from before is back: {after}");
    }
}

#[test]
fn an_act_from_the_dashboard_is_that_of_the_command_that_it_shows() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = busy();
    let terminal = Terminal::run(&project, (120, 40), "top");
    eventually("both tasks", || terminal.screen().contains("STUCK").then_some(()));
    terminal.tmux(&["send-keys", "j", "r"]);
    eventually("the command", || terminal.screen().contains("agentctl task retry STUCK").then_some(()));
    assert_eq!(project.status("STUCK"), "needs_manual", "nothing happens before the yes");
    terminal.tmux(&["send-keys", "Enter"]);
    eventually("it is told", || terminal.screen().contains("ran: agentctl task retry STUCK").then_some(()));
    eventually("it is tried again", || (project.status("STUCK") != "needs_manual").then_some(()));
    let by: Vec<Value> = project.events().into_iter().filter(|event| event["task"] == "STUCK").collect();
    assert!(by.iter().any(|event| event["actor"].as_str().is_some_and(|by| by.starts_with("human:"))), "{by:#?}");

    terminal.tmux(&["send-keys", "g", "x"]);
    terminal.tmux(&["send-keys", "-l", "it burns"]);
    eventually("the reason", || terminal.screen().contains("agentctl run stop BUSY --reason 'it burns").then_some(()));
    terminal.tmux(&["send-keys", "Enter"]);
    eventually("it was asked to stop", || {
        let stopped = |event: &Value| event["data"]["reason"].as_str().is_some_and(|why| why.contains("it burns"));
        project.events_of("attempt.finished").iter().any(stopped).then_some(())
    });
    terminal.tmux(&["send-keys", "q"]);
    terminal.until("[ended 0]");
}

#[test]
fn a_merge_is_looked_through_and_approved_at_the_commit_that_was_shown() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let (project, _trees) = crate::cli::json::worked_in();
    let needs = piped(&project, &["inbox"]);
    let merge = needs.as_array().expect("a list").iter().find(|need| need["kind"] == "merge").expect("one waits");
    let (id, task) = (merge["id"].as_str().unwrap(), merge["task"].as_str().unwrap());
    let at = needs.as_array().unwrap().iter().position(|need| need["id"] == id).unwrap();
    let terminal = Terminal::run(&project, (120, 40), "top");
    eventually("it is drawn", || terminal.screen().contains("› tasks").then_some(()));
    terminal.tmux(&["send-keys", "2"]);
    eventually("the inbox", || terminal.screen().contains(id).then_some(()));
    for _ in 0..at {
        terminal.tmux(&["send-keys", "j"]);
    }
    terminal.tmux(&["send-keys", "d"]);
    let file = format!("+++ b/{task}.txt");
    eventually("the diff", || terminal.screen().contains(&file).then_some(()));
    terminal.tmux(&["send-keys", "a"]);
    let commit: String = merge["commit"].as_str().expect("a commit").chars().take(12).collect();
    let command = format!("agentctl approve {id} --commit {commit}");
    eventually("the command", || terminal.screen().contains(&command).then_some(()));
    terminal.tmux(&["send-keys", "Enter"]);
    eventually("it is approved", || {
        let approved = |event: &Value| event["data"]["decision"] == id && event["data"]["verdict"] == "approved";
        project.events_of("decision.resolved").iter().any(approved).then_some(())
    });
    terminal.tmux(&["send-keys", "q"]);
    terminal.until("[ended 0]");
}

#[test]
fn the_dashboard_gives_the_terminal_back_at_a_signal_and_is_the_status_where_there_is_none() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = project();
    for keys in [&["C-c"][..], &["q"]] {
        let terminal = Terminal::run(&project, (80, 24), "top --read-only");
        eventually("it is drawn", || terminal.screen().contains("read-only").then_some(()));
        terminal.tmux(&["send-keys", "r"]);
        eventually("it says no", || terminal.screen().contains("nothing can be changed").then_some(()));
        terminal.tmux(&[&["send-keys"], keys].concat());
        terminal.until("[ended ");
        assert!(!terminal.screen().contains("read-only"), "{}", terminal.screen());
    }
    let terminal = Terminal::run(&project, (80, 24), "top");
    eventually("it is drawn", || terminal.screen().contains("› tasks").then_some(()));
    let pane = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let shell: u32 = String::from_utf8_lossy(&pane.stdout).trim().parse().expect("a pid");
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("its children");
    let top: i32 = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("it runs");
    let top = rustix::process::Pid::from_raw(top).expect("a pid");
    rustix::process::kill_process(top, rustix::process::Signal::TERM).expect("signalled");
    terminal.until("[ended 130]");
    assert!(!terminal.screen().contains("› tasks"), "{}", terminal.screen());

    let piped = project.command("agentctl").arg("top").output().expect("agentctl");
    assert_eq!(piped.status.code(), Some(0));
    let status = project.command("agentctl").arg("status").output().expect("agentctl");
    assert_eq!(piped.stdout, status.stdout, "without a terminal it prints the status");
}

#[test]
fn a_panic_of_the_dashboard_gives_the_terminal_back_and_can_be_read() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = project();
    let env = "LANG=C.UTF-8 FAILPOINTS='top.draw=2*off->panic(the pen broke)'";
    let terminal = Terminal::run_with(&project, (80, 24), env, "top");
    let seen = terminal.until("[ended 101]");
    assert!(seen.contains("the pen broke") && !terminal.screen().contains("› tasks"), "{seen}");
    // Letters that are typed show again: the terminal is no longer raw.
    terminal.tmux(&["send-keys", "-l", "hello"]);
    terminal.until("hello");
}

#[test]
fn an_idle_dashboard_uses_no_cpu() {
    if !tools::available(false, &["tmux"]) {
        return;
    }
    let project = project();
    let terminal = Terminal::run(&project, (80, 24), "top");
    eventually("it is drawn", || terminal.screen().contains("P014").then_some(()));
    let pane = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let shell: u32 = String::from_utf8_lossy(&pane.stdout).trim().parse().expect("a pid");
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("its children");
    let top: u32 = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("it runs");
    let spent = || oodatcaa_sys::identity::Process::look(top).expect("it runs").cpu;
    // In ticks of 10 ms: over three seconds not one.
    eventually("three seconds without a tick", || {
        let before = spent();
        std::thread::sleep(std::time::Duration::from_secs(3));
        (spent() == before).then_some(())
    });
    terminal.tmux(&["send-keys", "q"]);
    terminal.until("[ended 0]");
}
