//! What the store of files promises beyond every store: about links, locks, broken ends, helpers' files.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ChangeSet, LeaseRecord, Member, Status};
use oodatcaa_store::{LOCK_WAIT, StoreError, identity};

use super::{Project, QUEUE, claim, id, kinds, moved, nothing, open, status};

fn refused(result: Result<(), StoreError>, why: &str) {
    match result {
        Err(StoreError::Unsafe { reason, .. }) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
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
        let opened = open(&project.layout(), None, LOCK_WAIT);
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
    let opened = open(&project.layout(), None, LOCK_WAIT);
    refused(opened.map(|_| ()), "everyone may write");
    fs::set_permissions(project.layout().work(), fs::Permissions::from_mode(0o755)).expect("set");
    fs::set_permissions(project.layout().queue(), fs::Permissions::from_mode(0o666)).expect("set");
    refused(nothing(&project.open()), "everyone may write");
}

#[test]
fn nobody_works_for_another_user_not_even_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can try");
        return;
    }
    let project = Project::new();
    let mark = project.layout().mark();
    std::os::unix::fs::chown(&mark, Some(65_534), Some(65_534)).expect("ours to give away");
    let worker = open(&project.layout(), Some(identity("w")), LOCK_WAIT);
    refused(worker.map(drop), "it belongs to user 65534");
    open(&project.layout(), None, LOCK_WAIT).expect("a person may look");
}

#[test]
fn no_change_is_lost_even_when_somebody_removes_the_lock_file() {
    let project = Project::new();
    let done = AtomicBool::new(false);
    let work = || {
        let store = project.open();
        for _ in 0..15 {
            let more = &mut |snapshot: &oodatcaa_core::Snapshot| {
                let attempts = snapshot.queue.find("B").expect("there").attempts;
                let mut changes = ChangeSet::none();
                changes.set(&id("B"), Member::Attempts, attempts + 1);
                changes
            };
            store.transact(more).expect("so many removals do not outlast the tries of one call");
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
    let store = open(&layout, Some(me), Duration::from_secs(60)).expect("opened");
    for _ in 0..20 {
        let committed = store.transact(&mut |snapshot| {
            let task = snapshot.queue.find("B").expect("there");
            let mut changes =
                moved(snapshot, "B", if task.status == Status::READY { &Status::BLOCKED } else { &Status::READY });
            changes.set(&task.id, Member::Attempts, task.attempts + 1);
            changes
        });
        committed.expect("committed");
    }
}

#[test]
fn processes_lose_nothing_between_them() {
    let project = Project::new();
    let start = || {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "files::contender", "--ignored"])
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
    let store = open(&project.layout(), None, Duration::from_millis(60)).expect("opened");
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
    woken.recv_timeout(Duration::from_secs(20)).expect("a touched file wakes");
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
    let store = open(&layout, me, LOCK_WAIT).expect("opened");
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
    let store = open(&layout, Some(identity("x")), LOCK_WAIT).expect("opened");
    store.transact(&mut |snapshot| moved(snapshot, "B", &Status::BLOCKED)).expect("committed");
    // The file that the commit displaced is held for some seconds, and a disk with such files stays writable.
    super::eventually("the disk is read-only", || {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(small.0.path()).status();
        remounted.expect("`mount` is there").success()
    });
    let error = store.transact(&mut |snapshot| claim(snapshot, "A")).expect_err("read-only");
    assert!(
        matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem),
        "{error:?}"
    );
    assert_eq!(status(&store, "B"), "blocked", "reading goes on");
}
