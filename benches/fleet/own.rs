//! The cost of an agent's own repository beside the worktree that it works in: to hand it out and take it in, against
//! `git worktree add` of the same 2,000 files.

use std::{fs, path::Path, process::Command, sync::Arc, time::Instant};

use oodatcaa_core::{RunName, Status, Task, TaskId, Token, layout::Layout};
use oodatcaa_git::{Config, Mode, Workspace};

use crate::{
    support::{Spread, rounds, timed},
    table::{Table, Target},
};

const SECTION: &str = "An agent's own repository, 2,000 files";

/// Calls git as a person would.
fn git(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=a", "-c", "user.email=a@invalid"]).args(args);
    command
}

fn run(dir: &Path, args: &[&str]) {
    assert!(git(dir, args).status().expect("git").success(), "git {args:?}");
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

pub(crate) fn own(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("project");
    for n in 0..2_000 {
        let path = root.join(format!("src/part{}/file{n}.rs", n % 40));
        fs::create_dir_all(path.parent().expect("above")).expect("made");
        fs::write(path, format!("// file {n}\n").repeat(60)).expect("written");
    }
    run(&root, &["init", "-q", "-b", "main"]);
    run(&root, &["add", "-A"]);
    run(&root, &["commit", "-q", "-m", "first"]);
    let layout = Layout::new(&root);
    let state = dir.path().join("state").to_string_lossy().into_owned();
    let config = Config {
        mode: Mode::Worktree,
        root: Some(state),
        disk_min: 0,
        confine: oodatcaa_config::Confine::Nothing,
        ..Config::default()
    };
    let task = Task::new(TaskId::parse("T1").expect("an id"), Status::READY);
    let run_dir = layout.run(&task.id, &RunName::of(Token(1)));
    let workspace =
        Workspace::prepare(&layout, &config, &task, Token(1), &run_dir, &Arc::default()).expect("a worktree");
    let (beside, at) = (dir.path().join("beside"), workspace.path().to_owned());
    let place = beside.to_string_lossy().into_owned();
    let (mut floor, mut both, mut out, mut idle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..rounds(40, 5) {
        floor.push(timed(&mut git(&root, &["worktree", "add", "-q", "--detach", &place])));
        run(&root, &["worktree", "remove", "--force", &place]);
        let begun = Instant::now();
        workspace.hand_out(&layout, &config).expect("handed out");
        let handed = millis(begun);
        fs::write(at.join("src/part0/file0.rs"), format!("// round {n}\n")).expect("written");
        run(&at, &["commit", "-q", "-a", "-m", "a change"]);
        let begun = Instant::now();
        workspace.take_in(&layout, &config).expect("taken in").expect("it was handed out");
        both.push(handed + millis(begun));
        out.push(handed);
        // An agent that commits nothing, as a tester does.
        let begun = Instant::now();
        workspace.hand_out(&layout, &config).expect("handed out");
        workspace.take_in(&layout, &config).expect("taken in").expect("it was handed out");
        idle.push(millis(begun));
    }
    let floor = Spread::of(floor);
    table.spread(SECTION, "floor: `git worktree add`", &floor, "ms");
    for (what, times, target) in [
        ("hand out, and take in one commit", both, Target::AtMost(0.5)),
        ("hand out alone", out, Target::None),
        ("hand out, and take in nothing", idle, Target::None),
    ] {
        let times = Spread::of(times);
        let ratio = times.at(0.5) / floor.at(0.5);
        table.ratio(SECTION, what, &times, "ms", ("git worktree add", ratio), target);
    }
}
