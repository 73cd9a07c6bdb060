//! The agent of a descriptor: its command line, its homes, its bad configurations.

use std::collections::BTreeMap;

use super::*;
use crate::agent::tests::assignment;

fn config(adapter: &str) -> AgentConfig {
    AgentConfig { kind: AgentKind::Adapter, adapter: Some(adapter.into()), ..AgentConfig::default() }
}

fn argv(config: &AgentConfig, change: impl FnOnce(&mut Assignment)) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    change(&mut assignment);
    let root = dir.path().display().to_string();
    Cli::new("x", config).invocation(&assignment).argv.iter().map(|arg| arg.replace(&root, "ROOT")).collect()
}

#[test]
fn a_group_without_its_value_is_left_out() {
    let plain = argv(&config("claude"), |_| {});
    let expected =
        ["claude", "-p", "--output-format", "stream-json", "--verbose", "--add-dir=ROOT/run", "--permission-mode"];
    assert_eq!(plain[..7], expected);
    assert_eq!(plain[7..], ["acceptEdits"]);
    let full = argv(&AgentConfig { model: Some("opus".into()), ..config("claude") }, |assignment| {
        assignment.resume = Some("5f3a".into());
    });
    assert_eq!(full[8..], ["--model", "opus", "--resume", "5f3a"]);
}

#[test]
fn codex_resumes_behind_its_options_and_reads_standard_input() {
    let all = AgentConfig { permissions: Some("all".into()), args: vec!["-c".into(), "x=1".into()], ..config("codex") };
    let argv = argv(&all, |assignment| {
        assignment.resume = Some("01a1".into());
        assignment.model = Some("gpt-5".into());
    });
    let expected = ["codex", "exec", "--json", "--skip-git-repo-check", "-C", "ROOT", "--add-dir", "ROOT/run"];
    assert_eq!(argv[..8], expected);
    let rest = ["--dangerously-bypass-approvals-and-sandbox", "-m", "gpt-5", "-c", "x=1", "resume", "01a1", "-"];
    assert_eq!(argv[8..], rest);
}

#[test]
fn a_name_that_could_be_an_option_or_a_template_is_none() {
    for bad in ["--dangerously", "a b", "{title}", "", "x\ny"] {
        let argv = argv(&config("claude"), |assignment| {
            assignment.resume = Some(bad.into());
            assignment.model = Some(bad.into());
        });
        assert_eq!(argv.len(), 8, "{bad:?}: {argv:?}");
        let model = AgentConfig { model: Some(bad.into()), ..config("claude") };
        assert!(super::super::check("x", &model).is_err(), "{bad:?}");
    }
}

#[test]
fn a_bad_configuration_executes_nothing_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let cli = Cli::new("x", &config("claud"));
    let assignment = assignment(dir.path());
    assert!(cli.invocation(&assignment).argv.is_empty());
    let exit = Exit::unknown();
    match cli.outcome(&assignment, &exit) {
        Outcome::Failed { class: Class::Config, reason, .. } => {
            assert!(reason.starts_with("cannot use agent `x`: cannot find the adapter `claud`; there are: aider"));
        }
        other => panic!("{other:?}"),
    }
    let permissions = AgentConfig { permissions: Some("root".into()), ..config("claude") };
    let error = super::super::check("x", &permissions).expect_err("unknown").to_string();
    assert_eq!(error, "use agent `x`: its permissions are `root`; its adapter has: all, edits, plan");
}

#[test]
fn the_slots_home_holds_the_programs_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    // Not below /tmp, as far as a test can: the rule itself is tested by the path.
    assignment.home = Some(dir.path().join("home"));
    let gemini = Cli::new(
        "x",
        &AgentConfig { set: BTreeMap::from([("GEMINI_API_KEY".into(), "k".into())]), ..config("gemini") },
    );
    let env = gemini.invocation(&assignment).env;
    if env.get("GEMINI_CLI_HOME").is_some_and(|home| home.starts_with(&*dir.path().to_string_lossy())) {
        let settings = dir.path().join("home/gemini/.gemini/settings.json");
        assert!(std::fs::read_to_string(settings).expect("written").contains("maxAttempts"));
    }
    assignment.home = Some("/tmp/x/home".into());
    let codex = Cli::new("x", &config("codex")).invocation(&assignment).env;
    assert!(codex.get("CODEX_HOME").is_none_or(|home| !home.starts_with("/tmp/x")), "its sandbox breaks there");
}

#[test]
fn the_pool_is_adapter_account_and_model() {
    let named = AgentConfig { model: Some("opus".into()), account: Some("work".into()), ..config("claude") };
    assert_eq!(Cli::new("x", &named).pool(), "claude/work/opus");
    assert_eq!(Cli::new("x", &config("codex")).pool(), "codex/default/default");
}
