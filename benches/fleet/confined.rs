//! The cost of a program's taking rights from itself before it runs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use oodatcaa_process::confine::{Guarantee, Profile, Report};

use crate::{
    support::{DAEMON, Spread, rounds, timed},
    table::{Table, Target},
};

const SECTION: &str = "Sandbox";

/// Programs from start to end, confined and not, one after the other in each round.
pub(crate) fn start(table: &mut Table) {
    let agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents/bin/claude");
    let of = |name: &str, all: &[&str]| (name.to_owned(), all.iter().map(ToString::to_string).collect::<Vec<_>>());
    for ((name, args), rounds, target) in [
        (of("true", &[]), rounds(150, 15), Target::None),
        (of("node", &["-e", "0"]), rounds(40, 5), Target::None),
        (of(&agents.to_string_lossy(), &["--version"]), rounds(40, 5), Target::AtMost(1.2)),
    ] {
        let shown =
            format!("{} {}", Path::new(&name).file_name().unwrap_or_default().to_string_lossy(), args.join(" "));
        let room = Room::new();
        let mut plain = Command::new(&name);
        if !plain.args(&args).current_dir(room.at("wt")).output().is_ok_and(|output| output.status.success()) {
            table.note(format!("`{}` is not here: its confined start was not measured", shown.trim()));
            continue;
        }
        let (mut free, mut confined) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            free.push(timed(&mut plain));
            let profile = room.profile();
            let mut command = Command::new(DAEMON);
            command.arg("confine").arg(profile).arg("--").arg(&name).args(&args).current_dir(room.at("wt"));
            confined.push(timed(&mut command));
            // What did not run costs little.
            let report = Report::ran(&room.at("run")).expect("it ran confined");
            assert_eq!(report.exec, None, "{shown}");
        }
        let (free, confined) = (Spread::of(free), Spread::of(confined));
        let ratio = confined.at(0.5) / free.at(0.5);
        table.spread(SECTION, format!("floor: `{}`, with every right", shown.trim()), &free, "ms");
        table.ratio(SECTION, format!("`{}`, confined", shown.trim()), &confined, "ms", ("floor", ratio), target);
    }
}

/// A home like a user's, with something to keep from others.
struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["wt", "tmp", "home/.ssh", "home/.config/gh", "run"] {
            fs::create_dir_all(dir.path().join(name)).expect("made");
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn profile(&self) -> PathBuf {
        let at = |name: &str| self.at(name);
        let mut profile = Profile {
            require: BTreeSet::from([Guarantee::Files, Guarantee::Secrets, Guarantee::Sockets]),
            write: vec![at("wt")],
            private: vec![(at("tmp"), "/tmp".into())],
            deny: vec![at("home/.ssh"), at("home/.config/gh")],
            mask: vec!["/run".into()],
            // A checkout below /tmp has its programs there as well.
            read: vec![self.0.path().into(), Path::new(env!("CARGO_MANIFEST_DIR")).join("target")],
            namespace: true,
            ..Profile::default()
        };
        profile.write(&at("run")).expect("written")
    }
}
