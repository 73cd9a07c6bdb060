//! `agentctl config show|trust`: what is in force and where it comes from; which commands may run.

use super::{
    context::Context,
    fail::Done,
    ui::{Item, Table, Tone, Ui},
};
use oodatcaa_agent::prompt;
use oodatcaa_config::{Config, Loaded, NamedCommand, Origin, Overrides, Setting, Trust, World, sandbox, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Role, text::one_line};
use oodatcaa_git::remotes;
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{ChosenView, CommandView, ConfigView, SettingView, TrustView},
};

/// Verbs of `config`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every value that is in force; secrets are masked
    Show(ShowArgs),
    /// Look at what this project's files would run, choose and instruct, and allow it
    Trust(TrustArgs),
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Tell where each value comes from
    #[arg(long)]
    origin: bool,
    /// The built-in configuration with a comment for every key, to copy from
    #[arg(long, conflicts_with = "origin")]
    default: bool,
    /// Only keys that start like this, e.g. `roles.builder`
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Flags of `trust`.
#[derive(Debug, clap::Args)]
pub(super) struct TrustArgs {
    /// Take the permission back
    #[arg(long)]
    forget: bool,
}

/// Runs a verb of `config`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Show(args) if args.default => {
            ctx.ui.bytes(Config::commented_default().as_bytes());
            Ok(0)
        }
        Verb::Show(args) => show(ctx, args),
        Verb::Trust(args) => trust_in(&ctx.ui, &World::of_process(), ctx.project.layout()?, args),
    }
}

fn show(ctx: &Context, args: &ShowArgs) -> Done {
    let loaded = Config::load(ctx.project.layout()?, &Overrides::default())?;
    for warning in &loaded.warnings {
        ctx.ui.warn(&one_line(warning));
    }
    for hint in &loaded.hints {
        ctx.ui.foot(&format!("hint: {}", one_line(hint)));
    }
    let wanted = |key: &str| {
        args.key.as_ref().is_none_or(|start| {
            key.strip_prefix(start.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || start.ends_with('.'))
        })
    };
    let settings: Vec<_> = loaded.settings.iter().filter(|setting| wanted(&setting.key)).collect();
    if let (Some(key), true) = (&args.key, settings.is_empty()) {
        let message = format!("nothing is set below `{}`", one_line(key));
        return Err(Failure::new(ErrorKind::NotFound, message).hint("agentctl config show"));
    }
    if ctx.ui.json() {
        ctx.ui.value(&ConfigView {
            trust: trust_word(loaded.trust),
            settings: settings.iter().map(|setting| SettingView::from(*setting)).collect(),
            warnings: loaded.warnings.clone(),
            hints: loaded.hints.clone(),
        });
        return Ok(0);
    }
    let mut table = Table::new(if args.origin { "KEY | VALUE~ | ORIGIN" } else { "KEY | VALUE~" });
    for setting in settings {
        let plain = setting.origin.ships();
        let mut row = vec![
            Item::new(&setting.key).tone(if plain { Tone::Faint } else { Tone::Plain }),
            Item::new(&setting.value),
        ];
        if args.origin {
            row.push(Item::new(shown(&setting.origin, ctx.project.layout()?)).or_piped(&setting.origin));
        }
        table.row(row);
    }
    ctx.ui.table(&table);
    ctx.ui.foot("change it in .oodatcaa/config.toml · every key with a comment: agentctl config show --default");
    Ok(0)
}

/// Names an origin for people: files of the project by their name in it.
pub(super) fn shown(origin: &Origin, layout: &Layout) -> String {
    match origin {
        Origin::File { path, line, .. } => {
            format!("{}:{line}", path.strip_prefix(layout.root()).unwrap_or(path).display())
        }
        other => other.to_string(),
    }
}

/// Returns the word for programs.
fn trust_word(trust: Trust) -> &'static str {
    match trust {
        Trust::Trusted => "trusted",
        Trust::NothingToTrust => "nothing_to_trust",
        Trust::Untrusted { changed: true } => "changed",
        Trust::Untrusted { changed: false } => "untrusted",
    }
}

/// Runs `config trust` in an environment.
fn trust_in(ui: &Ui, world: &World, layout: &Layout, args: &TrustArgs) -> Done {
    let shown = layout.root().display();
    if args.forget {
        let was = trust::forget_in(world, layout)?;
        if ui.json() {
            ui.value(&trust_view(layout, "untrusted", was, None));
        } else if was {
            ui.say(&format!(
                "{shown} is not trusted any more; its files count only where they make something stricter"
            ));
        } else {
            ui.say(&format!("{shown} was not trusted; there is nothing to forget"));
        }
        return Ok(0);
    }
    let loaded = Config::load_in(world, layout, &Overrides::default())?;
    if loaded.trust == Trust::Trusted {
        remote(ui, layout, &loaded)?;
        if ui.json() {
            ui.value(&trust_view(layout, trust_word(loaded.trust), false, Some(&loaded)));
        } else if world.var(trust::TRUST_ALL) == Some("1") {
            let all = trust::TRUST_ALL;
            ui.say(&format!("{shown}: {all}=1 trusts every project here; nothing was remembered"));
        } else {
            ui.say(&format!("{shown}: is trusted already, exactly as it is now"));
        }
        return Ok(0);
    }
    if !ui.json() {
        offer(ui, &loaded, layout);
    }
    // With its commands, so that nothing is trusted that does not even load.
    let whole = Config::load_in(&world.with(trust::TRUST_ALL, "1"), layout, &Overrides::default())?;
    if !ui.confirm("allow all of this?")? {
        ui.say("nothing was remembered; the project's files count only where they make something stricter");
        return Ok(0);
    }
    // What was shown, not what stands there by now.
    let place = trust::remember(world, layout, &loaded.fingerprint)?;
    remote(ui, layout, &whole)?;
    if ui.json() {
        ui.value(&trust_view(layout, "trusted", true, Some(&loaded)));
    } else {
        ui.say(&format!("{shown}: is trusted until its configuration, its adapters or its prompts change"));
        ui.say(&format!("remembered in {}; to take it back: agentctl config trust --forget", place.display()));
    }
    Ok(0)
}

fn trust_view(layout: &Layout, trust: &'static str, changed: bool, loaded: Option<&Loaded>) -> TrustView {
    let command = |c: &NamedCommand| CommandView {
        what: c.what.into(),
        name: c.name.clone(),
        argv: c.argv.clone(),
        more: c.more.clone(),
    };
    let chosen =
        |s: &Setting| ChosenView { key: s.key.clone(), value: serde_json::to_value(&s.value).unwrap_or_default() };
    TrustView {
        project: layout.root().to_string_lossy().into_owned(),
        trust,
        changed,
        sha256: loaded.map(|loaded| loaded.fingerprint.as_str().into()),
        commands: loaded.map(|loaded| loaded.commands.iter().map(command).collect()),
        settings: loaded.map(|loaded| loaded.chosen.iter().map(chosen).collect()),
        prompts: loaded.map(|loaded| loaded.fingerprint.prompts().map(Into::into).collect()),
    }
}

/// Shows the remote that is fetched from and pushed to where it is not what it was, and takes it as it is after a yes.
fn remote(ui: &Ui, layout: &Layout, loaded: &Loaded) -> Result<(), Failure> {
    let config = &loaded.config;
    let Some(name) = config.merge.push.as_ref().or(config.workspace.fetch_from.as_ref()) else { return Ok(()) };
    let Some(moved) = remotes::has_moved(layout, name)? else { return Ok(()) };
    ui.line(&format!("{}: {}", moved.remote, moved.change()));
    if ui.confirm("use it as it is now?")? {
        remotes::accept(layout, name)?;
    }
    Ok(())
}

fn offer(ui: &Ui, loaded: &Loaded, layout: &Layout) {
    let changed = loaded.trust == Trust::Untrusted { changed: true };
    let why = if changed { ", which has changed since you trusted it" } else { "" };
    ui.line(&format!("to trust {}{why}, allows its files:", layout.root().display()));
    for command in &loaded.commands {
        ui.line(&format!("  to run the {} {}", command.what, one_line(&command.name)));
        for line in details(command) {
            ui.line(&format!("    {line}"));
        }
    }
    for setting in &loaded.chosen {
        let value = one_line(&setting.value.to_string());
        let meaning = sandbox::meaning(&setting.key, &setting.value);
        let meaning = meaning.map(|words| format!(": {words}")).unwrap_or_default();
        let place = shown(&setting.origin, layout);
        ui.line(&format!("  to set {} = {value}{meaning}   ({place})", one_line(&setting.key)));
    }
    for name in loaded.fingerprint.prompts() {
        let path = layout.prompt(&Role::new(name));
        let same = prompt::shipped(&Role::new(name)).is_some_and(|ours| loaded.fingerprint.holds_prompt(name, ours));
        let what = if same { "the one that ships" } else { "look at it" };
        let path = path.strip_prefix(layout.root()).unwrap_or(&path).display().to_string();
        ui.line(&format!("  to instruct agents: {} ({what})", one_line(&path)));
    }
    ui.line("  to let roles work on as many tasks at once as `wip_limits` of its queue says");
    if !loaded.commands.is_empty() {
        ui.line("commands run as you, whenever a worker of this project works");
    }
}

fn details(command: &NamedCommand) -> Vec<String> {
    let argv: Vec<String> = command.argv.iter().map(|arg| format!("{arg:?}")).collect();
    let set: Vec<String> = command.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let always = [("runs", argv.join(" ")), ("sees", command.env.join(" ")), ("gets", set.join(" "))];
    let more = command.more.iter().map(|(key, value)| {
        let path = format!("{}s.{}.{key}", command.what, command.name);
        let parsed = format!("v = {value}").parse::<toml::Table>().ok();
        let meaning = parsed.as_ref().and_then(|table| sandbox::meaning(&path, table.get("v")?));
        ("with", format!("{key} = {value}{}", meaning.map(|words| format!(": {words}")).unwrap_or_default()))
    });
    let lines = always.into_iter().filter(|(_, words)| !words.is_empty()).chain(more);
    lines.map(|(verb, words)| format!("{verb}   {}", one_line(&words))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::{Settings, tests::FakeUi};

    const PROJECT: &str =
        "[agents.a]\nargv = [\"a\", \"\\u001b[2J\"]\nset = { KEY = \"sk-1\" }\n[gates.g]\nargv = [\"g\"]\n";

    struct Scene {
        _directory: tempfile::TempDir,
        world: World,
        layout: Layout,
        fake: FakeUi,
    }

    fn scene(config: &str) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path().join("p"));
        std::fs::create_dir_all(layout.mark()).expect("created");
        std::fs::write(layout.config(), config).expect("written");
        let world = World::of([("HOME", directory.path().to_str().expect("UTF-8"))]);
        Scene { _directory: directory, world, layout, fake: FakeUi::new(Settings::default(), Some(true)) }
    }

    impl Scene {
        fn trust(&self, forget: bool) -> Done {
            trust_in(&self.fake.ui, &self.world, &self.layout, &TrustArgs { forget })
        }

        fn state(&self) -> Trust {
            Config::load_in(&self.world, &self.layout, &Overrides::default()).expect("loads").trust
        }
    }

    #[test]
    fn commands_are_shown_before_they_are_trusted() {
        let scene = scene(PROJECT);
        assert_eq!(scene.trust(false), Ok(0));
        assert_eq!(scene.state(), Trust::Trusted);
        let text = scene.fake.text();
        assert!(
            text.contains(r#"runs   "a""#) && text.contains("gets   KEY=•••") && text.contains("run the gate g"),
            "{text}"
        );
        assert!(!text.contains("sk-1") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(scene.trust(true), Ok(0));
        assert_eq!(scene.state(), Trust::Untrusted { changed: false });
    }

    #[test]
    fn without_a_yes_nothing_is_remembered() {
        for answer in [Some(false), None] {
            let mut scene = scene(PROJECT);
            scene.fake = FakeUi::new(Settings::default(), answer);
            match answer {
                None => assert_eq!(scene.trust(false).expect_err("cannot ask").kind.exit(), 2),
                Some(_) => assert_eq!(scene.trust(false), Ok(0)),
            }
            assert_eq!(scene.state(), Trust::Untrusted { changed: false });
        }
    }

    #[test]
    fn a_configuration_that_does_not_load_is_not_trusted() {
        let scene = scene("[agents.a]\nargv = []\n");
        assert_eq!(scene.trust(false).expect_err("does not load").kind.word(), "config_invalid");
    }

    #[test]
    fn what_loosens_a_sandbox_is_said_in_words() {
        let scene = scene(
            "[sandbox]\nmode = \"off\"\nnetwork = { ports = [443] }\ndeny_read = [\"/srv\"]\n\
             [agents.a]\nargv = [\"a\"]\n[agents.a.sandbox]\nallow_sockets = [\"/run/docker.sock\"]\n",
        );
        assert_eq!(scene.trust(false), Ok(0));
        let text = scene.fake.text();
        for words in [
            "to set sandbox.mode = \"off\": agents, gates and hooks may do all that you may do: nothing is confined",
            "to set sandbox.network = { ports = [443] }: agents, gates and hooks may reach these ports, on any host: 443",
            "sandbox.allow_sockets = [\"/run/docker.sock\"]: the agent a may connect to /run/docker.sock: what listens there is not confined",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("deny_read"), "what tightens needs no trust: {text}");
    }

    #[test]
    fn what_is_no_command_is_shown_as_well() {
        let scene = scene("[merge]\npush = \"origin\"\napproval = true\n[fleet]\nagent = \"sim\"\n");
        std::fs::create_dir(scene.layout.prompts()).expect("created");
        std::fs::write(scene.layout.prompt(&Role::BUILDER), "push it").expect("written");
        std::fs::write(scene.layout.prompt(&Role::TESTER), prompt::shipped(&Role::TESTER).expect("ships"))
            .expect("written");
        assert_eq!(scene.trust(false), Ok(0));
        let text = scene.fake.text();
        for words in [
            "to set merge.push = \"origin\"   (.oodatcaa/config.toml:2)",
            "to set fleet.agent = \"sim\"",
            "to instruct agents: .oodatcaa/prompts/builder.md (look at it)",
            "prompts/tester.md (the one that ships)",
            "`wip_limits` of its queue",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("approval"), "that only tightens: {text}");
        assert_eq!(scene.state(), Trust::Trusted);
        std::fs::write(scene.layout.prompt(&Role::BUILDER), "push it twice").expect("written");
        assert_eq!(scene.state(), Trust::Untrusted { changed: true });
    }
}
