//! `agentctl role …`: which roles there are, what one of them is, and a new one.

use super::{
    config,
    context::Context,
    fail::{Done, exit},
    ui::{Item, Table, Tone},
};
use oodatcaa_core::text::one_line;
use oodatcaa_ops::{roles::Wanted, view::RoleEntry};

/// Verbs of `role`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The roles: what each takes, works in and sends tasks to
    List,
    /// Everything about one role, and where each value comes from
    Show(Show),
    /// Add a role: its table in config.toml, and its prompt
    Add(Box<Add>),
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The role
    #[arg(value_name = "ROLE")]
    role: String,
}

/// Flags of `add`.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its name
    #[arg(value_name = "ROLE")]
    role: String,
    /// The status that it claims
    #[arg(long, value_name = "STATUS")]
    takes: String,
    /// The status while it works [default: ROLE_works]
    #[arg(long, value_name = "STATUS")]
    works: Option<String>,
    /// The status of a task after success
    #[arg(long, value_name = "STATUS")]
    done: String,
    /// The status of a task when its attempts are used up [default: needs_manual]
    #[arg(long, value_name = "STATUS")]
    failed: Option<String>,
    /// The status of a task when its agent asks for a new plan
    #[arg(long, value_name = "STATUS")]
    replan: Option<String>,
    /// The agent that works, or `none`: an attempt is its gates [default: the fleet's]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A gate to run after its agent said done; may be repeated
    #[arg(long = "gate", value_name = "NAME")]
    gates: Vec<String>,
    /// A type of tasks that begin with it; may be repeated
    #[arg(long, value_name = "TYPE")]
    begins: Vec<String>,
    /// Its work is what tasks are about
    #[arg(long)]
    builds: bool,
    /// What it is for, in a sentence or two, for its prompt
    #[arg(long, value_name = "TEXT")]
    about: Option<String>,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
}

/// Runs a verb of `role`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => list(ctx),
        Verb::Show(args) => show(ctx, args),
        Verb::Add(args) => add(ctx, args),
    }
}

/// Says where a role sends tasks.
fn done(role: &RoleEntry) -> String {
    match &role.done_with_children {
        Some(with) => format!("{} ({with})", role.done),
        None => role.done.to_string(),
    }
}

fn list(ctx: &Context) -> Done {
    let roles = ctx.project.roles()?;
    let rows = roles.iter().map(|role| {
        let from = role.preset.as_ref().map_or("own".into(), |preset| format!("preset {preset}"));
        [
            Item::new(&role.role),
            Item::new(&role.takes),
            Item::new(&role.works),
            Item::new(done(role)),
            Item::new(&role.failed),
            Item::new(agents(role)),
            Item::new(role.wip_limit),
            Item::new(from).tone(Tone::Faint),
        ]
    });
    let headings = "ROLE | TAKES | WORKS AS | DONE | FAILED | AGENT | LIMIT | FROM~";
    ctx.ui.list(&roles, headings, rows, "there are no roles", "agentctl role show ROLE · agentctl help roles")
}

fn agents(role: &RoleEntry) -> String {
    match (role.agentless, role.agents.is_empty()) {
        (true, _) => "none".into(),
        (_, true) => "—".into(),
        _ => role.agents.join(", "),
    }
}

fn show(ctx: &Context, args: &Show) -> Done {
    let view = ctx.project.role(&args.role)?;
    if ctx.ui.json() {
        ctx.ui.value(&view);
        return Ok(exit::OK);
    }
    let role = &view.entry;
    let gates = view.gates.iter().map(|gate| match gate.argv.is_empty() {
        true => format!("{} (not defined, or not trusted)", gate.name),
        false => format!("{} ({})", gate.name, gate.argv.join(" ")),
    });
    let replan = role.replan.as_ref().map(|status| format!("; for a new plan to {status}")).unwrap_or_default();
    let prompt = match view.prompt_source {
        "project" => view.prompt.clone(),
        "none" => String::new(),
        "ships" => format!("the one that ships; yours would be {}", view.prompt),
        _ => format!("missing: write {}", view.prompt),
    };
    let duties = [(view.builds, "builds"), (view.merges, "merges, by our own code")];
    ctx.ui.facts(&[
        ("role", role.role.to_string()),
        ("from", role.preset.as_ref().map_or("this configuration".into(), |preset| format!("the preset {preset}"))),
        ("takes", role.takes.to_string()),
        ("works as", role.works.to_string()),
        ("sends", format!("on to {}; what fails for good to {}{replan}", done(role), role.failed)),
        ("begins", view.begins.join(", ")),
        ("is for", duties.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")),
        ("prompt", prompt),
        (
            "agents",
            if role.agentless { "none: an attempt is its gates, and costs nothing".into() } else { agents(role) },
        ),
        ("at once", format!("{} (`wip_limits` of the queue file)", role.wip_limit)),
        ("gates", gates.collect::<Vec<_>>().join(", ")),
        ("sandbox", format!("{}; must be kept: {}", view.sandbox, view.require.join(", "))),
    ]);
    let layout = ctx.project.layout()?;
    let loaded = ctx.project.loaded()?;
    let below = format!("roles.{}.", role.role);
    let mut table = Table::new("KEY | VALUE~ | ORIGIN");
    for setting in loaded.settings.iter().filter(|setting| setting.key.starts_with(&below)) {
        let tone = if setting.origin.ships() { Tone::Faint } else { Tone::Plain };
        table.row([
            Item::new(&setting.key[below.len()..]).tone(tone),
            Item::new(&setting.value),
            Item::new(config::shown(&setting.origin, layout)).or_piped(&setting.origin),
        ]);
    }
    ctx.ui.table(&table);
    ctx.ui.foot(&format!("agentctl sandbox show --role {} · change it in .oodatcaa/config.toml", role.role));
    Ok(exit::OK)
}

fn add(ctx: &Context, args: &Add) -> Done {
    let wanted = Wanted {
        name: args.role.clone(),
        takes: args.takes.clone(),
        works: args.works.clone(),
        done: args.done.clone(),
        failed: args.failed.clone(),
        replan: args.replan.clone(),
        agent: args.agent.clone(),
        gates: args.gates.clone(),
        begins: args.begins.clone(),
        builds: args.builds,
        about: args.about.clone(),
    };
    let view = ctx.project.add_role(&wanted, args.dry_run)?;
    let files: Vec<&str> = view.files.iter().map(|file| file.path.as_str()).collect();
    if !ctx.ui.outcome(&view, view.role.as_str(), &files.join(", "), &files) {
        return Ok(exit::OK);
    }
    if view.dry_run {
        view.table.lines().for_each(|line| ctx.ui.say(line));
        ctx.ui.say("nothing was written (--dry-run)");
    }
    for note in &view.notes {
        ctx.ui.say(&format!("note: {}", one_line(note)));
    }
    ctx.ui.say(&format!("next: {}", view.next.join(", then: ")));
    Ok(exit::OK)
}
