//! Agents that take what they can get, and workers that cannot say that they live: contained, and told as what it was.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ChangeSet, Holder};
use oodatcaa_process::{end_leftovers, leftovers};
use oodatcaa_store::LOCK_WAIT;
use oodatcaa_sys::identity;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Project, eventually, tools::available, witness::Witness};

fn one_task(project: &Project) {
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
}

/// Bytes that the files below a directory take on the disk.
fn used(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => used(&path),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(|entry| size(entry.path())).sum()
}

#[test]
fn ten_gigabytes_of_output_take_little_more_of_the_disk_than_their_cap() {
    const CAP: u64 = 32 << 20;
    let project = Project::new("exec head -c 10G /dev/zero");
    project.config("[roles.builder]\noutput = \"32MiB\"");
    one_task(&project);
    let mut worker = project.command("agent-daemon");
    worker.args(["--role", "builder", "--once"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut worker = worker.spawn().expect("it starts");
    let began = Instant::now();
    let mut most = 0;
    while worker.try_wait().expect("a child").is_none() {
        most = most.max(used(&project.path(".oodatcaa/runs")));
        assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
    }
    let log = fs::metadata(project.path(".oodatcaa/runs/A/1/stdout.log")).expect("a log").len();
    assert_eq!(log, CAP);
    assert!(most < 1 << 30, "{most} bytes were on the disk at once");
    assert_ne!(project.status("A"), "in_progress");
    assert_eq!(project.agents(), Vec::<u32>::new());
    println!(
        "figure: 10 GB of output, cap {} MiB: at most {} MiB on the disk, ended after {:.1} s",
        CAP >> 20,
        most >> 20,
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn an_agent_that_fills_the_disk_of_its_own_directory_comes_to_an_end_that_is_told() {
    if !available(true, &["mount"]) {
        return;
    }
    let mut project = Project::new("cat /dev/zero; echo full >&2; exit 3");
    one_task(&project);
    let runs = project.path(".oodatcaa/runs");
    fs::create_dir_all(&runs).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=700", "none"]).arg(&runs).status();
    if !mounted.is_ok_and(|done| done.success()) {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let worker = project.start("builder", &["--interval", "1s"]);
    let told = || project.events_of("attempt.finished").first().cloned();
    let finished = eventually("its end is told", told);
    assert_eq!(finished["data"]["outcome"], "failed", "{finished}");
    assert_eq!(project.agents(), Vec::<u32>::new());
    assert!(identity::started(project.pid(worker)).is_some(), "the worker goes on");
    project.signal(worker, Signal::KILL);
    project.ended(worker);
    let _ = Command::new("umount").arg("-l").arg(&runs).status();
}

/// A group of processes that may hold so much memory together; it goes when it is dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("oodatcaa-test-{}", std::process::id());
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (root, limit) in kinds {
            let group = Path::new(root).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            if fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        eprintln!("skipped: memory cannot be limited for a group of processes here");
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn the_kernel_that_runs_out_of_memory_takes_the_agent_and_neither_shim_nor_worker() {
    if !available(true, &[]) {
        return;
    }
    let Some(group) = MemoryGroup::new(96 << 20) else { return };
    let project = Project::new("v=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#v}; exit 0");
    one_task(&project);
    let daemon = project.command("agent-daemon");
    let mut inside = project.command("sh");
    inside.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&group.0).arg(daemon.get_program());
    let output = inside.args(["--role", "builder", "--once"]).output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "the worker lives: {said}");
    let exit = fs::read_to_string(project.path(".oodatcaa/runs/A/1/exit.json")).expect("the shim lived to tell");
    let finished = &project.events_of("attempt.finished")[0];
    assert_eq!(finished["data"]["outcome"], "failed", "{finished} {exit} {said}");
    assert_eq!(project.agents(), Vec::<u32>::new());
    assert!(project.leases().is_empty());
    eventually("the group is empty", || {
        fs::read_to_string(group.0.join("cgroup.procs")).is_ok_and(|text| text.is_empty()).then_some(())
    });
}

/// Runs inside of a namespace of process ids, where the next number may be chosen.
#[test]
#[ignore = "a part of another test"]
fn inside_a_namespace() {
    if std::env::var_os("OODATCAA_TEST_REUSE").is_none() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let project = Project::that_succeeds();
    one_task(&project);
    let sleeper = || Command::new("sleep").arg("600").spawn().expect("sleep starts");
    let mut same_tick = 0;
    for _ in 0..20 {
        let mut old = sleeper();
        let (pid, started) = (old.id(), identity::started(old.id()).expect("it runs"));
        old.kill().expect("killed");
        old.wait().expect("a child");
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may");
        let mut stranger = sleeper();
        assert_eq!(stranger.id(), pid, "the number is given again");
        same_tick += u32::from(identity::started(pid) == Some(started));

        // A dead shim's record leads to the stranger, and so does a dead worker's lease.
        let dir = oodatcaa_sys::project::Identity::of(place.path()).expect("it is there");
        let record = json!({"pid": pid, "started": started, "boot_id": identity::boot_id(), "run_dir": place.path(),
            "dir": dir});
        fs::write(place.path().join("shim.json"), record.to_string()).expect("written");
        assert_eq!(leftovers(place.path()), Vec::<u32>::new());
        assert_eq!(end_leftovers(place.path(), Duration::from_secs(2)), Ok(0));
        assert!(identity::started(pid).is_some(), "nobody who got the number is touched");

        let layout = Layout::new(project.root());
        let me = oodatcaa_store::identity("me@here");
        let lease = json!({"task_id": "A", "role": "builder", "owner": "old@here", "token": 1, "attempt": 1,
            "started_at": "2026-01-05T09:00:00.000Z", "ttl_seconds": 5400, "heartbeat_at": "2026-01-05T09:00:00.000Z",
            "host": me.host, "boot_id": me.boot_id, "pid": pid, "pid_started": started});
        fs::create_dir_all(layout.leases()).expect("a directory");
        fs::create_dir_all(layout.locks()).expect("a directory");
        fs::write(layout.leases().join("A.json"), lease.to_string()).expect("written");
        fs::write(layout.locks().join("A.lock"), "").expect("written");
        let store = oodatcaa_store::open(layout.root(), &layout, Some(me), LOCK_WAIT).expect("the store opens");
        let mut holder = None;
        let look = |snapshot: &oodatcaa_core::Snapshot| {
            holder = snapshot.leases.get("A").map(|held| held.holder.clone());
            ChangeSet::none()
        };
        let mut look = look;
        store.transact(&mut look).expect("looked");
        assert!(matches!(holder, Some(Holder::Dead(_))), "whose number it was is dead: {holder:?}");
        stranger.kill().expect("killed");
        stranger.wait().expect("a child");
    }
    println!(
        "figure: process ids given again at once: 20, of these {same_tick} in the same clock tick; nobody was touched"
    );
}

#[test]
fn a_process_that_got_a_dead_ones_number_is_neither_touched_nor_taken_for_it() {
    if !available(true, &["unshare"]) {
        return;
    }
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(std::env::current_exe().expect("this test"));
    inside.args(["--exact", "contained::inside_a_namespace", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = inside.env("OODATCAA_TEST_REUSE", "1").output().expect("unshare runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("unshare:") {
        eprintln!("skipped: there are no namespaces of process ids here: {err}");
        return;
    }
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
    print!(
        "{}",
        out.lines().filter(|line| line.starts_with("figure:")).map(|line| format!("{line}\n")).collect::<String>()
    );
}

/// Lets every renewal of a worker's lease fail from now on; answers the tracer that does it.
fn cannot_renew(project: &Project, witness: &Witness, worker: usize) -> std::process::Child {
    let words = witness.path("tracer");
    let tracer = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "--inject=rename,renameat,renameat2:error=EIO"])
        // It is renamed by its name in the directory that is held open.
        .arg("-P")
        .arg(project.path(".leases"))
        .args(["-p", &project.pid(worker).to_string()])
        .stderr(fs::File::create(&words).expect("a file"))
        .spawn()
        .expect("strace starts");
    eventually("the tracer is there", || {
        fs::read_to_string(&words).is_ok_and(|text| text.contains("attached")).then_some(())
    });
    tracer
}

#[test]
fn a_worker_that_cannot_renew_is_taken_over_after_its_ttl_and_its_agent_is_gone_first() {
    if !available(false, &["strace"]) {
        return;
    }
    let witness = Witness::new();
    let mut project = Project::new(
        "if [ $OODATCAA_TOKEN = 1 ]; then echo $$ > first.new; mv first.new first; exec sleep 1000; fi\n\
         kill -0 $(cat first) 2>/dev/null && touch both\nexit 0",
    );
    project.config("[roles.builder]\nttl = \"3s\"");
    one_task(&project);
    let mute = project.start("builder", &["--owner", "mute"]);
    eventually("the agent runs", || project.path("first").exists().then_some(()));
    eventually("its start is told", || (!project.events_of("attempt.started").is_empty()).then_some(()));
    let mut tracer = cannot_renew(&project, &witness, mute);
    let began = Instant::now();
    project.start("builder", &["--owner", "other", "--interval", "1s"]);
    project.wait_for("A", "awaiting_test");
    assert!(began.elapsed() > Duration::from_secs(1), "not before its TTL: {:?}", began.elapsed());
    // The tree was ended. Who gives the task back, the other or the mute itself, is a matter of a moment.
    let given_back = |kind: &str, is_so: &dyn Fn(&serde_json::Value) -> bool| project.events_of(kind).iter().any(is_so);
    let by_other =
        given_back("lease.rescued", &|event| event["data"]["reason"].to_string().contains("no heartbeat for"));
    let by_itself = given_back("attempt.finished", &|event| event["token"] == 1);
    assert!(by_other || by_itself, "{}", project.diagnosis());
    assert!(!project.path("both").exists(), "two agents worked on one task");
    assert!(project.log("builder", mute).contains("no heartbeat for A"), "{}", project.log("builder", mute));
    eventually("it notices", || {
        let ends = project.events_of("attempt.finished").into_iter().chain(project.events_of("attempt.superseded"));
        ends.into_iter().any(|event| event["token"] == 1).then_some(())
    });
    assert_eq!(project.status("A"), "awaiting_test");
    let done = project.events_of("attempt.finished").iter().filter(|event| event["data"]["outcome"] == "done").count();
    assert_eq!(done, 1);
    project.signal(mute, Signal::KILL);
    project.ended(mute);
    let _ = tracer.wait();
}

#[test]
fn a_worker_that_cannot_renew_and_that_nobody_replaces_still_settles() {
    if !available(false, &["strace"]) {
        return;
    }
    let witness = Witness::new();
    let mut project = Project::new(&witness.script());
    project.config("[roles.builder]\nttl = \"1s\"");
    one_task(&project);
    witness.hold(true);
    let mute = project.start("builder", &[]);
    eventually("the agent runs", || (!witness.started().is_empty()).then_some(()));
    eventually("its start is told", || (!project.events_of("attempt.started").is_empty()).then_some(()));
    let mut tracer = cannot_renew(&project, &witness, mute);
    let began = Instant::now();
    eventually("its TTL is over", || {
        (began.elapsed() > Duration::from_secs(2) && project.log("builder", mute).contains("no heartbeat for A"))
            .then_some(())
    });
    assert_eq!(project.status("A"), "in_progress");
    witness.hold(false);
    project.wait_for("A", "awaiting_test");
    assert_eq!(project.events_of("lease.acquired").len(), 1, "the same attempt, to its end");
    project.signal(mute, Signal::KILL);
    project.ended(mute);
    let _ = tracer.wait();
}

/// The shim of the attempt on `A`, as soon as its agent runs.
fn shim_of_a(project: &Project) -> rustix::process::Pid {
    let pid = eventually("its shim is known", || {
        let text = fs::read(project.path(".oodatcaa/runs/A/1/shim.json")).ok()?;
        serde_json::from_slice::<serde_json::Value>(&text).ok()?["pid"].as_i64()
    });
    rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid")
}

#[test]
fn an_attempt_whose_shim_is_stopped_again_and_again_is_ended_by_its_worker() {
    let mut project = Project::new("echo $$ > agent.new; mv agent.new agent.pid; exec sleep 1000");
    one_task(&project);
    let n = project.start("builder", &["--interval", "1s"]);
    eventually("the agent runs", || project.path("agent.pid").exists().then_some(()));
    let agent = fs::read_to_string(project.path("agent.pid")).unwrap().trim().to_owned();
    let shim = shim_of_a(&project);
    let began = Instant::now();
    eventually("the attempt is over", || {
        // Whoever stops it once more after it was woken.
        let _ = rustix::process::kill_process(shim, Signal::STOP);
        (!project.events_of("attempt.finished").is_empty()).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(!Path::new("/proc").join(&agent).join("exe").exists(), "its agent is gone");
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
}

#[test]
fn a_process_that_has_shed_its_session_and_environment_ends_with_its_killed_shim() {
    let mut project = Project::new(
        "env -i setsid sh -c 'echo $$ > away.new; mv away.new away.pid; exec sleep 1000' & exec sleep 1000",
    );
    one_task(&project);
    let n = project.start("builder", &["--interval", "1s"]);
    eventually("the process is away", || project.path("away.pid").exists().then_some(()));
    let away = fs::read_to_string(project.path("away.pid")).unwrap().trim().to_owned();
    let shim = shim_of_a(&project);
    // A worker looks at who runs below a shim every two seconds.
    std::thread::sleep(Duration::from_millis(2_500));
    rustix::process::kill_process(shim, Signal::KILL).expect("the shim");
    eventually("the attempt is over", || (!project.events_of("attempt.finished").is_empty()).then_some(()));
    eventually("it is gone", || (!Path::new("/proc").join(&away).join("exe").exists()).then_some(()));
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
}

#[test]
fn an_agent_whose_shim_is_stopped_does_not_outlive_its_killed_worker_for_long() {
    let mut project = Project::new("echo $$ > agent.new; mv agent.new agent.pid; exec sleep 1000");
    one_task(&project);
    let n = project.start("builder", &["--interval", "1s"]);
    eventually("the agent runs", || project.path("agent.pid").exists().then_some(()));
    let agent = fs::read_to_string(project.path("agent.pid")).unwrap().trim().to_owned();
    let shim = shim_of_a(&project);
    // Both at once: nobody wakes it, and it cannot see that its worker has gone.
    project.signal(n, Signal::STOP);
    rustix::process::kill_process(shim, Signal::STOP).expect("the shim");
    project.signal(n, Signal::KILL);
    project.ended(n);
    let next = project.start("tester", &["--interval", "1s"]);
    eventually("its task is given back", || (!project.events_of("lease.rescued").is_empty()).then_some(()));
    assert!(!Path::new("/proc").join(&agent).join("exe").exists(), "its agent was ended before that");
    assert_eq!(project.status("A"), "ready");
    project.signal(next, Signal::TERM);
    assert_eq!(project.ended(next), Some(0));
}

#[test]
fn a_pipe_in_the_place_of_a_gates_log_is_refused_and_the_worker_goes_on() {
    let mut project = Project::new("mkfifo \"$OODATCAA_RUN_DIR/gate-green.log\"; exit 0");
    project.config("[roles.builder]\ngates = [\"green\"]\n[gates.green]\nargv = [\"true\"]");
    one_task(&project);
    let n = project.start("builder", &["--interval", "1s"]);
    eventually("the attempt is over", || (!project.events_of("attempt.finished").is_empty()).then_some(()));
    let reason = project.events_of("attempt.finished")[0]["data"]["reason"].to_string();
    assert!(reason.contains("gate-green.log"), "{reason}");
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
}

#[test]
fn an_attempts_directory_that_became_a_link_brings_nothing_of_ours_to_where_it_leads() {
    let away = tempfile::tempdir().expect("a directory");
    let script =
        format!("mv \"$OODATCAA_RUN_DIR\" \"$OODATCAA_RUN_DIR.old\"; ln -s {:?} \"$OODATCAA_RUN_DIR\"", away.path());
    let mut project = Project::new(&script);
    one_task(&project);
    let n = project.start("builder", &["--interval", "1s"]);
    eventually("the attempt is over", || (!project.events_of("attempt.finished").is_empty()).then_some(()));
    project.signal(n, Signal::TERM);
    assert_eq!(project.ended(n), Some(0));
    assert_eq!(fs::read_dir(away.path()).expect("there").count(), 0);
}

#[test]
fn what_a_killed_or_failed_agent_wrote_into_its_result_does_not_count() {
    for (end, class) in [("exit 1", "agent_failed"), ("kill -9 $$", "agent_crashed")] {
        let project = Project::new(&format!(
            "echo '{{\"outcome\":\"done\",\"summary\":\"all of it\"}}' > \"$OODATCAA_RESULT_FILE\"; {end}"
        ));
        one_task(&project);
        project.once("builder");
        let end = &project.events_of("attempt.finished")[0]["data"];
        assert_eq!(end["class"], class, "{end}");
        assert!(end["reason"].to_string().contains("its result.json said `done`"), "{end}");
    }
}

#[test]
fn a_worker_in_a_copy_of_a_project_leaves_the_originals_agent_alone() {
    let mut project = Project::new("echo $$ > agent.new; mv agent.new agent.pid; exec sleep 1000");
    project.config("[roles.builder]\nttl = \"1s\"");
    one_task(&project);
    project.start("builder", &["--interval", "1s"]);
    eventually("the agent runs", || project.path("agent.pid").exists().then_some(()));
    eventually("its start is told", || (!project.events_of("attempt.started").is_empty()).then_some(()));
    let agent = fs::read_to_string(project.path("agent.pid")).unwrap().trim().to_owned();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    let copied = Command::new("cp").args(["-a", "--"]).args([project.root(), &copy]).status().expect("cp");
    assert!(copied.success());
    // Nobody renews the lease there.
    eventually("the copy gives its own back", || {
        let mut other = project.command("agent-daemon");
        let said = other.current_dir(&copy).args(["--role", "tester", "--once"]).output().expect("agent-daemon runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let events = fs::read_to_string(copy.join(".oodatcaa/work/events.jsonl")).unwrap();
        events.contains("oodatcaa.lease.rescued.v1").then_some(())
    });
    assert!(Path::new("/proc").join(&agent).join("exe").exists(), "the original's agent works on");
    assert!(project.events_of("attempt.finished").is_empty());
}
