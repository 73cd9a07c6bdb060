//! Programs that take rights from themselves: what they cannot do any more, with a namespace and without, as a user
//! who is nobody special.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, process::Output};

use oodatcaa_process::confine::{Guarantee, Network, Profile, Report};

use super::*;

/// The guarantees that every test of it asks for.
const USUAL: [Guarantee; 5] =
    [Guarantee::Files, Guarantee::Secrets, Guarantee::Environ, Guarantee::Processes, Guarantee::Sockets];

/// A home with a project and secrets in it, and somebody outside who is not to be touched.
pub(super) struct Room {
    dir: tempfile::TempDir,
    outside: Child,
    /// The one who works in it: somebody ordinary, or who runs the tests.
    ordinary: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}

/// Runs a program as an ordinary user, also where the tests run as root.
pub(super) fn as_user(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        return command;
    }
    Command::new(program)
}

impl Room {
    fn new(above: &str) -> Self {
        Self::of(above, true)
    }

    pub(super) fn of(above: &str, ordinary: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("room-").tempdir_in(above).unwrap();
        for name in ["wt", "out", "tmp", "shm", "work", "home/.ssh", "home/.config"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for (name, text) in [("work/queue", "queue\n"), ("home/.ssh/id", "secret\n"), ("home/.netrc", "secret\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        // Where others may go: the directory of the build may be nobody's business.
        fs::copy(SHIM, dir.path().join("shim")).unwrap();
        let all = ["", "wt", "out", "tmp", "shm", "work", "home", "home/.ssh", "home/.config", "shim"];
        let files = ["work/queue", "home/.ssh/id", "home/.netrc"];
        for (names, mode) in [(&all[..], 0o755), (&files[..], 0o644)] {
            for name in names {
                fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
                if ordinary && rustix::process::geteuid().is_root() {
                    std::os::unix::fs::chown(dir.path().join(name), Some(65534), Some(65534)).unwrap();
                }
            }
        }
        let outside = as_user(Path::new("sleep")).arg("600").env("WORD", "secret").spawn().unwrap();
        Self { dir, outside, ordinary }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn profile(&self, namespace: bool) -> Profile {
        Profile {
            require: BTreeSet::from(USUAL),
            write: vec![self.at("wt"), self.at("home/.config")],
            private: vec![(self.at("tmp"), "/tmp".into())],
            deny: vec![self.at("home/.ssh"), self.at("home/.netrc")],
            mask: vec!["/run".into()],
            read: vec![self.dir.path().into()],
            namespace,
            report: self.at("out/confined.json"),
            ..Profile::default()
        }
    }

    fn run(&self, profile: &Profile, argv: &[&str]) -> Output {
        let file = self.at("out/sandbox.json");
        fs::write(&file, serde_json::to_vec(profile).unwrap()).unwrap();
        let _ = fs::remove_file(&profile.report);
        self.command(&file, argv).output().unwrap()
    }

    /// Confines a program by a profile that has been written.
    pub(super) fn command(&self, profile: &Path, argv: &[&str]) -> Command {
        let shim = self.at("shim");
        let mut command = if self.ordinary { as_user(&shim) } else { Command::new(shim) };
        command.arg("confine").arg(profile).arg("--").args(argv).current_dir(self.at("wt"));
        command.env("ROOM", self.dir.path()).env("HOME", self.at("home")).env("OUTSIDE", self.outside.id().to_string());
        command
    }

    pub(super) fn report(&self) -> Report {
        serde_json::from_slice(&fs::read(self.at("out/confined.json")).unwrap()).unwrap()
    }

    /// Tries something by a shell; answers what it said when it was refused.
    fn tries(&self, profile: &Profile, script: &str) -> Result<String, String> {
        let output = self.run(profile, &["sh", "-c", script]);
        assert!(self.report().applied, "{script}: {:?}", self.report());
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if output.status.success() { Ok(said.concat()) } else { Err(said.concat()) }
    }
}

/// Tells whether this machine lets an ordinary user make namespaces.
pub(super) fn has_namespaces() -> bool {
    as_user(Path::new("unshare")).args(["-Urm", "true"]).status().is_ok_and(|status| status.success())
}

/// The tries, and their ends: with a namespace, and without. Nothing means that it works.
const TRIES: &[(&str, &str, &str)] = &[
    ("echo x > own", "", ""),
    ("echo x >> ~/.config/own", "", ""),
    ("echo x >> $ROOM/work/queue", "Read-only file system", "Permission denied"),
    ("echo x > $ROOM/work/new", "Read-only file system", "Permission denied"),
    ("rm $ROOM/work/queue", "Read-only file system", "Permission denied"),
    ("truncate -s0 $ROOM/work/queue", "Read-only file system", "Permission denied"),
    ("mv $ROOM/work/queue .", "Read-only file system|Permission denied", "Permission denied|cross-device"),
    ("ln $ROOM/work/queue hard", "ross-device", "ross-device|Permission denied"),
    ("ln -s $ROOM/work/queue link && echo x >> link", "Read-only file system", "Permission denied"),
    ("echo x >> ~/.bashrc", "Read-only file system", "Permission denied"),
    ("touch $ROOM/work/queue", "Read-only file system", ""),
    ("chmod 600 $ROOM/work/queue", "Read-only file system", ""),
    ("cat ~/.ssh/id", "No such file", "Permission denied"),
    ("cat ~/.netrc", "Permission denied", "Permission denied"),
    ("ln -s ~/.ssh/id key && cat key", "No such file", "Permission denied"),
    ("cat /proc/self/root$HOME/.ssh/id", "No such file", "Permission denied"),
    ("cat /proc/$OUTSIDE/root$HOME/.ssh/id", "Permission denied", "Permission denied"),
    ("cat /proc/$OUTSIDE/environ", "Permission denied", "Permission denied"),
    ("kill -0 $OUTSIDE", "not permitted", "not permitted"),
    ("prlimit --cpu=1 --pid $OUTSIDE", "not permitted", "not permitted"),
    ("renice 19 $OUTSIDE", "not permitted", "not permitted"),
    ("unshare -Urm true", "denied|not permitted", "denied|not permitted"),
    ("umount ~/.ssh", "must be superuser|not permitted|denied", "not mounted|must be superuser"),
    ("echo x > /tmp/own && cat /tmp/own", "", "Permission denied"),
    ("echo x > /dev/null", "", ""),
    ("python3 -c 'import os; os.openpty()'", "", ""),
    ("python3 -c 'import socket; socket.socketpair()'", "", ""),
    ("python3 -c 'import socket; socket.socket(socket.AF_UNIX)'", "", "not permitted"),
    ("python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'", "not permitted", "not permitted"),
    ("python3 -c 'import socket; socket.socket(2, 1, 262)'", "not permitted", "not permitted"),
];

fn all_tries(namespace: bool, most: Option<u32>) {
    let room = Room::new("/var/tmp");
    let profile = Profile { most, ..room.profile(namespace) };
    for (script, with, without) in TRIES {
        let expected = if namespace { with } else { without };
        let met = match room.tries(&profile, script) {
            Ok(_) => expected.is_empty(),
            Err(said) => !expected.is_empty() && expected.split('|').any(|words| said.contains(words)),
        };
        assert!(met, "{script}: {:?}, expected {expected:?}", room.tries(&profile, script));
    }
    assert_eq!(fs::read_to_string(room.at("work/queue")).unwrap(), "queue\n");
    assert_eq!(room.report().means.namespace, namespace);
}

#[test]
fn with_a_namespace_nothing_outside_is_written_read_or_reached() {
    if has_namespaces() {
        all_tries(true, None);
    }
}

#[test]
fn without_a_namespace_no_more_is_possible_than_the_guarantees_say() {
    all_tries(false, None);
}

#[test]
fn the_oldest_kernel_that_keeps_all_that_is_usual_keeps_it() {
    all_tries(false, Some(6));
    if has_namespaces() {
        all_tries(true, Some(6));
    }
}

#[test]
fn a_project_below_the_private_tmp_is_worked_on_all_the_same() {
    let room = Room::new("/tmp");
    for namespace in [true, false] {
        let mut profile = room.profile(namespace);
        profile.private.truncate(usize::from(namespace));
        assert_eq!(room.tries(&profile, "echo x > own && cat own $ROOM/work/queue"), Ok("x\nqueue\n".into()));
        assert!(room.tries(&profile, "echo x >> $ROOM/work/queue").is_err());
    }
}

#[test]
fn without_a_network_a_program_reaches_its_own_servers_and_nobody_elses() {
    let room = Room::new("/var/tmp");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'");
    let own = "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); \
               socket.create_connection(s.getsockname(), 5)'";
    let all = room.profile(true);
    assert!(room.tries(&all, &connect).is_ok(), "the network is open by default");
    let none = |namespace| Profile { network: Network::None, ..room.profile(namespace) };
    assert!(room.tries(&none(false), &connect).unwrap_err().contains("not permitted"));
    if has_namespaces() {
        assert!(room.tries(&none(true), &connect).unwrap_err().contains("refused"));
        assert_eq!(room.tries(&none(true), own), Ok(String::new()));
    }
    let ports = |ports| Profile { network: Network::Ports(ports), ..room.profile(true) };
    assert!(room.tries(&ports(vec![port]), &connect).is_ok());
    assert!(room.tries(&ports(vec![1]), &connect).unwrap_err().contains("denied"));
    let udp = "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)'";
    assert!(room.tries(&ports(vec![port]), udp).unwrap_err().contains("not permitted"));
}

#[test]
fn root_and_who_brings_a_sandbox_take_no_mask_away_either() {
    let undo = "umount $HOME/.ssh; umount /run; mount -o remount,rw,bind $ROOM/work; mount -o remount,rw /; \
                unshare -Urm sh -c 'umount $HOME/.ssh; mount -o remount,rw,bind /'; nsenter -t 1 -m true; \
                cat $HOME/.ssh/id; echo x >> $ROOM/work/queue; echo x >> $HOME/.bashrc";
    for (nested, root) in [(false, true), (true, false), (true, true)] {
        let room = Room::new("/var/tmp");
        if !has_namespaces() || root && !rustix::process::geteuid().is_root() {
            continue;
        }
        let mut profile = Profile { nested, ..room.profile(true) };
        let file = profile.write(&room.at("out")).unwrap();
        let mut command = if root { Command::new(room.at("shim")) } else { as_user(&room.at("shim")) };
        command.arg("confine").arg(file).args(["--", "sh", "-c", undo]).current_dir(room.at("wt"));
        let output = command.env("ROOM", room.dir.path()).env("HOME", room.at("home")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(room.report().applied, "{:?}", room.report());
        assert!(!said.contains("secret"), "{nested} {root}: {said}");
        assert_eq!(fs::read_to_string(room.at("work/queue")).unwrap(), "queue\n", "{nested} {root}");
        assert!(!room.at("home/.bashrc").exists(), "{nested} {root}");
    }
}

#[test]
fn what_cannot_be_given_is_refused_before_anything_runs() {
    let room = Room::new("/var/tmp");
    let alone = [
        (0, "files, secrets, environ, processes"),
        (1, "files, processes"),
        (2, "files, processes"),
        (3, "processes"),
        (4, "processes"),
        (5, "processes"),
    ];
    let with_namespace = [(0, "environ, processes"), (1, "processes"), (3, "processes"), (5, "processes")];
    let all = alone.into_iter().map(|(most, missing)| (most, missing, false));
    let with_namespace = with_namespace.into_iter().filter(|_| has_namespaces());
    for (most, missing, namespace) in all.chain(with_namespace.map(|(most, missing)| (most, missing, true))) {
        let profile = Profile { most: Some(most), ..room.profile(namespace) };
        let output = room.run(&profile, &["sh", "-c", "echo ran > ran"]);
        let report = room.report();
        assert_eq!((output.status.code(), report.applied), (Some(125), false), "{report:?}");
        let error = report.error.unwrap();
        assert!(error.starts_with(&format!("failed to give the guarantee {missing}: it needs ")), "{error}");
    }
    assert!(!room.at("wt/ran").exists());
    // Who asks for no more than there is gets it, and what is stricter in the place of the rest.
    let less = BTreeSet::from([Guarantee::Files, Guarantee::Secrets, Guarantee::Sockets]);
    let profile = Profile { most: Some(4), require: less, ..room.profile(false) };
    assert!(room.tries(&profile, "echo ran > ran").is_ok());
    assert!(room.tries(&profile, "echo x >> $ROOM/work/queue").unwrap_err().contains("Permission denied"));
    let unix = "python3 -c 'import socket; socket.socket(socket.AF_UNIX)'";
    assert!(room.tries(&profile, unix).unwrap_err().contains("not permitted"));
}

#[test]
fn a_path_that_is_missing_or_a_profile_that_is_unknown_runs_nothing() {
    let room = Room::new("/var/tmp");
    let mut profile = room.profile(true);
    profile.write.push(room.at("gone"));
    if has_namespaces() {
        assert_eq!(room.run(&profile, &["true"]).status.code(), Some(125));
        assert!(room.report().error.unwrap().contains("gone"));
    }
    fs::remove_file(room.at("out/confined.json")).ok();
    fs::write(room.at("out/sandbox.json"), r#"{"mode": "new"}"#).unwrap();
    let mut command = as_user(&room.at("shim"));
    let output = command.arg("confine").arg(room.at("out/sandbox.json")).args(["--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(!room.at("out/confined.json").exists());
}

#[test]
fn the_report_says_what_was_given_and_why_a_program_was_not_there() {
    let room = Room::new("/var/tmp");
    let output = room.run(&room.profile(true), &["/no/such/program"]);
    assert_eq!(output.status.code(), Some(127));
    let report = room.report();
    assert!(report.applied && report.exec.unwrap().contains("No such file"));
    assert!(report.guarantees.is_superset(&BTreeSet::from(USUAL)));
    assert_eq!(report.guarantees.contains(&Guarantee::Metadata), has_namespaces());
}

#[test]
fn what_lies_in_a_written_directory_is_kept_by_mounts_or_nothing_runs() {
    let room = Room::new("/var/tmp");
    let profile = |namespace| Profile {
        write: vec![room.dir.path().into()],
        read: vec![room.at("work")],
        deny: vec![room.at("home/.ssh")],
        ..room.profile(namespace)
    };
    if has_namespaces() {
        let tries = |script: &str| room.tries(&profile(true), script);
        assert_eq!(tries("echo x > $ROOM/free && cat $ROOM/free $ROOM/work/queue"), Ok("x\nqueue\n".into()));
        for (script, words) in [
            ("echo x >> $ROOM/work/queue", "Read-only file system"),
            ("mv $ROOM/work $ROOM/aside", "busy"),
            ("rm -r $ROOM/work", "Read-only file system"),
            ("cat ~/.ssh/id", "No such file"),
        ] {
            let said = tries(script).unwrap_err();
            assert!(said.contains(words), "{script}: {said}");
        }
    }
    assert_eq!(room.run(&profile(false), &["true"]).status.code(), Some(125));
    let error = room.report().error.unwrap();
    assert!(error.starts_with("failed to give the guarantee files, secrets: "), "{error}");
}

#[test]
fn where_a_namespace_is_refused_a_private_directory_does_not_open_the_common_one() {
    let room = Room::new("/var/tmp");
    let mut profile = room.profile(true);
    profile.shared = vec!["/dev/shm".into()];
    fs::write(room.at("out/sandbox.json"), serde_json::to_vec(&profile).unwrap()).unwrap();
    // Whoever says so in a namespace of his own lets nobody make another one below it.
    let none = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let script = "echo x > /tmp/common; echo x > /dev/shm/$$ && rm /dev/shm/$$ && echo shared";
    let mut command = as_user(Path::new("unshare"));
    command.args(["-Ur", "sh", "-c", none, "sh"]).arg(room.at("shim")).arg("confine").arg(room.at("out/sandbox.json"));
    let output = command.args(["--", "sh", "-c", script]).current_dir(room.at("wt")).output().unwrap();
    if has_namespaces() {
        let report = room.report();
        assert!(report.applied && !report.means.namespace, "{report:?}");
        assert!(report.refused.unwrap().starts_with("failed to make a namespace: "));
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(said.contains("/tmp/common: Permission denied") && said.contains("shared"), "{said}");
    }
}
