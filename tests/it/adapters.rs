//! A made-up agent CLI, added by the steps of CONTRIBUTING.md: its description is read out of that
//! file and held against a script, up to a daemon's whole attempt.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use oodatcaa_agent::{
    self as agent, Stream,
    conform::{self, Verdict},
};
use oodatcaa_config::{Config, Loaded, Overrides, Sandbox, SandboxMode, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Class, Role};
use serde_json::json;

use crate::support::Project;

mod acp;

/// The description, as CONTRIBUTING.md has it.
fn description() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md")).unwrap();
    let (_, rest) = text.split_once("   ```toml\n").expect("a description");
    let (toml, _) = rest.split_once("   ```\n").expect("its end");
    toml.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// A project with the made-up program on its own `PATH`.
fn project() -> Project {
    let project = Project::that_succeeds();
    fs::create_dir_all(project.path("bin")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/quill.sh");
    fs::copy(script, project.path("bin/quill")).unwrap();
    fs::set_permissions(project.path("bin/quill"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(project.path(".oodatcaa/adapters")).unwrap();
    fs::write(project.path(".oodatcaa/adapters/quill.toml"), description()).unwrap();
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let config = format!(
        "fleet.agent = \"quill\"\nretry.backoff = \"50ms\"\nworkspace.mode = \"shared\"\n[agents.quill]\nkind = \"quill\"\npermissions = \"all\"\nset = {{ PATH = \"{path}\" }}\n"
    );
    fs::write(project.path(".oodatcaa/config.toml"), config).unwrap();
    project
}

fn load(project: &Project) -> Loaded {
    let home = project.root().display().to_string();
    let world = World::of([("HOME", home.as_str()), ("OODATCAA_TRUST_PROJECT", "1")]);
    Config::load_in(&world, &Layout::new(project.root()), &Overrides::default()).expect("loads")
}

#[test]
fn the_steps_of_the_document_make_an_agent_that_keeps_its_description() {
    let project = project();
    let loaded = load(&project);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let quill = &loaded.config.agents["quill"];
    assert_eq!(agent::open("quill", quill).problem(), None);
    assert_eq!(agent::open("quill", quill).pool(), "quill/default/default");
    let room = tempfile::tempdir().unwrap();
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_agent-daemon"));
    let cases = conform::run("quill", quill, room.path(), Some(&shim), &Sandbox::default());
    let of = |name: &str| cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("{name}: {cases:?}"));
    let all =
        ["descriptor", "argv", "resume", "program", "own-sandbox", "confined", "closed-port", "inside", "kept-from"];
    for name in all {
        assert_eq!(of(name).verdict, Verdict::Kept, "{:?}", of(name));
    }
    assert_eq!(of("argv").words, "quill run --json --allow everything");
    assert_eq!(of("version").words, "1.2.3; no version was ever tested");
    assert_eq!(
        of("kept-from").words,
        "it cannot read a secret of your home, write the queue, hold the lock of the queue, read the slot of another, \
         signal its worker"
    );
    assert!(of("inside").words.contains("its result by renaming"), "{:?}", of("inside"));
}

#[test]
fn how_an_agent_is_confined_is_told_also_where_it_is_not() {
    let project = project();
    let loaded = load(&project);
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_agent-daemon"));
    let cases = |sandbox: &Sandbox| {
        let room = tempfile::tempdir().unwrap();
        conform::run("quill", &loaded.config.agents["quill"], room.path(), Some(&shim), sandbox)
    };
    let words = |cases: &[conform::Case], name: &str, verdict: Verdict| -> String {
        let case = cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("{name}: {cases:?}"));
        assert_eq!(case.verdict, verdict, "{case:?}");
        case.words.clone()
    };
    let plain = cases(&Sandbox { mode: SandboxMode::Landlock, ..Sandbox::default() });
    assert!(words(&plain, "confined", Verdict::Kept).ends_with(", seccomp"), "{plain:?}");
    assert!(!words(&plain, "confined", Verdict::Kept).contains("namespace"), "{plain:?}");
    words(&plain, "kept-from", Verdict::Kept);
    let off = cases(&Sandbox { mode: SandboxMode::Off, ..Sandbox::default() });
    assert!(words(&off, "confined", Verdict::Note).contains("every right of yours"), "{off:?}");
    words(&off, "closed-port", Verdict::Kept);
    // What cannot be given runs nothing, and says why.
    let require = [oodatcaa_core::Guarantee::Network].into();
    let missing = cases(&Sandbox { require, ..Sandbox::default() });
    assert!(words(&missing, "confined", Verdict::Broken).contains("network"), "{missing:?}");
}

#[test]
fn a_program_that_is_not_as_described_is_found_out() {
    let project = project();
    fs::write(project.path("bin/quill"), "#!/bin/sh\ncat > /dev/null\necho 0.9.1\n").unwrap();
    let loaded = load(&project);
    let room = tempfile::tempdir().unwrap();
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_agent-daemon"));
    let cases = conform::run("quill", &loaded.config.agents["quill"], room.path(), Some(&shim), &Sandbox::default());
    let broken: Vec<&str> = cases.iter().filter(|case| case.verdict == Verdict::Broken).map(|case| case.name).collect();
    assert_eq!(broken, ["version", "closed-port"], "{cases:?}");
}

#[test]
fn a_daemon_works_with_it_and_reads_its_failures() {
    let project = project();
    project.queue(json!([{"id": "A", "title": "write it", "status": "ready"}]));
    let out = project.once("builder");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(fs::read_to_string(project.path("quill.txt")).unwrap(), "hello from quill\n");
    assert_eq!(project.status("A"), "awaiting_test");
    for (words, class) in
        [("QUILL-LIMIT", Class::RateLimited), ("QUILL-KEY", Class::AuthExpired), ("QUILL-VANISH", Class::Protocol)]
    {
        let project = self::project();
        project.queue(json!([{"id": "A", "title": words, "status": "ready"}]));
        project.once("builder");
        let finished = project.events_of("attempt.finished");
        assert_eq!(finished.last().map(|event| &event["data"]["class"]), Some(&json!(class.as_str())), "{words}");
    }
}

#[test]
fn what_it_writes_is_seen_while_it_works() {
    let project = project();
    let loaded = load(&project);
    let agent = agent::open("quill", &loaded.config.agents["quill"]);
    let assignment = crate::agents::assignment_in(project.root(), &Role::BUILDER, "A", 1);
    let mut watcher = agent.watcher(&assignment).expect("a dialect that can be watched");
    let at = Duration::from_secs;
    watcher.feed(Stream::Stdout, b"{\"type\":\"hello\",\"session\":\"q-1\"}\n{\"type\":\"tool\",\"st", at(1));
    watcher.feed(Stream::Stdout, b"ate\":\"begin\",\"id\":\"1\",\"name\":\"write\"}\n", at(2));
    let seen = watcher.seen();
    assert_eq!((seen.session.as_deref(), seen.last_tool.as_deref()), (Some("q-1"), Some("write")));
    // A tool is open, so silence is no stall.
    assert_eq!(watcher.verdict(at(500)), None);
    watcher.feed(Stream::Stdout, b"{\"type\":\"tool\",\"state\":\"end\",\"id\":\"1\",\"ok\":true}\n", at(600));
    assert_eq!(watcher.verdict(at(719)), None);
    assert!(matches!(watcher.verdict(at(720)), Some((Class::Silent, _))));
    // Retries are no progress.
    watcher.feed(Stream::Stdout, b"{\"type\":\"retry\",\"code\":500}\n", at(700));
    assert!(matches!(watcher.verdict(at(721)), Some((Class::Silent, _))));
    watcher.feed(Stream::Stdout, b"{\"type\":\"retry\",\"code\":401}\n", at(722));
    let (class, words) = watcher.verdict(at(722)).expect("a reason to end it");
    assert_eq!(class, Class::AuthExpired);
    assert!(words.contains("to sign in: quill login"), "{words}");
    watcher.feed(Stream::Stdout, b"{\"type\":\"bye\",\"status\":\"fine\"}\n", at(730));
    assert!(watcher.seen().ended && !watcher.lingers(at(731)) && watcher.lingers(at(800)));
}

#[test]
fn a_description_that_nobody_trusted_is_not_used() {
    let project = project();
    let home = project.root().display().to_string();
    let world = World::of([("HOME", home.as_str())]);
    let layout = Layout::new(project.root());
    let loaded = Config::load_in(&world, &layout, &Overrides::default()).expect("loads");
    assert!(loaded.config.adapters.is_empty() && loaded.is_untrusted("agent", "quill"));
    let before = loaded.fingerprint;
    fs::write(project.path(".oodatcaa/adapters/other.toml"), "extends = \"claude\"\n").unwrap();
    let after = Config::load_in(&world, &layout, &Overrides::default()).expect("loads").fingerprint;
    assert_ne!(before, after, "a new description is a change of what was trusted");
}
