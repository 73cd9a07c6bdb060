//! Writes `docs/PROOF.md`: for each requirement what shows it, with the result and the figures of the last run.
//!
//! What shows what stands in `tests/proof.toml`; the results are what `scripts/proof.sh` has collected in
//! `target/proof/`. Nothing is run here, and nothing is taken as shown that was not seen to pass.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Deserialize;

/// `tests/proof.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    group: Vec<Group>,
}

/// Some requirements under one heading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    title: String,
    #[serde(default)]
    intro: String,
    #[serde(default)]
    line: Vec<Line>,
    /// The name of a collected file that is shown below, as it is.
    #[serde(default)]
    figures: Option<String>,
}

/// One requirement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    says: String,
    /// Tests, or `make …` for commands with a collected result.
    #[serde(default)]
    by: Vec<String>,
    /// What is not covered, and why.
    #[serde(default)]
    open: String,
}

/// What the collected output of the tests says.
#[derive(Default)]
struct Seen {
    results: BTreeMap<String, String>,
    figures: BTreeMap<String, Vec<String>>,
}

fn main() -> ExitCode {
    match write() {
        Ok(words) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stdout(), "{words}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "proof: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<String, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let collected =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("proof");
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let table = read(&root.join("tests/proof.toml"))?;
    let table: Table = toml::from_str(&table).map_err(|error| format!("tests/proof.toml: {error}"))?;
    let seen = Seen::of(&read(&collected.join("tests.txt"))?);
    let machine = read(&collected.join("machine.txt"))?;
    let text = document(&table, &seen, machine.trim(), &collected);
    let path = root.join("docs/PROOF.md");
    fs::write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let lines = table.group.iter().flat_map(|group| &group.line);
    let (mut shown, mut open, mut red) = (0, 0, 0);
    for line in lines {
        match result(line, &seen, &collected).as_str() {
            "not covered" => open += 1,
            "passed" => shown += 1,
            _ => red += 1,
        }
    }
    Ok(format!("docs/PROOF.md: {shown} shown, {open} not covered, {red} not passed in this run"))
}

impl Seen {
    /// Reads what `cargo test -- --show-output` prints.
    fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let mut of: Option<String> = None;
        // The unit tests of a crate go by the crate's name, those of the programs by their own.
        let mut of_crate = String::new();
        for line in text.lines() {
            if let Some(binary) = line.trim_start().strip_prefix("Running unittests ") {
                let name = binary.rsplit(['/', '(']).next().unwrap_or_default();
                let name = name.strip_prefix("oodatcaa_").and_then(|rest| rest.split('-').next());
                of_crate = name.map(|name| format!("{name}::")).unwrap_or_default();
            } else if let Some(binary) = line.trim_start().strip_prefix("Running ") {
                // Those in a crate's `tests/` go by the crate's name, too, which is their binary's; `it` is of us all.
                let name = binary.rsplit('/').next().unwrap_or_default().split('-').next().unwrap_or_default();
                of_crate = if name == "it" { String::new() } else { format!("{name}::") };
            } else if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
                let word = result.split([' ', ',']).next().unwrap_or_default();
                let name = name.trim_end_matches(" - should panic");
                seen.results.insert(format!("{of_crate}{name}"), word.into());
            } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
                of = Some(format!("{of_crate}{name}"));
            } else if let (Some(why), Some(name)) = (line.strip_prefix("skipped: "), &of) {
                // A test that could not be run here has passed nothing.
                seen.results.insert(name.clone(), format!("skipped ({why})"));
            } else if let (Some(figure), Some(name)) = (line.strip_prefix("figure: "), &of) {
                seen.figures.entry(name.clone()).or_default().push(figure.into());
            }
        }
        seen
    }

    fn result(&self, test: &str) -> &str {
        self.results.get(test).map_or("not run", String::as_str)
    }
}

/// `passed` when everything that is named was seen to pass.
fn result(line: &Line, seen: &Seen, collected: &Path) -> String {
    if line.by.is_empty() {
        return "not covered".into();
    }
    let bad: Vec<String> = line
        .by
        .iter()
        .filter_map(|by| match of(by, seen, collected) {
            word if word == "ok" => None,
            word => Some(format!("`{by}` {word}")),
        })
        .collect();
    if bad.is_empty() { "passed".into() } else { bad.join(", ") }
}

fn of(by: &str, seen: &Seen, collected: &Path) -> String {
    match by.strip_prefix("make ") {
        // A command's last line of its collected file is its verdict.
        Some(command) => fs::read_to_string(collected.join(format!("{command}.status"))).map_or_else(
            |_| "not run".into(),
            |status| if status.trim() == "0" { "ok".into() } else { "failed".into() },
        ),
        None => seen.result(by).to_owned(),
    }
}

/// The figures of a test, or all that a command has printed.
fn figures(by: &str, seen: &Seen, collected: &Path) -> Vec<String> {
    let Some(command) = by.strip_prefix("make ") else { return seen.figures.get(by).cloned().unwrap_or_default() };
    let text = fs::read_to_string(collected.join(format!("{command}.txt"))).unwrap_or_default();
    // What a test prints first stands behind its name.
    let figure = |line: &str| match line.split_once("figure: ") {
        Some((before, figure)) if before.is_empty() || before.starts_with("test ") => Some(figure.to_owned()),
        _ => None,
    };
    text.lines().filter_map(figure).collect()
}

fn document(table: &Table, seen: &Seen, machine: &str, collected: &Path) -> String {
    let mut text = String::from(
        "# Proof\n\nWritten by `make proof`; do not edit. Which test stands for which requirement: `tests/proof.toml`.\n\
         A line says `passed` only where every test and command that it names passed in this run.\n\n",
    );
    let _ = writeln!(text, "{machine}\n");
    if let (Ok(now), Ok(tests)) =
        (fs::read_to_string(collected.join("commit")), fs::read_to_string(collected.join("tests.commit")))
        && now != tests
    {
        let _ = writeln!(text, "The tests ran at commit {}.\n", tests.trim());
    }
    for group in &table.group {
        let _ = writeln!(text, "## {}\n", group.title);
        if !group.intro.trim().is_empty() {
            let _ = writeln!(text, "{}\n", group.intro.trim());
        }
        if !group.line.is_empty() {
            text.push_str("| | requirement | shown by | result |\n|---|---|---|---|\n");
        }
        for line in &group.line {
            let by: Vec<String> = line.by.iter().map(|by| format!("`{by}`")).collect();
            let mut result = result(line, seen, collected);
            for figure in line.by.iter().flat_map(|by| figures(by, seen, collected)) {
                let _ = write!(result, "; {figure}");
            }
            if !line.open.is_empty() {
                let _ = write!(result, "; {}: {}", if line.by.is_empty() { "why" } else { "open" }, line.open);
            }
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(text, "| {} | {} | {} | {} |", line.id, cell(&line.says), by.join("<br>"), cell(&result));
        }
        text.push('\n');
        if let Some(name) = &group.figures {
            match fs::read_to_string(collected.join(name)) {
                Ok(figures) => {
                    let stage = name.split('.').next().unwrap_or_default();
                    let at = |name: &str| fs::read_to_string(collected.join(name)).unwrap_or_default();
                    let ran = at(&format!("{stage}.commit"));
                    if ran != at("commit") {
                        let _ = writeln!(text, "Ran at commit {}.\n", ran.trim());
                    }
                    let plain = name.ends_with(".txt");
                    let fence = if plain { "```\n" } else { "" };
                    let said = |line: &&str| !plain || !["make", "scripts/"].iter().any(|call| line.starts_with(call));
                    let lines: Vec<&str> = figures.lines().filter(said).collect();
                    let _ = writeln!(text, "{fence}{}\n{fence}", lines.join("\n").trim());
                }
                Err(_) => text.push_str("(not run)\n\n"),
            }
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}
