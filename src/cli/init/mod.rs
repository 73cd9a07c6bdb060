//! `agentctl init`: looks at a project, shows what it would write, asks, writes all of it or nothing.
//!
//! An `.oodatcaa` that is there already is used as it is: nothing in it is changed, only what is
//! missing is added.

use std::path::Path;

use self::{
    look::Found,
    plan::{Plan, PlannedFile},
};
use super::{context::Context, fail::Done, ui::Ui};
use clap::builder::PossibleValuesParser;
use oodatcaa_config::{Config, Loaded, Overrides, Preset, Trust, World, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::one_line;
use oodatcaa_ops::{
    Failure,
    view::{InitView, WrittenView},
};
use oodatcaa_store::file::document::Document;
use oodatcaa_sys::files;

mod known;
mod look;
mod plan;
pub(super) mod text;
#[expect(
    clippy::disallowed_methods,
    reason = "the plan has refused every link on the way, and nothing is written over"
)]
mod write;

/// Set a project up
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct InitArgs {
    /// Show what would be written, and write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The agent that works: claude, codex, gemini, …, or one of your own configuration
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// The roles to start from: `sprint` (planner, builder, tester, refiner, integrator), or `team` (architect,
    /// code_developer, project_manager, assistant, integrator) [default: sprint]
    #[arg(long, value_name = "NAME", value_parser = presets())]
    pub preset: Option<String>,
    /// Set up here although a parent directory is a project, or although this is your home
    #[arg(long)]
    pub force: bool,
}

fn presets() -> PossibleValuesParser {
    Preset::ALL.map(Preset::as_str).into()
}

/// Runs the command.
pub(super) fn run(ctx: &Context, args: &InitArgs) -> Done {
    run_in(&ctx.ui, &World::of_process(), &ctx.project.directory()?, args)
}

/// Sets a project up in an environment.
pub(super) fn run_in(ui: &Ui, world: &World, directory: &Path, args: &InitArgs) -> Done {
    let root = directory.canonicalize().map_err(|error| Failure::io("find", directory, &error))?;
    let layout = Layout::new(root);
    plan::may_be_a_project(world, &layout, args.force)?;
    let problems = validate(world, &layout)?;

    let found = look::look(layout.root(), world.var("PATH").unwrap_or_default());
    let plan = plan::plan(world, &layout, &found, args.agent.as_deref(), args.preset.as_deref())?;
    show(ui, &layout, &found, &plan, &problems);
    if plan.files.is_empty() {
        ui.say("nothing is missing; nothing to write");
    } else if args.dry_run {
        ui.say("nothing was written (--dry-run)");
    } else {
        write::check(&layout, &plan)?;
        if !ui.confirm("write these files?")? {
            ui.say("nothing was written");
            return Ok(0);
        }
        write::write(world, &layout, &plan)?;
        if plan.may_trust {
            trust_own(ui, world, &layout);
        }
    }
    let loaded = if args.dry_run { None } else { Some(Config::load_in(world, &layout, &Overrides::default())?) };
    if ui.json() {
        let written = |file: &PlannedFile| WrittenView { path: file.shown.clone(), what: file.what.clone() };
        ui.value(&InitView {
            project: layout.root().to_string_lossy().into_owned(),
            dry_run: args.dry_run,
            files: plan.files.iter().map(written).collect(),
            agent: plan.agent.clone(),
            agents_found: found.agents.iter().map(|(known, _)| known.name.as_str()).collect(),
            queue_problems: problems,
        });
    } else if let Some(loaded) = loaded {
        next(ui, &loaded, &plan, !problems.is_empty());
    }
    Ok(0)
}

/// Lists what is wrong with the queue of a project that is there already. A file that cannot be read at all
/// is told like the rest: nothing here needs it.
fn validate(world: &World, layout: &Layout) -> Result<Vec<String>, Failure> {
    if layout.queue().symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let workflow = Config::load_in(world, layout, &Overrides::default())?.config.workflow;
    let bytes = files::read(layout.root(), &layout.queue(), oodatcaa_store::file::LONGEST)?.unwrap_or_default();
    Ok(match Document::from_bytes(&layout.queue(), bytes) {
        Ok(document) => {
            document.queue().problems(&workflow).iter().map(|problem| one_line(&problem.to_string())).collect()
        }
        Err(invalid) => vec![one_line(&invalid.to_string())],
    })
}

/// Remembers the configuration that was just written here; somebody may have changed it since.
fn trust_own(ui: &Ui, world: &World, layout: &Layout) {
    let remembered =
        trust::Fingerprint::read(layout).and_then(|fingerprint| trust::remember(world, layout, &fingerprint));
    if let Err(error) = remembered {
        let failure = Failure::from(error);
        ui.warn(&format!("its commands are not trusted yet ({failure}); allow them: agentctl config trust"));
    }
}

fn show(ui: &Ui, layout: &Layout, found: &Found, plan: &Plan, problems: &[String]) {
    if ui.json() {
        return;
    }
    let mut seen = vec![if found.git.is_some() { "git" } else { "no git" }.to_owned()];
    seen.extend(found.tests.iter().map(|test| format!("{} ({})", test.kind, test.argv.join(" "))));
    seen.extend(found.agents.iter().map(|(known, path)| format!("{} ({})", known.name, path.display())));
    if found.agents.is_empty() {
        seen.push("no agent program on PATH".into());
    }
    let is_there = layout.mark().is_dir();
    seen.push(if is_there { ".oodatcaa/ is there; what is in it stays as it is" } else { "no .oodatcaa/ yet" }.into());
    let mut shown_problems: Vec<String> = problems.iter().take(5).cloned().collect();
    if problems.len() > shown_problems.len() {
        let more = problems.len() - shown_problems.len();
        shown_problems.push(format!("and {more} more: agentctl queue validate"));
    }
    let width = plan.files.iter().map(|file| file.shown.chars().count()).max().unwrap_or_default();
    let file = |file: &PlannedFile| {
        let verb = if file.replaces.is_some() { "extend" } else { "create" };
        format!("{verb:<7} {:<width$}   {}", file.shown, file.what)
    };
    let parts = [
        ("found", &[seen.join(" · ")][..]),
        ("queue", &shown_problems),
        ("plan", &plan.files.iter().map(file).collect::<Vec<_>>()),
        ("safety", &plan.safety),
        ("note", &plan.remarks),
    ];
    parts.iter().flat_map(|(head, lines)| under(head, lines)).for_each(|line| ui.line(&line));
    // As it is to be pasted.
    plan.paste.lines().for_each(|line| ui.line(line));
}

/// Puts lines beside a heading.
fn under(head: &str, lines: &[String]) -> Vec<String> {
    lines.iter().enumerate().map(|(n, line)| format!(" {:<7} {line}", if n == 0 { head } else { "" })).collect()
}

fn next(ui: &Ui, loaded: &Loaded, plan: &Plan, problems: bool) {
    let no_agent = loaded
        .config
        .workflow
        .rules()
        .iter()
        .any(|rule| !rule.duty.agentless && loaded.config.agent_name(&rule.role).is_none());
    let lines = [
        (problems, "agentctl queue validate"),
        (no_agent, "install an agent program, e.g.: npm install -g @anthropic-ai/claude-code"),
        (no_agent, "then write it down: agentctl init --agent claude --dry-run   shows what belongs into config.toml"),
        (matches!(loaded.trust, Trust::Untrusted { .. }), "agentctl config trust"),
        (true, "agentctl doctor"),
        (plan.new_project, "agentctl add \"Fix the flaky test\" --accept \"passes 20 times in a row\""),
        (true, "agentctl fleet start   then: agentctl status --watch"),
    ];
    let lines: Vec<String> = lines.iter().filter(|(fits, _)| *fits).map(|(_, line)| (*line).to_owned()).collect();
    under("next", &lines).iter().for_each(|line| ui.say(line));
}

#[cfg(test)]
mod tests;
