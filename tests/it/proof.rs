//! The table behind docs/PROOF.md names tests that are there, and leaves out no requirement.

use std::{fs, path::Path};

fn sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_requirement_has_its_tests_or_a_reason_and_every_test_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/proof.toml")).expect("the table");
    let table: toml::Table = table.parse().expect("TOML");
    let mut code = String::new();
    ["src", "crates", "tests"].iter().for_each(|dir| sources(&root.join(dir), &mut code));
    let groups = table["group"].as_array().expect("groups");
    let lines: Vec<&toml::Value> = groups.iter().filter_map(|group| group.get("line")?.as_array()).flatten().collect();
    for line in &lines {
        let by: Vec<&str> = line
            .get("by")
            .and_then(|by| by.as_array())
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        assert!(!by.is_empty() || line.get("open").is_some(), "{line}: neither a test nor a reason");
        for name in by.into_iter().filter(|name| !name.starts_with("make ")) {
            let last = name.rsplit("::").next().expect("a name");
            let there = code.contains(&format!("fn {last}("));
            assert!(there, "{name}: there is no such test");
        }
    }
    for number in 1..=40 {
        let id = format!("REL-{number}");
        assert!(lines.iter().any(|line| line["id"].as_str() == Some(&id)), "{id} has no line");
    }
}

#[test]
fn every_rule_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(root.join("docs/rules.md")).expect("the rules");
    let mut code = String::new();
    ["src", "crates", "tests"].iter().for_each(|dir| sources(&root.join(dir), &mut code));
    let is_module = |name: &str| code.contains(&format!("mod {name};")) || code.contains(&format!("mod {name} {{"));
    let rows = rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule |"));
    let mut count = 0;
    for row in rows {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(columns.len(), 3, "three columns: {row}");
        let names: Vec<&str> = columns[1].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test proves it: {row}");
        for name in names {
            // `module::*` and `module::tests` stand for all tests of a module.
            let path: Vec<&str> = name.split("::").filter(|part| *part != "*").collect();
            let last = path.last().expect("a name");
            assert!(code.contains(&format!("fn {last}(")) || is_module(last), "{name}: there is no such test");
        }
        count += 1;
    }
    assert!(count > 20, "{count} rules");
}

/// The words that choose tests stand behind `--`, or behind the name of the test binary.
#[test]
fn torture_runs_every_test_that_is_left_to_it_and_each_of_its_words_names_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = fs::read_to_string(root.join("Makefile")).expect("the Makefile").replace("\\\n", " ");
    let recipe = makefile.split("\ntorture:").nth(1).expect("a target").lines().skip(1);
    let words: Vec<&str> = recipe
        .take_while(|line| line.starts_with('\t'))
        .filter_map(|line| line.split_once("--test it"))
        .flat_map(|(_, words)| words.split_whitespace())
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut code = String::new();
    ["src", "crates", "tests"].iter().for_each(|dir| sources(&root.join(dir), &mut code));
    let left = code.split("#[ignore = \"").skip(1).filter_map(|part| {
        let (reason, rest) = part.split_once('"')?;
        let name = rest.split_once("fn ")?.1.split('(').next()?;
        reason.contains("make torture").then_some(name)
    });
    let left: Vec<&str> = left.filter(|name| !name.contains(char::is_whitespace)).collect();
    assert!(left.len() > 10, "{left:?}");
    for name in &left {
        assert!(words.iter().any(|word| name.contains(word)), "`make torture` does not run {name}");
    }
    for word in words {
        let module = word.rsplit("::").next().expect("a name");
        let is_module = word.contains("::") && code.contains(&format!("mod {module};"));
        assert!(is_module || left.iter().any(|name| name.contains(word)), "{word} names no test");
    }
}

#[test]
fn every_planted_bug_fits_into_the_code_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches = fs::read_dir(root.join("tests/planted")).expect("the patches");
    let patches: Vec<_> = patches.map(|patch| patch.expect("an entry").path()).collect();
    assert!(!patches.is_empty());
    for patch in patches {
        let git = std::process::Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root).output();
        let said = git.expect("git runs");
        assert!(said.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&said.stderr));
    }
}
