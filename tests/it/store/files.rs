//! What the store of files promises beyond every store: about links, locks, broken ends, helpers' files.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use oodatcaa::{
    domain::{Holder, LeaseRecord, Member, Plan, Status, observe},
    layout::Layout,
    store::{
        Store, StoreError,
        file::{FileOptions, FileStore, identity},
    },
};

use super::{Project, QUEUE, claim, eventually, id, kinds, moved, settle, status};

fn nothing(store: &dyn Store) -> Result<(), StoreError> {
    store.transact(&mut |_| Plan::none()).map(|_| ())
}

fn refused(result: Result<(), StoreError>, why: &str) {
    match result {
        Err(StoreError::Unsafe { reason, .. }) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

fn holder(store: &dyn Store, task: &str) -> Option<Holder> {
    let mut holder = None;
    store
        .transact(&mut |snapshot| {
            holder = snapshot.leases.get(task).map(|held| held.holder.clone());
            Plan::none()
        })
        .expect("nothing to do");
    holder
}

#[test]
fn reading_creates_nothing() {
    let project = Project::new();
    let before = project.files();
    let store = project.open_as(None);
    store.read().expect("read");
    assert_eq!(store.events(0).expect("read"), []);
    assert_eq!(project.files(), before);
    assert!(!project.layout().leases().exists() && !project.layout().locks().exists());
}

#[test]
fn a_project_without_a_queue_is_told() {
    let project = Project::new();
    fs::remove_file(project.layout().queue()).expect("removed");
    let store = project.open();
    assert!(matches!(store.read(), Err(StoreError::Missing(_))));
    assert!(matches!(nothing(&store), Err(StoreError::Missing(_))));
    assert!(!project.layout().locks().exists(), "nothing is made for it");
}

#[test]
fn a_queue_that_went_away_leaves_the_last_good_content() {
    let project = Project::new();
    let store = project.open();
    store.read().expect("read");
    fs::remove_file(project.layout().queue()).expect("removed");
    let reading = store.read().expect("the last good content");
    assert_eq!((reading.snapshot.queue.len(), reading.invalid.is_some()), (2, true));
    assert!(matches!(nothing(&store), Err(StoreError::Missing(_))));
    project.replace(QUEUE);
    nothing(&store).expect("back again");
}

#[test]
fn state_is_for_our_eyes_and_the_queue_keeps_its_mode() {
    let project = Project::new();
    fs::set_permissions(project.layout().queue(), fs::Permissions::from_mode(0o640)).expect("set");
    project.open().transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let mode = |path: std::path::PathBuf| fs::metadata(path).expect("there").mode() & 0o777;
    let layout = project.layout();
    assert_eq!(mode(layout.queue()), 0o640);
    assert_eq!((mode(layout.leases()), mode(layout.locks())), (0o700, 0o700));
    for file in [layout.lease(&id("A")), layout.journal(), layout.queue_lock(), layout.task_lock(&id("A"))] {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
}

#[test]
fn links_in_the_place_of_our_files_are_refused() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let target = elsewhere.path().join("target");
    for name in [".leases", ".locks"] {
        let project = Project::new();
        symlink(elsewhere.path(), project.directory.path().join(name)).expect("linked");
        let opened = FileStore::open(&project.layout(), None, FileOptions::default());
        refused(opened.map(|_| ()), "symbolic link");
    }
    type Place = fn(&Layout) -> std::path::PathBuf;
    let places: [Place; 4] = [Layout::queue, Layout::journal, Layout::queue_lock, |layout| layout.task_lock(&id("A"))];
    for place in places {
        let project = Project::new();
        fs::create_dir(project.layout().locks()).expect("created");
        fs::write(&target, QUEUE).expect("written");
        let path = place(&project.layout());
        let _ = fs::remove_file(&path);
        symlink(&target, &path).expect("linked");
        let store = project.open();
        let result = store.transact(&mut |snapshot| claim(snapshot, "A")).map(|_| ());
        refused(result, "symbolic link");
        assert_eq!(fs::read_to_string(&target).expect("read"), QUEUE, "{}", path.display());
    }
    let project = Project::new();
    fs::create_dir(project.layout().leases()).expect("created");
    fs::write(&target, "{}").expect("written");
    symlink(&target, project.layout().lease(&id("A"))).expect("linked");
    let leases = project.open().read().expect("read").snapshot.leases;
    assert!(matches!(&leases["A"].record, LeaseRecord::Broken { reason, .. } if reason.contains("link")));
}

#[test]
fn what_everybody_may_write_is_refused() {
    let project = Project::new();
    fs::set_permissions(project.layout().work(), fs::Permissions::from_mode(0o777)).expect("set");
    let opened = FileStore::open(&project.layout(), None, FileOptions::default());
    refused(opened.map(|_| ()), "everybody may write");
    fs::set_permissions(project.layout().work(), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(project.layout().queue(), fs::Permissions::from_mode(0o666)).expect("set");
    refused(nothing(&project.open()), "everybody may write");
}

#[test]
fn no_change_is_lost_even_when_somebody_removes_the_lock_file() {
    let project = Project::new();
    let done = AtomicBool::new(false);
    let work = || {
        let store = project.open();
        for _ in 0..15 {
            // So many removals may well outlast the tries of one call.
            let mut tries = 0..100;
            while let Err(error) = store.transact(&mut |snapshot| {
                let attempts = snapshot.queue.find("B").expect("there").attempts;
                let mut plan = Plan::none();
                plan.set(&id("B"), Member::Attempts, attempts + 1);
                plan
            }) {
                assert!(matches!(error, StoreError::Contended { .. }), "{error:?}");
                tries.next().expect("it ends some time");
            }
        }
    };
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let _ = fs::remove_file(project.layout().queue_lock());
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let workers = [(); 3].map(|()| scope.spawn(work));
        let results = workers.map(std::thread::ScopedJoinHandle::join);
        done.store(true, Ordering::SeqCst);
        remover.join().expect("no panic");
        for result in results {
            result.expect("no panic");
        }
    });
    let attempts = project.open().read().expect("read").snapshot.queue.find("B").expect("there").attempts;
    assert_eq!(attempts, 45);
}

/// What each of the processes does that [`processes_lose_nothing_between_them`] starts.
#[test]
#[ignore = "a part of another test"]
fn contender() {
    let layout = Layout::new(std::env::var_os("CONTENDER_OF").expect("started by the other test"));
    let me = identity(&format!("contender@{}", std::process::id()));
    let store = FileStore::open(&layout, Some(me), FileOptions { lock_wait: Duration::from_secs(60) }).expect("opened");
    for _ in 0..20 {
        let committed = store.transact(&mut |snapshot| {
            let task = snapshot.queue.find("B").expect("there");
            let mut plan =
                moved(snapshot, "B", if task.status == Status::READY { &Status::BLOCKED } else { &Status::READY });
            plan.set(&task.id, Member::Attempts, task.attempts + 1);
            plan
        });
        committed.expect("committed");
    }
}

#[test]
fn processes_lose_nothing_between_them() {
    let project = Project::new();
    let start = || {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "store::files::contender", "--ignored"])
            .env("CONTENDER_OF", project.directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("started")
    };
    for mut contender in [start(), start(), start()] {
        assert!(contender.wait().expect("it ended").success());
    }
    let store = project.open();
    assert_eq!(store.read().expect("read").snapshot.queue.find("B").expect("there").attempts, 60);
    let events = store.events(0).expect("read");
    assert_eq!(events.len(), 61, "the baseline and every move: {:?}", kinds(&events));
    assert!(events.iter().zip(1..).all(|(event, number)| event.seq == number));
}

#[test]
fn a_lock_that_another_process_holds_is_told_with_its_name() {
    let project = Project::new();
    nothing(&project.open()).expect("makes the lock");
    let mut holder = Command::new("flock")
        .arg(project.layout().queue_lock())
        .args(["sh", "-c", "echo held; read x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`flock` is there");
    let mut word = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut word).expect("it holds");
    let store =
        FileStore::open(&project.layout(), None, FileOptions { lock_wait: Duration::from_millis(60) }).expect("opened");
    let error = store.transact(&mut |_| panic!("not ours")).expect_err("held");
    let told = error.to_string();
    assert!(matches!(error, StoreError::Busy { holder: Some(_), .. }), "{error:?}");
    assert!(told.contains(&holder.id().to_string()) && told.contains("flock"), "{told}");
    assert_eq!(status(&store, "A"), "ready", "reading waits for nobody");
    drop(holder.stdin.take());
    holder.wait().expect("it ended");
    nothing(&store).expect("free");
}

#[test]
fn a_line_that_was_not_finished_is_cut_and_told() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let whole = project.journal();
    let mut file = fs::OpenOptions::new().append(true).open(project.layout().journal()).expect("opened");
    file.write_all(br#"{"specversion":"1.0","id":"4","seq":4,"ty"#).expect("written");
    assert_eq!(store.events(0).expect("read").len(), 3, "readers do without it");
    for (store, number) in [(project.open(), 4), (store, 5)] {
        store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
        assert!(project.journal().starts_with(&whole));
        let events = store.events(3).expect("read");
        assert_eq!(events[0].text("note"), Some("41 bytes of an unfinished line were cut off the journal"));
        assert_eq!(events.last().map(|event| event.seq), Some(number + 1));
        let lines = project.journal().lines().map(serde_json::from_str::<serde_json::Value>).all(|line| line.is_ok());
        assert!(lines, "{}", project.journal());
    }
}

#[test]
fn a_last_line_that_lacks_only_its_end_is_kept() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let whole = project.journal();
    fs::write(project.layout().journal(), whole.trim_end()).expect("written");
    for store in [project.open(), store] {
        store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    }
    assert!(project.journal().starts_with(&whole));
    assert_eq!(project.open().events(0).expect("read").len(), 5);
}

#[test]
fn an_unreadable_line_in_the_middle_is_passed_over_and_its_number_is_not_used_again() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let torn = project.journal() + "not an event\n{\"seq\": 40, \"type\": \"oodatcaa.of.tomorrow.v9\"}\n";
    fs::write(project.layout().journal(), &torn).expect("written");
    let store = project.open();
    let committed = store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    assert_eq!(committed.events[0].seq, 41);
    assert!(project.journal().starts_with(&torn));
}

#[test]
fn a_journal_that_was_written_anew_is_read_anew() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let journal = project.journal();
    let first = journal.lines().next().expect("a line").to_owned() + "\n";
    for _ in 0..2 {
        // Shrunk in place; then, longer than what was read, with another beginning.
        fs::write(project.layout().journal(), &first).expect("written");
        assert_eq!(store.read().expect("read").snapshot.history.seq, 1);
        fs::write(project.layout().journal(), journal.replace("\"seq\":3", "\"seq\":73")).expect("written");
        assert_eq!(store.read().expect("read").snapshot.history.seq, 73);
    }
    fs::remove_file(project.layout().journal()).expect("removed");
    assert_eq!(store.read().expect("read").snapshot.history.seq, 0);
}

#[test]
fn an_event_that_a_crash_swallowed_is_observed() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("committed");
    let before = project.journal();
    project.open().transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    fs::write(project.layout().journal(), before).expect("written");
    let store = project.open();
    let committed = store.transact(&mut |_| Plan::none()).expect("observed");
    assert_eq!(kinds(&committed.events), ["task.observed"]);
    assert_eq!(committed.events[0].text("to"), Some("in_progress"));
}

#[test]
fn a_change_that_somebody_just_wrote_over_is_written_again() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("committed");
    project.replace(&QUEUE.replace("\"attempts\": 0", "\"attempts\": 3"));
    nothing(&store).expect("written again");
    let queue = store.read().expect("read").snapshot.queue;
    assert_eq!(queue.find("A").expect("there").status, Status::AWAITING_TEST);
    assert_eq!(queue.find("B").expect("there").attempts, 3, "and theirs stays");
}

#[test]
fn an_old_queue_that_was_put_back_is_left_as_it_is_and_seen() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::AWAITING_TEST)).expect("committed");
    let long_ago: String = project
        .journal()
        .lines()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).expect("an event");
            event["time"] = "2026-01-05T09:00:00.000Z".into();
            format!("{event}\n")
        })
        .collect();
    fs::write(project.layout().journal(), long_ago).expect("written");
    project.replace(QUEUE);
    let mut seen = None;
    store
        .transact(&mut |snapshot| {
            seen = Some((observe::behind(snapshot).is_some(), snapshot.highest_token(&id("A")).0));
            Plan::none()
        })
        .expect("nothing to do");
    assert_eq!(seen, Some((true, 1)), "the token is not forgotten");
    assert_eq!(project.queue(), QUEUE);
}

#[test]
fn a_file_written_in_place_is_waited_for() {
    let project = Project::new();
    let store = project.open();
    store.read().expect("read");
    let (half, rest) = QUEUE.split_at(QUEUE.len() / 2);
    let mut file = fs::File::create(project.layout().queue()).expect("cut");
    file.write_all(half.as_bytes()).expect("written");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.read().expect("read").invalid);
        file.write_all(rest.replace("\"attempts\": 0", "\"attempts\": 5").as_bytes()).expect("written");
        assert_eq!(reader.join().expect("no panic"), None);
    });
    assert_eq!(store.read().expect("read").snapshot.queue.find("B").expect("there").attempts, 5);
}

#[test]
fn helpers_leases_are_read_in_every_dialect() {
    let project = Project::new();
    fs::create_dir(project.layout().leases()).expect("created");
    let put = |name: &str, text: &str| fs::write(project.layout().leases().join(name), text).expect("written");
    put("A.json", r#"{"agent": "builder", "acquired": "2026-01-05T09:00:00Z", "ttl": 90, "token": 5}"#);
    put(
        "B-somebody.json",
        r#"{"task_id": "B", "owner": "somebody", "started_at": "2026-01-05T09:00:00Z", "ttl_seconds": 60}"#,
    );
    put("C.json", "half a le");
    put("notes.txt", "not ours");
    put(".D.json", "{}");
    let store = project.open();
    let leases = store.read().expect("read").snapshot.leases;
    assert_eq!(leases.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["A", "B", "C"]);
    let LeaseRecord::Foreign(lease) = &leases["A"].record else { panic!("{leases:?}") };
    assert_eq!(lease.until, "2026-01-05T10:30:00Z".parse().ok());
    assert_eq!((leases["A"].token().0, &leases["A"].holder), (5, &Holder::Unknown));
    assert_eq!(leases["B"].owner(), "somebody");
    assert!(matches!(leases["C"].record, LeaseRecord::Broken { .. }));

    let mut plan = None;
    store.transact(&mut |snapshot| plan.insert(claim(snapshot, "B")).clone()).expect("taken over");
    assert!(!project.layout().leases().join("B-somebody.json").exists(), "ours stands in its place");
    assert!(store.read().expect("read").snapshot.leases["B"].ours().is_some());
    store.transact(&mut |snapshot| settle(snapshot, "A", &Status::READY)).expect("dropped");
    assert!(!project.layout().lease(&id("A")).exists());
}

#[test]
fn a_lease_says_what_was_written_last_however_fast() {
    let project = Project::new();
    let (one, other) = (project.open(), project.open());
    one.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    for group in 1..60 {
        one.transact(&mut |snapshot| {
            let lease = snapshot.leases["A"].ours().expect("ours").clone();
            let lease = oodatcaa::domain::Lease { pgid: Some(1_000 + group), ..lease };
            Plan { leases: vec![oodatcaa::domain::LeaseChange::Write(lease)], ..Plan::none() }
        })
        .expect("committed");
        let read = other.read().expect("read").snapshot;
        assert_eq!(read.leases["A"].ours().and_then(|lease| lease.pgid), Some(1_000 + group));
    }
}

/// Makes a lease say that a process of this machine holds it.
fn give_to(project: &Project, pid: u32, started: u64) {
    let path = project.layout().lease(&id("A"));
    let mut lease: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    lease["pid"] = pid.into();
    lease["pid_started"] = started.into();
    fs::write(path, lease.to_string()).expect("written");
}

#[test]
fn a_killed_holder_is_dead_at_once() {
    let project = Project::new();
    let worker = project.open();
    worker.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    drop(worker);
    let mut child = Command::new("flock")
        .arg("--no-fork")
        .arg(project.layout().task_lock(&id("A")))
        .args(["sh", "-c", "echo held; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("`flock` is there");
    let mut word = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut word).expect("it holds");
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it lives");
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
    give_to(&project, child.id(), started.expect("a start time"));

    let store = project.open();
    assert_eq!(holder(&store, "A"), Some(Holder::Alive));
    assert_eq!(store.read().expect("read").snapshot.leases["A"].holder, Holder::Alive);

    give_to(&project, child.id(), started.expect("a start time") + 1);
    let another = holder(&store, "A");
    assert!(matches!(&another, Some(Holder::Dead(why)) if why.contains("another one")), "{another:?}");
    give_to(&project, child.id(), started.expect("a start time"));

    child.kill().expect("killed");
    // Not reaped yet: a process that only waits for that is dead.
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    assert!(matches!(store.read().expect("read").snapshot.leases["A"].holder, Holder::Dead(_)));
    child.wait().expect("reaped");
}

#[test]
fn another_boot_is_death_and_another_machine_is_unknown() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let path = project.layout().lease(&id("A"));
    let lease = fs::read_to_string(&path).expect("read");
    let me = identity("x");
    fs::write(&path, lease.replace(&me.boot_id, "another-boot")).expect("written");
    assert!(matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    fs::write(&path, lease.replace(&me.boot_id, "another-boot").replace(&format!("\"{}\"", me.host), "\"elsewhere\""))
        .expect("written");
    assert_eq!(holder(&store, "A"), Some(Holder::Unknown));
}

#[test]
fn a_superseded_holder_of_a_tasks_lock_does_not_keep_it() {
    let project = Project::new();
    let (wedged, other) = (project.open(), project.open());
    wedged.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    fs::remove_file(project.layout().lease(&id("A"))).expect("removed");
    other.transact(&mut |snapshot| claim(snapshot, "A")).expect("taken");
    drop(wedged);
    assert_eq!(holder(&project.open(), "A"), Some(Holder::Alive), "the lock of the old one was on nothing");
    drop(other);
    let store = project.open();
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
}

#[test]
fn an_agent_does_not_inherit_a_lock() {
    let project = Project::new();
    let store = project.open();
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    let mut agent = Command::new("sleep").arg("1000").spawn().expect("`sleep` is there");
    drop(store);
    let store = project.open();
    // Other tests start programs too: between fork and exec those have copies of everything.
    eventually("it is dead", || matches!(holder(&store, "A"), Some(Holder::Dead(_))));
    assert_eq!(agent.try_wait().expect("looked"), None, "the agent lives on");
    agent.kill().expect("killed");
    agent.wait().expect("reaped");
}

#[test]
fn a_store_without_an_owner_takes_no_lease() {
    let project = Project::new();
    let store = project.open_as(None);
    assert!(store.transact(&mut |snapshot| claim(snapshot, "A")).is_err());
    assert_eq!(project.queue(), QUEUE);
    store.transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("but it moves tasks");
}

#[test]
fn who_only_looks_does_not_journal_what_was_observed() {
    let project = Project::new();
    project.open().transact(&mut |snapshot| moved(snapshot, "A", &Status::BLOCKED)).expect("committed");
    project.replace(&project.queue().replace("blocked", "ready"));
    let before = project.journal();
    nothing(&project.open_as(None)).expect("nothing to do");
    assert_eq!(project.journal(), before);
    nothing(&project.open()).expect("observed");
    assert_ne!(project.journal(), before);
}

#[test]
fn what_a_crash_left_behind_is_swept() {
    let project = Project::new();
    let left = project.layout().work().join(".oodatcaa-tmp.x7");
    fs::write(&left, "half").expect("written");
    project.open().read().expect("read");
    assert!(left.exists(), "a reader touches nothing");
    nothing(&project.open()).expect("nothing to do");
    assert!(!left.exists());
}

#[test]
fn changes_wake_and_reading_does_not() {
    let project = Project::new();
    let (watching, writing) = (project.open(), project.open());
    let woken = watching.changes().expect("watched");
    watching.read().expect("read");
    assert!(woken.recv_timeout(Duration::from_millis(50)).is_err(), "reading wakes nobody");
    project.replace(&QUEUE.replace("Füße", "x"));
    woken.recv_timeout(Duration::from_secs(20)).expect("a hand edit wakes");
    writing.transact(&mut |snapshot| claim(snapshot, "A")).expect("committed");
    woken.recv_timeout(Duration::from_secs(20)).expect("a commit wakes");
    while woken.recv_timeout(Duration::from_millis(200)).is_ok() {}
    fs::OpenOptions::new()
        .write(true)
        .open(project.layout().lease(&id("A")))
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .expect("touched");
    woken.recv_timeout(Duration::from_secs(20)).expect("a nudge wakes");
}

/// A small file system of its own; `None`, with a word why, where it cannot be had.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        match mounted {
            Ok(status) if status.success() => Some(Self(directory)),
            _ => {
                let _ = writeln!(std::io::stderr(), "skipped: a small file system needs root and `mount`");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_changes_nothing_and_everything_goes_on_when_there_is_room() {
    let Some(small) = Small::mount("512k") else { return };
    let layout = Layout::new(small.0.path());
    fs::create_dir_all(layout.work()).expect("created");
    fs::write(layout.queue(), QUEUE).expect("written");
    let me = Some(identity("builder@here"));
    let store = FileStore::open(&layout, me, FileOptions::default()).expect("opened");
    store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    let before = fs::read(layout.queue()).expect("read");
    let journal = fs::read(layout.journal()).expect("read");

    let ballast = small.0.path().join("ballast");
    let mut file = fs::File::create(&ballast).expect("created");
    while file.write_all(&[7; 4096]).is_ok() {}
    for _ in 0..2 {
        let error = store.transact(&mut |snapshot| claim(snapshot, "A")).expect_err("full");
        assert!(
            matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert_eq!(fs::read(layout.queue()).expect("read"), before);
        assert_eq!(fs::read(layout.journal()).expect("read"), journal);
        assert!(store.read().expect("read").snapshot.leases.is_empty());
    }
    drop(file);
    fs::remove_file(ballast).expect("removed");
    store.transact(&mut |snapshot| claim(snapshot, "A")).expect("there is room");
    assert_eq!(kinds(&store.events(2).expect("read")), ["task.moved", "lease.acquired"]);
}

#[test]
fn a_disk_that_became_read_only_is_told() {
    let Some(small) = Small::mount("512k") else { return };
    let layout = Layout::new(small.0.path());
    fs::create_dir_all(layout.work()).expect("created");
    fs::write(layout.queue(), QUEUE).expect("written");
    let store = FileStore::open(&layout, Some(identity("x")), FileOptions::default()).expect("opened");
    store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(small.0.path()).status();
    assert!(remounted.expect("`mount` is there").success());
    let error = store.transact(&mut |snapshot| claim(snapshot, "A")).expect_err("read-only");
    assert!(
        matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem),
        "{error:?}"
    );
    assert_eq!(status(&store, "B"), "blocked", "reading goes on");
}
