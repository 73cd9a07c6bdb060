//! Sandboxes: how the tables add up, what none of them may say, and what an untrusted project may say of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use oodatcaa_core::{Guarantee, Network, Role};
use proptest::prelude::*;

use super::Scene;
use crate::{Config, HomeView, Overrides, Sandbox, SandboxMode, World};

/// A project with an agent and a gate, and these tables of the user's.
fn scene(tables: &str) -> Scene {
    Scene::new().user(&format!(
        "[agents.a]\nargv = [\"a\"]\n[gates.g]\nargv = [\"g\"]\n[fleet]\nagent = \"a\"\n[roles.builder]\ngates = [\"g\"]\n{tables}"
    ))
}

fn of_builder(scene: &Scene) -> Sandbox {
    scene.load().expect("loads").config.sandbox("a", &Role::BUILDER)
}

fn words(all: &BTreeSet<Guarantee>) -> String {
    all.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_said_is_a_sandbox_all_the_same() {
    let sandbox = of_builder(&Scene::new());
    assert_eq!((sandbox.mode, sandbox.network.clone()), (SandboxMode::Auto, Network::All));
    assert_eq!(words(&sandbox.require), "files secrets environ processes sockets");
    assert_eq!(sandbox, Sandbox::default());
}

#[test]
fn the_narrower_table_wins_and_lists_add_up() {
    let place = scene(
        "[sandbox]\nallow_write = [\"/a\"]\nnetwork = { ports = [443] }\ndeny_read = [\"~/x\"]\nrequire = [\"files\"]\n\
         [agents.a.sandbox]\nallow_write = [\"~/b/./c\"]\nnetwork = \"all\"\n[agents.b.sandbox]\n\
         [roles.builder.sandbox]\nallow_write = [\"target\"]\nnetwork = \"none\"\nrequire = [\"files\", \"network\"]\n\
         [gates.g.sandbox]\nnetwork = { proxy = \"127.0.0.1:3128\" }\nhome = \"listed\"\n",
    );
    // Nobody declares `agents.b`.
    let faults = place.faults();
    assert!(faults.len() == 1 && faults[0].contains("`agents.b.argv` is missing"), "{faults:?}");
    let text = fs::read_to_string(place.world().user_config().expect("a home")).expect("there");
    let place = place.user(&text.replace("[agents.b.sandbox]\n", ""));
    let loaded = place.load().expect("loads");
    let home = place.directory.path().join("home");
    let sandbox = loaded.config.sandbox("a", &Role::BUILDER);
    assert_eq!(sandbox.allow_write, [PathBuf::from("/a"), home.join("b/c"), place.layout.root().join("target")]);
    assert_eq!((sandbox.network, words(&sandbox.require)), (Network::None, "files network".into()));
    assert_eq!(sandbox.deny_read, [home.join("x")]);
    // An account is its agent; another role has the agent's.
    assert_eq!(loaded.config.sandbox("a@work", &Role::TESTER).network, Network::All);
    assert_eq!(loaded.config.sandbox("other", &Role::TESTER).network, Network::Ports(vec![443]));
    let gate = loaded.config.sandbox_of_gate(&Role::BUILDER, "g");
    assert_eq!(gate.network, Network::Proxy("127.0.0.1:3128".parse().expect("an address")));
    assert_eq!((gate.home, gate.allow_write.len()), (HomeView::Listed, 2));
    assert_eq!(loaded.config.sandbox_of_gate(&Role::BUILDER, "other").network, Network::None);
    assert_eq!(loaded.config.sandbox_of_hooks().network, Network::Ports(vec![443]));
    let shown = loaded.settings.iter().find(|setting| setting.key == "sandbox.network").expect("shown");
    assert_eq!(shown.value.to_string(), "{ ports = [443] }");
    assert!(shown.origin.to_string().ends_with("config.toml:11"), "{}", shown.origin);
}

#[test]
fn a_word_that_nobody_knows_is_a_fault_with_its_place_and_what_there_is() {
    let text = "[sandbox]\nrequire = [\"files\", \"everything\"]\nmode = \"docker\"\nnetwork = { port = [443] }\n\
                home = \"none\"\nallow_writes = [\"/a\"]\n[roles.builder.sandbox]\n  networks = \"none\"\n\
                deny_read = [\"../x\"]\nallow_read = [\"~me/x\"]\n";
    let faults = Scene::new().user(text).faults();
    let at = "~/home/.config/oodatcaa/config.toml";
    for (n, expected) in [
        "2:1: `sandbox.require` contains `everything`, which is no guarantee; there are: files, metadata, secrets, environ, processes, sockets, network",
        "3:1: `sandbox.mode` is `docker`; expected one of: auto, landlock, off",
        "4:13: `sandbox.network` is a table of `port`; expected \"all\", \"none\", { ports = [443] } or { proxy = \"127.0.0.1:3128\" }",
        "5:1: `sandbox.home` is `none`; expected one of: all, listed",
        "6:1: `sandbox.allow_writes` is not a known key; did you mean `allow_write`?",
        "8:3: `roles.builder.sandbox.networks` is not a known key; did you mean `network`?",
        "9:1: `roles.builder.sandbox.deny_read` is `../x`; expected a path without `..`: absolute, below `~/`, or below the project",
        "10:1: `roles.builder.sandbox.allow_read` is `~me/x`; expected a path without `..`: absolute, below `~/`, or below the project",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(faults[n], format!("{at}:{expected}"));
    }
}

#[test]
fn what_cannot_be_had_together_is_a_fault_where_it_was_said() {
    let at = "~/home/.config/oodatcaa/config.toml";
    for (text, place, key) in [
        ("[sandbox]\nrequire = [\"network\"]\n", "2:1", "sandbox.require"),
        (
            "[sandbox]\nnetwork = \"none\"\nrequire = [\"network\"]\n[roles.tester.sandbox]\nnetwork = \"all\"\n",
            "5:1",
            "roles.tester.sandbox.network",
        ),
        ("[sandbox]\nnested = true\nmode = \"landlock\"\n", "3:1", "sandbox.mode"),
    ] {
        let faults = Scene::new().user(text).faults();
        let begins = format!("{at}:{place}: `{key}` cannot be: ");
        assert!(faults.iter().any(|fault| fault.starts_with(&begins)), "{text}: {faults:?}");
    }
    Scene::new().user("[sandbox]\nnetwork = \"none\"\nrequire = [\"network\"]\n").load().expect("it can be had");
}

#[test]
fn what_decides_what_runs_is_never_given_to_be_written() {
    let place = Scene::new();
    let (home, root) = (place.directory.path().join("home"), place.layout.root().to_owned());
    fs::create_dir_all(home.join(".local/state")).expect("made");
    fs::create_dir_all(root.join(".git/hooks")).expect("made");
    std::os::unix::fs::symlink(root.join(".git"), home.join("innocent")).expect("linked");
    let outside = |below: &str| root.join(below).display().to_string();
    for refused in [
        "/".to_owned(),
        "~".into(),
        "~/".into(),
        home.parent().expect("above").display().to_string(),
        ".".into(),
        ".git".into(),
        ".git/hooks".into(),
        "./.git".into(),
        outside(".oodatcaa/runs"),
        ".leases".into(),
        ".locks/x".into(),
        ".agent-daemon-run".into(),
        "~/.local/state".into(),
        "~/.local/state/oodatcaa/projects".into(),
        "~/.config".into(),
        "~/.config/oodatcaa/config.toml".into(),
        "~/innocent/hooks".into(),
        "~//.config//oodatcaa".into(),
    ] {
        let place = Scene { vars: place.vars.clone(), ..Scene::new() };
        let layout = crate::Layout::new(root.clone());
        let user = place.world().user_config().expect("a home");
        fs::create_dir_all(user.parent().expect("above")).expect("made");
        fs::write(&user, format!("[roles.tester.sandbox]\nallow_write = [\"/fine\", \"{refused}\"]\n"))
            .expect("written");
        let error = Config::load_in(&place.world(), &layout, &Overrides::default()).expect_err("refused").to_string();
        assert!(
            error.contains("config.toml:2:1: `roles.tester.sandbox.allow_write` lets programs write to"),
            "{error}"
        );
        fs::write(&user, "[sandbox]\nallow_write = [\"target\", \"~/.cache/x\", \"/opt/x\"]\n").expect("written");
        Config::load_in(&place.world(), &layout, &Overrides::default()).expect("these are fine");
    }
    let error = Config::load_in(
        &World::of([("XDG_CONFIG_HOME", home.join(".config").to_str().expect("UTF-8"))]),
        &crate::Layout::new(root),
        &Overrides::default(),
    )
    .expect_err("nobody knows where that is");
    assert!(error.to_string().contains("nobody knows your home"), "{error}");
}

#[test]
fn an_untrusted_project_only_tightens_its_sandbox() {
    let user = "[sandbox]\nrequire = [\"files\"]\n[roles.tester.sandbox]\nrequire = [\"files\", \"secrets\"]\n";
    let place = scene(user).project(
        "[sandbox]\nmode = \"off\"\nrequire = [\"files\", \"metadata\"]\nallow_write = [\"/opt\"]\nallow_read = [\"~/.ssh\"]\n\
         deny_read = [\"/srv\"]\nallow_sockets = [\"/run/docker.sock\"]\nnetwork = { ports = [443] }\nnested = true\n\
         home = \"listed\"\ncaches = \"shared\"\n\
         [roles.builder.sandbox]\nnetwork = \"none\"\nrequire = []\ndeny_read = [\"/mnt\"]\n\
         [roles.tester.sandbox]\nrequire = [\"files\", \"secrets\", \"environ\"]\nmode = \"off\"\n\
         [agents.a.sandbox]\nallow_write = [\"/opt\"]\n[gates.g.sandbox]\nnetwork = \"all\"\nhome = \"listed\"\n",
    );
    let loaded = place.load().expect("loads");
    let builder = loaded.config.sandbox("a", &Role::BUILDER);
    assert_eq!(words(&builder.require), "files metadata");
    assert_eq!((builder.mode, builder.network, builder.home), (SandboxMode::Auto, Network::None, HomeView::Listed));
    assert_eq!(builder.deny_read, [Path::new("/srv"), Path::new("/mnt")]);
    let nothing: &[PathBuf] = &[];
    assert_eq!([&*builder.allow_write, &*builder.allow_read, &*builder.allow_sockets], [nothing; 3]);
    assert!(!builder.nested);
    let tester = loaded.config.sandbox("a", &Role::TESTER);
    assert_eq!((words(&tester.require).as_str(), tester.mode), ("files secrets environ", SandboxMode::Auto));
    let gate = loaded.config.sandbox_of_gate(&Role::BUILDER, "g");
    assert_eq!((gate.network, gate.home), (Network::None, HomeView::Listed));

    // What does not count is named, to be looked at and allowed.
    let named = |key: &str| loaded.chosen.iter().any(|setting| setting.key == key);
    for key in ["mode", "allow_write", "allow_read", "allow_sockets", "network", "nested", "caches"] {
        assert!(named(&format!("sandbox.{key}")), "{key}: {:?}", loaded.chosen);
    }
    assert!(named("roles.builder.sandbox.require") && named("roles.tester.sandbox.mode"), "{:?}", loaded.chosen);
    let more = |what: &str| &loaded.commands.iter().find(|command| command.what == what).expect("a command").more;
    assert_eq!(more("agent")["sandbox.allow_write"], "[\"/opt\"]");
    assert_eq!(more("gate")["sandbox.network"], "\"all\"");
    let trusted = place.var("OODATCAA_TRUST_PROJECT", "1").load().expect("loads").config;
    assert_eq!(trusted.sandbox("a", &Role::TESTER).mode, SandboxMode::Off);
}

#[test]
fn the_environment_says_the_mode_of_the_widest_table() {
    let place = scene("[sandbox]\nmode = \"landlock\"\n").var("OODATCAA_SANDBOX", "off");
    assert_eq!(of_builder(&place).mode, SandboxMode::Off);
    let faults = scene("").var("OODATCAA_SANDBOX", "maybe").faults();
    assert!(faults[0].starts_with("env OODATCAA_SANDBOX: `sandbox.mode` is `maybe`; expected one of"), "{faults:?}");
}

/// Returns how loose a sandbox is, each part by itself: none may grow.
fn looseness(sandbox: &Sandbox) -> Vec<usize> {
    let network = match &sandbox.network {
        Network::None => 0,
        Network::Proxy(_) => 1,
        Network::Ports(_) => 2,
        Network::All => 3,
    };
    vec![
        usize::from(sandbox.mode != SandboxMode::Auto),
        Guarantee::ALL.iter().filter(|one| !sandbox.require.contains(one)).count(),
        sandbox.allow_write.len(),
        sandbox.allow_read.len(),
        100 - sandbox.deny_read.len(),
        sandbox.allow_sockets.len(),
        network,
        usize::from(sandbox.nested),
        usize::from(sandbox.home == HomeView::All),
        usize::from(sandbox.caches != crate::Caches::Own),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_untrusted_project_says_nothing_gets_looser(
        said in prop::collection::btree_set(
            (prop::sample::select(vec!["sandbox", "agents.a.sandbox", "roles.builder.sandbox", "gates.g.sandbox"]),
             prop::sample::select(vec!["mode = \"off\"", "mode = \"landlock\"", "require = []", "require = [\"files\"]",
                "require = [\"files\", \"secrets\", \"environ\", \"processes\", \"sockets\", \"metadata\"]",
                "allow_write = [\"/opt\"]", "allow_read = [\"/srv\"]", "deny_read = [\"/mnt\"]", "deny_read = []",
                "allow_sockets = [\"/run/x\"]", "network = \"all\"", "network = \"none\"", "network = { ports = [1] }",
                "nested = true", "home = \"all\"", "home = \"listed\"", "caches = \"shared\""])),
            0..12),
        users in prop::sample::select(vec!["", "[sandbox]\nnetwork = \"none\"\n", "[roles.builder.sandbox]\nrequire = [\"files\"]\ndeny_read = [\"/mnt\"]\n",
            "[gates.g.sandbox]\nnetwork = \"none\"\nhome = \"listed\"\n[agents.a.sandbox]\nnested = true\n"]),
    ) {
        let mut tables: std::collections::BTreeMap<&str, std::collections::BTreeMap<&str, &str>> = Default::default();
        for (table, line) in &said {
            tables.entry(table).or_default().insert(line.split(' ').next().expect("a key"), line);
        }
        let text: String = tables.iter().map(|(table, lines)| {
            format!("[{table}]\n{}\n", lines.values().copied().collect::<Vec<_>>().join("\n"))
        }).collect();
        let place = scene(users);
        let before = place.load().expect("loads").config;
        let place = place.project(&text);
        let after = place.load().expect("loads").config;
        let of = |config: &Config| [
            config.sandbox("a", &Role::BUILDER), config.sandbox("a", &Role::TESTER),
            config.sandbox_of_gate(&Role::BUILDER, "g"), config.sandbox_of_hooks(),
        ];
        for (before, after) in of(&before).iter().zip(of(&after)) {
            for (n, (before, after)) in looseness(before).into_iter().zip(looseness(&after)).enumerate() {
                prop_assert!(after <= before, "{n}: {before} to {after} by {text}");
            }
        }
    }
}
