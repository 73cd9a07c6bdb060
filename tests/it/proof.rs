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
    ["src", "tests"].iter().for_each(|dir| sources(&root.join(dir), &mut code));
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
