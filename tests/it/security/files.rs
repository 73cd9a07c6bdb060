//! Each of our files in turn is what an enemy, an agent or a torn disk could leave there: every verb of `agentctl` ends
//! in time, with words, in little memory, a worker obeys TERM, and nothing outside is touched.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, mknodat},
    process::Signal,
};

use super::verbs::{CHANGING, LOOKING};
use crate::{
    bad_input::{Said, ctl, run, with_one},
    support::Project,
};

/// What a verb may hold: its data, in KiB. Without a bound, `/dev/zero` would take all that there is.
const MEMORY: &str = "65536";

/// Our files and directories, one of each kind that something reads or writes.
const PLACES: &[&str] = &[
    ".oodatcaa/config.toml",
    ".oodatcaa/config.local.toml",
    ".oodatcaa/adapters/x.toml",
    ".oodatcaa/prompts/builder.md",
    ".oodatcaa/work/SPRINT_QUEUE.json",
    ".oodatcaa/work/events.jsonl",
    ".leases/A.json",
    ".locks/queue.lock",
    ".locks/A.lock",
    ".agent-daemon-pids/builder.pid",
    ".agent-daemon-logs/builder.log",
    ".gitignore",
    ".oodatcaa/runs/A/1/attempt.json",
    ".oodatcaa/runs/A/1/exit.json",
    ".oodatcaa/runs/A/1/shim.json",
    ".oodatcaa/runs/A/1/session.json",
    ".oodatcaa/runs/A/1/result.json",
    ".oodatcaa/runs/A/1/stdout.log",
    ".oodatcaa/runs/A/1",
    ".oodatcaa/runs/A",
    ".oodatcaa/runs",
    ".oodatcaa/work",
    ".oodatcaa/adapters",
    ".oodatcaa/prompts",
    ".leases",
    ".locks",
    ".agent-daemon-pids",
    ".agent-daemon-logs",
];

const KINDS: &[&str] = &[
    "link to an endless device",
    "link to a terminal",
    "link to a file outside",
    "link to a directory outside",
    "link to itself",
    "second name of a file outside",
    "pipe",
    "socket",
    "endless device",
    "directory",
    "hole of 50 GiB",
    "closed file",
];

/// What takes the place; `false` where this user cannot make it.
fn replace(kind: &str, at: &Path, outside: &Path) -> bool {
    let _ = fs::remove_file(at);
    let _ = fs::remove_dir_all(at);
    fs::create_dir_all(at.parent().expect("a directory")).expect("made");
    let file = outside.join("mine");
    match kind {
        "link to an endless device" => symlink("/dev/zero", at).expect("linked"),
        "link to a terminal" => symlink("/dev/ptmx", at).expect("linked"),
        "link to a file outside" => symlink(file, at).expect("linked"),
        "link to a directory outside" => symlink(outside, at).expect("linked"),
        "link to itself" => symlink(at.file_name().expect("a name"), at).expect("linked"),
        "second name of a file outside" => fs::hard_link(file, at).expect("linked"),
        "pipe" => mknodat(CWD, at, FileType::Fifo, 0o600.into(), 0).expect("made"),
        "socket" => drop(UnixListener::bind(at).expect("bound")),
        "endless device" => {
            return mknodat(CWD, at, FileType::CharacterDevice, 0o666.into(), rustix::fs::makedev(1, 5)).is_ok()
                && fs::File::open(at).is_ok();
        }
        "directory" => fs::create_dir(at).expect("made"),
        "hole of 50 GiB" => fs::File::create(at).expect("made").set_len(50 << 30).expect("sparse"),
        "closed file" => {
            fs::write(at, "{}").expect("written");
            fs::set_permissions(at, fs::Permissions::from_mode(0o000)).expect("changed");
        }
        _ => unreachable!("{kind}"),
    }
    true
}

/// All that an enemy may hope to change by us.
fn state_of(outside: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let all = fs::read_dir(outside).expect("listed").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<_> =
        all.map(|path| (path.metadata().expect("there").mode(), fs::read(&path).expect("a file"), path)).collect();
    all.sort();
    all.into_iter().map(|(mode, bytes, path)| (path, mode, bytes)).collect()
}

/// One place that is something else.
struct Case {
    project: Project,
    outside: tempfile::TempDir,
    before: Vec<(PathBuf, u32, Vec<u8>)>,
    words: String,
}

impl Case {
    fn new(place: &str, kind: &str) -> Option<Self> {
        let project = with_one("exit 0");
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("mine"), "{\"mine\": 1}").expect("written");
        let dir = project.path(".oodatcaa/runs/A/1");
        fs::create_dir_all(&dir).expect("made");
        for file in ["attempt.json", "stdout.log"] {
            fs::write(dir.join(file), "{}").expect("written");
        }
        let before = state_of(outside.path());
        replace(kind, &project.path(place), outside.path()).then(|| Self {
            project,
            outside,
            before,
            words: format!("{place} is a {kind}"),
        })
    }

    fn changed(&self) -> Option<String> {
        let now = state_of(self.outside.path());
        (now != self.before).then(|| format!("{}: outside is now {now:?}", self.words))
    }
}

fn cases() -> Vec<(&'static str, &'static str)> {
    PLACES.iter().flat_map(|place| KINDS.iter().map(|kind| (*place, *kind))).collect()
}

/// Does it for all of them, two at a time, and tells all that was wrong.
fn each<T: Send + Sync + Copy>(cases: &[T], does: impl Fn(usize, T) -> Vec<String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(turn) else { break };
                    let more = does(turn, *case);
                    wrong.lock().expect("whole").extend(more);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("whole");
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn bounded(project: &Project, line: &str) -> Said {
    let program = project.command("agentctl");
    let mut shell = std::process::Command::new("sh");
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = program.get_current_dir() {
        shell.current_dir(dir);
    }
    // More than this is an abort of the allocator, which has an exit code of its own.
    shell.args(["-c", &format!("ulimit -c 0; ulimit -d {MEMORY}; exec \"$0\" {line}")]).arg(program.get_program());
    run(shell)
}

/// Some read none of the project's files, or every file that another verb reads.
fn verbs() -> Vec<&'static str> {
    let skipped = ["completions", "man", "help", "queue schema", "task list", "task show", "task why", "version"];
    let slow = ["agent test"];
    let left_out = |verb: &str| skipped.iter().chain(&slow).any(|start| verb.starts_with(start));
    LOOKING.iter().chain(CHANGING).copied().filter(|verb| !left_out(verb)).collect()
}

/// Calls `count` verbs for each case, round and round: each verb meets each place and each kind.
fn every_verb_ends(cases: &[(&'static str, &'static str)], count: usize) {
    let verbs = verbs();
    let clean = with_one("exit 0");
    let codes: Vec<Option<i32>> = verbs.iter().map(|verb| bounded(&clean, verb).code).collect();
    let ran = AtomicUsize::new(0);
    each(cases, |turn, (place, kind)| {
        let Some(case) = Case::new(place, kind) else { return Vec::new() };
        let mut wrong = Vec::new();
        for n in (0..verbs.len()).cycle().skip(turn * count).take(count) {
            let said = bounded(&case.project, verbs[n]);
            ran.fetch_add(1, Ordering::Relaxed);
            // What failed only because of that file says which it is; what is asked may be another thing then.
            let name = place.rsplit('/').next().expect("a name");
            let words = [name, "hint: answer it beforehand", "agentctl lease release"];
            let told = words.iter().any(|word| said.err.contains(word) || said.out.contains(word));
            let right = said.code == Some(0) || said.code == codes[n] || told;
            if said.code.is_none_or(|code| code >= 128) || !right {
                wrong.push(format!("{}: {}: {said:?}", case.words, verbs[n]));
            }
        }
        wrong.extend(case.changed());
        wrong
    });
    println!("figure: verbs on replaced files: {}", ran.load(Ordering::Relaxed));
}

#[test]
fn whatever_stands_in_the_place_of_one_of_our_files_every_verb_ends_with_words_and_touches_nothing_outside() {
    every_verb_ends(&cases(), 1);
}

/// The whole product.
#[test]
#[ignore = "minutes; `make torture` runs it"]
fn every_verb_on_every_file_at_full_size() {
    every_verb_ends(&cases(), verbs().len());
}

/// A worker that meets it works on, waits or ends with words; whichever it does, the first TERM ends it.
fn every_worker_ends(cases: &[(&'static str, &'static str)]) {
    each(cases, |_, (place, kind)| {
        let Some(mut case) = Case::new(place, kind) else { return Vec::new() };
        let n = case.project.start("builder", &["--interval", "1"]);
        let exe = format!("/proc/{}/exe", case.project.pid(n));
        let lives = || fs::read_link(&exe).is_ok();
        // It ends by itself, works, or says what it waits for.
        let begun = Instant::now();
        crate::support::eventually(&format!("{}: it says something", case.words), || {
            let log = case.project.log("builder", n);
            let waits = log.contains("| ERROR |") && begun.elapsed() > Duration::from_secs(3);
            (log.contains(" watches ") || waits || !lives()).then_some(())
        });
        if lives() {
            case.project.signal(n, Signal::TERM);
        }
        let ended = case.project.exited(n);
        let log = case.project.log("builder", n);
        let right = ended.code().is_some_and(|code| code < 128) && !log.contains("panicked");
        let wrong = (!right).then(|| format!("{}: {ended}: {log}", case.words));
        wrong.into_iter().chain(case.changed()).collect()
    });
}

#[test]
fn whatever_stands_in_the_place_of_one_of_our_files_a_worker_obeys_the_first_term_and_touches_nothing_outside() {
    let some: Vec<_> = cases().into_iter().enumerate().filter(|(n, _)| n % 7 == 0).map(|(_, case)| case).collect();
    every_worker_ends(&some);
}

/// The whole product.
#[test]
#[ignore = "minutes; `make torture` runs it"]
fn a_worker_on_every_file_at_full_size() {
    every_worker_ends(&cases());
}

/// Processes that were started in a project; its root is their home.
fn processes_of(project: &Project) -> Vec<i32> {
    let home = format!("HOME={}", project.root().display());
    let numbers = fs::read_dir("/proc").expect("listed").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_its = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|line| line == home.as_bytes())
    };
    numbers.filter(is_its).collect()
}

/// `fleet start` says how it went, and `fleet stop` leaves nobody.
fn every_fleet_ends(cases: &[(&'static str, &'static str)]) {
    each(cases, |_, (place, kind)| {
        let Some(case) = Case::new(place, kind) else { return Vec::new() };
        let mut wrong = Vec::new();
        for verb in ["fleet start --backend process builder", "fleet stop --backend process builder"] {
            let said = ctl(&case.project, verb);
            let right = said.code.is_some_and(|code| code < 128) && !(said.out.is_empty() && said.err.is_empty());
            wrong.extend((!right).then(|| format!("{}: {verb}: {said:?}", case.words)));
        }
        // Whom the command could not find because of the file it tells; nobody stays here.
        for pid in processes_of(&case.project) {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), Signal::TERM);
        }
        crate::support::eventually(&format!("{}: all have left", case.words), || {
            processes_of(&case.project).is_empty().then_some(())
        });
        wrong.extend(case.changed());
        wrong
    });
}

#[test]
fn whatever_stands_in_the_place_of_one_of_our_files_a_fleet_starts_or_says_why_not_and_obeys() {
    let some: Vec<_> = cases().into_iter().enumerate().filter(|(n, _)| n % 17 == 0).map(|(_, case)| case).collect();
    every_fleet_ends(&some);
}

/// The whole product.
#[test]
#[ignore = "minutes; `make torture` runs it"]
fn a_fleet_on_every_file_at_full_size() {
    every_fleet_ends(&cases());
}
