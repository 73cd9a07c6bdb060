//! Real links, pipes, devices and holes in the place of a file of ours.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::*;

struct Room {
    dir: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(room.path("root")).expect("made");
        fs::create_dir(room.path("out")).expect("made");
        fs::write(room.path("out/mine"), "mine").expect("written");
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn fifo(&self, name: &str) {
        rustix::fs::mknodat(CWD, self.path(name), FileType::Fifo, 0o600.into(), 0).expect("made");
    }

    fn read(&self, name: &str) -> std::result::Result<Option<Vec<u8>>, String> {
        read(&self.root(), Path::new(name), 64).map_err(|error| said(&error))
    }
}

fn said(error: &FileError) -> String {
    format!("{error}: {}", error.why)
}

#[test]
fn what_is_no_file_of_ours_is_refused_with_path_and_reason_and_holds_nobody() {
    let room = Room::new();
    symlink(room.path("out/mine"), room.path("root/link")).expect("linked");
    symlink("/dev/zero", room.path("root/zero")).expect("linked");
    symlink(room.path("out"), room.path("root/way")).expect("linked");
    symlink("nowhere", room.path("root/dangling")).expect("linked");
    room.fifo("root/pipe");
    fs::create_dir(room.path("root/dir")).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(room.path("root/socket")).expect("bound");
    let start = Instant::now();
    for (name, reason) in [
        ("link", "link: it is a symbolic link"),
        ("zero", "zero: it is a symbolic link"),
        ("dangling", "dangling: it is a symbolic link"),
        ("way/mine", "root/way: it is a symbolic link"),
        ("pipe", "pipe: it is a named pipe"),
        ("dir", "dir: it is a directory"),
        ("socket", "socket: it is a socket"),
        ("../out/mine", "it is not below"),
        ("", "it is a directory"),
    ] {
        let why = room.read(name).expect_err(name);
        assert!(why.contains(reason), "{name}: {why}");
        let root = room.root();
        let (root, path) = (root.as_path(), Path::new(name));
        assert!(append(root, path).is_err() && hold(root, path).is_err() && open(root, path).is_err(), "{name}");
        assert!(read_tail(root, path, 9).is_err() && create_new(root, path).is_err(), "{name}");
    }
    assert_eq!(fs::read_to_string(room.path("out/mine")).expect("there"), "mine");
    assert!(read(&room.root(), &room.path("out/mine"), 9).is_err(), "an absolute path elsewhere");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn devices_are_refused_where_they_stand_themselves() {
    let why = |name| said(&read(Path::new("/dev"), Path::new(name), 64).expect_err(name));
    assert_eq!(why("zero"), "read /dev/zero: it is a device, not a regular file");
    assert!(read_named(Path::new("/dev/zero"), 64).is_err());
}

#[test]
fn a_file_longer_than_the_cap_is_not_read() {
    let room = Room::new();
    fs::write(room.path("root/short"), [b'a'; 64]).expect("written");
    assert_eq!(room.read("short").expect("fits").map(|bytes| bytes.len()), Some(64));
    let sparse = File::create(room.path("root/long")).expect("made");
    sparse.set_len(50 << 30).expect("sparse");
    let why = room.read("long").expect_err("too long");
    assert!(why.ends_with("it has 53687091200 bytes; no more than 64 are read"), "{why}");
    assert!(read_named(&room.path("root/long"), 64).is_err());
    assert_eq!(read_tail(&room.root(), Path::new("long"), 7).expect("read").map(|tail| tail.len()), Some(7));
}

#[test]
fn what_is_not_there_is_none() {
    let room = Room::new();
    for name in ["none", "none/below", "none/deep/below"] {
        assert_eq!(room.read(name), Ok(None));
        assert!(open(&room.root(), Path::new(name)).expect("no error").is_none());
        assert!(!remove(&room.root(), Path::new(name)).expect("no error"));
        assert!(!remove_tree(&room.root(), Path::new(name)).expect("no error"));
        assert!(list(&room.root(), Path::new(name), 9).expect("no error").is_none());
        assert!(look(&room.root(), Path::new(name)).expect("no error").is_none());
    }
    assert_eq!(read(&room.path("no root"), Path::new("a"), 9).expect("no error"), None);
}

#[test]
fn a_hard_link_to_somebodys_file_is_read_and_never_added_to() {
    let room = Room::new();
    fs::hard_link(room.path("out/mine"), room.path("root/log")).expect("linked");
    assert_eq!(room.read("log").expect("read").as_deref(), Some(&b"mine"[..]));
    let path = Path::new("log");
    for opened in [append(&room.root(), path), hold(&room.root(), path)] {
        assert!(said(&opened.expect_err("refused")).contains("2 hard links"));
    }
    write_atomic(&room.root(), path, b"ours", Durable::No).expect("written");
    assert_eq!(fs::read_to_string(room.path("out/mine")).expect("there"), "mine");
    assert_eq!(room.read("log").expect("read").as_deref(), Some(&b"ours"[..]));
}

#[test]
fn writing_takes_the_place_of_a_link_and_leaves_what_it_led_to() {
    let room = Room::new();
    symlink(room.path("out/mine"), room.path("root/a")).expect("linked");
    room.fifo("root/b");
    for (name, durable) in [("a", Durable::Yes), ("b", Durable::No), ("new", Durable::Yes)] {
        write_atomic(&room.root(), &room.path("root").join(name), b"ours", durable).expect(name);
        assert_eq!(room.read(name).expect("read").as_deref(), Some(&b"ours"[..]));
        let mode = fs::metadata(room.path("root").join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_to_string(room.path("out/mine")).expect("there"), "mine");
    assert!(write_atomic(&room.root(), Path::new("no/file"), b"", Durable::No).is_err());
    fs::create_dir(room.path("root/dir")).expect("made");
    assert!(write_atomic(&room.root(), Path::new("dir"), b"", Durable::No).is_err());
    assert_eq!(list(&room.root(), Path::new(""), 9).expect("listed").map(|all| all.len()), Some(4), "no leftover");
}

#[test]
fn directories_are_made_private_and_through_no_link() {
    let room = Room::new();
    make_dir(&room.root(), Path::new("a/b/c")).expect("made");
    make_dir(&room.root(), Path::new("a/b/c")).expect("there");
    assert_eq!(fs::metadata(room.path("root/a/b")).expect("there").permissions().mode() & 0o777, 0o700);
    symlink(room.path("out"), room.path("root/away")).expect("linked");
    let why = said(&make_dir(&room.root(), Path::new("away/x")).expect_err("refused"));
    assert!(why.ends_with("root/away: it is a symbolic link"), "{why}");
    assert!(make_dir(&room.root(), Path::new("away")).is_err());
    assert!(make_new_dir(&room.root(), Path::new("a/b")).expect_err("taken").is_taken());
    assert!(make_new_dir(&room.root(), Path::new("away")).expect_err("taken").is_taken());
    make_new_dir(&room.root(), Path::new("x/y")).expect("made");
    assert_eq!(fs::read_dir(room.path("out")).expect("there").count(), 1);
}

#[test]
fn a_directory_is_listed_up_to_the_cap() {
    let room = Room::new();
    for name in ["b", "a", "c"] {
        fs::write(room.path("root").join(name), "").expect("written");
    }
    fs::create_dir(room.path("root/d")).expect("made");
    symlink("a", room.path("root/e")).expect("linked");
    let all = list(&room.root(), Path::new("."), 5).expect("listed").expect("there");
    let names: Vec<_> = all.iter().map(|entry| (entry.name.to_string_lossy().into_owned(), entry.kind)).collect();
    let named = |name: &str, kind| (name.to_owned(), kind);
    let file = |name| named(name, Kind::File);
    assert_eq!(names, [file("a"), file("b"), file("c"), named("d", Kind::Directory), named("e", Kind::Other)]);
    assert!(said(&list(&room.root(), Path::new("."), 4).expect_err("too many")).contains("more than 4 entries"));
    assert!(list(&room.root(), Path::new("a"), 4).is_err());
}

#[test]
fn removing_goes_through_no_link() {
    let room = Room::new();
    symlink(room.path("out"), room.path("root/away")).expect("linked");
    fs::create_dir_all(room.path("root/tree/deep")).expect("made");
    symlink(room.path("out"), room.path("root/tree/deep/link")).expect("linked");
    for name in ["away/mine", "away/x"] {
        assert!(remove(&room.root(), Path::new(name)).is_err());
        assert!(remove_tree(&room.root(), Path::new(name)).is_err());
        assert!(rename(&room.root(), Path::new(name), Path::new("taken")).is_err());
    }
    assert!(remove_tree(&room.root(), Path::new("tree")).expect("removed"));
    assert!(remove(&room.root(), Path::new("away")).expect("the link itself"));
    assert_eq!(fs::read_to_string(room.path("out/mine")).expect("there"), "mine");
}

#[test]
fn renaming_onto_a_taken_name_is_said() {
    let room = Room::new();
    fs::write(room.path("root/a"), "a").expect("written");
    fs::write(room.path("root/b"), "b").expect("written");
    let [a, b] = ["a", "b"].map(Path::new);
    assert!(rename_new(&room.root(), a, b).expect_err("taken").is_taken());
    rename(&room.root(), a, b).expect("renamed");
    assert_eq!(room.read("b").expect("read").as_deref(), Some(&b"a"[..]));
    rename_new(&room.root(), b, a).expect("renamed");
}

#[test]
fn what_grants_something_may_not_be_open_to_everybody() {
    let room = Room::new();
    fs::write(room.path("root/grant"), "yes").expect("written");
    fs::set_permissions(room.path("root/grant"), fs::Permissions::from_mode(0o666)).expect("changed");
    assert!(room.read("grant").is_ok());
    let why = said(&read_granting(&room.root(), Path::new("grant"), 9).expect_err("refused"));
    assert!(why.ends_with("everyone may write to it"), "{why}");
}

/// The way down is by descriptor, so what is swapped between two steps leads nowhere else.
#[test]
fn a_directory_swapped_for_a_link_meanwhile_is_never_followed() {
    let room = Room::new();
    fs::create_dir(room.path("root/dir")).expect("made");
    fs::write(room.path("root/dir/f"), "ours").expect("written");
    fs::write(room.path("out/f"), "theirs").expect("written");
    let (root, out) = (room.root(), room.path("out"));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, aside, link) = (root.join("dir"), root.join("aside"), root.join("link"));
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                symlink(&out, &link).expect("linked");
                let swap = |from: &Path, to: &Path| {
                    rustix::fs::renameat_with(CWD, from, CWD, to, rustix::fs::RenameFlags::EXCHANGE).expect("swapped");
                };
                swap(&dir, &link);
                swap(&dir, &link);
                fs::rename(&link, &aside).expect("moved");
                fs::remove_file(&aside).expect("removed");
            }
        });
        for n in 0..3_000 {
            if let Ok(Some(bytes)) = read(&root, Path::new("dir/f"), 64) {
                assert!(bytes.starts_with(b"ours"), "read through the link");
            }
            if let Ok(mut file) = append(&root, Path::new("dir/f")) {
                let _ = file.set_len(0);
                file.write_all(b"ours").expect("written");
            }
            let _ = write_atomic(&root, Path::new("dir/g"), b"ours", Durable::No);
            let _ = make_dir(&root, Path::new("dir/made"));
            if n % 2 == 0 {
                let _ = remove(&root, Path::new("dir/g"));
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(room.path("out/f")).expect("there"), "theirs");
    assert_eq!(fs::read_dir(room.path("out")).expect("there").count(), 2, "nothing was made there");
}

#[test]
fn a_file_by_its_own_path_is_no_link_and_nothing_waits() {
    let room = tempfile::tempdir().expect("a directory");
    let at = |name: &str| room.path().join(name);
    named::write(&at("a"), "one", Durable::No).expect("written");
    symlink("a", at("link")).expect("a link");
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    fs::File::create(at("hole")).expect("made").set_len(50 << 30).expect("sparse");
    for bad in ["link", "pipe", "hole"] {
        named::text(at(bad)).expect_err(bad);
    }
    named::copy(&at("hole"), &at("b"), 9).expect_err("too long");
    named::copy(&at("link"), &at("b"), 9).expect_err("a link");
    named::copy(&at("a"), &at("b"), 9).expect("copied");
    named::exchange(&at("b"), &at("link")).expect("exchanged");
    assert_eq!((named::text(at("link")).expect("a file").as_str(), at("b").is_symlink()), ("one", true));
    assert!(named::remove(&at("b")).expect("removed") && !named::remove(&at("b")).expect("gone"));
    assert_eq!(named::text(at("a")).expect("what the link led to stays"), "one");
}

#[test]
fn a_tree_that_is_closed_is_removed_and_what_its_links_lead_to_is_not() {
    let room = tempfile::tempdir().expect("a directory");
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    fs::create_dir_all(room.path().join("top/in/deep")).expect("made");
    fs::create_dir(room.path().join("else")).expect("made");
    fs::write(room.path().join("else/mine"), "").expect("written");
    fs::write(room.path().join("top/in/file"), "").expect("written");
    symlink("../../else", room.path().join("top/in/link")).expect("a link");
    mode(&room.path().join("else"), 0o500);
    for dir in ["top/in/deep", "top/in", "top"] {
        mode(&room.path().join(dir), 0o000);
    }
    // Root is let in anyway, so the step is looked at by itself.
    let top = Path::new("top");
    let (at, name) =
        Place::new("open", room.path(), top).and_then(|place| place.parent()).expect("found").expect("there");
    place::open_up(&at, name);
    assert_eq!(room.path().join("top/in/deep").metadata().expect("there").permissions().mode() & 0o777, 0o700);
    assert!(remove_tree(room.path(), top).expect("removed"));
    assert_eq!(fs::metadata(room.path().join("else")).expect("there").permissions().mode() & 0o777, 0o500);
    assert!(room.path().join("else/mine").exists());
    mode(&room.path().join("else"), 0o700);
}
