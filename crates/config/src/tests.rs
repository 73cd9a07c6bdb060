//! The configuration as a whole: real files in scratch directories, an environment of its own.

use std::{fs, time::Duration};

use super::{
    declare::{Key, UntilTrusted},
    keys::keys,
    kind::Kind,
    lookup::{Place, place},
    *,
};
use oodatcaa_core::{Class, Status, Workflow};

mod reference;
mod sandbox;

struct Scene {
    directory: tempfile::TempDir,
    layout: Layout,
    vars: Vec<(&'static str, String)>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path().join("project"));
        fs::create_dir_all(layout.mark()).expect("a project");
        let vars = vec![("HOME", directory.path().join("home").to_string_lossy().into_owned())];
        Self { directory, layout, vars }
    }

    fn user(self, text: &str) -> Self {
        let path = self.world().user_config().expect("a home");
        fs::create_dir_all(path.parent().expect("below home")).expect("created");
        fs::write(path, text).expect("written");
        self
    }

    fn project(self, text: &str) -> Self {
        fs::write(self.layout.config(), text).expect("written");
        self
    }

    fn local(self, text: &str) -> Self {
        fs::write(self.layout.local_config(), text).expect("written");
        self
    }

    fn var(mut self, name: &'static str, value: &str) -> Self {
        self.vars.push((name, value.into()));
        self
    }

    fn world(&self) -> World {
        World::of(self.vars.iter().map(|(name, value)| (*name, value.as_str())))
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(&Overrides::default())
    }

    fn load_with(&self, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        Config::load_in(&self.world(), &self.layout, overrides)
    }

    fn faults(&self) -> Vec<String> {
        match self.load() {
            Err(ConfigError::Invalid(faults)) => faults.iter().map(|fault| self.short(&fault.to_string())).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.layout.root().display()), "")
            .replace(&self.directory.path().display().to_string(), "~")
    }
}

fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.settings.iter().find(|setting| setting.key == key).expect("a setting").origin.to_string()
}

#[test]
fn nothing_set_is_the_built_in_configuration() {
    let loaded = Scene::new().load().expect("loads");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.trust, Trust::NothingToTrust);
    let policy = oodatcaa_core::policy::Policy { most_at_once: 1, ..Default::default() };
    assert_eq!(loaded.config.workflow, Workflow::shipped().under(policy), "the text and the code say the same");
    assert_eq!(loaded.config.retry, Retry::default(), "the text and the code say the same");
    assert_eq!(
        loaded.config.fleet,
        Fleet {
            interval: Duration::from_secs(60),
            preset: Preset::Sprint,
            agent: None,
            shutdown_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(5),
            lock_wait: Duration::from_secs(10),
            restarts: 3,
            healthy: Duration::from_secs(60),
            hours: Vec::new(),
            resume_window: Vec::new(),
            tz: "UTC".into(),
        }
    );
    assert_eq!(loaded.config.agents.keys().collect::<Vec<_>>(), ["sim"]);
    assert_eq!(loaded.config.agents["sim"].kind, AgentKind::Sim);
    let builder = &loaded.config.roles[&Role::BUILDER];
    assert_eq!((builder.agent.as_deref(), builder.timeout), (None, Duration::from_secs(3600)));
    assert_eq!((builder.idle_timeout, builder.output), (Duration::from_secs(600), 64 << 20));
    assert!(matches!(loaded.agent(&Role::BUILDER), Err(ConfigError::NoAgent { .. })), "never sim by default");
}

#[test]
fn every_key_is_in_the_commented_default_below_a_comment() {
    let text = Config::commented_default();
    let lines: Vec<&str> = text.lines().collect();
    for key in keys().filter(|key| !key.path.starts_with("adapters.")) {
        let name = key.path.trim_end_matches(".*").rsplit('.').next().expect("a name");
        let is_it = |line: &str| {
            let written = line.trim_start_matches("# ").split_once(" = ");
            written.is_some_and(|(path, _)| path.rsplit('.').next() == Some(name))
        };
        assert!(
            lines.windows(2).any(|pair| pair[0].starts_with('#') && is_it(pair[1])),
            "{} is not there, or has no comment",
            key.path
        );
    }
    let fleet = text.split_once("\n[fleet]\n").expect("a table").1;
    assert!(
        fleet.starts_with("# The agent of every role that names none of its own: a name from `[agents.*]`."),
        "{fleet}"
    );
}

#[test]
fn a_key_that_was_renamed_is_understood_by_its_old_name_and_told_once() {
    let place =
        Scene::new().user("[fleet]\ndrain = 7\n[roles.builder]\nsilence = \"3m\"\n").var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.config.fleet.shutdown_timeout, Duration::from_secs(7));
    assert_eq!(loaded.config.roles[&Role::BUILDER].idle_timeout, Duration::from_secs(180));
    let hints: Vec<String> = loaded.hints.iter().map(|hint| place.short(hint)).collect();
    assert_eq!((loaded.warnings.len(), hints.len()), (0, 2), "{hints:?}");
    assert_eq!(hints[0], "~/home/.config/oodatcaa/config.toml:2: `fleet.drain` is now called `fleet.shutdown_timeout`");
    assert!(origin(&loaded, "roles.builder.idle_timeout").ends_with("config.toml:4"));

    // A later layer wins by either name; in one file the new name counts.
    let place = place.project("[fleet]\ndrain = 8\n").local("[fleet]\nshutdown_timeout = 9\ndrain = 10\n");
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.config.fleet.shutdown_timeout, Duration::from_secs(9));
    assert!(loaded.hints[3].contains("which is there as well and counts"), "{:?}", loaded.hints);
    let place = place.var("OODATCAA_DRAIN", "11s");
    assert_eq!(place.load().expect("loads").config.fleet.shutdown_timeout, Duration::from_secs(11));
    let place = place.var("OODATCAA_SHUTDOWN_TIMEOUT", "12s");
    assert_eq!(place.load().expect("loads").config.fleet.shutdown_timeout, Duration::from_secs(12));
}

#[test]
fn the_commented_default_is_a_template_with_its_examples_uncommented() {
    let text = Config::commented_default();
    let (head, examples) = text.split_once("# An agent of your own").expect("examples");
    let is_toml =
        |line: &&str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '`']));
    let examples: Vec<&str> = examples.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_toml).collect();
    let place = Scene::new().user(&format!("{head}{}\n", examples.join("\n")));
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.agents["mine"].exits[&75], Class::RateLimited);
    assert_eq!(loaded.config.gates["test"].argv, ["make", "test"]);
}

#[test]
fn every_layer_overrides_the_one_before_it_key_by_key() {
    let text = |n: u32| format!("[fleet]\ninterval = \"{n}s\"\n");
    let place = Scene::new()
        .user(&format!("{}shutdown_timeout = 1\ngrace = 1\nlock_wait = 1\n[retry]\nattempts = 9\n", text(1)))
        .var("OODATCAA_TRUST_PROJECT", "1")
        .project(&format!("{}grace = 2\nlock_wait = 2\n", text(2)))
        .local(&format!("{}lock_wait = 3\n", text(3)))
        .var("OODATCAA_INTERVAL", "4s")
        .var("OODATCAA_ATTEMPTS", "7")
        .var("OODATCAA_TASK_ID", "P1");
    let loaded = place.load().expect("loads");
    let fleet = &loaded.config.fleet;
    let seconds = [fleet.interval, fleet.lock_wait, fleet.grace, fleet.shutdown_timeout].map(|time| time.as_secs());
    assert_eq!((seconds, loaded.config.retry.attempts), ([4, 3, 2, 1], 7));
    assert_eq!(origin(&loaded, "fleet.interval"), "env OODATCAA_INTERVAL");
    assert!(origin(&loaded, "fleet.lock_wait").ends_with("/.oodatcaa/config.local.toml:3"));
    assert!(origin(&loaded, "fleet.grace").ends_with("/.oodatcaa/config.toml:3"));
    assert!(origin(&loaded, "fleet.shutdown_timeout").ends_with("/oodatcaa/config.toml:3"));
    assert_eq!(origin(&loaded, "retry.backoff"), "default");

    let loaded = place.load_with(&Overrides::default().with("fleet.interval", "500ms", "--interval")).expect("loads");
    assert_eq!(loaded.config.fleet.interval, Duration::from_millis(500));
    assert_eq!(origin(&loaded, "fleet.interval"), "flag --interval");
}

#[test]
fn an_unknown_key_is_a_fault_with_its_place_and_the_nearest_name() {
    let text = "[fleet]\nintervall = 5\n[rolls.builder]\nagent = \"x\"\n[roles.builder]\n  gate = [\"test\"]\n";
    for place in [Scene::new().user(text), Scene::new().project(text), Scene::new().local(text)] {
        let faults = place.faults().join("\n");
        for (place, words) in [
            (":2:1", "`fleet.intervall` is not a known key; did you mean `interval`?"),
            (":6:3", "`roles.builder.gate` is not a known key; did you mean `gates`?"),
            (":4:1", "`rolls.builder.agent` is not a known key; did you mean `roles`?"),
        ] {
            assert!(faults.contains(&format!("{place}: {words}")), "{faults}");
        }
    }
}

#[test]
fn no_table_of_the_configuration_takes_a_key_that_nobody_reads() {
    for key in keys().filter(|key| key.kind != Kind::Any) {
        let table = key.path.rsplit_once('.').expect("a table").0.replace('*', "name");
        // Names of the user's own stand here.
        if keys().any(|other| other.path == format!("{}.*", key.path.rsplit_once('.').expect("a table").0)) {
            continue;
        }
        let path: Vec<String> = table.split('.').chain(["nonsense"]).map(Into::into).collect();
        assert!(matches!(place(&path), Place::Unknown), "{}", path.join("."));
        let faults = Scene::new().user(&format!("[{table}]\nnonsense = 1\n")).faults();
        assert!(faults.iter().any(|fault| fault.contains("nonsense` is not a known key")), "{faults:?}");
    }
}

#[test]
fn every_wrong_value_is_told_with_file_line_key_and_what_was_expected() {
    let text = "[fleet]\ninterval = 0\nshutdown_timeout = \"soon\"\ngrace = { x = 1 }\n[retry]\nattempts = 2.5\n[roles]\nbuilder = 3\n[roles.qa]\ntakes = \"ready\"\n";
    let faults = Scene::new().project(text).var("OODATCAA_TRUST_PROJECT", "1").faults();
    let expected = [
        ".oodatcaa/config.toml:2:1: `fleet.interval` is 0s; at least 100ms is needed",
        ".oodatcaa/config.toml:3:1: `fleet.shutdown_timeout` is wrong: `soon` is not a duration; write e.g. `45s`, `90m`, `1h30m` or a number of seconds",
        ".oodatcaa/config.toml:4:11: `fleet.grace.x` is below `fleet.grace`, which takes a value and no table",
        ".oodatcaa/config.toml:6:1: `retry.attempts` is 2.5; expected a whole number",
        ".oodatcaa/config.toml:8:1: `roles.builder` is 3; expected a table",
        ".oodatcaa/config.toml:10:1: `roles.qa.works` is missing; expected a status word",
        ".oodatcaa/config.toml:10:1: `roles.qa.done` is missing; expected a status word",
        ".oodatcaa/config.toml:10:1: `roles.qa.failed` is missing; expected a status word",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn what_an_empty_table_lacks_is_told_where_it_stands() {
    let place = Scene::new().project("\n[roles.qa]\n").var("OODATCAA_TRUST_PROJECT", "1");
    let faults = place.faults();
    assert_eq!(faults[0], ".oodatcaa/config.toml:2:8: `roles.qa.takes` is missing; expected a status word");
    assert!(faults.iter().all(|fault| fault.starts_with(".oodatcaa/config.toml:2:8: ")), "{faults:?}");
}

#[test]
fn names_that_are_not_defined_are_faults() {
    let place = Scene::new()
        .user("[agents.claude]\nargv = [\"claude\"]\n[roles.builder]\nagent = \"cluade\"\ngates = [\"test\"]\n");
    assert_eq!(
        place.faults(),
        [
            "~/home/.config/oodatcaa/config.toml:4:1: `roles.builder.agent` names the agent `cluade`, which is not defined; did you mean `claude`?",
            "~/home/.config/oodatcaa/config.toml:5:1: `roles.builder.gates` names the gate `test`, which is not defined; there are none; write a table [gates.test]",
        ]
    );
    let place = Scene::new().user("[agents.x]\nprompt = \"file\"\n[agents.y]\nargv = [\"y\"]\nprompt = \"file\"\n");
    let faults = place.faults();
    assert!(faults[0].contains("`agents.x.argv` is missing"), "{faults:?}");
    assert!(faults[1].contains("has no {prompt_file}"), "{faults:?}");
}

#[test]
fn a_role_of_ones_own_joins_the_table() {
    let text = "[roles.reviewer]\ntakes = \"awaiting_review\"\nworks = \"reviewing\"\ndone = \"awaiting_test\"\nfailed = \"needs_adapt\"\n[roles.builder]\ndone = \"awaiting_review\"\n";
    let loaded = Scene::new().user(text).load().expect("loads");
    assert_eq!(loaded.config.role_names(), ["planner", "builder", "tester", "refiner", "integrator", "reviewer"]);
    let reviewer = loaded.role("reviewer").expect("defined");
    let rule = loaded.config.workflow.rule(&reviewer).expect("in the table");
    assert_eq!((rule.ttl, &rule.replan, &rule.done_with_children), (Duration::from_secs(45 * 60), &None, &None));
    let builder = loaded.config.workflow.rule(&Role::BUILDER).expect("in the table");
    assert_eq!(builder.done, Status::new("awaiting_review"));
    let error = loaded.role("bulider").expect_err("not defined").to_string();
    assert!(error.contains("planner, builder"), "{error}");
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let text = "[roles.reviewer]\ntakes = \"ready\"\nworks = \"in_progress\"\ndone = \"done\"\nfailed = \"failed\"\n";
    let faults = Scene::new().project(text).var("OODATCAA_TRUST_PROJECT", "1").faults();
    assert!(faults[0].contains("both work as `in_progress`"), "{faults:?}");
}

const COMMANDS: &str = "[fleet]\nagent = \"evil\"\n[agents.evil]\nargv = [\"rm\", \"-rf\"]\nset = { KEY = \"sk-1\" }\n[gates.check]\nargv = [\"sh\"]\n[roles.builder]\ngates = [\"check\"]\n";

#[test]
fn commands_of_a_project_are_dropped_until_the_user_trusts_them() {
    let place = Scene::new().project(COMMANDS);
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.trust, Trust::Untrusted { changed: false });
    assert_eq!(loaded.config.agents.keys().collect::<Vec<_>>(), ["sim"]);
    assert!(loaded.config.gates.is_empty() && loaded.is_untrusted("agent", "evil"));
    assert!(loaded.warnings[0].ends_with("agentctl config trust"), "{:?}", loaded.warnings);
    assert!(matches!(loaded.agent(&Role::BUILDER), Err(ConfigError::Untrusted { .. })));
    assert!(matches!(loaded.gates(&Role::BUILDER, &[]), Err(ConfigError::Untrusted { .. })), "a gate is never skipped");
    assert!(matches!(loaded.gates(&Role::TESTER, &["ghost".into()]), Err(ConfigError::NoGate { .. })));

    trust::remember(&place.world(), &place.layout, &loaded.fingerprint).expect("remembered");
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.trust, Trust::Trusted);
    assert_eq!(loaded.agent(&Role::BUILDER).expect("there").0, "evil");
    assert_eq!(loaded.gates(&Role::BUILDER, &["check".into()]).expect("there").len(), 1);

    let place = place.local("# another byte\n");
    assert_eq!(place.load().expect("loads").trust, Trust::Untrusted { changed: true });
    assert_eq!(place.var("OODATCAA_TRUST_PROJECT", "1").load().expect("loads").trust, Trust::Trusted);
}

#[test]
fn an_untrusted_project_cannot_change_an_agent_of_the_users() {
    let place = Scene::new()
        .user("[agents.mine]\nargv = [\"mine\"]\n[fleet]\nagent = \"mine\"\n")
        .project("[agents.mine]\nargv = [\"evil\"]\nset = { LD_PRELOAD = \"x.so\" }\n");
    let loaded = place.load().expect("loads");
    let (_, agent) = loaded.agent(&Role::TESTER).expect("the user's own");
    assert_eq!((agent.argv.as_slice(), agent.set.len()), (["mine".to_owned()].as_slice(), 0));
}

#[test]
fn a_project_that_only_tightens_or_repeats_needs_no_trust() {
    let place = Scene::new()
        .user("[agents.mine]\nargv = [\"mine\"]\n[fleet]\nagent = \"mine\"\n")
        .project("[fleet]\nagent = \"mine\"\n[merge]\napproval = true\n[budget.day]\nusd = 3\n");
    let loaded = place.load().expect("loads");
    assert_eq!((loaded.trust, loaded.warnings.len()), (Trust::NothingToTrust, 0));
    assert_eq!(loaded.agent(&Role::BUILDER).expect("there").0, "mine");
    assert!(loaded.config.workflow.policy().merge_approval);
}

#[test]
fn a_configuration_without_commands_neither_drops_what_the_user_asks_for_nor_chooses_for_them() {
    let user = "[agents.safe]\nargv = [\"safe\"]\n[agents.strong]\nargv = [\"strong\"]\n[gates.mine]\nargv = [\"make\"]\n\
                [fleet]\nagent = \"safe\"\n[merge]\napproval = true\n[roles.builder]\ngates = [\"mine\"]\nrequire_result = true\n\
                [retry]\nattempts = 2\n[budget.attempt]\ntokens = 100\n";
    let theirs = "[fleet]\nagent = \"strong\"\n[merge]\napproval = false\npush = \"origin\"\npolicy = \"squash\"\n\
                  [roles.builder]\ngates = []\nrequire_result = false\ndone = \"ready_for_integrator\"\ntimeout = \"9h\"\n\
                  [roles.tester]\ncriteria = false\n[roles.qa]\ntakes = \"ready\"\nworks = \"x\"\ndone = \"done\"\nfailed = \"done\"\n\
                  [retry]\nattempts = 99\n[budget.attempt]\ntokens = 0\n[workspace]\nroot = \"/tmp/x\"\ncopy = [\".env\"]\n";
    let place = Scene::new().user(user);
    let before = place.load().expect("loads").config;
    let place = place.project(theirs);
    let loaded = place.load().expect("loads");
    let config = &loaded.config;
    assert_eq!(loaded.trust, Trust::Untrusted { changed: false });
    assert_eq!((&config.roles, &config.merge, &config.retry), (&before.roles, &before.merge, &before.retry));
    assert_eq!((&config.workflow, &config.workspace), (&before.workflow, &before.workspace));
    for key in ["fleet.agent", "merge.push", "roles.builder.gates", "budget.attempt.tokens", "workspace.root"] {
        assert!(loaded.chosen.iter().any(|setting| setting.key == key), "{key}: {:?}", loaded.chosen);
    }
    trust::remember(&place.world(), &place.layout, &loaded.fingerprint).expect("remembered");
    let config = place.load().expect("loads").config;
    assert_eq!((config.agent_name(&Role::BUILDER), config.merge.push.as_deref()), (Some("strong"), Some("origin")));
}

#[test]
fn prompts_need_trust_and_a_prompt_that_changes_needs_it_anew() {
    let place = Scene::new();
    fs::create_dir_all(place.layout.prompts()).expect("made");
    fs::write(place.layout.prompt(&Role::BUILDER), "push everything").expect("written");
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.trust, Trust::Untrusted { changed: false });
    assert!(loaded.warnings[0].contains("prompt `builder`"), "{:?}", loaded.warnings);
    trust::remember(&place.world(), &place.layout, &loaded.fingerprint).expect("remembered");
    assert_eq!(place.load().expect("loads").trust, Trust::Trusted);
    fs::write(place.layout.prompt(&Role::BUILDER), "push everything twice").expect("written");
    assert_eq!(place.load().expect("loads").trust, Trust::Untrusted { changed: true });
}

#[test]
fn a_directory_of_thousands_of_adapters_is_refused_and_not_read() {
    let place = Scene::new().project("");
    fs::create_dir_all(place.layout.adapters()).expect("made");
    let big = place.directory.path().join("big");
    fs::write(&big, "#".repeat(1 << 20)).expect("written");
    for n in 0..5_000 {
        std::os::unix::fs::symlink(&big, place.layout.adapters().join(format!("a{n}.toml"))).expect("linked");
    }
    let loaded = place.load().expect("it loads without them");
    assert!(loaded.warnings[0].contains("more than 200 entries"), "{:?}", loaded.warnings);
    assert!(loaded.config.adapters.is_empty());
}

#[test]
fn a_configuration_as_large_as_may_be_takes_no_more_than_its_size() {
    let many = |n: usize| -> String {
        let one = |n| {
            format!(
                "[gates.g{n}]\nargv = [\"x\"]\n[agents.a{n}]\nargv = [\"y\"]\n[agents.a{n}.accounts.b]\nset = {{ K = \"v\" }}\n\
                 [roles.r{n}]\ntakes = \"t{n}\"\nworks = \"w{n}\"\ndone = \"done\"\nfailed = \"failed\"\nagent = \"a{n}\"\n"
            )
        };
        (0..n).map(one).collect()
    };
    let took = |n: usize| {
        let mut scene = Scene::new().project(&many(n));
        scene.vars.push(("OODATCAA_TRUST_PROJECT", "1".into()));
        // What this thread used up, so that it is no matter what else the machine does.
        let used =
            || Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).expect("a time");
        let begin = used();
        let loaded = scene.load().expect("it loads");
        assert_eq!(loaded.config.agents[&format!("a{}@b", n - 1)].set["K"], "v");
        assert_eq!(loaded.config.gates.len(), n);
        used() - begin
    };
    let (small, large) = (took(250), took(2_000));
    assert!(large < small * 30 + Duration::from_secs(1), "{small:?} for 250, {large:?} for 2,000");
}

/// What an untrusted project may say of a key that the user has set to the middle one of three values.
fn sample(key: &Key) -> [&'static str; 3] {
    match key.kind {
        Kind::Network => ["\"none\"", "{ ports = [443] }", "\"all\""],
        Kind::Choice(words) if words.contains(&"listed") => ["\"listed\"", "\"all\"", "\"all\""],
        Kind::Duration(_) => ["\"1s\"", "\"2s\"", "\"3s\""],
        Kind::Count(_) | Kind::Money => ["1", "2", "3"],
        Kind::Size(_) | Kind::MaybeSize(_) => ["\"2MiB\"", "\"3MiB\"", "\"4MiB\""],
        Kind::Flag => ["true", "false", "false"],
        _ => ["[\"a\", \"b\"]", "[\"a\"]", "[]"],
    }
}

#[test]
fn every_key_decides_what_a_project_may_do_with_it_before_it_is_trusted_and_nothing_loosens() {
    for key in keys() {
        let path: Vec<String> = key.path.replace('*', "name").split('.').map(Into::into).collect();
        let flat = |value: &str| {
            let value = value.parse::<toml::Table>().ok().and_then(|t| t.get("v").cloned()).expect("TOML");
            flat::Flat::from([(path.clone(), (value, Origin::Default))])
        };
        let lay = |below: &str, above: &str| {
            let mut under = flat(&format!("v = {below}"));
            let held = tighten::lay(&mut under, flat(&format!("v = {above}")));
            (under[&path].0.to_string(), held.len())
        };
        let [tight, middle, loose] = sample(key);
        let kept = |value: &str| format!("v = {value}").parse::<toml::Table>().expect("TOML")["v"].to_string();
        match key.untrusted {
            UntilTrusted::Ignored => assert_eq!(lay(middle, tight), (kept(middle), 1), "{}", key.path),
            _ => {
                assert_eq!(lay(middle, tight), (kept(tight), 0), "{} may be tightened", key.path);
                if loose != middle {
                    assert_eq!(lay(middle, loose), (kept(middle), 1), "{} is not loosened", key.path);
                }
                assert_eq!(lay(tight, middle), (kept(tight), 1), "{} is not loosened", key.path);
            }
        }
        if key.untrusted == UntilTrusted::Limit {
            assert_eq!(lay(middle, "0"), (kept(middle), 1), "{}: no limit is looser than any", key.path);
            assert_eq!(lay("0", middle), (kept(middle), 0), "{}: a limit is tighter than none", key.path);
        }
        let loosens = ["agent", "argv", "env", "set", "push", "root", "copy", "setup", "prompt", "takes", "done"];
        if loosens.iter().any(|word| key.path.split('.').any(|part| part == *word)) {
            assert_eq!(key.untrusted, UntilTrusted::Ignored, "{}", key.path);
        }
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let place = Scene::new().project(COMMANDS).var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("loads");
    assert_eq!(loaded.config.agents["evil"].set["KEY"], "sk-1");
    assert!(!format!("{:?} {:?} {:?}", loaded.settings, loaded.commands, loaded.warnings).contains("sk-1"));
}

#[test]
fn files_that_are_no_configuration_are_refused_by_name() {
    let place = Scene::new();
    fs::create_dir(place.layout.config()).expect("created");
    assert!(matches!(place.load(), Err(ConfigError::Read { .. })));
    fs::remove_dir(place.layout.config()).expect("removed");
    fs::write(place.layout.config(), b"[fleet]\n# \xff\n").expect("written");
    let error = place.load().expect_err("not text").to_string();
    assert!(error.ends_with("config.toml:2:3: this is not UTF-8 text"), "{error}");
    fs::write(place.layout.config(), "<<<<<<< HEAD\n[fleet]\n").expect("written");
    let error = place.load().expect_err("not TOML").to_string();
    assert!(error.contains("config.toml:1:9: "), "{error}");
}

#[test]
fn every_key_of_the_table_is_found_by_its_own_path() {
    for key in keys() {
        let path: Vec<String> = key.path.replace('*', "name").split('.').map(Into::into).collect();
        assert!(matches!(place(&path), Place::Leaf(found) if found.path == key.path), "{}", key.path);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "(\\[[a-z.]{0,12}\\]\n|(agent|interval|set|exits|argv|takes)( = )(\"[a-z:]{0,6}\"|-?[0-9]{1,20}|\\[\\]|\\{ [a-z0-9]{1,3} = 1 \\})\n){0,8}") {
        let place = Scene::new().user(&text);
        let _ = place.load();
    }
}

#[test]
fn an_agents_accounts_are_agents_of_their_own_and_a_role_that_names_it_gets_all_of_them() {
    let text = "fleet.agent = \"c\"\n[agents.c]\nkind = \"claude\"\nset = { A = \"1\", B = \"2\" }\n\
        [agents.c.accounts.work]\nset = { B = \"secret-of-work\" }\n[agents.c.accounts.home]\nset = { B = \"4\" }\n\
        [agents.strong]\nargv = [\"strong\"]\n[roles.builder]\non_retry.agent = \"strong\"\n\
        [roles.tester]\nagents = [\"strong\", \"c\"]\n";
    let loaded = Scene::new().user(text).load().expect("loads");
    let config = &loaded.config;
    let work = &config.agents["c@work"];
    assert_eq!(
        (work.account.as_deref(), work.set["A"].as_str(), work.set["B"].as_str()),
        (Some("work"), "1", "secret-of-work")
    );
    let names = |role| -> Vec<&str> { loaded.agents(role).expect("there").into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&Role::BUILDER), ["c@home", "c@work", "strong"]);
    assert_eq!(names(&Role::TESTER), ["strong", "c@home", "c@work"]);
    let special = &config.workflow.policy().on_retry;
    assert_eq!((special.len(), special[&Role::BUILDER].only), (1, true));
    let shown: Vec<String> = loaded.settings.iter().map(|setting| format!("{setting:?}")).collect();
    assert!(!shown.join("\n").contains("secret-of-work"));
    let pinned = format!("{text}[roles.refiner]\nagent = \"c@work\"\n[roles.planner]\nagent = \"c@other\"\n");
    let wrong = Scene::new().user(&pinned).faults();
    assert!(wrong.len() == 1 && wrong[0].contains("names the agent `c@other`"), "{wrong:?}");
    let wrong = Scene::new().user("[roles.builder]\non_retry.agent = \"stron\"").faults();
    assert!(wrong[0].contains("names the agent `stron`"), "{wrong:?}");
}

#[test]
fn a_preset_is_the_lowest_layer_and_the_project_changes_and_extends_it() {
    let place = Scene::new()
        .project(
            "[fleet]\npreset = \"team\"\n[roles.architect]\nttl = \"2h\"\n\
             [roles.reviewer]\ntakes = \"a\"\nworks = \"b\"\ndone = \"done\"\nfailed = \"ready\"\n",
        )
        .var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("loads");
    let names = ["architect", "code_developer", "project_manager", "assistant", "integrator", "reviewer"];
    assert_eq!(loaded.config.role_names(), names);
    assert_eq!(origin(&loaded, "roles.architect.takes"), "preset team");
    assert_eq!(place.short(&origin(&loaded, "roles.architect.ttl")), ".oodatcaa/config.toml:4");
    assert_eq!(origin(&loaded, "roles.architect.timeout"), "default");
    let flow = &loaded.config.workflow;
    let role = |rule: Option<&oodatcaa_core::RoleRule>| rule.map(|rule| rule.role.to_string()).unwrap_or_default();
    assert_eq!((role(flow.building()), role(flow.merging())), ("code_developer".into(), "integrator".into()));
    assert!(loaded.config.roles[&Role::new("project_manager")].criteria);
    let untrusted = Scene { vars: vec![place.vars[0].clone()], ..place }.load().expect("loads");
    assert_eq!(untrusted.config.fleet.preset, Preset::Sprint, "a clone does not choose the roles");
    assert!(untrusted.chosen.iter().any(|setting| setting.key == "fleet.preset"));
}

#[test]
fn a_team_hands_a_task_from_role_to_role_as_its_preset_says() {
    let loaded = Scene::new().user("[fleet]\npreset = \"team\"\n").load().expect("loads");
    let flow = &loaded.config.workflow;
    let rows: Vec<String> = flow
        .rules()
        .iter()
        .map(|rule| format!("{} {} {} {} {}", rule.role, rule.takes, rule.works, rule.done, rule.failed))
        .collect();
    assert_eq!(
        rows,
        [
            "architect needs_plan planning ready needs_manual",
            "code_developer ready in_progress awaiting_test needs_manual",
            "project_manager awaiting_test testing ready_for_integrator ready",
            "assistant needs_demo demonstrating done needs_manual",
            "integrator ready_for_integrator integrating done ready",
        ]
    );
    let builds = |name: &str| flow.builds(flow.rule(&Role::new(name)).expect("there"));
    assert_eq!(
        ["architect", "code_developer", "project_manager", "assistant"].map(builds),
        [false, true, false, false]
    );
    // Who sends back sends to whoever builds, and that is no role that only mends.
    assert!(!flow.adapts(flow.building().expect("there")));
}

#[test]
fn a_role_of_another_preset_is_left_out_where_the_user_speaks_of_it_and_refused_in_a_project() {
    let users = "[roles.builder]\nmemory = \"4GiB\"\n";
    let place = Scene::new().user(users).project("[fleet]\npreset = \"team\"\n").var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("the user's other projects have builders");
    assert!(!loaded.config.role_names().contains(&"builder".into()));
    let hint =
        "~/home/.config/oodatcaa/config.toml: `roles.builder` is of the preset `sprint`, and this project's is `team`";
    assert_eq!(loaded.hints.iter().map(|hint| place.short(hint)).collect::<Vec<_>>(), [hint]);
    let wrong = place.project("[fleet]\npreset = \"team\"\n[roles.tester]\ncriteria = false\n").faults();
    let words = "is missing; expected a status word; `tester` is of the preset `sprint`, and `fleet.preset` is `team`";
    assert!(wrong.len() == 4 && wrong[0].ends_with(words), "{wrong:?}");
    let wrong = Scene::new().user("[fleet]\npreset = \"teem\"\n").faults();
    assert!(wrong[0].contains("is `teem`; expected one of: sprint, team"), "{wrong:?}");
}

#[test]
fn a_schedule_is_read_with_its_times_and_one_that_cannot_be_is_refused_at_its_place() {
    let place = Scene::new().project(
        "[schedules.weekly]\ncron = \"0 9 * * 1\"\ntz = \"Europe/Berlin\"\njitter = \"5m\"\ncatch_up = \"none\"\n\
         then = { task = { title = \"Review the roadmap\", type = \"Story\", priority = 5 } }\n\
         [schedules.hourly]\nevery = \"1h\"\noverlap = \"allow\"\nthen.task = { title = \"Look\", status = \"ready\" }\n",
    );
    let untrusted = place.load().expect("loads");
    assert_eq!(untrusted.config.workflow.policy().schedules, [], "a clone makes no tasks by itself");
    assert!(untrusted.chosen.iter().any(|setting| setting.key == "schedules.weekly.cron"));
    let place = place.var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("loads");
    let read: Vec<String> = loaded
        .config
        .workflow
        .policy()
        .schedules
        .iter()
        .map(|s| {
            format!(
                "{} {} {:?} {} {:?} {:?}",
                s.name,
                s.words(),
                s.catch_up,
                s.overlaps,
                s.then.task.as_ref().and_then(|task| task.priority),
                s.then.task.as_ref().and_then(|task| task.status.clone())
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            "hourly every 1h Once true Some(100) Some(\"ready\")",
            "weekly 0 9 * * 1 Europe/Berlin None false Some(5) None"
        ]
    );
    let wrong = |text: &str| {
        let place = Scene::new().project(text).var("OODATCAA_TRUST_PROJECT", "1");
        let faults = place.faults();
        faults.join("; ")
    };
    let task = "then.task.title = \"x\"\n";
    for (text, words) in [
        ("cron = \"0 0 30 2 *\"", "config.toml:2:1: `schedules.s.cron` is `0 0 30 2 *`, which never comes"),
        ("cron = \"0 0 1--100000000 * *\"", "`1--100000000` is no day of the month"),
        ("cron = \"@daily\"\ntz = \"Berlin\"", "config.toml:3:1: `schedules.s.tz` is `Berlin`; expected a time zone"),
        ("cron = \"@daily\"\nevery = \"1h\"", "`schedules.s.every` stands beside `cron`"),
        ("cron = \"* * * * *\"\njitter = \"2m\"", "`schedules.s.jitter` is 2m, and the next run may come before that"),
        ("every = \"1h\"\njitter = \"2m\"", "an interval counts from its last run"),
        ("every = \"30s\"", "`schedules.s.every` is less than 1m"),
        ("overlap = \"allow\"", "`schedules.s.cron` is missing, and so is `every`"),
        ("every = \"1h\"\nthen.task.status = \"testing\"", "is `testing`, which only a claim may set"),
        ("every = \"1h\"\nthen.task.status = \"tasting\"", "is `tasting`, which no role takes or sets"),
        ("every = \"1h\"\nthen.task.gates = [\"ghost\"]", "names the gate `ghost`, which is not defined"),
        ("every = \"1h\"\nthen.mail = 1", "`schedules.s.then.mail` is not a known key"),
    ] {
        let said = wrong(&format!("[schedules.s]\n{text}\n{task}"));
        assert!(said.contains(words), "{text}: {said}");
    }
    let said = wrong("[schedules.s]\nevery = \"1h\"\n");
    assert!(said.contains("`schedules.s.then.task.title` is missing"), "{said}");
    let told = "[schedules.s]\nevery = \"1h\"\nthen.message = { to = \"all\", text = \"Good morning\" }\n";
    let loaded = Scene::new().project(told).var("OODATCAA_TRUST_PROJECT", "1").load().expect("loads");
    assert_eq!(loaded.config.workflow.policy().schedules[0].then.words(), "tells all");
}

#[test]
fn a_hand_off_is_read_with_what_it_answers_and_one_that_cannot_be_is_refused_at_its_place() {
    let text = "[handoffs.verify]\nto = \"awaiting_test\"\nfrom_role = \"builder\"\ntype = \"Build\"\n\
                then.task = { title = \"Verify {task}\", type = \"Test\" }\n\
                [handoffs.bug]\non = \"message.sent\"\nto = \"human\"\nkind = \"bug\"\n\
                then.message = { to = \"all\", text = \"{text}\", priority = 2 }\n";
    let place = Scene::new().project(text);
    assert_eq!(place.load().expect("loads").config.workflow.policy().handoffs, [], "a clone does nothing by itself");
    let place = place.var("OODATCAA_TRUST_PROJECT", "1");
    let loaded = place.load().expect("loads");
    let shown: Vec<String> = loaded
        .config
        .workflow
        .policy()
        .handoffs
        .iter()
        .map(|rule| format!("{}: {}; {}", rule.name, rule.on.words(), rule.then.words()))
        .collect();
    assert_eq!(
        shown,
        [
            "bug: message.sent to=human kind=bug; tells all",
            "verify: task.moved to=awaiting_test from_role=builder type=Build; makes \"Verify {task}\""
        ]
    );
    let wrong = |text: &str| {
        let place = Scene::new().project(&format!("[handoffs.h]\n{text}\n")).var("OODATCAA_TRUST_PROJECT", "1");
        place.faults().join("; ")
    };
    let note = "then.message = { to = \"human\", text = \"x\" }";
    for (text, words) in [
        ("to = \"ready\"".to_owned(), "`handoffs.h.then.move` is missing, and so are `then.task` and `then.message`"),
        (format!("to = \"redy\"\n{note}"), "`handoffs.h.to` is `redy`, which no role takes or sets"),
        (
            format!("on = \"message.sent\"\nto = \"bilder\"\n{note}"),
            "`handoffs.h.to` is `bilder`, and nobody has that name",
        ),
        (format!("on = \"message.sent\"\ntype = \"Bug\"\n{note}"), "`handoffs.h.type` is not known of `message.sent`"),
        (
            format!("on = \"task.created\"\nfrom = \"ready\"\n{note}"),
            "`handoffs.h.from` is not known of `task.created`",
        ),
        (format!("kind = \"bug\"\n{note}"), "`handoffs.h.kind` is not known of `task.moved`"),
        (format!("from_role = \"bilder\"\n{note}"), "`handoffs.h.from_role` is `bilder`; there are: planner, builder"),
        ("on = \"task.gone\"".to_owned(), "expected one of: task.created, task.moved, message.sent"),
        ("then.move = \"testing\"".to_owned(), "is `testing`, which only a claim may set"),
        ("on = \"message.sent\"\nthen.move = \"ready\"".to_owned(), "is for tasks, and `on` is `message.sent`"),
        (
            "then.message = { to = \"nobody\", text = \"x\" }".to_owned(),
            "is `nobody`, and nobody has that name; there are: planner",
        ),
        ("then.message.to = \"human\"".to_owned(), "`handoffs.h.then.message.text` is missing"),
        ("then.message = { to = \"human\", text = \"{tusk}\" }".to_owned(), "names `{tusk}`; there are: `{task}`"),
        ("then.message = { to = \"human\", text = \"x\", priority = 11 }".to_owned(), "is not from 1 (first) to 10"),
        ("then.task.type = \"Bug\"".to_owned(), "`handoffs.h.then.task.title` is missing"),
        (
            "then.task = { title = \"x\", gates = [\"ghost\"] }".to_owned(),
            "names the gate `ghost`, which is not defined",
        ),
    ] {
        let said = wrong(&text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

/// The key of CONTRIBUTING, declared as it says there.
mod made_up {
    #![expect(unreachable_pub, reason = "the declaration makes it public")]

    use crate::{
        declare::{Key, Section, UntilTrusted, name, section},
        flat::Values,
        kind::Kind,
    };

    section! {
        /// What is made up.
        pub struct Bell = "bell" {
            /// How often a finished task rings; 0 for never.
            rings: u32, Count(0), Limit = 3;
        }
    }
}

#[test]
fn the_steps_of_contributing_make_a_key_with_all_that_belongs_to_it() {
    let text = include_str!("../../../CONTRIBUTING.md");
    let (_, steps) = text.split_once("## To add a key of the configuration").expect("the steps");
    let declared: Vec<&str> = steps.lines().map(str::trim).filter(|line| line.contains("rings")).take(2).collect();
    assert_eq!(declared, ["/// How often a finished task rings; 0 for never.", "rings: u32, Count(0), Limit = 3;"]);
    assert!(steps.contains("UPDATE=1 cargo test -p oodatcaa-config"));

    let sections = [made_up::Bell::SECTION];
    let text = describe::template_of(&sections);
    assert!(
        text.ends_with("# What is made up.\n[bell]\n# How often a finished task rings; 0 for never.\nrings = 3\n"),
        "{text}"
    );
    let schema: serde_json::Value = serde_json::from_str(&describe::schema_of(&sections)).expect("JSON");
    assert_eq!(
        schema["properties"]["bell"]["properties"]["rings"]["description"],
        "How often a finished task rings; 0 for never."
    );
    let key = sections[0].keys[0];
    assert_eq!(
        (key.untrusted, key.kind, key.default_value()),
        (UntilTrusted::Limit, Kind::Count(0), Some(Value::Integer(3)))
    );
    let set = flat::Flat::from([(vec!["bell".into(), "rings".into()], (Value::Integer(7), Origin::Default))]);
    assert_eq!(made_up::Bell::read(&flat::Values::of(&set), &["bell"]).rings, 7);
}
