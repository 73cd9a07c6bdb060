//! What cargo and clippy cannot hold: where git is called, who goes round the door for files, and no file is forgotten.
//!
//! That arrows only point down is held by the crates; what the rules must not touch, by `crates/core/clippy.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// The product's sources: their path below the repository, where they lie, and their text.
pub(crate) fn all() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("crates"), &mut files);
    files
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a source file");
            (below, path, text)
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> =
        all().into_iter().filter(|(_, _, text)| !text.starts_with("//!")).map(|(below, ..)| below).collect();
    assert!(silent.is_empty(), "no `//!`: {silent:?}");
}

#[test]
fn no_test_module_is_forgotten() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = fs::read_to_string(dir.join("main.rs")).expect("the list of modules");
    let mut forgotten = Vec::new();
    for entry in fs::read_dir(&dir).expect("the tests").flatten() {
        let path = entry.path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_module = path.is_dir() || path.extension().is_some_and(|ext| ext == "rs");
        if is_module && name != "main" && !main.contains(&format!("mod {name};")) {
            forgotten.push(name);
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn git_is_called_in_one_place_and_what_destroys_is_in_one_place() {
    let one = |words: &[&str], allowed: &[&str]| {
        let product = |below: &str| !below.ends_with("tests.rs") && !below.contains("/tests/");
        for (_, path, text) in all().into_iter().filter(|(below, ..)| product(below)) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in words.iter().filter(|word| code.contains(**word)) {
                let known = allowed.iter().any(|place| path.ends_with(place));
                assert!(known, "{} has {word}; {allowed:?} is the place for it", path.display());
            }
        }
    };
    one(&["Command::new(\"git", "Command::new(find("], &["git/src/git/program.rs"]);
    let destroy = ["git/src/git/destroy.rs"];
    one(
        &[
            "\"--hard\"",
            "\"clean\", \"-",
            "\"worktree\", \"remove\"",
            "\"checkout\", \"-",
            "\"branch\", \"-D",
            "\"update-ref\", \"-d\"",
        ],
        &destroy,
    );
    one(&["remove_dir_all("], &["sys/src/files.rs"]);
}

/// Clippy denies every call that opens, lists, writes or removes by path (clippy.toml, src/lib.rs), but for these.
#[test]
fn who_goes_round_the_one_door_for_files_is_known_here() {
    let known = [
        ("crates/agent/src/lib.rs", 2), // an agent's home, the room of the conformance cases
        ("crates/fleet/src/lib.rs", 1), // units of the user's own systemd
        ("crates/ops/src/sandbox/tries.rs", 1), // what a sandbox must refuse is tried
        ("crates/process/src/confine/landlock.rs", 1), // what lies beside a secret is listed
        ("crates/process/src/confine/space.rs", 1), // in a namespace of its own
        ("crates/process/src/linux.rs", 1), // a file of the kernel's that is written to
        ("crates/sys/src/lib.rs", 1),   // the door
        ("crates/sys/src/project.rs", 1), // the project's own directory, held and not read
        ("src/cli/demo.rs", 1),         // the scratch project
        ("src/cli/init/mod.rs", 1),     // the files of a new project
        ("src/cli/shell.rs", 1),        // man pages, where the user says
    ];
    let found: Vec<(String, usize)> = all()
        .into_iter()
        .map(|(below, _, text)| {
            let denied = usize::from(text.contains("deny(clippy::disallowed_methods"));
            (below, text.matches("clippy::disallowed_methods").count() - denied)
        })
        .filter(|(below, count)| *count > 0 && below != "crates/core/src/lib.rs")
        .collect();
    let mut found: Vec<(&str, usize)> = found.iter().map(|(below, count)| (below.as_str(), *count)).collect();
    found.sort_unstable();
    assert_eq!(found, known);
}

/// What draws the dashboard is in `agentctl` alone, also of the one library that its programs share.
#[test]
fn the_workers_program_has_nothing_of_what_draws_the_dashboard() {
    if !crate::support::tools::available(false, &["nm"]) {
        return;
    }
    let drawn = |program: &str| {
        let listed = std::process::Command::new("nm").args(["-C", program]).output().expect("nm");
        String::from_utf8_lossy(&listed.stdout).matches("ratatui").count()
    };
    assert_eq!(drawn(env!("CARGO_BIN_EXE_agent-daemon")), 0);
    assert!(drawn(env!("CARGO_BIN_EXE_agentctl")) > 0, "where it is, it is seen");
}
