//! `agentctl sandbox …`: what agents, gates and hooks can do, in words, and whether this machine keeps them to it.

use std::path::PathBuf;

use super::{
    context::Context,
    fail::{Done, exit},
    ui::Tone,
};
use oodatcaa_core::text::{many, one_line};
use oodatcaa_ops::{
    ErrorKind, Failure,
    sandbox::{self, Who},
    view::{AppArmorView, ProbeView, SandboxRunView},
};

/// Verbs of `sandbox`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Show what a program may write, read and reach
    Show(Whose),
    /// Say which rule allows or denies a path
    Explain(Explain),
    /// Run a command of yours as an agent would be run, with this directory as its workspace
    Run(Run),
    /// Try every sandbox: do what it must refuse, and see that it does
    Probe(Probe),
    /// Print what lets agent-daemon make namespaces where AppArmor forbids them
    #[command(name = "apparmor")]
    AppArmor(AppArmor),
}

/// Whose sandbox is meant.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Whose {
    /// The role [default: builder]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The agent [default: the role's]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A gate, in place of an agent
    #[arg(long, value_name = "NAME", conflicts_with = "agent")]
    gate: Option<String>,
}

impl Whose {
    fn who(&self, ctx: &Context) -> Result<Who, Failure> {
        ctx.project.who(self.role.as_deref(), self.agent.as_deref(), self.gate.as_deref())
    }
}

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The path; it need not be there
    path: PathBuf,
    /// Whether it may be written, not only read
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    whose: Whose,
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    whose: Whose,
    /// Program and arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    argv: Vec<String>,
}

/// Flags of `probe`.
#[derive(Debug, clap::Args)]
pub(super) struct Probe {
    /// Show everything that was tried, not only what went wrong
    #[arg(long)]
    all: bool,
}

/// Flags of `apparmor`.
#[derive(Debug, clap::Args)]
pub(super) struct AppArmor {
    /// Write it where it belongs, and load it; only root can
    #[arg(long)]
    install: bool,
}

/// Runs a verb of `sandbox`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Show(whose) => show(ctx, whose),
        Verb::Explain(args) => explain(ctx, args),
        Verb::Run(args) => try_it(ctx, args),
        Verb::Probe(args) => probe(ctx, args),
        Verb::AppArmor(args) => apparmor(ctx, args),
    }
}

fn show(ctx: &Context, whose: &Whose) -> Done {
    let view = ctx.project.sandbox_view(&whose.who(ctx)?)?;
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return Ok(exit::OK);
    }
    if view.mode == "off" {
        ctx.ui.line(&format!(
            "{}: {}",
            view.program,
            painted(ctx, Tone::Bad, "nothing is confined, it can do all that you can")
        ));
        return Ok(exit::OK);
    }
    let own = view.own.keys().cloned().collect::<Vec<_>>().join(", ");
    let is_there = |path: &&String| std::path::Path::new(path).exists();
    let denied: Vec<&str> = view.deny.iter().filter(is_there).map(String::as_str).collect();
    let env: Vec<&str> = view.env.keys().map(String::as_str).collect();
    ctx.ui.facts(&[
        ("program", view.program),
        ("mode", view.mode.into()),
        ("must be kept", sandbox::words(&view.require)),
        ("may write", view.write.join(", ")),
        ("has its own", own),
        ("may not read", denied.join(", ")),
        ("does not see", view.mask.join(", ")),
        ("but may read", view.read.join(", ")),
        ("network", view.network),
        ("nested", if view.nested { "it may bring a sandbox of its own".into() } else { String::new() }),
        ("variables", env.join(", ")),
    ]);
    ctx.ui.foot("agentctl sandbox explain PATH · agentctl sandbox run -- COMMAND · agentctl sandbox probe");
    Ok(exit::OK)
}

/// Returns words in their colour, for a terminal.
fn painted(ctx: &Context, tone: Tone, words: &str) -> String {
    if ctx.ui.pretty() { tone.paint(words) } else { words.into() }
}

fn explain(ctx: &Context, args: &Explain) -> Done {
    let view = ctx.project.sandbox_verdict(&args.whose.who(ctx)?, &args.path, args.write)?;
    if ctx.ui.json() {
        ctx.ui.value(&view);
    } else {
        let (tone, answer) = if view.allowed { (Tone::Good, "yes") } else { (Tone::Bad, "no") };
        let by = view.by.as_ref().filter(|by| **by != view.path).map(|by| format!(" ({by})")).unwrap_or_default();
        let words = one_line(&format!("{} {}: {}{by}", view.what, view.path, view.rule));
        ctx.ui.line(&format!("{}, {words}", painted(ctx, tone, answer)));
        if let Some(hint) = &view.hint {
            ctx.ui.say(&format!("to allow it: {hint}"));
        }
    }
    Ok(if view.allowed { exit::OK } else { exit::NEGATIVE })
}

fn try_it(ctx: &Context, args: &Run) -> Done {
    let who = args.whose.who(ctx)?;
    let (status, report) = ctx.project.run_confined(&who, &args.argv, ctx.ui.json())?;
    let (given, means) = match &report {
        Some(report) => (report.guarantees.iter().copied().collect(), report.means.words()),
        None => (Vec::new(), "nothing".into()),
    };
    if report.is_none() {
        ctx.ui.warn("nothing was confined: sandbox.mode is off");
    }
    let code = status.code();
    if ctx.ui.json() {
        ctx.ui.value(&SandboxRunView { status: code, given, means });
    }
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.ok_or_else(|| Failure::new(ErrorKind::Failed, format!("{}: {status}", one_line(&args.argv[0]))))
}

fn probe(ctx: &Context, args: &Probe) -> Done {
    let all = ctx.project.probe()?;
    let ok = all.iter().all(|probe| probe.ok);
    if ctx.ui.json() {
        ctx.ui.value(&all);
    } else {
        all.iter().for_each(|probe| tell(ctx, args, probe));
        if all.is_empty() {
            ctx.ui.say("nothing is confined: sandbox.mode is off");
        }
    }
    Ok(if ok { exit::OK } else { exit::NEGATIVE })
}

fn tell(ctx: &Context, args: &Probe, probe: &ProbeView) {
    let (sign, tone) = if probe.ok { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
    ctx.ui.line(&format!("{} {}", painted(ctx, tone, sign), one_line(&probe.programs.join(", "))));
    let line = |words: &str| ctx.ui.line(&format!("    {}", one_line(words)));
    if let Some(error) = &probe.error {
        line(error);
        return;
    }
    line(&format!("by {}: {}", probe.means, summary(probe)));
    if let Some(refused) = &probe.refused {
        line(&format!("no namespace: {refused}"));
    }
    if !probe.missing.is_empty() {
        line(&format!("required and not to be had here: {}", sandbox::words(&probe.missing)));
    }
    for tried in probe.tries.iter().filter(|tried| args.all || !tried.ok) {
        let kept = tried.guarantee.map_or("works", |kept| kept.as_str());
        let sign = if tried.ok { "✓" } else { "✗" };
        line(&format!("{sign} {kept}: {}: {}", tried.what, tried.words.as_deref().unwrap_or("it could be done")));
    }
    for path in &probe.reachable {
        line(&format!("! reachable: {path}"));
    }
}

/// Says what is kept, and how much was tried for it.
pub(super) fn summary(probe: &ProbeView) -> String {
    let kept = |guarantee| probe.given.contains(&guarantee);
    let forbidden: Vec<_> = probe.tries.iter().filter(|tried| tried.guarantee.is_some_and(kept)).collect();
    let refused = forbidden.iter().filter(|tried| !tried.done).count();
    let things = many(forbidden.len(), "forbidden thing");
    format!("{}; tried just now: {things}, {refused} refused", sandbox::words(&probe.given))
}

fn apparmor(ctx: &Context, args: &AppArmor) -> Done {
    let (path, text) = sandbox::apparmor()?;
    if args.install {
        sandbox::install_apparmor()?;
    }
    if ctx.ui.json() {
        let path = path.to_string_lossy().into_owned();
        ctx.ui.value(&AppArmorView { path, text, installed: args.install });
    } else if args.install {
        ctx.ui.say(&format!("{} is loaded; see: agentctl sandbox probe", path.display()));
    } else {
        ctx.ui.bytes(text.as_bytes());
        ctx.ui.say(&format!("to write it to {}: sudo agentctl sandbox apparmor --install", path.display()));
    }
    Ok(exit::OK)
}
