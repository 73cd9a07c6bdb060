//! The parts of a profile: the table of the design, row by row, and what must hold whatever is asked for.

use std::collections::BTreeSet;

use oodatcaa_core::Guarantee;
use proptest::prelude::*;

use super::*;

/// A disk on which everything is there but what is listed, with a few links.
#[derive(Default)]
struct Fake {
    gone: Vec<PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Disk for Fake {
    fn exists(&self, path: &Path) -> bool {
        !self.gone.iter().any(|gone| path.starts_with(gone))
    }

    fn real(&self, path: &Path) -> PathBuf {
        let link = self.links.iter().find_map(|(from, to)| Some(to.join(path.strip_prefix(from).ok()?)));
        // As the disk has it: nothing behind a path that leads to itself.
        link.map_or_else(|| path.components().collect(), |to| to.components().collect())
    }
}

const HOME: &str = "/home/me";
const PROJECT: &str = "/home/me/p";
const STATE: &str = "/home/me/.local/state/oodatcaa";

fn state(below: &str) -> PathBuf {
    Path::new(STATE).join(below)
}

fn place(program: Program) -> Place {
    let layout = Layout::new(PROJECT).kept_in(state("projects/1"));
    let run_dir = layout.runs().join("P1/7");
    Place {
        program,
        home: Some(HOME.into()),
        config: Some("/home/me/.config/oodatcaa".into()),
        top: state("p-1/wt/P1"),
        git: Some("/home/me/p/.git".into()),
        own_git: Some(state("p-1/git/P1")),
        slot: Some(state("projects/1/homes/builder-1")),
        own: OwnPlaces { write: vec!["/home/me/.claude/.credentials.json".into()], read: Vec::new() },
        sign_ins: vec!["/home/me/.claude".into(), "/home/me/.codex".into()],
        private: Private::of(&run_dir),
        programs: vec!["/usr/bin".into(), "/home/me/.cargo/bin".into()],
        sockets: vec!["/run/user/1000".into()],
        run_dir: Some(run_dir),
        layout,
    }
}

fn profile_of(sandbox: &Sandbox, place: &Place, disk: &Fake) -> Profile {
    confine(sandbox, place, disk).expect("it can be had").profile.expect("not off")
}

/// The right to a path: `w` written, `r` only read, `-` neither.
fn right(profile: &Profile, path: &Path) -> char {
    match (explain(profile, path, true).allowed, explain(profile, path, false).allowed) {
        (true, true) => 'w',
        (false, true) => 'r',
        (false, false) => '-',
        (true, false) => '!',
    }
}

/// Each path, and what an agent that builds, one that plans, a gate, and our git may do with it.
const TABLE: &[(&str, &str)] = &[
    ("WT/src/a.rs", "wrwr"),
    ("WT/.git", "wrwr"),
    ("OWN/objects/x", "wrwr"),
    ("PROJECT/.oodatcaa/runs/P1/7/agent/result.json", "wwrr"),
    ("PROJECT/.oodatcaa/runs/P1/7/prompt.md", "rrrr"),
    ("PROJECT/.oodatcaa/runs/P1/7/attempt.json", "rrrr"),
    ("PROJECT/.oodatcaa/runs/P1/6/stdout.log", "----"),
    ("PROJECT/.oodatcaa/runs/P2/1/result.json", "----"),
    ("PROJECT/.oodatcaa/work/SPRINT_QUEUE.json", "rrrr"),
    ("PROJECT/.oodatcaa/config.toml", "rrrr"),
    ("PROJECT/.oodatcaa/prompts/builder.md", "rrrr"),
    ("PROJECT/.oodatcaa/homes/x", "----"),
    ("PROJECT/.git/config", "rrrr"),
    ("PROJECT/.git/hooks/pre-commit", "rrrr"),
    ("PROJECT/.git/objects/x", "rrrr"),
    ("PROJECT/.leases/P1.json", "rrrr"),
    ("PROJECT/.locks/queue.lock", "----"),
    ("PROJECT/.agent-daemon-run/control", "----"),
    ("PROJECT/src/a.rs", "rrrr"),
    ("STATE/projects/1/trust.json", "----"),
    ("STATE/projects/1/starts.jsonl", "----"),
    ("STATE/projects/1/homes/builder-1/claude/x", "ww--"),
    ("STATE/projects/1/homes/builder-1/cache/cargo/x", "www-"),
    ("STATE/projects/1/homes/builder-2/claude/x", "----"),
    ("STATE/projects/2/trust.json", "----"),
    ("STATE/p-1/wt/P2/a.rs", "----"),
    ("STATE/p-1/git/P2/config", "----"),
    ("HOME/.config/oodatcaa/config.toml", "----"),
    ("HOME/.claude/.credentials.json", "ww--"),
    ("HOME/.claude/history.jsonl", "----"),
    ("HOME/.codex/auth.json", "----"),
    ("HOME/.ssh/id_ed25519", "----"),
    ("HOME/.netrc", "----"),
    ("HOME/.cargo/credentials.toml", "----"),
    ("HOME/.config/gh/hosts.yml", "----"),
    ("HOME/.mozilla/firefox/x", "----"),
    ("HOME/.bashrc", "rrrr"),
    ("HOME/.cargo/bin/cargo", "rrrr"),
    ("HOME/other/a.rs", "rrrr"),
    ("/etc/passwd", "rrrr"),
    ("/etc/resolv.conf", "rrrr"),
    ("/run/systemd/resolve/stub-resolv.conf", "rrrr"),
    ("/run/user/1000/bus", "----"),
    ("/run/docker.sock", "----"),
    ("/tmp/x", "wwww"),
    ("/dev/shm/x", "wwww"),
    ("/dev/null", "wwww"),
    ("/dev/sda", "rrrr"),
    ("/usr/bin/git", "rrrr"),
];

fn resolved(name: &str) -> PathBuf {
    let own = state("p-1/git/P1").display().to_string();
    let tree = state("p-1/wt/P1").display().to_string();
    name.replace("STATE", STATE)
        .replace("PROJECT", PROJECT)
        .replace("HOME", HOME)
        .replace("OWN", &own)
        .replace("WT", &tree)
        .into()
}

#[test]
fn what_each_kind_of_program_may_do_with_each_place_is_a_table() {
    let kinds = [Program::Agent, Program::Reader, Program::Gate, Program::Git];
    let profiles = kinds.map(|kind| profile_of(&Sandbox::default(), &place(kind), &Fake::default()));
    for (name, rights) in TABLE {
        let found: String = profiles.iter().map(|profile| right(profile, &resolved(name))).collect();
        assert_eq!(found, *rights, "{name}: agent, planner, gate, git");
    }
    let hook = profile_of(&Sandbox::default(), &place(Program::Hook), &Fake::default());
    assert_eq!(hook, profiles[2], "hooks are confined as gates");
}

#[test]
fn without_a_namespace_the_same_may_be_written_and_nothing_private_hides_anything() {
    let sandbox = Sandbox { mode: SandboxMode::Landlock, ..Sandbox::default() };
    let place = place(Program::Agent);
    let profile = profile_of(&sandbox, &place, &Fake::default());
    assert!(!profile.namespace && profile.private.is_empty());
    for (path, expected) in [("/tmp/x", 'r'), ("/dev/shm/x", 'w'), ("/home/me/.ssh/id", '-'), ("/run/x", 'r')] {
        assert_eq!(right(&profile, Path::new(path)), expected, "{path}");
    }
    assert_eq!(right(&profile, &place.private.tmp().join("x")), 'w');
}

#[test]
fn off_is_no_profile() {
    let sandbox = |mode| Sandbox { mode, ..Sandbox::default() };
    let tried = |sandbox: &Sandbox| confine(sandbox, &place(Program::Agent), &Fake::default());
    assert_eq!(tried(&sandbox(SandboxMode::Off)), Ok(Confinement { profile: None, env: BTreeMap::new() }));
}

#[test]
fn who_is_kept_to_a_proxy_is_told_where_it_is_and_what_has_no_shim_reaches_nothing() {
    let at = "10.0.0.7:3128".parse().expect("an address");
    let sandbox = Sandbox { network: Network::Proxy(at), ..Sandbox::default() };
    let made = |program| confine(&sandbox, &place(program), &Fake::default()).expect("it can be had");
    for program in [Program::Agent, Program::Reader, Program::Gate] {
        let Confinement { profile, env } = made(program);
        assert_eq!(profile.expect("confined").network, Network::Proxy(at), "{program:?}");
        assert_eq!(env["HTTPS_PROXY"], "http://127.0.0.1:3128", "in its own network there is only the loopback");
        assert!(env["no_proxy"].contains("127.0.0.1"));
    }
    for program in [Program::Git, Program::Hook] {
        let Confinement { profile, env } = made(program);
        assert_eq!(profile.expect("confined").network, Network::None, "{program:?}");
        assert!(!env.contains_key("HTTPS_PROXY"));
    }
    let plain = Sandbox { mode: SandboxMode::Landlock, ..sandbox };
    let refused = confine(&plain, &place(Program::Agent), &Fake::default()).expect_err("refused");
    assert!(refused.contains("without a namespace"), "{refused}");
}

#[test]
fn a_prompt_names_where_an_agent_may_write_beside_its_workspace() {
    let place = place(Program::Agent);
    let writable = |mode| {
        let sandbox = Sandbox { mode, allow_write: vec!["/opt/x".into()], ..Sandbox::default() };
        confine(&sandbox, &place, &Fake::default()).expect("it can be had").writable(&place)
    };
    let auto = writable(SandboxMode::Auto);
    for named in ["/home/me/p/.oodatcaa/runs/P1/7/agent", "/opt/x", "/tmp"] {
        assert!(auto.contains(&named.to_owned()), "{named}: {auto:?}");
    }
    assert!(!auto.contains(&state("p-1/wt/P1").display().to_string()), "{auto:?}");
    assert!(writable(SandboxMode::Landlock).contains(&place.private.tmp().display().to_string()));
    assert_eq!(writable(SandboxMode::Off), [""; 0]);
}

#[test]
fn caches_of_its_own_lie_in_the_slot_and_without_one_in_its_own_tmp() {
    let env = |caches, place: &Place| {
        let sandbox = Sandbox { caches, ..Sandbox::default() };
        confine(&sandbox, place, &Fake::default()).expect("it can be had").env
    };
    let mut place = place(Program::Agent);
    let own = env(Caches::Own, &place);
    assert_eq!(own["CARGO_HOME"], format!("{STATE}/projects/1/homes/builder-1/cache/cargo"));
    let names: Vec<&str> = own.keys().map(String::as_str).collect();
    let caches =
        ["CARGO_HOME", "GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR", "TMPDIR", "XDG_CACHE_HOME", "npm_config_cache"];
    assert_eq!(names, caches);
    assert_eq!(env(Caches::Shared, &place).keys().collect::<Vec<_>>(), ["TMPDIR"]);
    place.slot = None;
    let tmp = place.private.tmp().display().to_string();
    let own = env(Caches::Own, &place);
    assert_eq!((&own["TMPDIR"], &own["npm_config_cache"]), (&tmp, &format!("{tmp}/cache/npm")));
}

#[test]
fn a_project_and_a_home_in_tmp_are_seen_through_the_private_one() {
    let at = |below: &str| Path::new("/tmp/t").join(below);
    let mut place = place(Program::Agent);
    place.layout = Layout::new(at("p")).kept_in(at("state/oodatcaa/projects/1"));
    place.home = Some(at("home"));
    place.config = Some(at("home/.config/oodatcaa"));
    place.top = at("state/oodatcaa/p-1/wt/P1");
    place.git = Some(at("p/.git"));
    place.own_git = Some(at("state/oodatcaa/p-1/git/P1"));
    place.slot = None;
    place.run_dir = Some(at("p/.oodatcaa/runs/P1/7"));
    place.programs = vec![at("tools/bin"), "/tmp".into(), "/".into()];
    place.own = OwnPlaces::default();
    place.sign_ins = vec![at("home/.claude")];
    let profile = profile_of(&Sandbox::default(), &place, &Fake::default());
    for (path, expected) in [
        ("p/src/a", 'r'),
        ("p/.git/objects", 'r'),
        ("p/.locks/queue.lock", '-'),
        ("p/.oodatcaa/runs/P1/7/agent/result.json", 'w'),
        ("p/.oodatcaa/runs/P1/7/prompt.md", 'r'),
        ("p/.oodatcaa/runs/P1/6/prompt.md", '-'),
        ("p/.oodatcaa/work/SPRINT_QUEUE.json", 'r'),
        ("state/oodatcaa/p-1/wt/P1/a", 'w'),
        ("state/oodatcaa/p-1/git/P1/HEAD", 'w'),
        ("state/oodatcaa/projects/1/trust.json", '-'),
        ("home/.rustup/x", 'r'),
        ("home/.ssh/id", '-'),
        ("home/.claude/x", '-'),
        ("tools/bin/x", 'r'),
    ] {
        assert_eq!(right(&profile, &at(path)), expected, "{path}");
    }
    // And nothing else of the real one.
    assert!(!profile.read.iter().any(|path| Path::new("/tmp").starts_with(path)), "{:?}", profile.read);
    assert_eq!(explain(&profile, Path::new("/tmp/other/x"), false).rule, explain::OWN);
}

#[test]
fn a_workspace_that_is_the_project_has_holes_that_only_mounts_can_give() {
    let mut place = place(Program::Agent);
    (place.top, place.own_git, place.slot) = (PROJECT.into(), None, None);
    let fake = Fake { gone: vec!["/home/me/p/.agent-daemon-pids".into()], ..Fake::default() };
    let profile = profile_of(&Sandbox::default(), &place, &fake);
    let rights = |name: &str| right(&profile, &Path::new(PROJECT).join(name));
    for (name, expected) in [
        ("src/a.rs", 'w'),
        (".git/config", 'r'),
        (".oodatcaa/config.toml", 'r'),
        (".oodatcaa/runs/P1/7/agent/x", 'w'),
        (".oodatcaa/runs/P2/7/agent/x", '-'),
        (".leases/P1.json", 'r'),
        (".locks/queue.lock", '-'),
    ] {
        assert_eq!(rights(name), expected, "{name}");
    }
    let means = |namespace| confine::Means { landlock: 7, namespace };
    assert!(confine::given(means(true), &profile).contains(&Guarantee::Files));
    assert!(!confine::given(means(false), &profile).contains(&Guarantee::Files), "stricter or not at all");
}

#[test]
fn what_is_given_back_is_read_and_what_is_ours_is_never_given_back() {
    let sandbox = Sandbox {
        allow_read: vec![
            "/home/me/.config/gh".into(),
            "/home/me/.ssh/config".into(),
            STATE.into(),
            "/home/me/p".into(),
        ],
        deny_read: vec!["/home/me/p/.env".into(), "/srv/x".into()],
        allow_sockets: vec!["/run/docker.sock".into()],
        ..Sandbox::default()
    };
    let profile = profile_of(&sandbox, &place(Program::Agent), &Fake::default());
    for (name, expected) in [
        ("HOME/.config/gh/hosts.yml", 'r'),
        ("HOME/.ssh/config", 'r'),
        ("HOME/.ssh/id_ed25519", '-'),
        ("STATE/projects/2/trust.json", '-'),
        ("PROJECT/.locks/queue.lock", '-'),
        ("PROJECT/.env", '-'),
        ("WT/.env", '-'),
        ("/srv/x/y", '-'),
        ("/run/docker.sock", 'r'),
        ("/run/other.sock", '-'),
    ] {
        assert_eq!(right(&profile, &resolved(name)), expected, "{name}");
    }
}

#[test]
fn of_a_home_only_what_is_listed_is_seen() {
    let sandbox = Sandbox { home: HomeView::Listed, allow_read: vec!["/home/me/lib".into()], ..Sandbox::default() };
    let profile = profile_of(&sandbox, &place(Program::Agent), &Fake::default());
    for (name, expected) in [
        ("HOME/.cargo/bin/cargo", 'r'),
        ("HOME/.rustup/toolchains/x", 'r'),
        ("HOME/.gitconfig", 'r'),
        ("HOME/lib/x", 'r'),
        ("HOME/letters/x", '-'),
        ("HOME/.bashrc", '-'),
        ("PROJECT/src/a.rs", 'r'),
        ("PROJECT/.locks/queue.lock", '-'),
        ("WT/src/a.rs", 'w'),
        ("HOME/.claude/.credentials.json", 'w'),
        ("HOME/.claude/history.jsonl", '-'),
    ] {
        assert_eq!(right(&profile, &resolved(name)), expected, "{name}");
    }
    let mut place = place(Program::Agent);
    (place.top, place.own_git, place.home) = (PROJECT.into(), None, Some(PROJECT.into()));
    let words = confine(&sandbox, &place, &Fake::default()).expect_err("it cannot be hidden");
    assert!(words.starts_with("see only what is listed of /home/me/p"), "{words}");
}

#[test]
fn links_are_followed_before_anything_is_said() {
    let sandbox = Sandbox { allow_write: vec!["/home/me/innocent/x".into()], ..Sandbox::default() };
    let to_git = Fake { links: vec![("/home/me/innocent".into(), "/home/me/p/.git".into())], ..Fake::default() };
    let words = confine(&sandbox, &place(Program::Agent), &to_git).expect_err("it leads to what is kept");
    assert!(
        words.starts_with("be let write to /home/me/p/.git/x, beside which /home/me/p/.git would be open"),
        "{words}"
    );
    // A home behind a link: mounts are where it leads.
    let moved = Fake { links: vec![("/home/me".into(), "/data/me".into())], ..Fake::default() };
    let profile = profile_of(&Sandbox::default(), &place(Program::Agent), &moved);
    assert!(profile.write.contains(&"/data/me/.local/state/oodatcaa/p-1/wt/P1".into()), "{:?}", profile.write);
    assert!(profile.deny.contains(&"/data/me/.ssh".into()) && !profile.deny.contains(&"/home/me/.ssh".into()));
}

#[test]
fn what_is_not_there_is_not_asked_for_unless_it_is_the_attempts_own() {
    let sandbox = Sandbox { allow_write: vec!["/opt/gone".into(), "/opt/there".into()], ..Sandbox::default() };
    let gone = Fake { gone: vec!["/opt/gone".into(), state("p-1/wt"), "/home/me/.claude".into()], ..Fake::default() };
    let profile = profile_of(&sandbox, &place(Program::Agent), &gone);
    assert!(profile.write.contains(&"/opt/there".into()) && !profile.write.contains(&"/opt/gone".into()));
    assert!(!profile.write.contains(&"/home/me/.claude/.credentials.json".into()));
    assert!(profile.write.contains(&state("p-1/wt/P1")), "without it nothing works, and that must be told");
}

/// Paths that nobody may ever write to.
fn kept() -> Vec<PathBuf> {
    let project = [".oodatcaa", ".git", ".leases", ".locks", ".agent-daemon-run", ".agent-daemon-pids"];
    let project = project.map(|name| Path::new(PROJECT).join(name));
    project.into_iter().chain([STATE.into(), "/home/me/.config/oodatcaa".into()]).collect()
}

fn some_path() -> impl Strategy<Value = PathBuf> {
    let bases = vec![
        "/",
        "/home",
        "/home/me",
        "/home/me/p",
        "/home/me/p/.oodatcaa",
        "/home/me/p/.git",
        "/home/me/p/.locks",
        "/home/me/.local",
        "/home/me/.local/state/oodatcaa",
        "/home/me/.config",
        "/opt",
        "/tmp",
        "/home/me/.ssh",
        "/home/me/link",
    ];
    (
        prop::sample::select(bases),
        prop::sample::select(vec!["", "x", "oodatcaa", "work/SPRINT_QUEUE.json", "hooks", "projects/2"]),
    )
        .prop_map(|(base, below)| Path::new(base).join(below))
}

fn some_sandbox() -> impl Strategy<Value = Sandbox> {
    let paths = || prop::collection::vec(some_path(), 0..3);
    (paths(), paths(), paths(), paths(), any::<[bool; 4]>()).prop_map(|(write, read, deny, sockets, flags)| Sandbox {
        allow_write: write,
        allow_read: read,
        deny_read: deny,
        allow_sockets: sockets,
        mode: if flags[0] { SandboxMode::Auto } else { SandboxMode::Landlock },
        home: if flags[1] { HomeView::All } else { HomeView::Listed },
        caches: if flags[2] { Caches::Own } else { Caches::Shared },
        nested: flags[3],
        ..Sandbox::default()
    })
}

fn some_program() -> impl Strategy<Value = Program> {
    prop::sample::select(vec![Program::Agent, Program::Reader, Program::Gate, Program::Hook, Program::Git])
}

proptest! {
    #[test]
    fn no_profile_ever_writes_to_what_decides(sandbox in some_sandbox(), program in some_program(), shared in any::<bool>()) {
        let mut place = place(program);
        if shared {
            (place.top, place.own_git) = (PROJECT.into(), None);
        }
        let disk = Fake { links: vec![("/home/me/link".into(), "/home/me/p/.oodatcaa".into())], ..Fake::default() };
        if let Ok(Confinement { profile: Some(profile), .. }) = confine(&sandbox, &place, &disk) {
            let own = [place.run_dir.clone().expect("a run").join("agent"), place.top.clone(), state("p-1/git/P1"), place.slot.clone().expect("a slot")];
            for kept in kept() {
                for path in [kept.clone(), kept.join("x/y")] {
                    let verdict = explain(&profile, &path, true);
                    prop_assert!(!verdict.allowed, "{} by {:?}: {sandbox:?}", path.display(), verdict.by);
                }
                for write in &profile.write {
                    let apart = !write.starts_with(&kept) && !kept.starts_with(write);
                    let is_own = own.iter().any(|own| write.starts_with(own)) || write.starts_with(place.private.tmp());
                    prop_assert!(apart || is_own, "{} beside {}", write.display(), kept.display());
                }
            }
            prop_assert!(!explain(&profile, Path::new("/home/me/.bashrc"), true).allowed, "{sandbox:?}");
            let locks = Path::new("/home/me/p/.locks/queue.lock");
            prop_assert!(!explain(&profile, locks, false).allowed, "whoever reads a lock can hold it: {sandbox:?}");
        }
    }

    #[test]
    fn what_is_tighter_in_the_configuration_is_never_looser_in_the_profile(
        sandbox in some_sandbox(), more in some_path(), program in some_program(), path in some_path(), write in any::<bool>(),
    ) {
        let of = |sandbox: &Sandbox| confine(sandbox, &place(program), &Fake::default()).ok().and_then(|found| found.profile);
        let Some(before) = of(&sandbox) else { return Ok(()) };
        let mut denied = sandbox.clone();
        denied.deny_read.push(more);
        denied.require = BTreeSet::from(Guarantee::ALL);
        let listed = Sandbox { home: HomeView::Listed, ..sandbox.clone() };
        let fewer = Sandbox { allow_write: Vec::new(), allow_read: Vec::new(), allow_sockets: Vec::new(), ..sandbox.clone() };
        for tighter in [denied, listed, fewer] {
            // Not to be had is tighter than anything.
            let Some(after) = of(&tighter) else { continue };
            let verdict = |profile: &Profile| explain(profile, &path, write);
            // Something of its own hides the real one.
            let is_open = |verdict: Verdict| verdict.allowed && verdict.rule != explain::OWN;
            prop_assert!(!is_open(verdict(&after)) || verdict(&before).allowed, "{}: {sandbox:?} to {tighter:?}", path.display());
        }
    }
}
