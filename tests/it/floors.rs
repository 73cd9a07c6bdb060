//! The house's walls: an arrow only ever points down, and no file is forgotten.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Modules by floor; a module may use those of lower floors and what is listed as its neighbours.
const FLOORS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("domain", &[]),
    ("layout", &["domain"]),
    ("store", &["sys", "domain", "layout"]),
    ("process", &["sys", "domain", "layout"]),
    ("config", &["sys", "domain", "layout"]),
    ("agent", &["sys", "domain", "layout", "process", "config"]),
    ("workspace", &["sys", "domain", "layout", "process", "config"]),
    ("fleet", &["sys", "domain", "layout", "process", "config", "store", "agent"]),
    ("worker", &["sys", "domain", "layout", "process", "config", "store", "agent", "workspace"]),
    ("error", &["sys", "domain", "layout", "process", "config", "store", "agent", "workspace", "fleet", "worker"]),
    (
        "daemon",
        &["sys", "domain", "layout", "process", "config", "store", "agent", "workspace", "fleet", "worker", "error"],
    ),
    (
        "cli",
        &[
            "sys",
            "domain",
            "layout",
            "process",
            "config",
            "store",
            "agent",
            "workspace",
            "fleet",
            "worker",
            "error",
            "daemon",
        ],
    ),
];

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

fn all() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a source file");
            (below, path, text)
        })
        .collect()
}

/// The first-level modules that a file names with `crate::`.
fn uses(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            found.extend(
                word.split(',').map(|part| part.trim().split("::").next().unwrap_or_default().trim().to_owned()),
            );
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

#[test]
fn arrows_only_point_down() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (below, _, text) in all() {
        let module = below.split(['/', '.']).next().unwrap_or_default().to_owned();
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some(allowed) = floors.get(module.as_str()) else {
            wrong.push(format!("src/{below}: the module `{module}` stands on no floor"));
            continue;
        };
        // What tests of a module borrow from elsewhere is no arrow of the house.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for used in uses(code) {
            if used != module && floors.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("src/{below}: `{module}` may not use `{used}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_ground_floor_touches_nothing() {
    let banned = [
        // With and without `std::` before it, since imports come in groups.
        "fs::",
        "env::",
        "process::",
        "thread::",
        "net::",
        "io::",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::net",
        "std::io",
        "Utc::now",
        "Local::now",
        "SystemTime::now",
        "Instant::now",
        "log::",
        "rustix",
        "println!",
        "eprintln!",
    ];
    let mut wrong = Vec::new();
    for (below, _, text) in all() {
        if !below.starts_with("domain") && below != "layout.rs" {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in banned {
                if code.contains(word) {
                    wrong.push(format!("src/{below}:{}: {word}", n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> =
        all().into_iter().filter(|(_, _, text)| !text.starts_with("//!")).map(|(below, ..)| below).collect();
    assert!(silent.is_empty(), "no `//!`: {silent:?}");
}

#[test]
fn only_the_ui_and_the_command_lines_print() {
    let wrong: Vec<String> = all()
        .into_iter()
        .filter(|(below, ..)| !below.starts_with("bin/") && !below.starts_with("cli/ui"))
        .filter(|(_, _, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            code.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && ["println!(", "eprintln!(", "print!(", "eprint!("].iter().any(|p| line.starts_with(p))
            })
        })
        .map(|(below, ..)| below)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
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
        for (_, path, text) in all().into_iter().filter(|(_, path, _)| !path.ends_with("tests.rs")) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in words.iter().filter(|word| code.contains(**word)) {
                let known = allowed.iter().any(|place| path.ends_with(place));
                assert!(known, "{} has {word}; {allowed:?} is the place for it", path.display());
            }
        }
    };
    one(&["Command::new(\"git", "Command::new(find("], &["workspace/git/program.rs"]);
    let destroy = ["workspace/git/destroy.rs"];
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
    one(&["remove_dir_all("], &["sys/files.rs"]);
}

/// Clippy denies every call that opens, lists, writes or removes by path (clippy.toml, src/lib.rs), but for these.
#[test]
fn who_goes_round_the_one_door_for_files_is_known_here() {
    let known = [
        ("agent/mod.rs", 4),     // an agent's home, the room of the conformance cases, two that play an agent
        ("cli/demo.rs", 1),      // the scratch project
        ("cli/init/mod.rs", 1),  // the files of a new project
        ("cli/shell.rs", 1),     // man pages, where the user says
        ("fleet/mod.rs", 1),     // units of the user's own systemd
        ("process/linux.rs", 1), // a file of the kernel's that is written to
        ("sys/mod.rs", 1),       // the door
        ("sys/project.rs", 1),   // the project's own directory, held and not read
        ("workspace/files.rs", 1), // copies into worktrees, by descriptors
    ];
    let found: Vec<(String, usize)> = all()
        .into_iter()
        .map(|(below, _, text)| (below, text.matches("clippy::disallowed_methods").count()))
        .filter(|(below, count)| *count > 0 && below != "lib.rs" && below != "domain/mod.rs")
        .collect();
    let mut found: Vec<(&str, usize)> = found.iter().map(|(below, count)| (below.as_str(), *count)).collect();
    found.sort_unstable();
    assert_eq!(found, known);
}
