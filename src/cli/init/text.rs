//! The content of the files that `init` writes: templates beside this file, and the empty queue.

use minijinja::{Environment, Value, context, syntax::SyntaxConfig, value::Serde};
use serde_json::json;

use super::{known::Known, look::Found};
use oodatcaa_config::{Config, Preset, Sandbox};
use oodatcaa_core::{RoleRule, Workflow};

/// Lines that keep what a machine writes out of git, below what they are for.
const IGNORED: &str = include_str!("gitignore");

/// Writes the project's configuration, for an agent of this name, which may be one that we know.
pub(super) fn config(agent: Option<&str>, known: Option<&Known>, found: &Found, before: &Config) -> String {
    let Found { tests, git, lacking, .. } = found;
    let git = git.is_some();
    let lacks: Vec<String> = lacking.iter().map(|one| format!("{} ({})", one.as_str(), one.cannot())).collect();
    let kept: Vec<&str> = Sandbox::default().require.difference(lacking).map(|one| one.as_str()).collect();
    let gated = gated(before);
    let role = |rule: &RoleRule| {
        let name = rule.role.as_str();
        json!({ "name": name, "gated": gated.contains(&name), "answers": !rule.duty.agentless })
    };
    let roles: Vec<_> = before.workflow.rules().iter().map(role).collect();
    let articled: Vec<String> = gated.iter().map(|name| format!("{} {name}", article(name))).collect();
    let (entry, result) = (known.map(self::agent), known.is_some_and(|known| known.result));
    let preset = before.fleet.preset;
    let preset = (preset != Preset::default()).then(|| preset.as_str());
    render(
        include_str!("config.toml.jinja"),
        context! {
            preset, agent, entry, tests => Value::from(Serde(tests)), roles => Value::from(Serde(roles)),
            gated => gated.iter().map(|name| format!("[roles.{name}]")).collect::<Vec<_>>().join(", "),
            articled => listed(&articled), git, result, lacks, kept
        },
    )
}

/// Returns the roles that a gate decides about: those that build, that judge by criteria, and that merge.
pub(super) fn gated(config: &Config) -> Vec<&str> {
    let is_gated = |rule: &&RoleRule| {
        rule.duty.builds || rule.duty.merges || config.roles.get(&rule.role).is_some_and(|role| role.criteria)
    };
    config.workflow.rules().iter().filter(is_gated).map(|rule| rule.role.as_str()).collect()
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Lists names for people: `a, b or c`.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).into(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// Writes `[agents.NAME]` of a program that we know.
pub(super) fn agent(known: &Known) -> String {
    render(include_str!("agent.toml.jinja"), Serde(known).into())
}

fn render(template: &str, facts: Value) -> String {
    let mut env = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().expect("the usual delimiters"));
    env.add_filter("toml", |value: Serde<toml::Value>| value.0.to_string());
    env.render_str(template, facts).expect("a test has rendered it")
}

/// Writes an empty queue: one task at a time in every role.
pub(super) fn queue(workflow: &Workflow) -> String {
    let limits: serde_json::Map<String, serde_json::Value> =
        workflow.rules().iter().map(|rule| (rule.role.to_string(), json!(1))).collect();
    let queue = json!({ "sprint": 1, "status": "in_progress", "wip_limits": limits, "tasks": [], "metadata": {} });
    format!("{queue:#}\n")
}

/// Returns the lines that a `.gitignore` lacks, and its text with them.
pub(crate) fn gitignore(old: &str) -> (Vec<&'static str>, String) {
    let plain = |line: &str| line.trim().trim_start_matches("**/").trim_matches('/').to_owned();
    let there: Vec<String> = old.lines().filter(|line| !line.starts_with('#')).map(plain).collect();
    let covers = |line: &str| {
        let line = plain(line);
        there.iter().any(|other| !other.is_empty() && (*other == line || line.starts_with(&format!("{other}/"))))
    };
    let (heading, lines) = IGNORED.split_once('\n').expect("a heading");
    let missing: Vec<&str> = lines.lines().filter(|line| !covers(line)).collect();
    if missing.is_empty() {
        return (missing, old.into());
    }
    let gap = match old {
        "" => "",
        _ if old.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let text = format!("{old}{gap}{heading}\n{}\n", missing.join("\n"));
    (missing, text)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{known::KNOWN, look::Test},
        *,
    };
    use oodatcaa_config::{Config, Overrides, World};
    use oodatcaa_core::{Guarantee, Role, layout::Layout};

    fn loads(text: &str) -> oodatcaa_config::Loaded {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path());
        std::fs::create_dir(layout.mark()).expect("created");
        std::fs::write(layout.config(), text).expect("written");
        let world = World::of([("OODATCAA_TRUST_PROJECT", "1")]);
        Config::load_in(&world, &layout, &Overrides::default()).expect(text)
    }

    #[test]
    fn every_configuration_that_init_writes_loads_without_a_warning() {
        let tests = [
            Test { kind: "make", file: "Makefile", argv: vec!["make", "test"] },
            Test { kind: "Rust", file: "Cargo.toml", argv: vec!["cargo", "test"] },
        ];
        let (tests, git) = (tests.into(), Some("/p".into()));
        let found = Found { git, tests, ..Found::default() };
        let shipped = loads("").config;
        for known in KNOWN.iter() {
            let loaded = loads(&config(Some(&known.name), Some(known), &found, &shipped));
            assert_eq!(loaded.warnings, Vec::<String>::new());
            let agent = &loaded.config.agents[&known.name];
            assert_eq!((agent.adapter.as_ref(), &agent.permissions), (Some(&known.name), &None));
            assert_eq!(oodatcaa_agent::open(&known.name, agent).problem(), None);
            assert_eq!(loaded.config.gates["test"].argv, ["make", "test"]);
        }
        for agent in [None, Some("sim")] {
            let loaded = loads(&config(agent, None, &Found::default(), &shipped));
            assert_eq!(loaded.warnings, Vec::<String>::new());
        }
    }

    #[test]
    fn what_a_machine_cannot_keep_is_said_and_no_role_waits_for_it() {
        let found = Found { lacking: [Guarantee::Processes].into(), ..Found::default() };
        let text = config(None, None, &found, &loads("").config);
        assert!(text.contains("# This machine cannot keep: processes (it needs Landlock 6 (Linux 6.12))."), "{text}");
        let required = loads(&text).config.sandbox("", &Role::BUILDER).require;
        assert!(required.contains(&Guarantee::Files) && !required.contains(&Guarantee::Processes), "{required:?}");
        let whole = loads(&config(None, None, &Found::default(), &loads("").config)).config;
        assert_eq!(whole.sandbox("", &Role::BUILDER), Sandbox::default());
    }

    #[test]
    fn ignored_lines_are_added_once() {
        let (missing, text) = gitignore("target\n/.leases/\n.locks");
        assert!(!missing.contains(&"/.leases/") && !missing.contains(&"/.locks/"), "{missing:?}");
        assert!(text.starts_with("target\n/.leases/\n.locks\n\n# What"), "{text}");
        assert_eq!(gitignore(&text), (Vec::new(), text.clone()));
        assert_eq!(gitignore("").1, IGNORED);
        assert!(gitignore(".oodatcaa\n").0.iter().all(|line| !line.contains("oodatcaa")));
    }
}
