//! `doctor` on scratch projects, on a machine without a service manager.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    report::{PROBLEM, WARNING},
    *,
};
use crate::cli::{
    init::{InitArgs, run_in as init},
    ui::{Settings, tests::FakeUi},
};
use oodatcaa_core::{Role, TaskId};

struct Scene {
    directory: tempfile::TempDir,
    layout: Layout,
    world: World,
}

impl Scene {
    /// A project as `init` leaves it, with an agent program that is there.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().canonicalize().expect("there");
        for name in ["home", "bin", "p"] {
            fs::create_dir_all(at.join(name)).expect("created");
        }
        let program = at.join("bin/claude");
        fs::write(&program, "").expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("changed");
        let text = |name: &str| at.join(name).display().to_string();
        let (home, path) = (text("home"), text("bin"));
        // Our other program is none of its.
        let world = World::of([("HOME", home.as_str()), ("PATH", path.as_str()), ("OODATCAA_SANDBOX", "off")]);
        let talk = FakeUi::new(Settings::default(), Some(true));
        init(&talk.ui, &world, &at.join("p"), &InitArgs::default()).expect("set up");
        let layout = Layout::new(at.join("p"));
        let author = oodatcaa_git::Author { name: "me".into(), email: "me@invalid".into() };
        oodatcaa_git::first_commit(&layout, "a project", &author).expect("a repository");
        Self { layout, world, directory }
    }

    fn host(&self) -> Host {
        let at = self.directory.path().canonicalize().expect("there");
        Host {
            booted: at.join("booted"),
            runtime_dir: at.join("run"),
            config_home: at.join("home/.config"),
            systemctl: at.join("systemctl"),
            linger: None,
            path: at.join("bin").display().to_string(),
            shell: None,
        }
    }

    fn write(&self, path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn doctor(&self, fix: bool) -> (u8, String) {
        let talk = FakeUi::new(Settings::default(), None);
        let code = run_in(&talk.ui, &self.world, &self.host(), &self.layout, &DoctorArgs { fix, gates: false })
            .expect("looks");
        (code, talk.text())
    }

    fn checks(&self) -> Vec<CheckView> {
        DoctorContext::new(&self.layout, &self.world, &self.host()).checks()
    }

    fn ids(&self, state: &str) -> Vec<&'static str> {
        self.checks().iter().filter(|check| check.state == state).map(|check| check.id).collect()
    }
}

#[test]
fn another_program_of_our_name_on_the_path_is_told() {
    let scene = Scene::new();
    assert!(!scene.ids(WARNING).contains(&"other_program"));
    for name in ["agentctl", "agent-daemon"] {
        let program = scene.directory.path().join("bin").join(name);
        fs::write(&program, "#!/bin/sh\n").expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    assert_eq!(scene.ids(WARNING).iter().filter(|id| **id == "other_program").count(), 2);
    assert!(scene.doctor(false).1.contains("bin/agentctl, which is not from this installation"));
}

#[test]
fn a_users_own_state_that_cannot_be_written_is_told() {
    let scene = Scene::new();
    assert!(scene.ids("ok").contains(&"own_state"));
    let ledger = scene.world.at_home(scene.layout.clone()).ledger().expect("at home");
    fs::create_dir_all(&ledger).expect("a directory in the place of the ledger");
    assert!(scene.ids(PROBLEM).contains(&"own_state"));
    let state = scene.directory.path().join("home/.local/state");
    fs::remove_dir_all(&state).expect("removed");
    fs::write(&state, "not a directory").expect("written");
    assert!(scene.doctor(false).1.contains("home/.local/state cannot be read and written"));
}

fn tasks(text: &str) -> String {
    format!("{{\"wip_limits\": {{}}, \"tasks\": [{text}]}}\n")
}

#[test]
fn a_project_fresh_from_init_is_well() {
    let scene = Scene::new();
    let (code, text) = scene.doctor(false);
    assert_eq!(code, 0, "{text}");
    assert_eq!(scene.ids(PROBLEM), [""; 0]);
    for words in ["project\n", "trusted", "queue: 0 tasks", "agent `claude`", "5 prompt templates render", "0 problems"]
    {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
}

#[test]
fn permissions_that_only_a_programs_own_sandbox_could_keep_are_told() {
    let mut scene = Scene::new();
    let program = scene.directory.path().join("bin/codex");
    fs::write(&program, "").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("changed");
    let config = scene.world.user_config().expect("at home");
    let reader = "[roles.tester]\nagent = \"reader\"\n[agents.reader]\nkind = \"codex\"\npermissions = \"plan\"\n";
    for (mode, sandbox, told) in [("auto", "", true), ("auto", "nested = true", false), ("off", "", false)] {
        scene.world = scene.world.with("OODATCAA_SANDBOX", mode);
        scene.write(config.clone(), &format!("{reader}[agents.reader.sandbox]\n{sandbox}\n"));
        let (_, text) = scene.doctor(false);
        assert_eq!(text.contains("its permission `plan` is kept by its own sandbox"), told, "{mode} {sandbox}: {text}");
    }
}

#[test]
fn an_edit_that_was_set_aside_is_told() {
    let scene = Scene::new();
    assert!(!scene.ids(WARNING).contains(&"lost_edit"));
    scene.write(scene.layout.queue().with_extension("lost-edit-a1"), &tasks(""));
    let (code, text) = scene.doctor(false);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("SPRINT_QUEUE.lost-edit-a1 holds an edit") && text.contains("diff "), "{text}");
}

#[test]
fn looking_changes_nothing() {
    fn names(at: &Path) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            fs::read_dir(at).expect("a directory").map(|e| e.expect("an entry").path()).collect();
        all.sort();
        all
    }
    let scene = Scene::new();
    let before = (names(scene.layout.root()), names(&scene.layout.mark()), names(&scene.layout.work()));
    scene.doctor(false);
    assert_eq!(before, (names(scene.layout.root()), names(&scene.layout.mark()), names(&scene.layout.work())));
}

#[test]
fn a_broken_queue_is_a_problem_with_its_place() {
    let scene = Scene::new();
    scene.write(scene.layout.queue(), "{\n<<<<<<< HEAD\n");
    let (code, text) = scene.doctor(false);
    assert_eq!(code, 8);
    assert!(text.contains("SPRINT_QUEUE.json:2:1"), "{text}");
    assert!(text.contains("→ agentctl queue validate"), "{text}");
}

#[test]
fn what_nobody_will_ever_do_is_told() {
    let scene = Scene::new();
    scene.write(
        scene.layout.queue(),
        &tasks(
            r#"{"id":"A","status":"ready","role":"tester"},{"id":"B","status":"ready","dependencies":["ghost"]},
               {"id":"C","status":"mystery"},{"id":"D","status":"planning_complete"},{"id":"E","status":"blocked"}"#,
        ),
    );
    let all = scene.checks();
    let of = |id: &str| all.iter().filter(|check| check.id == id).count();
    assert_eq!((of("nobody_takes"), of("problem")), (1, 2), "{all:?}");
}

#[test]
fn untrusted_commands_and_missing_programs_are_problems() {
    let scene = Scene::new();
    fs::remove_file(scene.directory.path().join("bin/claude")).expect("removed");
    assert_eq!(scene.ids(PROBLEM), ["agent_not_found"]);
    let (_, text) = scene.doctor(false);
    assert!(text.contains("→ npm install -g @anthropic-ai/claude-code"), "{text}");
    scene.write(scene.layout.local_config(), "[gates.x]\nargv = [\"x\"]\n");
    assert_eq!(scene.ids(PROBLEM), ["trust"]);
}

#[test]
fn a_configuration_that_does_not_load_hides_nothing_else() {
    let scene = Scene::new();
    scene.write(scene.layout.config(), "[fleet]\ninterval = 0\n");
    scene.write(scene.layout.queue(), "[]");
    assert_eq!(scene.ids(PROBLEM), ["config", "queue"]);
}

#[test]
fn a_template_with_an_unknown_variable_is_a_problem() {
    let scene = Scene::new();
    scene.write(scene.layout.prompt(&Role::TESTER), "Test {{ task.titel }}.\n");
    assert_eq!(scene.ids(PROBLEM), ["trust", "prompt"], "a prompt that changes needs trust anew");
    scene.write(scene.layout.prompt(&Role::TESTER), "An old prompt without variables.\n");
    assert_eq!(scene.ids(PROBLEM), ["trust"]);
}

#[test]
fn a_secret_in_plain_text_and_one_that_is_missing_are_told_without_their_values() {
    let scene = Scene::new();
    scene.write(
        scene.world.user_config().expect("a home"),
        "[agents.claude]\nset = { A_TOKEN = \"sk-very-secret\", B = \"env:NOT_THERE\" }\n",
    );
    let (code, text) = scene.doctor(false);
    assert_eq!(code, 8);
    assert!(text.contains("agents.claude.set.A_TOKEN") && text.contains("NOT_THERE"), "{text}");
    assert!(!text.contains("sk-very-secret"), "{text}");
}

#[test]
fn a_gap_in_the_journal_is_a_problem() {
    let scene = Scene::new();
    scene.write(scene.layout.journal(), "{\"seq\":1}\n{\"seq\":3}\n{\"se");
    let all = scene.checks();
    let states: Vec<_> = all.iter().filter(|c| c.id.starts_with("journal")).map(|c| (c.id, c.state)).collect();
    assert!(states.contains(&("journal_gap", PROBLEM)), "{states:?}");
    assert!(states.contains(&("journal_torn", WARNING)), "{states:?}");
}

#[test]
fn what_a_dead_worker_left_is_given_back_by_fix() {
    let scene = Scene::new();
    scene.write(scene.layout.queue(), &tasks(r#"{"id":"A","status":"in_progress","agent":"builder","lease":"w@h#4"}"#));
    let lease = r#"{"task_id":"A","role":"builder","owner":"w@h","token":4,"attempt":1,
        "started_at":"2026-01-05T09:00:00.000Z","ttl_seconds":5400,"heartbeat_at":"2026-01-05T09:00:00.000Z",
        "host":"h","boot_id":"another","pid":1,"pid_started":1}"#;
    let host = identity("").host;
    let id = TaskId::parse("A").expect("an id");
    scene.write(scene.layout.lease(&id), &lease.replace("\"h\"", &format!("{host:?}")));
    assert!(scene.ids(WARNING).contains(&"dead_lease"));
    let (_, text) = scene.doctor(false);
    assert!(text.contains("agentctl doctor --fix"), "{text}");
    let (code, text) = scene.doctor(true);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("remove the lease of A and give the task back"), "{text}");
    assert!(!scene.layout.lease(&id).exists());
    let queue = fs::read_to_string(scene.layout.queue()).expect("there");
    assert!(queue.contains(r#""status":"ready""#), "{queue}");
    assert!(scene.doctor(true).1.contains("nothing can be mended"));
}

#[test]
fn a_stale_pid_file_is_removed_by_fix() {
    let scene = Scene::new();
    let path = oodatcaa_fleet::pidfile::path(&scene.layout, "builder");
    scene.write(path.clone(), "999999\n{}\n");
    assert!(scene.ids(WARNING).contains(&"stale_pid_file"));
    scene.doctor(true);
    assert!(!path.exists());
}

#[test]
fn the_report_is_json_for_programs() {
    let scene = Scene::new();
    let talk = FakeUi::new(Settings { json: true, ..Settings::default() }, None);
    run_in(&talk.ui, &scene.world, &scene.host(), &scene.layout, &DoctorArgs::default()).expect("looks");
    let report: serde_json::Value = serde_json::from_str(&talk.text()).expect("one value");
    assert_eq!(report["ok"], true);
    assert_eq!(report["checks"][0]["group"], "project");
}

#[test]
fn what_a_unit_sets_is_read_from_it() {
    let unit = "[Service]\nEnvironment=\"PATH=/a b:/c%%d\"\nEnvironment=KEY=50%%\nExecStart=x\n";
    assert_eq!(unit_variable(unit, "PATH").as_deref(), Some("/a b:/c%d"));
    assert_eq!(unit_variable(unit, "KEY").as_deref(), Some("50%"));
    assert_eq!(unit_variable(unit, "KE"), None);
}
