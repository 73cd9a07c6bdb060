//! Each program in real attempts of an ordinary user's, confined as attempts are, with a namespace and with Landlock and
//! seccomp alone: it works, commits and writes its result; and a sandbox of its own that breaks inside ours is told.

use std::{collections::BTreeMap, fs, path::Path};

use oodatcaa_agent::conform::{self, Verdict};
use oodatcaa_config::Sandbox;
use oodatcaa_process::confine::{Guarantee, Report};
use serde_json::Value;

use super::programs::{Program, home};
use crate::{
    endpoint::{Endpoint, Script},
    sandbox::room::{Mode, Room, as_user},
};

/// The guarantees that attempts ask for.
const USUAL: [Guarantee; 5] =
    [Guarantee::Files, Guarantee::Secrets, Guarantee::Environ, Guarantee::Processes, Guarantee::Sockets];

/// Variables that would lead a program to another home than its description does.
const HOMES: [&str; 7] =
    ["HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"];

/// The words of the model: a file by a tool, a commit and a look at a secret, the result.
const SCRIPT: &str = r#"
[[rules]]
name = "work"
when = [", role builder"]
[[rules.steps]]
write = { path = "greeting.txt", text = "hello\n" }
[[rules.steps]]
run = "git add greeting.txt && git commit -qm 'feat: a greeting' && cat $HOME/.ssh/id_ed25519; echo more >> $HOME/.ssh/id_ed25519"
[[rules.steps]]
result = { outcome = "done", summary = "it says hello" }
"#;

/// A room with the program as the agent of its project, and a model that answers from a script.
struct Scene {
    room: Room,
    endpoint: Endpoint,
}

impl Scene {
    /// `None` when the program is not installed, or not where an ordinary user reaches it.
    fn new(program: Program, mode: Mode, kind: &str, argv: &[&str]) -> Option<Self> {
        let path = program.find()?;
        let reached = as_user(Path::new("test")).arg("-x").arg(&path).status().expect("test runs");
        if !reached.success() {
            eprintln!("skipped, an ordinary user does not reach {}", path.display());
            return None;
        }
        let endpoint = Endpoint::start(Script::parse(SCRIPT).expect("a script"), None).expect("an endpoint");
        let (room, unused) = (Room::new(), home());
        // gemini's shell has no other settings of git.
        for (name, value) in [("user.name", "Tester"), ("user.email", "tester@example.org")] {
            room.git(&["config", name, value]);
        }
        // The prompt that ships.
        fs::remove_file(room.at("p/.oodatcaa/prompts/builder.md")).expect("removed");
        let url = endpoint.url();
        let mut set = program.environment(&url, unused.path());
        set.retain(|name, _| !HOMES.contains(&name.as_str()) && name != "IS_SANDBOX");
        let bin = path.parent().expect("in a directory").display();
        set.insert("PATH".into(), format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
        let mut args = program.settings(&url);
        if program == Program::Qwen {
            args.extend(["--auth-type", "openai"].map(String::from));
        }
        // A JSON text is a TOML text, too.
        let quoted = |text: &str| Value::from(text).to_string();
        let list = |all: &[String]| all.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ");
        let set: Vec<String> = set.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        let argv = match argv {
            [] => String::new(),
            argv => format!("argv = [{}]\n", list(&argv.iter().map(ToString::to_string).collect::<Vec<_>>())),
        };
        // Without permissions: what its description has for the inside of our sandbox.
        let config = format!(
            "fleet.agent = \"mine\"\nretry.backoff = \"50ms\"\n[sandbox]\nmode = \"{}\"\n\
             [agents.mine]\nkind = \"{}\"\nmodel = \"{}\"\n{argv}args = [{}]\nset = {{ {} }}\n",
            mode.word(),
            kind,
            program.model(),
            list(&args),
            set.join(", ")
        );
        fs::write(room.at("p/.oodatcaa/config.toml"), config).expect("written");
        room.queue("A");
        Some(Self { room, endpoint })
    }

    /// Everything that helps to understand.
    fn said(&self, log: &str) -> String {
        let run = self.room.run_dir("A");
        let text = |name: &str| fs::read_to_string(run.join(name)).unwrap_or_default();
        let cut = |name: &str| text(name).chars().take(6_000).collect::<String>();
        let all = ["confined.json", "stdout.log", "stderr.log"].map(cut).join("\n");
        format!("{log}\n{}\n{all}\n{:#?}", self.room.task(), self.endpoint.seen())
    }
}

fn finishes_a_task_with_a_commit(program: Program, mode: Mode) {
    let Some(scene) = Scene::new(program, mode, program.name(), &[]) else { return };
    let room = &scene.room;
    let output = room.once();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let task = room.task();
    assert_eq!(task["status"], "awaiting_test", "{}", scene.said(&log));
    let branch = task["branch"].as_str().unwrap_or_else(|| panic!("no branch: {}", scene.said(&log)));
    let commits = room.git(&["log", "--format=%s", &format!("main..{branch}")]);
    assert!(commits.contains("feat: a greeting"), "{commits}: {}", scene.said(&log));
    assert_eq!(room.git(&["show", &format!("{branch}:greeting.txt")]), "hello");
    let run = room.run_dir("A");
    let report = Report::read(&run).expect("a report").expect("a report");
    assert!(report.applied && USUAL.iter().all(|one| report.guarantees.contains(one)), "{report:?}");
    assert_eq!(report.means.namespace, mode == Mode::Namespace);
    let result = fs::read_to_string(run.join("result.json")).unwrap_or_default();
    assert!(result.contains("it says hello"), "{}", scene.said(&log));
    assert_eq!(fs::read_to_string(room.at("home/.ssh/id_ed25519")).expect("there"), "a secret key\n");
    let said = fs::read_to_string(run.join("stdout.log")).expect("an output");
    assert!(!said.contains("a secret key"), "{}", scene.said(&log));
    assert_eq!(scene.endpoint.outside(), Vec::<String>::new(), "it stays on the machine");
}

fn finishes_a_task_with_a_commit_inside_the_default_profile(program: Program) {
    if Mode::all().contains(&Mode::Namespace) {
        finishes_a_task_with_a_commit(program, Mode::Namespace);
    }
}

fn finishes_a_task_with_a_commit_without_a_namespace(program: Program) {
    finishes_a_task_with_a_commit(program, Mode::Landlock);
}

/// `agentctl agent test`, with the program itself.
fn keeps_what_its_description_says_inside_our_sandbox(program: Program) {
    let Some(path) = program.find() else { return };
    let room = home();
    let shim = Path::new(env!("CARGO_BIN_EXE_agent-daemon"));
    let bin = format!("{}:/usr/local/bin:/usr/bin:/bin", path.parent().expect("in a directory").display());
    let mut config = conform::bare(program.name(), &BTreeMap::new());
    config.set.insert("PATH".into(), bin);
    let cases = conform::run(program.name(), &config, room.path(), Some(shim), &Sandbox::default());
    let broken = cases.iter().find(|case| case.verdict == Verdict::Broken);
    assert_eq!(broken, None, "{cases:#?}");
    for name in ["confined", "closed-port", "inside", "kept-from", "own-sandbox"] {
        let case = cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("{name}: {cases:#?}"));
        assert_eq!(case.verdict, Verdict::Kept, "{case:?}");
    }
}

macro_rules! programs {
    ($(#$when:tt $module:ident: $program:ident { $($case:ident)* })*) => {
        $(mod $module {
            use super::*;
            $(#[test] #$when fn $case() { super::$case(Program::$program); })*
        })*
    };
}

programs! {
    #[cfg(test)]
    claude: Claude {
        finishes_a_task_with_a_commit_inside_the_default_profile finishes_a_task_with_a_commit_without_a_namespace
        keeps_what_its_description_says_inside_our_sandbox
    }
    #[cfg(test)]
    codex: Codex {
        finishes_a_task_with_a_commit_inside_the_default_profile finishes_a_task_with_a_commit_without_a_namespace
        keeps_what_its_description_says_inside_our_sandbox
    }
    #[ignore = "make test-agents"]
    gemini: Gemini {
        finishes_a_task_with_a_commit_inside_the_default_profile finishes_a_task_with_a_commit_without_a_namespace
        keeps_what_its_description_says_inside_our_sandbox
    }
    #[ignore = "make test-agents"]
    opencode: Opencode {
        finishes_a_task_with_a_commit_inside_the_default_profile finishes_a_task_with_a_commit_without_a_namespace
        keeps_what_its_description_says_inside_our_sandbox
    }
    #[ignore = "make test-agents"]
    qwen: Qwen {
        finishes_a_task_with_a_commit_inside_the_default_profile finishes_a_task_with_a_commit_without_a_namespace
        keeps_what_its_description_says_inside_our_sandbox
    }
}

#[test]
fn a_sandbox_of_codex_that_breaks_in_silence_inside_ours_is_told_and_charges_nobody() {
    // Called by an argv of its own, which no description changes.
    let own = ["codex", "exec", "--json", "--skip-git-repo-check", "-C", "{workspace}", "-s", "workspace-write"];
    for mode in Mode::all() {
        let Some(scene) = Scene::new(Program::Codex, mode, "codex", &own) else { return };
        let output = scene.room.once();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let ends = scene.room.events("attempt.finished");
        assert_eq!(ends.len(), 1, "{}", scene.said(&log));
        let data = &ends[0]["data"];
        assert_eq!((&data["class"], data["charged"].as_bool()), (&"permission_denied".into(), None), "{data}");
        let reason = data["reason"].as_str().expect("a reason");
        assert!(reason.contains("Permission denied") && reason.contains("nested = true"), "{reason}");
        let exit: Value =
            serde_json::from_slice(&fs::read(scene.room.run_dir("A").join("exit.json")).expect("there")).expect("JSON");
        assert!(
            exit.to_string().contains("\"exited\":0") || exit.to_string().contains("\"Exited\":0"),
            "it calls that a success: {exit}"
        );
    }
}

#[test]
#[ignore = "make test-agents"]
fn by_the_agent_client_protocol_they_work_confined_as_well() {
    for (program, argv) in
        [(Program::Opencode, ["opencode", "acp"]), (Program::Gemini, ["gemini", "--experimental-acp"])]
    {
        for mode in Mode::all() {
            let Some(scene) = Scene::new(program, mode, "acp", &argv) else { return };
            // It was started once by hand.
            let own = scene.room.at("home/.config/opencode");
            fs::create_dir_all(&own).expect("made");
            fs::write(own.join(".gitignore"), "").expect("written");
            let output = scene.room.once();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            let task = scene.room.task();
            assert_eq!(task["status"], "awaiting_test", "{program:?} {mode:?} {}", scene.said(&log));
            let branch = task["branch"].as_str().expect("a branch");
            assert_eq!(scene.room.git(&["show", &format!("{branch}:greeting.txt")]), "hello");
        }
    }
}
