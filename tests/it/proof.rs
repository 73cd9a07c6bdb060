//! The documents that say what shows what leave nothing out, and name tests that are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::documents;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sources, to look names up in: each with the parts of its path.
struct Code(Vec<(Vec<String>, String)>);

impl Code {
    fn read() -> Self {
        let mut code = Self(Vec::new());
        ["src", "crates", "tests"].iter().for_each(|dir| code.add(&root().join(dir)));
        code
    }

    fn add(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.add(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root()).expect("below the root").with_extension("");
                let parts = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                self.0.push((parts, fs::read_to_string(&path).expect("a source")));
            }
        }
    }

    /// Tells whether a path leads to a function or to a module: all its parts are in the path of one file, or modules in
    /// it. `module::*` and `module::tests` stand for all tests of a module, `…` for what the row says before.
    fn has(&self, path: &str) -> bool {
        let mut parts: Vec<&str> = path.split("::").filter(|part| !matches!(*part, "*" | "…")).collect();
        let last = parts.pop().expect("a name");
        self.0.iter().any(|(file, text)| {
            let is_module =
                |name: &str| file.iter().any(|part| part == name) || text.contains(&format!("mod {name} {{"));
            // Tests of one shape are declared by a macro, each by its name and what it is about.
            let heads = [format!("fn {last}("), format!("fn {last}<"), format!("{last}: \"")];
            let is_there = heads.iter().any(|head| text.contains(head)) || is_module(last);
            is_there && parts.iter().all(|part| is_module(part))
        })
    }
}

#[test]
fn every_requirement_has_its_tests_or_a_reason_and_every_test_is_there() {
    let table = fs::read_to_string(root().join("tests/proof.toml")).expect("the table");
    let table: toml::Table = table.parse().expect("TOML");
    let code = Code::read();
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
            assert!(code.has(name), "{name}: there is no such test");
        }
    }
    for number in 1..=40 {
        let id = format!("REL-{number}");
        assert!(lines.iter().any(|line| line["id"].as_str() == Some(&id)), "{id} has no line");
    }
}

#[test]
fn every_rule_names_tests_that_are_there() {
    let rules = fs::read_to_string(root().join("docs/rules.md")).expect("the rules");
    let code = Code::read();
    let rows = rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule |"));
    let mut count = 0;
    for row in rows {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(columns.len(), 3, "three columns: {row}");
        let names: Vec<&str> = columns[1].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test proves it: {row}");
        for name in names {
            assert!(code.has(name), "{name}: there is no such test");
        }
        count += 1;
    }
    assert!(count > 20, "{count} rules");
}

/// How many rows of docs/PARITY.md each system has, and how many faults; of C there is also C97b.
const ROWS: [(&str, u32); 7] = [("A", 49), ("B", 44), ("C", 113), ("D", 30), ("A-V", 19), ("B-V", 8), ("C-V", 16)];
const ANSWERS: [&str; 4] = ["works", "works in part", "not yet", "not wanted"];

/// Splits a row's name into what comes before its number, and its number with what follows.
fn halves(row: &str) -> (&str, &str) {
    row.split_at(row.find(|c: char| c.is_ascii_digit()).unwrap_or_else(|| panic!("{row} has no number")))
}

/// Returns the rows that a cell such as `A1, A3–A5` names.
fn rows(cell: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in cell.split(", ") {
        let Some((first, last)) = part.split_once('–') else {
            all.push(part.to_owned());
            continue;
        };
        let ((system, first), (same, last)) = (halves(first), halves(last));
        assert_eq!(system, same, "{cell}");
        let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{cell}: {text} is no number"));
        all.extend((number(first)..=number(last)).map(|number| format!("{system}{number}")));
    }
    all
}

#[test]
fn parity_answers_every_row_once_and_names_tests_that_are_there() {
    let text = fs::read_to_string(root().join("docs/PARITY.md")).expect("the table");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let mut open: BTreeSet<String> =
        ROWS.iter().flat_map(|(system, last)| (1..=*last).map(move |number| format!("{system}{number}"))).collect();
    open.insert("C97b".into());
    let mut told: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    // The rows of each system, and how many of them have each answer.
    let mut counted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_start_matches('|').strip_suffix('|').expect(line).split('|').collect();
        let cells: Vec<&str> = cells.into_iter().map(str::trim).collect();
        match cells.as_slice() {
            ["" | "row", ..] => {}
            [system, numbers @ ..] if numbers.len() == 1 + ANSWERS.len() => {
                let numbers = numbers.iter().map(|number| number.parse().expect(line)).collect();
                assert!(told.insert((*system).to_owned(), numbers).is_none(), "counted twice: {line}");
            }
            [ids, feature, here, shown] => {
                let is = |answer: &&str| here == answer || here.starts_with(&format!("{answer}: "));
                let answer = ANSWERS.iter().position(is).unwrap_or_else(|| panic!("no answer: {line}"));
                assert!(!feature.is_empty(), "no feature: {line}");
                assert!(!["works in part", "not wanted"].contains(here), "what is missing, or why not: {line}");
                assert!(!here.starts_with("works") || !shown.is_empty(), "nothing shows it: {line}");
                for id in rows(ids) {
                    assert!(open.remove(&id), "{id} stands twice, or is no row");
                    for system in [halves(&id).0, "all"] {
                        let counts = counted.entry(system.to_owned()).or_insert_with(|| vec![0; 1 + ANSWERS.len()]);
                        counts[0] += 1;
                        counts[1 + answer] += 1;
                    }
                }
                for name in shown.split('`').skip(1).step_by(2) {
                    if let Some(target) = name.strip_prefix("make ") {
                        assert!(makefile.contains(&format!("\n{target}:")), "{name}: there is no such target");
                    } else if name.starts_with("agentctl ") {
                        let parsed = oodatcaa::cli::command().try_get_matches_from(name.split(' '));
                        assert!(parsed.is_ok(), "{name}: {parsed:?}");
                    }
                }
            }
            _ => panic!("neither a row nor a count: {line}"),
        }
    }
    assert!(open.is_empty(), "without an answer: {open:?}");
    assert_eq!(told, counted, "the counts at the top");
    let code = Code::read();
    for name in text.split('`').skip(1).step_by(2) {
        assert!(!name.contains("::") || code.has(name), "{name}: there is no such test");
        let is_document = name.starts_with("docs/") && name.ends_with(".md");
        assert!(!is_document || root().join(name).is_file(), "{name}: there is no such document");
    }
}

/// What the steps of CONTRIBUTING make is not there before `contribute` walks them.
#[test]
fn every_file_and_test_that_a_document_names_is_there() {
    let made = ["crates/core/src/rules/untitled.rs", "src/cli/oldest.rs"];
    let code = Code::read();
    let (mut files, mut tests) = (0, 0);
    for document in documents::every_document() {
        let text = fs::read_to_string(root().join(&document)).expect("a document");
        for word in text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            // `FILE: NAME` says which constant of a file.
            let word = word.trim_end_matches(':');
            let is_path = ["crates/", "src/", "tests/", "schema/", "scripts/"].iter().any(|top| word.starts_with(top));
            if is_path && !word.contains("NAME") && !made.contains(&word) {
                files += 1;
                assert!(root().join(word).exists(), "{document}: {word} is not there");
            }
            // Tests are sentences: `documents::every_command_of_roles_runs`.
            if word.contains("::") && word.rsplit("::").next().is_some_and(|last| last.matches('_').count() > 2) {
                tests += 1;
                assert!(code.has(word), "{document}: there is no test {word}");
            }
        }
    }
    assert!(files > 50 && tests > 100, "{files} files, {tests} tests");
}

/// The words that choose tests stand behind `--`, or behind the name of the test binary.
#[test]
fn torture_runs_every_test_that_is_left_to_it_and_each_of_its_words_names_one() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile").replace("\\\n", " ");
    let recipe = makefile.split("\ntorture:").nth(1).expect("a target").lines().skip(1);
    let words: Vec<&str> = recipe
        .take_while(|line| line.starts_with('\t'))
        .filter_map(|line| line.split_once("--test it"))
        .flat_map(|(_, words)| words.split_whitespace())
        .filter(|word| !word.starts_with('-'))
        .collect();
    let code = Code::read();
    let marked = code.0.iter().flat_map(|(_, text)| text.split("#[ignore = \"").skip(1));
    let left = marked.filter_map(|part| {
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
        assert!(
            (word.contains("::") && code.has(word)) || left.iter().any(|name| name.contains(word)),
            "{word} names no test"
        );
    }
}

#[test]
fn every_planted_bug_fits_into_the_code_as_it_is() {
    let patches = fs::read_dir(root().join("tests/planted")).expect("the patches");
    let patches: Vec<_> = patches.map(|patch| patch.expect("an entry").path()).collect();
    assert!(!patches.is_empty());
    for patch in patches {
        let git = std::process::Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root()).output();
        let said = git.expect("git runs");
        assert!(said.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&said.stderr));
    }
}
