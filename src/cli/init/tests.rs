//! `init` in scratch directories, with an environment and a terminal of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::*;
use crate::cli::ui::{Settings, tests::FakeUi};
use oodatcaa_core::Role;

struct Scene {
    directory: tempfile::TempDir,
    talk: FakeUi,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(directory.path().join("home")).expect("created");
        fs::create_dir_all(directory.path().join("bin")).expect("created");
        fs::create_dir_all(directory.path().join("p/.git")).expect("created");
        Self { directory, talk: FakeUi::new(Settings::default(), Some(true)) }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("there").join("p")
    }

    fn layout(&self) -> Layout {
        Layout::new(self.root())
    }

    fn world(&self) -> World {
        let text = |name: &str| self.directory.path().canonicalize().expect("there").join(name).display().to_string();
        World::of([("HOME", text("home").as_str()), ("PATH", text("bin").as_str())])
    }

    fn program(self, name: &str) -> Self {
        let path = self.directory.path().join("bin").join(name);
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        fs::write(path, content).expect("written");
        self
    }

    fn run(&self, args: &InitArgs) -> Result<u8, Failure> {
        self.run_at(&self.root(), args)
    }

    fn run_at(&self, directory: &Path, args: &InitArgs) -> Result<u8, Failure> {
        run_in(&self.talk.ui, &self.world(), directory, args)
    }

    fn loaded(&self) -> Loaded {
        Config::load_in(&self.world(), &self.layout(), &Overrides::default()).expect("loads")
    }

    /// Every file below the project with its content.
    fn tree(&self) -> Vec<(PathBuf, String)> {
        fn walk(at: &Path, all: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(at).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    all.push((path.clone(), String::new()));
                    walk(&path, all);
                } else {
                    all.push((path.clone(), fs::read_to_string(&path).expect("text")));
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.root(), &mut all);
        all.sort();
        all
    }
}

fn args(agent: Option<&str>) -> InitArgs {
    InitArgs { agent: agent.map(Into::into), ..InitArgs::default() }
}

#[test]
fn a_project_is_set_up_and_its_own_commands_are_trusted() {
    let scene = Scene::new()
        .program("codex")
        .program("cargo")
        .program("claude")
        .file("Cargo.toml", "")
        .file(".gitignore", "/target\n");
    assert_eq!(scene.run(&args(None)), Ok(0));
    let loaded = scene.loaded();
    assert_eq!((loaded.trust, loaded.warnings.len()), (Trust::Trusted, 0));
    assert_eq!(loaded.agent(&Role::BUILDER).expect("an agent").0, "claude");
    assert_eq!(loaded.gates(&Role::TESTER, &[]).expect("gates")[0].1.argv, ["cargo", "test"]);
    let text = fs::read_to_string(scene.layout().config()).expect("there");
    let schema = text.lines().next().and_then(|line| line.strip_prefix("#:schema ./")).expect("the first line");
    let schema = fs::read_to_string(scene.layout().mark().join(schema)).expect("what it names is there");
    assert_eq!(schema, oodatcaa_config::schema());
    assert!(
        Config::commented_default().starts_with(text.lines().next().expect("a line")),
        "it may be put in its place"
    );
    let queue: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(scene.layout().queue()).expect("there")).expect("JSON");
    assert_eq!(queue["wip_limits"]["builder"], 1);
    assert!(scene.layout().prompt(&Role::REFINER).is_file());
    assert!(fs::read_to_string(scene.root().join(".gitignore")).expect("there").contains("/target\n\n# What"));
    let text = scene.talk.text();
    for words in ["also found: codex", "+10 lines", "one task at a time", "agentctl fleet start"] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    assert!(scene.tree().iter().all(|(path, _)| !path.display().to_string().contains("init-")), "no staging is left");

    let before = scene.tree();
    assert_eq!(scene.run(&args(None)), Ok(0));
    assert_eq!(scene.tree(), before, "a second time changes nothing");
    assert!(scene.talk.text().contains("nothing is missing"));
}

#[test]
fn a_team_is_set_up_with_its_own_roles_prompts_and_limits() {
    let scene = Scene::new().program("claude").program("cargo").file("Cargo.toml", "");
    assert_eq!(scene.run(&InitArgs { preset: Some("team".into()), ..args(None) }), Ok(0));
    let loaded = scene.loaded();
    assert_eq!((loaded.trust, loaded.warnings.len(), loaded.hints.len()), (Trust::Trusted, 0, 0));
    assert_eq!(loaded.config.fleet.preset, Preset::Team);
    let gated = loaded.config.roles.iter().filter(|(_, role)| !role.gates.is_empty());
    assert_eq!(
        gated.map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["code_developer", "integrator", "project_manager"]
    );
    let queue: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(scene.layout().queue()).expect("there")).expect("JSON");
    assert_eq!((&queue["wip_limits"]["architect"], &queue["wip_limits"]["builder"]), (&1.into(), &().into()));
    assert!(
        scene.layout().prompt(&Role::new("assistant")).is_file() && !scene.layout().prompt(&Role::BUILDER).exists()
    );
    let text = scene.talk.text();
    assert!(text.contains("leaves code_developer, project_manager or integrator"), "{text}");

    let before = scene.tree();
    assert_eq!(scene.run(&args(None)), Ok(0), "once more, without saying it");
    let failure = scene.run(&InitArgs { preset: Some("sprint".into()), ..args(None) }).expect_err("it is a team");
    assert_eq!((failure.kind.word(), scene.tree()), ("refused", before));
}

#[test]
fn a_gate_that_cannot_be_run_is_not_proposed_and_that_is_said() {
    let scene = Scene::new().program("claude").file("Cargo.toml", "");
    assert_eq!(scene.run(&args(None)), Ok(0));
    assert!(scene.loaded().config.gates.is_empty());
    assert!(scene.talk.text().contains("no gate `cargo test`: `cargo` is not found"), "{}", scene.talk.text());
}

#[test]
fn nothing_is_written_before_the_answer() {
    for (answer, dry_run) in [(Some(false), false), (None, false), (None, true)] {
        let mut scene = Scene::new().program("claude");
        scene.talk = FakeUi::new(Settings::default(), answer);
        let before = scene.tree();
        let result = scene.run(&InitArgs { dry_run, ..args(None) });
        match (answer, dry_run) {
            (None, false) => assert_eq!(result.expect_err("cannot ask").kind.exit(), 2),
            _ => assert_eq!(result, Ok(0)),
        }
        assert_eq!(scene.tree(), before);
        assert!(scene.talk.text().contains("SPRINT_QUEUE.json"), "the plan was shown");
    }
}

#[test]
fn an_old_project_is_used_as_it_is() {
    let queue = r#"{ "tasks": [ {"id": "A", "status": "ready", "dependencies": ["ghost"]} ] }"#;
    let scene = Scene::new()
        .program("claude")
        .file(".oodatcaa/work/SPRINT_QUEUE.json", queue)
        .file(".oodatcaa/prompts/builder.md", "old")
        .file(".oodatcaa/OBJECTIVES.md", "o");
    assert_eq!(scene.run(&args(None)), Ok(0));
    assert_eq!(fs::read_to_string(scene.layout().queue()).expect("there"), queue);
    assert_eq!(fs::read_to_string(scene.layout().prompt(&Role::BUILDER)).expect("there"), "old");
    assert!(scene.layout().prompt(&Role::TESTER).is_file());
    assert_eq!(scene.loaded().trust, Trust::Trusted);
    assert!(scene.talk.text().contains("depends on `ghost`"), "the queue was validated");
}

#[test]
fn a_configuration_that_is_there_is_neither_changed_nor_trusted() {
    let config = "[agents.mine]\nargv = [\"mine\"]\n";
    let scene = Scene::new().program("claude").file(".oodatcaa/config.toml", config);
    assert_eq!(scene.run(&args(Some("claude"))), Ok(0));
    assert_eq!(fs::read_to_string(scene.layout().config()).expect("there"), config);
    assert_eq!(scene.loaded().trust, Trust::Untrusted { changed: false });
    let text = scene.talk.text();
    assert!(text.contains("[agents.claude]") && text.contains("agentctl config trust"), "{text}");
}

#[test]
fn a_local_configuration_from_elsewhere_is_not_trusted_with_ours() {
    let scene = Scene::new().program("claude").file(".oodatcaa/config.local.toml", "[gates.x]\nargv = [\"evil\"]\n");
    assert_eq!(scene.run(&args(None)), Ok(0));
    assert_eq!(scene.loaded().trust, Trust::Untrusted { changed: false });
}

#[test]
fn without_an_agent_program_none_is_made_up() {
    let scene = Scene::new();
    assert_eq!(scene.run(&args(None)), Ok(0));
    let loaded = scene.loaded();
    assert!(loaded.agent(&Role::BUILDER).is_err());
    assert!(scene.talk.text().contains("no agent program was found"));
    assert!(scene.talk.text().contains("npm install"));
}

#[test]
fn an_agent_is_taken_by_name() {
    let scene = Scene::new();
    assert_eq!(scene.run(&args(Some("sim"))), Ok(0));
    assert_eq!(scene.loaded().agent(&Role::BUILDER).expect("an agent").0, "sim");
    let failure = Scene::new().run(&args(Some("cluade"))).expect_err("unknown");
    assert_eq!((failure.kind.exit(), failure.hints[0].as_str()), (2, "agentctl init --agent claude"));
    let scene = Scene::new();
    assert_eq!(scene.run(&args(Some("gemini"))), Ok(0));
    assert!(scene.talk.text().contains("gemini is not on PATH"));
}

#[test]
fn a_directory_is_not_made_a_project_by_accident() {
    let scene = Scene::new().file(".oodatcaa/x", "").file("below/y", "");
    let below = scene.root().join("below");
    let failure = scene.run_at(&below, &args(None)).expect_err("nested");
    assert_eq!((failure.kind.word(), failure.kind.exit()), ("refused", 5));
    assert_eq!(scene.run_at(&below, &InitArgs { force: true, ..args(None) }), Ok(0));
    let home = scene.directory.path().join("home");
    assert!(scene.run_at(&home, &args(None)).is_err());
    let scene = Scene::new();
    std::os::unix::fs::symlink("/tmp", scene.layout().mark()).expect("a link");
    assert_eq!(scene.run(&args(None)).expect_err("a link").kind.word(), "unsafe_path");
}

#[test]
fn a_failure_on_the_way_leaves_nothing_behind() {
    let scene = Scene::new().program("claude").file(".oodatcaa/work/keep", "");
    // The prompts cannot be created: their directory's name is taken.
    let scene = scene.file(".oodatcaa/prompts", "a file");
    let before = scene.tree();
    let failure = scene.run(&args(None)).expect_err("not a directory");
    assert_eq!(failure.kind.word(), "unsafe_path");
    assert_eq!(scene.tree(), before);
}

#[test]
fn a_broken_configuration_stops_it_before_the_first_write() {
    let scene = Scene::new().file(".oodatcaa/config.toml", "[fleet\n");
    let before = scene.tree();
    assert_eq!(scene.run(&args(None)).expect_err("broken").kind.word(), "config_invalid");
    assert_eq!(scene.tree(), before);
}
