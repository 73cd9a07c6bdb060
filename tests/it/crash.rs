//! Workers that are killed: nothing is lost, nothing is doubled, nothing is left behind (R11, R14, R15).

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Project, checker, eventually};

const STUBBORN: &str = "trap '' TERM; touch started.$OODATCAA_TOKEN; setsid sh -c 'trap \"\" TERM; sleep 1000' & sleep 1000 & \
    [ \"$OODATCAA_TOKEN\" -gt 1 ] && exit 0; wait; sleep 1000";

#[test]
fn a_killed_workers_tree_is_gone_and_its_task_claimable_within_five_seconds() {
    let mut project = Project::new(STUBBORN);
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let victim = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    // Another worker, of another role, with a poll that is far away.
    project.start_ready("tester", &["--interval", "3600"]);
    project.signal(victim, Signal::KILL);
    let killed = Instant::now();
    project.wait_for("A", "ready");
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(project.agents(), Vec::<u32>::new(), "the tree was gone before the task was given back");
    assert!(project.task("A")["attempts"].is_null(), "an interruption is not charged");
    let rescued = &project.events_of("lease.rescued")[0];
    assert_eq!((&rescued["task"], &rescued["token"], &rescued["data"]["died"]), (&json!("A"), &json!(1), &json!(true)));
}

#[test]
fn the_next_start_rescues_when_nobody_else_was_there() {
    let mut project = Project::new(STUBBORN);
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let victim = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    project.signal(victim, Signal::KILL);
    project.ended(victim);
    project.start("builder", &[]);
    project.wait_for("A", "awaiting_test");
    assert_eq!(project.events_of("lease.acquired").last().expect("claimed again")["token"], 2);
}

#[test]
fn a_stopped_worker_is_taken_over_after_its_ttl_and_changes_nothing_when_it_wakes() {
    let mut project = Project::new("touch started.$OODATCAA_TOKEN; [ $OODATCAA_TOKEN -gt 1 ] || sleep 1000");
    project.config("[roles.builder]\nttl = \"2s\"");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let sleeper = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    project.stop_outside_of_the_lock(sleeper);
    project.start("builder", &["--owner", "second"]);
    project.wait_for("A", "awaiting_test");
    let before = project.text();
    project.signal(sleeper, Signal::CONT);
    eventually("the sleeper notices", || (!project.events_of("attempt.superseded").is_empty()).then_some(()));
    assert_eq!(project.text(), before, "not a byte");
    assert_eq!(project.status("A"), "awaiting_test");
}

#[test]
fn an_active_status_without_a_lease_is_mended() {
    let mut project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "testing", "agent": "tester", "lease": null}]));
    project.start("planner", &[]);
    project.wait_for("A", "awaiting_test");
}

#[test]
fn a_lease_of_a_dead_process_is_removed() {
    let mut project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "in_progress", "lease": "old@h#5"}]));
    fs::create_dir_all(project.path(".leases")).expect("a directory");
    let lease = json!({"task_id": "A", "role": "builder", "owner": "old@h", "token": 5, "attempt": 1,
        "started_at": "2026-01-05T09:00:00.000Z", "ttl_seconds": 5400, "heartbeat_at": "2026-01-05T09:00:00.000Z",
        "host": "h", "boot_id": "another", "pid": 4_000_000, "pid_started": 1});
    fs::write(project.path(".leases/A.json"), lease.to_string()).expect("a lease");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let lease = lease.to_string().replace("\"host\":\"h\"", &format!("\"host\":\"{host}\""));
    fs::write(project.path(".leases/A.json"), lease).expect("a lease");
    project.start("builder", &[]);
    project.wait_for("A", "awaiting_test");
    assert_eq!(project.events_of("lease.acquired")[0]["token"], 6, "greater than every token before");
}

#[test]
fn a_lease_file_that_somebody_removed_stops_the_attempt_and_frees_the_task() {
    let mut project = Project::new("touch started.$OODATCAA_TOKEN; [ $OODATCAA_TOKEN -gt 1 ] || sleep 1000");
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    project.start("builder", &[]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    fs::remove_file(project.path(".leases/A.json")).expect("removed");
    project.wait_for("A", "awaiting_test");
    let done = project.events_of("attempt.finished").iter().filter(|event| event["data"]["outcome"] == "done").count();
    assert_eq!(done, 1, "one result was taken");
}

#[test]
fn hand_edits_survive_while_five_daemons_work() {
    let mut project = Project::new("sleep 0.01");
    let tasks: Vec<_> =
        (0..15).map(|n| json!({"id": format!("T{n:02}"), "title": "", "status": "needs_plan"})).collect();
    project.queue(json!(tasks));
    for role in ["planner", "builder", "tester", "refiner", "integrator"] {
        project.start(role, &[]);
    }
    // `jq … > tmp && mv tmp queue`, as people do it, and in place, as editors do it.
    for n in 0..30 {
        let queue = project.queue_file();
        let (script, marker) = match n % 2 {
            0 => {
                (format!("jq '.note_{n} = {n}' '{q}' > '{q}.tmp{n}' && mv '{q}.tmp{n}' '{q}'", q = queue.display()), n)
            }
            _ => (format!("t=$(jq '.note_{n} = {n}' '{q}') && printf '%s\\n' \"$t\" > '{q}'", q = queue.display()), n),
        };
        eventually("the edit goes in", || {
            let edited = project.command("sh").args(["-c", &script]).status().expect("a shell");
            edited.success().then_some(())
        });
        let _ = marker;
    }
    for n in 0..15 {
        project.wait_for(&format!("T{n:02}"), "done");
    }
    let json = project.json();
    let lost: Vec<i32> = (0..30).filter(|n| json[format!("note_{n}")] != *n).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Many workers, many tasks, random kills: each task done exactly once by a live lease holder.
fn torture(workers: usize, tasks: usize, kills: usize, seed: u64) {
    let mut random = seed;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    eprintln!("torture: {workers} workers, {tasks} tasks, {kills} kills, seed {seed}");
    let limit = 6;
    // Each effective run leaves a mark; the mark of a finished one is named by its token.
    let mut project = Project::new("mkdir -p marks; touch marks/$OODATCAA_TASK_ID.$OODATCAA_TOKEN; sleep 0.05");
    let config = fs::read_to_string(project.path(".oodatcaa/config.toml")).expect("the configuration");
    fs::write(
        project.path(".oodatcaa/config.toml"),
        config.replace("retry.backoff", "limits.starts = 1000\nretry.deaths = 1000\nretry.backoff"),
    )
    .expect("written");
    let list: Vec<_> = (0..tasks).map(|n| json!({"id": format!("T{n:04}"), "title": "", "status": "ready"})).collect();
    project.queue_text(
        &serde_json::to_string_pretty(&json!({"wip_limits": {"builder": limit}, "tasks": list})).expect("JSON"),
    );

    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (stop, queue) = (Arc::clone(&stop), project.queue_file());
        std::thread::spawn(move || {
            let mut reads = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let text = fs::read(&queue).expect("the queue is there at every instant");
                serde_json::from_slice::<Value>(&text).expect("the queue is valid at every instant");
                reads += 1;
            }
            reads
        })
    };
    let mut alive: Vec<usize> = Vec::new();
    let mut started = 0;
    let mut start = |project: &mut Project| {
        started += 1;
        project.start("builder", &["--owner", &format!("w{started}"), "--slots", "2", "--interval", "1s"])
    };
    for _ in 0..workers {
        alive.push(start(&mut project));
    }
    let finished = |project: &Project| project.tasks().iter().filter(|task| task["status"] == "awaiting_test").count();
    for kill in 0..kills {
        // Spread over the work, not over time.
        let goal = tasks * kill / (kills + 1);
        eventually(&format!("{goal} tasks are done"), || (finished(&project) >= goal).then_some(()));
        let victim = next(alive.len());
        project.signal(alive[victim], Signal::KILL);
        project.ended(alive[victim]);
        alive[victim] = start(&mut project);
    }
    let deadline = Instant::now() + Duration::from_secs(60 + tasks as u64);
    while finished(&project) < tasks {
        assert!(Instant::now() < deadline, "only {} of {tasks} are done", finished(&project));
        std::thread::sleep(Duration::from_millis(50));
    }
    for n in alive {
        project.signal(n, Signal::TERM);
        assert_eq!(project.ended(n), Some(0));
    }
    stop.store(true, Ordering::Relaxed);
    let reads = reader.join().expect("the queue was valid at every instant");

    assert_eq!(project.agents(), Vec::<u32>::new(), "no process is left");
    assert!(project.leases().is_empty(), "no lease is left");
    check_history(&project);
    let events = project.events().len();
    println!(
        "figure: {workers} workers, {tasks} tasks, {kills} kills: {events} events, {reads} reads of a valid queue"
    );
}

/// Proves from the journal that each task was done once, by the newest token, within the limit.
fn check_history(project: &Project) {
    let proved = checker::check(&project.events(), &project.json()).unwrap_or_else(|wrong| panic!("{wrong}"));
    for task in project.tasks() {
        let task = task["id"].as_str().expect("an id");
        let [token] = proved.accepted.get(task).map_or(&[][..], Vec::as_slice) else {
            panic!("{task} was done once: {:?}", proved.accepted.get(task))
        };
        assert!(project.path(&format!("marks/{task}.{token}")).exists(), "{task} was really done by {token}");
    }
    println!("figure: history: {} claims, {} rescued, at most {} at once", proved.claims, proved.rescued, proved.most);
}

#[test]
fn workers_killed_at_random_lose_and_double_nothing() {
    torture(5, 40, 8, 0x00d4_7caa);
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn torture_at_full_size() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos())
    });
    torture(20, 200, 60, seed);
}

#[test]
fn an_old_queue_file_put_back_stops_claiming_until_a_human_confirms() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}, {"id": "B", "title": "", "status": "ready"}]));
    let old = project.text();
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    // The day after: what the journal tells happened long ago, and somebody checks out yesterday's file.
    let journal = project.path(".oodatcaa/work/events.jsonl");
    let aged: String = project
        .events()
        .into_iter()
        .map(|mut event| {
            event["time"] = json!("2026-01-05T09:00:00.000Z");
            format!("{event}\n")
        })
        .collect();
    fs::write(&journal, aged).expect("written");
    project.queue_text(&old);

    let output = project.once("builder");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("an old queue file was put back") && said.contains("agentctl queue repair"), "{said}");
    assert_eq!(project.text(), old, "nothing is claimed and nothing is touched");
    let why = project.command("agentctl").args(["why", "A"]).output().expect("agentctl");
    assert!(String::from_utf8_lossy(&why.stdout).contains("an old queue file was put back"));

    let repair = project.command("agentctl").args(["queue", "repair", "--yes"]).output().expect("agentctl");
    assert!(repair.status.success(), "{}", String::from_utf8_lossy(&repair.stderr));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    assert_eq!(project.events_of("lease.acquired").last().expect("claimed")["token"], 2, "no old token comes to life");
}
