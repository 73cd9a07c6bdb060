//! `agentctl agent …`: the programs that do the work, as far as they can be known
//! without spending a token.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    context::Context,
    fail::Done,
    pool,
    ui::{Item, Tone},
};
use oodatcaa_agent::{
    self as agent,
    conform::{self, Verdict},
    descriptor::{self, Evidence},
    environment,
    probe::{self, Fit, Login},
};
use oodatcaa_config::{AgentConfig, AgentKind, Sandbox};
use oodatcaa_core::{
    Role,
    text::{near, one_line},
};
use oodatcaa_fleet::Host;
use oodatcaa_ops::{
    ErrorKind, Failure, exit,
    view::{AdapterView, AgentView, CaseView},
};
use oodatcaa_sys::files;

/// Verbs of `agent`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List the agent programs, their versions, and which are signed in; calls no model
    List(ListArgs),
    /// Print the description of an agent that is in force, as TOML
    Show(NameArgs),
    /// Try an installed program with its description; calls no model and no network
    Test(NameArgs),
    /// Let a pool of quota be used before the time that its provider stated
    Reopen(pool::Reopen),
}

/// Flags of `list`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ListArgs {
    /// Only those that are configured in this project
    #[arg(long)]
    configured: bool,
}

/// One agent or adapter.
#[derive(Debug, clap::Args)]
pub(super) struct NameArgs {
    /// An agent of the configuration, or an adapter: claude, codex, …
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs a verb of `agent`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List(args) => list(ctx, args),
        Verb::Show(args) => show(ctx, &args.name),
        Verb::Test(args) => test(ctx, &args.name),
        Verb::Reopen(args) => pool::reopen(ctx, args),
    }
}

/// Lists the configured agents, then the adapters that none of them uses. Works without a project, too.
fn everyone(ctx: &Context) -> Result<BTreeMap<String, (AgentConfig, bool)>, Failure> {
    let mut all: BTreeMap<String, (AgentConfig, bool)> = BTreeMap::new();
    let mut own = BTreeMap::new();
    if ctx.project.find_layout()?.is_some() {
        let config = &ctx.project.loaded()?.config;
        own = config.adapters.clone();
        all.extend(config.agents.iter().map(|(name, agent)| (name.clone(), (agent.clone(), true))));
    }
    let shipped = descriptor::SHIPPED.iter().map(|(name, _)| (*name).to_owned());
    for adapter in shipped.chain(own.keys().cloned()) {
        let bare = || (conform::bare(&adapter, &own), false);
        all.entry(adapter.clone()).or_insert_with(bare);
    }
    Ok(all)
}

fn one(ctx: &Context, name: &str) -> Result<AgentConfig, Failure> {
    let mut all = everyone(ctx)?;
    match all.remove(name) {
        Some((config, _)) => Ok(config),
        None => {
            let message = format!("there is no agent and no adapter `{}`", one_line(name));
            let near = near(name, all.keys().map(String::as_str));
            let failure = Failure::new(ErrorKind::NotFound, message);
            Err(near
                .into_iter()
                .fold(failure, |failure, near| failure.hint(format!("agentctl agent show {near}")))
                .hint("agentctl agent list"))
        }
    }
}

/// An agent, with what only people are shown of it.
#[derive(serde::Serialize)]
struct Row {
    #[serde(flatten)]
    view: AgentView,
    #[serde(skip)]
    fit: Option<Fit>,
    #[serde(skip)]
    login: Login,
}

fn look(name: &str, config: &AgentConfig, configured: bool) -> Row {
    let here = std::env::current_dir().unwrap_or_default();
    let path = environment::path(&config.set);
    let opened = agent::open(name, config);
    let program = environment::find_program(&opened.program(&path, &here), &path, &here);
    let mut view = AgentView {
        name: name.into(),
        configured,
        adapter: match config.kind {
            AgentKind::Command => "command".into(),
            AgentKind::Sim => "sim".into(),
            AgentKind::Adapter => config.adapter.clone().unwrap_or_default(),
        },
        evidence: "",
        program: program.as_ref().map(|path| path.to_string_lossy().into_owned()),
        version: None,
        tested: None,
        signed_in: None,
        pool: opened.pool(),
        problem: opened.problem().map(|bad| format!("cannot {bad}")),
    };
    let Some(described) = opened.descriptor() else { return Row { view, fit: None, login: Login::Unknown } };
    view.evidence = match described.evidence {
        Evidence::Measured => "measured",
        Evidence::Documented => "documented only",
        Evidence::Example => "example",
    };
    match program.map(|file| probe::ask_version(&file, &described.program, &path, Duration::from_secs(20))) {
        Some(Ok(version)) => view.version = Some(version),
        Some(Err(why)) => view.problem = Some(why),
        None => {}
    }
    let fit = view.version.as_ref().map(|version| probe::fit(&described.program, version));
    let login = probe::login(described, &|name| config.set.get(name).cloned().or_else(|| std::env::var(name).ok()));
    view.tested = fit.map(|fit| fit == Fit::Tested);
    view.signed_in = (login != Login::Unknown).then(|| login.is_good());
    Row { view, fit, login }
}

fn list(ctx: &Context, args: &ListArgs) -> Done {
    let all = everyone(ctx)?;
    let wanted: Vec<_> = all.iter().filter(|(_, (_, configured))| *configured || !args.configured).collect();
    // Each program is asked at the same time: a dozen of them, one after the other, take half a minute.
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let asked: Vec<_> = wanted
            .iter()
            .map(|(name, (config, configured))| scope.spawn(move || look(name, config, *configured)))
            .collect();
        asked.into_iter().filter_map(|row| row.join().ok()).collect()
    });
    ctx.ui.list(
        &rows,
        "NAME | ADAPTER | CONFIGURED | VERSION | SIGNED IN | POOL | NOTE~",
        rows.iter().map(items),
        "no agent is configured",
        "agentctl agent show NAME · agentctl agent test NAME",
    )
}

fn items(Row { view, fit, login }: &Row) -> [Item; 7] {
    let version = match (&view.program, &view.version, fit) {
        (None, ..) => Item::new("not installed").tone(Tone::Faint),
        (Some(_), Some(version), Some(Fit::Tested)) => Item::new(version).tone(Tone::Good),
        (Some(_), Some(version), Some(Fit::TooOld)) => Item::new(format!("{version} (too old)")).tone(Tone::Bad),
        (Some(_), Some(version), _) => Item::new(version),
        (Some(_), None, _) => Item::new("installed"),
    };
    let login = match login {
        Login::Unknown => Item::new("-").tone(Tone::Faint),
        Login::Variable(name) => Item::new(name).tone(Tone::Good),
        Login::File(_) => Item::new("login file").tone(Tone::Good),
        Login::Missing(_) => Item::new("no").tone(Tone::Warn),
    };
    let note = match (&view.problem, view.evidence) {
        (Some(problem), _) => Item::new(problem).tone(Tone::Bad),
        (None, "measured") => Item::default(),
        (None, evidence) => Item::new(evidence).tone(Tone::Faint),
    };
    [
        Item::new(&view.name).tone(if view.configured { Tone::Strong } else { Tone::Plain }),
        Item::new(&view.adapter),
        Item::new(if view.configured { "yes" } else { "" }),
        version,
        login,
        Item::new(&view.pool),
        note,
    ]
}

fn show(ctx: &Context, name: &str) -> Done {
    let config = one(ctx, name)?;
    if config.kind != AgentKind::Adapter {
        return Err(Failure::new(
            ErrorKind::NotFound,
            format!("the agent `{name}` has no adapter; only its argv is known"),
        )
        .hint(format!("agentctl config show agents.{name}")));
    }
    let adapter = config.adapter.as_deref().unwrap_or(name);
    let found = descriptor::table(adapter, &config.adapters).and_then(|table| {
        descriptor::read(adapter, table.clone())?;
        Ok(table)
    });
    let found = found.map_err(|bad| Failure::new(ErrorKind::ConfigInvalid, format!("cannot {bad}")))?;
    if ctx.ui.json() {
        let description = match serde_json::to_value(&found) {
            Ok(Value::Object(description)) => description,
            _ => Default::default(),
        };
        ctx.ui.value(&AdapterView { description });
        return Ok(0);
    }
    let text = toml::to_string_pretty(&found)
        .map_err(|error| Failure::new(ErrorKind::Bug, format!("the description cannot be written: {error}")))?;
    ctx.ui.bytes(text.as_bytes());
    Ok(0)
}

fn test(ctx: &Context, name: &str) -> Done {
    let config = one(ctx, name)?;
    if config.kind != AgentKind::Adapter {
        return Err(Failure::new(ErrorKind::NotFound, format!("the agent `{name}` has no adapter to be tried with"))
            .hint("agentctl doctor"));
    }
    // Not below /tmp, where a sandbox of one of the programs breaks.
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("oodatcaa");
    let failed = |error: std::io::Error| Failure::io("make", &base, &error);
    files::make_named_dir(&base)?;
    let room = tempfile::Builder::new().prefix("agent-test-").tempdir_in(&base).map_err(failed)?;
    let shim = Host::here().program("agent-daemon");
    let sandbox = match ctx.project.find_layout()? {
        Some(_) => {
            let config = &ctx.project.loaded()?.config;
            let building = config.workflow.building().map_or(&Role::BUILDER, |rule| &rule.role);
            config.sandbox(name, building)
        }
        None => Sandbox::default(),
    };
    let cases = conform::run(name, &config, room.path(), shim.as_deref(), &sandbox);
    let broken = cases.iter().any(|case| case.verdict == Verdict::Broken);
    let word = |verdict: Verdict| match verdict {
        Verdict::Kept => ("ok", Tone::Good),
        Verdict::Broken => ("broken", Tone::Bad),
        Verdict::Note => ("note", Tone::Warn),
        Verdict::NotTried => ("not tried", Tone::Faint),
    };
    let view = |case: &conform::Case| CaseView {
        case: case.name.into(),
        verdict: word(case.verdict).0,
        words: case.words.clone(),
    };
    ctx.ui.list(
        &cases.iter().map(view).collect::<Vec<_>>(),
        "CASE | VERDICT | WHAT WAS SEEN~",
        cases.iter().map(|case| {
            let (word, tone) = word(case.verdict);
            [Item::new(case.name), Item::new(word).tone(tone), Item::new(&case.words)]
        }),
        "there was nothing to try",
        "no model was called and nothing left this machine: what a real service says is not tested here",
    )?;
    Ok(if broken { exit::NEGATIVE } else { exit::OK })
}
