//! Storms: many workers, many tasks, and everything at once that may happen to them: SIGKILL, SIGSTOP past the
//! TTL and SIGCONT, hands in the queue file, a slow disk. A seed names each storm: `SEED=n` repeats it.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Project, checker, eventually};

/// Says so when an agent of an older claim of its task still runs, then works for a moment.
const AGENT: &str = r#"mkdir -p alive marks
for f in alive/$OODATCAA_TASK_ID.*; do
  [ -e "$f" ] && read p < "$f" && [ "$p" != $$ ] && [ -s /proc/$p/cmdline ] && grep -qz "OODATCAA_RUN_DIR=.*/$OODATCAA_TASK_ID/" /proc/$p/environ && echo "$f lives at token $OODATCAA_TOKEN" >> overlaps
done
echo $$ > alive/$OODATCAA_TASK_ID.$OODATCAA_TOKEN
sleep 0.2
touch marks/$OODATCAA_TASK_ID.$OODATCAA_TOKEN"#;

/// How much of a storm.
struct Storm {
    workers: usize,
    tasks: usize,
    limit: u32,
    /// How often somebody is killed or stopped, or the queue is edited.
    troubles: usize,
    seed: u64,
}

/// Numbers that a seed gives again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn seed(otherwise: u64) -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(otherwise)
}

/// The seed is told when a test fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this storm: SEED={}", self.0);
        }
    }
}

fn project(agent: &str, tasks: usize, limit: u32) -> Project {
    let project = Project::new(agent).confined();
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    let patient = "limits.starts = 1000\nretry.deaths = 1000\nretry.transient = 1000\nretry.backoff_max = \"50ms\"\nretry.backoff";
    let config = config.replace("retry.backoff", patient) + "[roles.builder]\nttl = \"2s\"\n";
    fs::write(project.path(".oodatcaa/config.toml"), config).expect("written");
    let list: Vec<_> = (0..tasks).map(|n| json!({"id": format!("T{n:03}"), "title": "", "status": "ready"})).collect();
    project.queue_text(
        &serde_json::to_string_pretty(&json!({"wip_limits": {"builder": limit}, "tasks": list})).expect("JSON"),
    );
    project
}

fn finished(project: &Project) -> usize {
    project.tasks().iter().filter(|task| task["status"] == "awaiting_test").count()
}

/// Adds a member of its own to the file, as an editor does: the whole text is read, changed, and put back,
/// in place or by another file's rename.
fn edit(project: &Project, n: usize, by_rename: bool) {
    let mut queue = project.json();
    queue[format!("note_{n}")] = json!(n);
    let text = serde_json::to_string_pretty(&queue).expect("JSON");
    if by_rename {
        let beside = project.path(".oodatcaa/work/beside.tmp");
        fs::write(&beside, text).expect("written");
        fs::rename(beside, project.queue_file()).expect("renamed");
    } else {
        fs::write(project.queue_file(), text).expect("written");
    }
}

fn brew(storm: &Storm) {
    let _told = Told(storm.seed);
    let mut dice = Dice(storm.seed);
    let mut project = project(AGENT, storm.tasks, storm.limit);
    let mut started = 0;
    let mut start = |project: &mut Project| {
        started += 1;
        project.start("builder", &["--owner", &format!("w{started}"), "--slots", "2", "--interval", "1s"])
    };
    let mut alive: Vec<usize> = (0..storm.workers).map(|_| start(&mut project)).collect();
    let mut asleep: BTreeMap<usize, Instant> = BTreeMap::new();
    let (mut kills, mut stops, mut edits) = (0, 0, 0);
    for trouble in 0..storm.troubles {
        let goal = storm.tasks * trouble / (storm.troubles + 1);
        eventually(&format!("{goal} tasks are done"), || {
            wake(&project, &mut asleep, false);
            (finished(&project) >= goal).then_some(())
        });
        let victim = dice.below(alive.len());
        match dice.below(10) {
            0..4 => {
                asleep.remove(&alive[victim]);
                project.signal(alive[victim], Signal::KILL);
                project.ended(alive[victim]);
                alive[victim] = start(&mut project);
                kills += 1;
            }
            // One of them stays awake, so that there is somebody to take over.
            4..8 if asleep.len() + 1 < alive.len() && !asleep.contains_key(&alive[victim]) => {
                project.stop_outside_of_the_lock(alive[victim]);
                asleep.insert(alive[victim], Instant::now() + Duration::from_millis(2_500 + dice.below(1_000) as u64));
                stops += 1;
            }
            by => {
                edit(&project, edits, by % 2 == 0);
                edits += 1;
            }
        }
    }
    eventually(&format!("everything is done ({})", project.diagnosis()), || {
        wake(&project, &mut asleep, false);
        (finished(&project) == storm.tasks).then_some(())
    });
    wake(&project, &mut asleep, true);
    for n in alive {
        project.signal(n, Signal::TERM);
        assert_eq!(project.ended(n), Some(0), "{}", project.diagnosis());
    }
    assert_eq!(project.agents(), Vec::<u32>::new(), "no process is left");
    assert!(project.leases().is_empty(), "no lease is left");
    let overlaps = fs::read_to_string(project.path("overlaps")).unwrap_or_default();
    assert_eq!(overlaps, "", "an older claim's agent is gone before the next one starts");

    let json = project.json();
    let lost: Vec<usize> = (0..edits).filter(|n| json[format!("note_{n}")] != *n).collect();
    assert!(lost.is_empty(), "edits {lost:?} are lost");
    let proved = checker::check(&project.events(), &json).unwrap_or_else(|wrong| panic!("{wrong}"));
    for task in project.tasks() {
        let task = task["id"].as_str().expect("an id");
        let tokens = proved.accepted.get(task).map_or(&[][..], Vec::as_slice);
        assert_eq!(tokens.len(), 1, "{task} was done once: {tokens:?}");
        assert!(project.path(&format!("marks/{task}.{}", tokens[0])).exists(), "{task} was really done");
    }
    println!(
        "figure: storm {}: {kills} kills, {stops} stops, {edits} edits; {} claims, {} rescued, {} superseded, {} at once of {}",
        storm.seed, proved.claims, proved.rescued, proved.superseded, proved.most, storm.limit
    );
}

/// Lets those go on whose time has come.
fn wake(project: &Project, asleep: &mut BTreeMap<usize, Instant>, all: bool) {
    asleep.retain(|n, until| {
        let sleeps = !all && Instant::now() < *until;
        if !sleeps {
            project.signal(*n, Signal::CONT);
        }
        sleeps
    });
}

#[test]
fn kills_stops_and_hands_lose_and_double_nothing() {
    brew(&Storm { workers: 3, tasks: 16, limit: 4, troubles: 10, seed: seed(7) });
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn storm_at_full_size() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    brew(&Storm { workers: 8, tasks: 150, limit: 10, troubles: 90, seed: seed(now.subsec_nanos().into()) });
}

#[test]
fn workers_that_wake_together_keep_to_the_limit() {
    let mut project = project("sleep 0.02", 14, 1);
    let tasks = project.json()["tasks"].take();
    project.replace_queue(json!([]));
    for n in 0..6 {
        project.start_ready("builder", &["--owner", &format!("w{n}"), "--slots", "1"]);
    }
    // All have looked and counted nothing when the first of them gets the lock.
    let lock = fs::File::open(project.path(".locks/queue.lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let naps = |n: usize| -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", project.pid(n))).expect("it lives");
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
        count.trim().parse().expect("a number")
    };
    let before: Vec<u64> = (0..6).map(naps).collect();
    project.replace_queue(tasks);
    // Who is idle sleeps once; who waits for the lock naps between its tries.
    eventually("all wait for the lock", || (0..6).all(|n| naps(n) > before[n] + 9).then_some(()));
    drop(lock);
    eventually("everything is done", || (finished(&project) == 14).then_some(()));
    project.signal_all(Signal::TERM);
    let proved = checker::check(&project.events(), &project.json()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((proved.most, proved.accepted.len()), (1, 14));
}

/// A sleeper that is taken over while it sleeps, and wakes when the next claim has been settled.
#[test]
fn a_sleeper_changes_nothing_and_says_superseded() {
    let agent = "touch started.$OODATCAA_TOKEN; [ $OODATCAA_TOKEN -gt 1 ] || sleep 1000";
    let mut project = project(agent, 1, 1);
    let sleeper = project.start("builder", &["--owner", "first"]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    project.stop_outside_of_the_lock(sleeper);
    project.start("builder", &["--owner", "second"]);
    project.wait_for("T000", "awaiting_test");
    let before = project.text();
    project.signal(sleeper, Signal::CONT);
    eventually("the sleeper notices", || (!project.events_of("attempt.superseded").is_empty()).then_some(()));
    assert_eq!(project.text(), before, "not a byte");
    let proved = checker::check(&project.events(), &project.json()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(proved.accepted["T000"], [2]);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_slow_disk_only_takes_longer() {
    let mut project = project("exit 0", 6, 2);
    project.slow = Some("store.fsync=delay(40);store.dirsync=delay(40);store.journal=delay(20)".into());
    let victim = project.start("builder", &["--owner", "w0"]);
    project.start("builder", &["--owner", "w1"]);
    eventually("one is done", || (finished(&project) > 0).then_some(()));
    project.signal(victim, Signal::KILL);
    eventually("everything is done", || (finished(&project) == 6).then_some(()));
    project.signal_all(Signal::TERM);
    let proved = checker::check(&project.events(), &project.json()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(proved.accepted.values().map(Vec::len).collect::<Vec<_>>(), [1; 6]);
}
